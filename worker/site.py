"""What belongs to one portal: limits, outage watch, policy, client and transport, whatever is done there."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any
from weakref import WeakSet

from worker.dispatch import Dispatcher, Finished, Transport
from worker.limits import Limiter
from worker.limits.hours import Hours, Rates
from worker.limits.outage import Outage
from worker.models import READS, Kind
from worker.operations.base import Operation
from worker.operations.link import Link
from worker.operations.look import Look
from worker.operations.policy import RetryPolicy
from worker.portal.auth import Credentials
from worker.portal.client import PortalClient
from worker.portal.transport import Route
from worker.quantities import Rate
from worker.scheduler import Scheduler

AT_ONCE, BATCHES_AT_ONCE = 16, 4
"""Most requests in flight if their number is learned, and most batches, whatever is told: each of these keeps
the portal busy for seconds."""

GATHER = 0.2
"""Seconds that operations wait for others to share their request."""

IDS_IN_A_CONTACT = 20
"""Contacts of which only the id is wanted that take no more of an answer than a whole one."""

MOST_CONTACTS = 1000
"""Contacts that may come back in one answer: some two kilobytes each, well below what is read of one."""


MEMBERS_WEIGH = 25
"""Contacts as which a page of members counts there: a full one has three values of each of a thousand, some
90 kilobytes."""


class Site:
    """One portal, while something is done there.

    Args:
        client: open.
        limiter: gives the client its slots, too.
        route: how operations get there.
        hours: changes the limits with the time of day.
        concurrency: requests in flight, fewer if each carries many operations; None to learn how many.
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
        route: Route,
        policy: RetryPolicy,
        *,
        hours: Hours,
        concurrency: int | None,
        give_up_after: float,
        tell: Callable[[str], None],
    ) -> None:
        self.limiter = limiter
        self.policy = policy
        self.rng = Random()  # noqa: S311 - spreads backoffs, guards nothing
        self.route = route
        self._client = client
        self._gathering: WeakSet[Scheduler[Operation[Any]]] = WeakSet()
        self._transport: Transport = route.transport
        self._hours = hours
        self._concurrency = concurrency
        self._resize()
        self._outage = Outage(limiter, client.question, give_up_after, tell)
        limiter.observers.append(self._outage.observe)
        self._watchers = 0
        self._watching: asyncio.Task[None] | None = None

    @property
    def client(self) -> PortalClient:
        """For questions that are about no operation."""
        return self._client

    @property
    def takes_many(self) -> bool:
        """Whether one request can carry several operations, also if the next one happens to carry one."""
        return self.route.name == "batch"

    def _resize(self) -> None:
        most = self._concurrency or AT_ONCE
        adapts = self._concurrency is None
        self.limiter.resize(min(most, BATCHES_AT_ONCE) if self.takes_many else most, adapts=adapts)

    @property
    def at_once(self) -> int:
        """Most operations that can be on their way."""
        return self.limiter.permits.limit * min(self._transport.size, self.limiter.most_links)

    def dispatcher(
        self,
        scheduler: Scheduler[Operation[Any]],
        conclude: Callable[[Sequence[Finished]], Awaitable[Sequence[Operation[Any]]]],
    ) -> Dispatcher:
        """Lanes that send what ``scheduler`` gives, see :class:`worker.dispatch.Dispatcher`."""
        return Dispatcher(self._transport, self.limiter, scheduler, conclude=conclude)

    def scheduler(self) -> Scheduler[Operation[Any]]:
        """An empty scheduler that keeps to the retry budget here."""
        if not self.takes_many:
            return Scheduler(self.limiter.budget, carries=_carried_by)
        gathering: Scheduler[Operation[Any]] = Scheduler(
            self.limiter.budget,
            gather=GATHER,
            weigh=_weight_of,
            heaviest=MOST_CONTACTS,
            carries=_carried_by,
            writes=_is_link,
        )
        self._gathering.add(gathering)
        return gathering

    def take_no_more_batches(self, why: str) -> None:
        """The portal has stopped taking them: as many requests may be in flight as the user allows."""
        self.route.name, self.route.why = "single", why
        self._resize()
        for scheduler in self._gathering:
            scheduler.gather_no_more()

    async def watch(self) -> None:
        """Wait out each outage, together with whoever else works here. Runs until cancelled.

        Raises:
            OutageError: the portal has answered, but not worked, for too long.
            PortalError: it refuses us, or has not answered at all for too long.
        """
        self._watchers += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._outage.watch())
        watching = self._watching
        try:
            await asyncio.shield(watching)
        finally:
            self._watchers -= 1
            if not self._watchers:
                watching.cancel()
                await asyncio.wait({watching})

    @property
    def stated_rate(self) -> Rate:
        """Most requests that may be sent just now, as the user said."""
        return self._hours.stated

    def slow_to(self, rate: Rate) -> None:
        """Send no more than that, and never more than is stated, until other limits are stated."""
        self._hours.slow_to(rate)

    def pause(self) -> None:
        """Send nothing until :meth:`resume`; what is on its way gets its answers."""
        self._outage.pause()

    def resume(self) -> None:
        """Send again, slowly at first."""
        self._outage.resume()

    async def change(self, rates: Rates, concurrency: int | None, credentials: Credentials) -> None:
        """Go on under other limits and with other credentials.

        Raises:
            UsageError: there is no token to be read; nothing has changed.
        """
        await self._client.change(credentials)
        self._concurrency = concurrency
        self._hours.change(rates)
        self._resize()


def _carried_by(operation: Operation[Any]) -> int:
    """How many contacts an operation is about; what it is about lies in memory as long as it waits."""
    return len(operation.ask().contact_ids) if isinstance(operation, Look) else 1


def _is_link(operation: Operation[Any]) -> bool:
    """Whether it takes a turn of links, see :class:`worker.limits.links.LinkTurns`."""
    return operation.ask().kind not in READS


def _weight_of(operation: Operation[Any]) -> int:
    """How many contacts the answer to an operation may hold, or as much as it holds.

    One that is to go alone leaves no room for others.
    """
    if operation.goes_alone:
        return MOST_CONTACTS
    if isinstance(operation, Link):
        return 1  # as most are; not to be asked for that
    ask = operation.ask()
    if ask.kind is Kind.MEMBERS:
        return MEMBERS_WEIGH
    return math.ceil(len(ask.contact_ids) / IDS_IN_A_CONTACT) if ask.ids_only else len(ask.contact_ids)
