"""Remove links that a run made, and nothing else: look, remove, and look again.

That a DELETE was answered proves little, and that it was not proves nothing. So what is there is read before,
and what is left is read after; only the second look says that a link is gone.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from worker.contact import created_at
from worker.models import Ask, Attempt, Kind, Result
from worker.operations.base import Again, CanBeLost, wait_after_loss
from worker.operations.look import Told
from worker.operations.policy import RetryIn, RetryPolicy
from worker.reasons import ANOTHER_CONTACT, NO_OPPORTUNITY, NOT_FOUND, STILL_THERE, TOUCHED_SINCE
from worker.removals import Made, Undo, Undoing

Links = tuple[Made, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """What the portal last said to the request to remove a link; whether it is gone, only a look tells."""

    link: Made
    last: Attempt


class Unlink(CanBeLost):
    """A link that is being removed; of CommunityServer only, for AppServer removes them all.

    Args:
        link: was looked for just before, and its removal is noted.
        policy: when a removal that failed is tried again.
        rng: source of jitter.
    """

    __slots__ = (
        "_because",
        "_counted",
        "_looks",
        "_policy",
        "_rng",
        "_spent",
        "_unanswered",
        "link",
    )

    def __init__(self, link: Made, policy: RetryPolicy, rng: Random) -> None:
        super().__init__()
        self.link = link
        self._policy = policy
        self._rng = rng
        self._because = ""
        self._counted: tuple[Attempt, ...] = ()
        self._spent = 0.0
        self._unanswered: Attempt | None = None
        self._looks: tuple[Attempt, ...] = ()

    def ask(self) -> Ask:
        """The removal; or a look for what a request of many did before it broke off."""
        of = self.link.opportunity_id, (self.link.contact_id,)
        if self._unanswered is not None:
            return Ask(Kind.LOOK, *of, self._because, ids_only=True)
        return Ask(Kind.UNLINK, *of, self._because)

    def leaves(self) -> None:
        """That it is asked for was noted before."""

    def returns(self) -> None:
        """That it is asked for was noted before."""

    def take(self, attempt: Attempt) -> Again | Removed:
        """What the answer says, which is not yet whether the link is gone."""
        if self._unanswered is not None:
            return self._looked(self._unanswered, attempt)
        self._because = attempt.reason
        if self.is_lost_again(attempt):
            self._unanswered = attempt if attempt.result is Result.AMBIGUOUS else None
            self._looks = ()
            return Again(wait_after_loss(attempt))
        self._counted += (attempt,)
        self._spent += attempt.seconds
        step = self._policy.after(self._counted, self._spent, self._rng)
        if not isinstance(step, RetryIn):
            return Removed(self.link, attempt)
        self._spent += step.seconds
        return Again(step.seconds, is_retry=attempt.result is not Result.THROTTLED)

    def _looked(self, unanswered: Attempt, look: Attempt) -> Again | Removed:
        """What a look says of a removal that had no answer; it is repeated while it tells nothing."""
        if self.is_lost_again(look):
            return Again(wait_after_loss(look))
        self._looks += (look,)
        if (again := self._policy.look_again(self._looks, self._rng)) is not None:
            return Again(again.seconds)
        if look.result in (Result.OK, Result.PERMANENT) and self.link.contact_id not in look.found:
            return Removed(self.link, unanswered)
        self._unanswered = None
        return Again(absent=self.link.contact_id in look.found)


def judge_before(told: Told[Links], not_ours: Container[int] = ()) -> tuple[list[Undoing], Links]:
    """The last word on links of which nothing is to be asked, and those that are to be removed.

    Args:
        told: of the look before it.
        not_ours: keys of links that are somebody else's, if they are there.
    """
    judged = [(link, _judge(link, told, not_ours)) for link in told.about]
    settled = [verdict for _, verdict in judged if verdict is not None]
    return settled, tuple(link for link, verdict in judged if verdict is None)


def judge_after(told: Told[Links], asked: Mapping[int, Attempt]) -> list[Undoing]:
    """The last word on links that were asked to be removed.

    Args:
        told: of the look after it.
        asked: what the portal last said, by row.
    """
    return [_conclude(link, told, asked[link.row]) for link in told.about]


def kept(links: Sequence[Made]) -> list[Undoing]:
    """The last word on links whose opportunity is gone."""
    return [Undoing(link.row, Undo.KEPT, NO_OPPORTUNITY) for link in links]


def _judge(link: Made, told: Told[Links], not_ours: Container[int]) -> Undoing | None:
    last = told.last
    if not told.is_told:
        return Undoing(link.row, Undo.FAILED, last.reason, last.http_status)
    if last.result is Result.PERMANENT:
        return Undoing(link.row, Undo.KEPT, NO_OPPORTUNITY, last.http_status)
    body = last.found.get(link.contact_id)
    if body is None:
        return Undoing(link.row, Undo.REMOVED if link.begun else Undo.GONE)
    created = created_at(body)
    if None not in (created, link.created) and created != link.created:
        return Undoing(link.row, Undo.KEPT, ANOTHER_CONTACT)
    if link.key in not_ours:
        return Undoing(link.row, Undo.KEPT, TOUCHED_SINCE)
    return None


def _conclude(link: Made, told: Told[Links], last: Attempt) -> Undoing:
    if not told.is_told:
        return Undoing(link.row, Undo.FAILED, told.last.reason, told.last.http_status)
    if told.last.result is Result.PERMANENT and last.result is not Result.OK:
        # Hidden or deleted just then: nobody can see whether the link went before.
        return Undoing(link.row, Undo.KEPT, NO_OPPORTUNITY, told.last.http_status)
    if link.contact_id not in told.last.found:
        # A contact that was not found is hidden or deleted since, and not seen among the members for that.
        state = Undo.GONE if last.reason == NOT_FOUND else Undo.REMOVED
        return Undoing(link.row, state, http_status=last.http_status)
    state = Undo.KEPT if last.result is Result.PERMANENT else Undo.FAILED
    return Undoing(link.row, state, last.reason or STILL_THERE, last.http_status)
