"""What has to become true of a pair or an opportunity, in questions to the portal and what answers mean.

Pure: no clock, no I/O, no HTTP. An operation is asked what to send (:meth:`Operation.ask`), is told that it
leaves, and is given the answer (:meth:`Operation.take`), which either ends it or says when to ask again.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from worker.models import Ask, Attempt, Result
from worker.reasons import TIMEOUT

MOST_LOST = 10
"""Requests of many in which something may be lost; from then on it goes alone, and what comes is its own."""

LOST_WAITS = (1.0, 5.0)
"""Seconds until members are looked at after such a request; the second after one that took too long, for it
may still be being carried out (contract 10.14)."""

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Again:
    """The operation is to be sent once more.

    Attributes:
        seconds: from now; nothing is held meanwhile.
        is_retry: it adds to the load, so it needs a share of the retry budget. What follows a throttle answer
            does not: that request did no work.
        absent: it was in a request of many that went without answers, and a look shows that it was not
            carried out. Requests are carried out in order, so the first such operation is where that one
            broke off, and perhaps why: it is to go alone.
    """

    seconds: float = 0.0
    is_retry: bool = False
    absent: bool = False


def is_lost(attempt: Attempt) -> bool:
    """Whether a request of many said nothing about this operation: it failed as a whole, or broke off.

    One that is transient was not carried out at all; of one that is ambiguous only a look can tell.
    """
    return attempt.shared and attempt.result in (Result.AMBIGUOUS, Result.TRANSIENT)


def wait_after_loss(attempt: Attempt) -> float:
    """Seconds until it is worth asking what such a request has done."""
    return LOST_WAITS[attempt.reason == TIMEOUT]


class CanBeLost:
    """Counts the requests of many in which something was lost: after :data:`MOST_LOST` it goes alone."""

    __slots__ = ("_lost",)

    def __init__(self) -> None:
        self._lost = 0

    @property
    def goes_alone(self) -> bool:
        """Whether it was lost with others too often."""
        return self._lost >= MOST_LOST

    def is_lost_again(self, attempt: Attempt) -> bool:
        """Whether this is one more, and no failure of its own; counts it."""
        is_one_more = is_lost(attempt) and self._lost < MOST_LOST
        self._lost += is_one_more
        return is_one_more


class Operation(Protocol[T_co]):
    """One thing that has to become true; ``T_co`` is what it gives when it is over."""

    def ask(self) -> Ask:
        """What is to be sent next."""

    @property
    def goes_alone(self) -> bool:
        """Whether it is to go in a request of its own: it was lost with others too often."""

    def leaves(self) -> None:
        """What :meth:`ask` said is being sent: until an answer comes, anything may have happened to it."""

    def returns(self) -> None:
        """It was refused before the portal looked at it: as if it had not been sent."""

    def take(self, attempt: Attempt) -> Again | T_co:
        """What the answer means."""
