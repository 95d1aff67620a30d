"""What belongs to one portal: limits, outage watch, policy, client and transport, whatever is done there."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from worker.dispatch import Dispatcher, Finished, Transport
from worker.limits import Limiter
from worker.limits.outage import Outage
from worker.operations.base import Operation
from worker.operations.policy import RetryPolicy
from worker.portal.auth import Credentials
from worker.portal.client import PortalClient
from worker.quantities import Rate
from worker.scheduler import Scheduler


class Site:
    """One portal, while something is done there.

    Args:
        client: open.
        limiter: gives the client its slots, too.
        transport: how operations get there.
        policy: how often and how long each is tried.
        give_up_after: seconds without anything that the portal worked on.
        tell: told of trouble, in words for the user; an empty text when it is over.

    Attributes:
        rng: source of jitter for whatever is done there.
    """

    def __init__(
        self,
        client: PortalClient,
        limiter: Limiter,
        transport: Transport,
        policy: RetryPolicy,
        *,
        give_up_after: float,
        tell: Callable[[str], None],
    ) -> None:
        self.limiter = limiter
        self.policy = policy
        self.rng = Random()  # noqa: S311 - spreads backoffs, guards nothing
        self._client = client
        self._transport = transport
        self._outage = Outage(limiter, client.question, give_up_after, tell)
        limiter.observers.append(self._outage.observe)

    @property
    def at_once(self) -> int:
        """Most operations that can be on their way."""
        return self.limiter.permits.limit * self._transport.size

    def dispatcher(
        self,
        scheduler: Scheduler[Operation[Any]],
        conclude: Callable[[Sequence[Finished]], Awaitable[Sequence[Operation[Any]]]],
    ) -> Dispatcher:
        """Lanes that send what ``scheduler`` gives, see :class:`worker.dispatch.Dispatcher`."""
        return Dispatcher(self._transport, self.limiter, scheduler, conclude=conclude)

    def scheduler(self) -> Scheduler[Operation[Any]]:
        """An empty scheduler that keeps to the retry budget here."""
        return Scheduler(self.limiter.budget)

    async def watch(self) -> None:
        """Wait out each outage. Runs until cancelled.

        Raises:
            OutageError: the portal has answered, but not worked, for too long.
            PortalError: it refuses us, or has not answered at all for too long.
        """
        await self._outage.watch()

    async def change(self, rate: Rate, concurrency: int, credentials: Credentials) -> None:
        """Go on under other limits and with other credentials.

        Raises:
            UsageError: there is no token to be read; nothing has changed.
        """
        await self._client.change(credentials)
        self.limiter.change(rate, concurrency)
