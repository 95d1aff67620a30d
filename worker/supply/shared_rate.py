"""A rate that several processes keep to together, as long as the Redis that holds it can be reached."""

from collections.abc import Callable
from functools import partial
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Self

from worker.errors import QueueUnavailable
from worker.supply.broker_retry import BrokerRetry

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate


class SharedTurns:
    """The book of turns in Redis. While it cannot be reached nothing is sent: nobody knows what others send.

    Args:
        rate: not open yet.
        wait_for: seconds to wait at the start for a server that is away.
        tell: told what is going on, in words for the user.
    """

    def __init__(self, rate: "RedisRate", *, wait_for: float, tell: Callable[[str], None]) -> None:
        self._rate = rate
        self._wait_for = wait_for
        self._retry = BrokerRetry(tell, Random())  # noqa: S311 - spreads tries

    def book_at_once(self, *, step: float, late: float) -> float | None:  # noqa: ARG002 - a server has to be asked
        """Never."""
        return None

    async def book(self, *, step: float, late: float, pause: float, urgent: bool = False) -> float:  # noqa: ARG002 - none passes a pause here
        """Take the next turn, see :class:`worker.limits.TurnBook`."""
        book = partial(self._rate.book, step=step, late=late, pause=pause)
        return await self._retry.call(book)

    async def postpone(self, by: float, before: float) -> bool:  # noqa: ARG002 - see below
        """Never: it would cost as much as to book another turn."""
        return False

    async def give_back(self, due: float, step: float) -> None:
        """Let it lapse: to ask whether somebody has booked since would cost as much as to book another."""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            QueueError: the server refuses us, or cannot be reached in time.
        """
        try:
            await self._retry.call(self._rate.open, give_up_after=self._wait_for)
        except BaseException as error:
            await self._rate.close()
            if isinstance(error, QueueUnavailable):
                raise QueueUnavailable(f"shared rate: {error}; nothing was sent") from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._rate.close()
