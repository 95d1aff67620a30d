"""Look which contacts an opportunity has: one request for many of them, asked again until it tells."""

from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from worker.models import Ask, Attempt, Kind, Result
from worker.operations.base import Again, CanBeLost, wait_after_loss
from worker.operations.policy import RetryPolicy

MOST_SOUGHT = 100
"""Contacts sought in one request: far fewer than a page has (contract 5.2), in an address of a kilobyte."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Told(Generic[_T]):
    """What became of a look.

    Attributes:
        about: what it was for.
        attempts: all requests that it took, oldest first; the last one tells, or none does.
    """

    about: _T
    attempts: tuple[Attempt, ...]

    @property
    def last(self) -> Attempt:
        """The request that decided."""
        return self.attempts[-1]

    @property
    def is_told(self) -> bool:
        """Whether it is known now which of the sought are members."""
        return self.last.result in (Result.OK, Result.PERMANENT)


class Look(CanBeLost, Generic[_T]):
    """A look at some members of one opportunity.

    Args:
        about: what it is for; comes back with the answer.
        opportunity_id: whose members.
        contact_ids: at most :data:`MOST_SOUGHT`.
        policy: when a look that told nothing is repeated.
        rng: source of jitter.
        ids_only: only who is a member is wanted, which is a small part of the answer.
    """

    __slots__ = (
        "_attempts",
        "_contact_ids",
        "_counted",
        "_ids_only",
        "_opportunity_id",
        "_policy",
        "_rng",
        "about",
    )

    def __init__(
        self,
        about: _T,
        opportunity_id: int,
        contact_ids: tuple[int, ...],
        policy: RetryPolicy,
        rng: Random,
        *,
        ids_only: bool = False,
    ) -> None:
        super().__init__()
        self.about = about
        self._opportunity_id = opportunity_id
        self._contact_ids = contact_ids
        self._policy = policy
        self._rng = rng
        self._ids_only = ids_only
        self._attempts: tuple[Attempt, ...] = ()
        self._counted: tuple[Attempt, ...] = ()

    def ask(self) -> Ask:
        """The members that are sought."""
        because = self._attempts[-1].reason if self._attempts else ""
        return Ask(Kind.LOOK, self._opportunity_id, self._contact_ids, because, self._ids_only)

    def leaves(self) -> None:
        """To look changes nothing at the portal."""

    def returns(self) -> None:
        """To look changes nothing at the portal."""

    def take(self, attempt: Attempt) -> Again | Told[_T]:
        """What the answer says, or that it is to be asked for again."""
        self._attempts += (attempt,)
        if self.is_lost_again(attempt):
            return Again(wait_after_loss(attempt))
        self._counted += (attempt,)
        again = self._policy.look_again(self._counted, self._rng)
        if again is None:
            return Told(self.about, self._attempts)
        return Again(again.seconds, is_retry=attempt.result is not Result.THROTTLED)
