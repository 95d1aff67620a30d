"""Link a pair: ask for it, again while that may help, and look among the members if an answer was lost."""

from random import Random

from msgspec.structs import replace

from worker.models import Ask, Attempt, Kind, Outcome, Pair, Result
from worker.operations.base import Again, CanBeLost, wait_after_loss
from worker.operations.policy import Reread, RetryIn, RetryPolicy, Settle, Step
from worker.reasons import NOT_STORED, PERHAPS_LINKED

# Up to Python 3.11 each look at a word of an Enum is a call; here it would be one for each pair.
_LINK, _LOOK = Kind.LINK, Kind.LOOK


class Link(CanBeLost):
    """A pair on its way to its outcome.

    Args:
        pair: one in doubt is looked for before it is sent.
        policy: how often and how long it is tried.
        rng: source of jitter.

    Attributes:
        attempts: everything that was sent for it in this session, looks included, oldest first.
    """

    __slots__ = (
        "_because",
        "_before",
        "_compares",
        "_looking",
        "_looks",
        "_on_its_way",
        "_policy",
        "_recovers",
        "_rng",
        "_sent",
        "_spent",
        "attempts",
        "pair",
    )

    def __init__(self, pair: Pair, policy: RetryPolicy, rng: Random) -> None:
        super().__init__()
        self.pair = pair
        self.attempts: tuple[Attempt, ...] = ()
        self._policy = policy
        self._rng = rng
        self._before = pair.in_doubt  # an earlier session may have made it, and no look has told yet
        self._looking = pair.in_doubt
        self._sent: tuple[Attempt, ...] = ()
        self._looks: tuple[Attempt, ...] = ()
        self._spent = 0.0
        self._because = ""
        self._on_its_way = False
        self._recovers = False  # looks for what a request of many did before it broke off
        self._compares = False  # looks which of two things the last answer meant

    @property
    def in_doubt(self) -> bool:
        """The portal may hold the link, as far as is known."""
        return (
            self.pair.in_doubt
            or self._on_its_way
            or any(attempt.result in (Result.AMBIGUOUS, Result.OK) for attempt in self.attempts)
        )

    def ask(self) -> Ask:
        """The link, or a look for it among the members."""
        kind = _LOOK if self._looking else _LINK
        return Ask(kind, self.pair.opportunity_id, (self.pair.contact_id,), self._because)

    def leaves(self) -> None:
        """From here on the portal may hold the link."""
        self._on_its_way = True

    def returns(self) -> None:
        """The portal refused us before it looked at the pair."""
        self._on_its_way = False

    def take(self, attempt: Attempt) -> Again | Outcome:
        """What the answer says of the pair."""
        self._on_its_way = False
        if self._looking:
            attempt = _told(attempt, self.pair.contact_id)
        else:
            # Not of a look: one at a pair of an earlier session makes the first POST no repetition.
            self._because = attempt.reason
        self.attempts += (attempt,)
        step = self._step(attempt)
        if isinstance(step, Settle):
            return Outcome(self.pair, step.status, self.attempts, step.reason, step.http_status)
        self._looking = isinstance(step, Reread)
        if isinstance(step, RetryIn):
            self._looks = ()
            self._spent += step.seconds
        looks_only = self._recovers or (self._compares and self._looking)
        is_retry = bool(self._sent) and not looks_only and attempt.result is not Result.THROTTLED
        return Again(step.seconds, is_retry, absent=self._recovers and attempt.reason == NOT_STORED)

    def _step(self, attempt: Attempt) -> Step:
        if self.is_lost_again(attempt):
            return self._after_loss(attempt)
        return self._looked(attempt) if self._looking else self._answered(attempt)

    def _after_loss(self, attempt: Attempt) -> Step:
        """A request of many said nothing about this pair; that is no failure of its own."""
        wait = wait_after_loss(attempt)
        if self._looking:
            return Reread(wait)
        self._looks = ()
        self._recovers = attempt.result is Result.AMBIGUOUS
        if not self._recovers:
            return RetryIn(wait)
        self._before = True
        return Reread(wait)

    def _answered(self, attempt: Attempt) -> Step:
        self._recovers = False
        self._sent += (attempt,)
        self._spent += attempt.seconds
        self._compares = attempt.reason == PERHAPS_LINKED
        if self._compares:
            self._looks = ()
            return Reread()
        return self._policy.after(self._sent, self._spent, self._rng, in_doubt=self._before)

    def _looked(self, attempt: Attempt) -> Step:
        self._looks += (attempt,)
        self._spent += 0.0 if self._recovers else attempt.seconds
        self._before = self._before and attempt.reason != NOT_STORED
        if self._compares and attempt.reason == NOT_STORED:
            step = self._policy.after(self._sent, self._spent, self._rng)
            if isinstance(step, RetryIn):
                self._compares = False
                return step
        if self._sent and not self._recovers:
            return self._policy.after_reread(self._sent, self._looks, self._rng)
        return self._policy.after_look(self._looks, self._rng)


def _told(attempt: Attempt, contact_id: int) -> Attempt:
    """A look at the members as an attempt to have the link: ok if it is there, transient if it is not."""
    if attempt.result not in (Result.OK, Result.PERMANENT):
        return attempt
    body = attempt.found.get(contact_id)
    if body is None:
        return replace(attempt, result=Result.TRANSIENT, reason=NOT_STORED, found={})
    return replace(attempt, body=body, found={})
