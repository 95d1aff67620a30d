"""Read all members of an opportunity, page by page, and say whether that is really all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from worker.models import Ask, Attempt, Kind, Page, Result
from worker.operations.base import Again, CanBeLost, wait_after_loss
from worker.operations.policy import RetryPolicy
from worker.reasons import INCOMPLETE

PAGE = 1000
"""Members on one page: the portal cuts a list there (contract 5.2)."""


@dataclass(frozen=True, slots=True)
class MemberList:
    """What was read of an opportunity's members.

    Attributes:
        found: their Contacts as JSON, cut to a few members, by id; of a list with trouble, a part or none.
        trouble: why this may not be all of them, in a stable word; empty if it is.
    """

    opportunity_id: int
    found: Mapping[int, bytes]
    trouble: str = ""


class ReadMembers(CanBeLost):
    """Reads the members of one opportunity to the end.

    The list has no order (contract 5.1), and the portal's own ``nextIndex`` is off by one (5.4): pages are
    cut here. A full page is never taken for the last, so that a list that is cut at a page is not taken for
    whole; one that shows somebody twice, or says other numbers than it shows, has moved meanwhile.

    Args:
        opportunity_id: whose members.
        policy: when a page that told nothing is asked for again.
        rng: source of jitter.
    """

    __slots__ = ("_because", "_counted", "_found", "_opportunity_id", "_policy", "_rng", "_total")

    def __init__(self, opportunity_id: int, policy: RetryPolicy, rng: Random) -> None:
        super().__init__()
        self._opportunity_id = opportunity_id
        self._policy = policy
        self._rng = rng
        self._because = ""
        self._counted: tuple[Attempt, ...] = ()
        self._found: dict[int, bytes] = {}
        self._total: int | None = None

    def ask(self) -> Ask:
        """The next page."""
        return Ask(Kind.MEMBERS, self._opportunity_id, (), self._because, start=len(self._found))

    def leaves(self) -> None:
        """To read changes nothing at the portal."""

    def returns(self) -> None:
        """To read changes nothing at the portal."""

    def take(self, attempt: Attempt) -> Again | MemberList:
        """What the answer says: another page, the same one again, or the end."""
        self._because = attempt.reason
        if self.is_lost_again(attempt):
            return Again(wait_after_loss(attempt))
        self._counted += (attempt,)
        again = self._policy.look_again(self._counted, self._rng)
        if again is not None:
            return Again(again.seconds, is_retry=attempt.result is not Result.THROTTLED)
        if attempt.result is not Result.OK or attempt.page is None:
            return MemberList(self._opportunity_id, self._found, attempt.reason or INCOMPLETE)
        self._counted = ()
        if not self._adds_up(attempt.page, attempt.found):
            return MemberList(self._opportunity_id, self._found, INCOMPLETE)
        self._found.update(attempt.found)
        if attempt.page.items == PAGE:
            return Again()
        read = len(self._found)
        is_all = read == (min(read, PAGE) if self._total is None else self._total)
        return MemberList(self._opportunity_id, self._found, "" if is_all else INCOMPLETE)

    def _adds_up(self, page: Page, found: Mapping[int, bytes]) -> bool:
        """Whether a page agrees with itself and with those before it."""
        if page.total is not None:
            if self._total not in {None, page.total}:
                return False
            self._total = page.total
        return (
            page.items == len(found) <= PAGE
            and page.count in {None, page.items}
            and self._found.keys().isdisjoint(found)
        )
