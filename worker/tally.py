"""Running counts of a session, for progress and the log. The report never uses them: the ledger counts."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from worker.ledger import Admitted
from worker.models import Outcome, Request, Result, Status
from worker.removals import Restored, Restoring, Undo, Undoing

WINDOW = 60.0
"""Seconds over which a pace is measured: what came long ago says little about now."""

MOST_CAUSES = 50
OTHERS = "other reasons"
"""What the causes beyond the most are counted as."""

_TO_SEE_TO = {Undo.KEPT, Undo.FAILED, Restored.REFUSED, Restored.FAILED}
_FAILED = (Status.REJECTED, Status.RETRYABLE, Status.UNKNOWN)


class Pace:
    """What is done a second, by the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque([(0.0, 0, 0)])

    def observe(self, seconds: float, links: int, requests: int) -> None:
        """Note how far it is, so many seconds after it began."""
        last = self._seen[-1]
        if seconds < last[0] or links < last[1]:
            # Something else has begun, and what it counts by itself begins at nothing.
            self._seen.clear()
            self._seen.append(
                (
                    0.0 if seconds < last[0] else last[0],
                    0 if links < last[1] else last[1],
                    0 if requests < last[2] else last[2],
                )
            )
        self._seen.append((seconds, links, requests))
        # One that is older than the window is kept, to measure the whole of it.
        while len(self._seen) > 1 and seconds - self._seen[1][0] >= WINDOW:
            self._seen.popleft()

    @property
    def links(self) -> float:
        """Links that had their last word, a second."""
        return self._of(1)

    @property
    def requests(self) -> float:
        """Requests a second."""
        return self._of(2)

    def _of(self, which: int) -> float:
        first, last = self._seen[0], self._seen[-1]
        if last[0] <= first[0]:
            return 0.0
        return (last[which] - first[which]) / (last[0] - first[0])


@dataclass(slots=True)
class Tally:
    """What has happened so far, whatever is done.

    Attributes:
        sent: requests of this session.
        throttled: those of them that were answered so.
        retries: links asked for once more.
        in_flight: requests on their way.
        limit: most of them at once; 0 if nobody has said.
        pause_left: seconds for which the portal holds everyone back.
        held: the user holds everyone back.
        seconds: since it began.
        note: something to tell the user at once.
        ended: these are the last counts of the session.
        causes: what failed, or was kept as it is, by reason and HTTP status; rare ones together beyond the
            first so many.
        live_page: address of the live page, with its token; empty if there is none.
    """

    sent: int = 0
    throttled: int = 0
    retries: int = 0
    in_flight: int = 0
    limit: int = 0
    pause_left: float = 0.0
    held: bool = False
    seconds: float = 0.0
    note: str = ""
    ended: bool = False
    causes: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    live_page: str = ""

    def observe(self, request: Request) -> None:
        """Count a request."""
        self.sent += 1
        self.throttled += request.result is Result.THROTTLED
        self.retries += len(request.repeated)

    def failed(self, reason: str, http_status: int | None) -> None:
        """Count why something failed."""
        cause = reason, http_status
        is_known = cause in self.causes or len(self.causes) < MOST_CAUSES
        self.causes[cause if is_known else (OTHERS, None)] += 1


class Doing(StrEnum):
    """What a verb does with the links that it goes through, or with their opportunities."""

    LOOKING = "looking"
    PLANNING = "planning"
    ASKING = "asking"
    """For the contacts of links that are not there yet."""
    VERIFYING = "verifying"
    UNDOING = "undoing"
    READING = "reading"
    """The members of opportunities, to see what a sync is to remove."""
    PRUNING = "pruning"


@dataclass(slots=True)
class LinkTally(Tally):
    """How far a verb has come that goes through the links of a run.

    Attributes:
        total: links to go through; 0 if nobody knows.
        done: of these.
        unit: what they are called.
        doing: what is done with them.
        before: of those that are done, what earlier sessions did.
        found: what became of those that are done, by the words that the verb has for it.
    """

    total: int = 0
    done: int = 0
    unit: str = "links"
    doing: Doing = Doing.LOOKING
    before: int = 0
    found: Counter[str] = field(default_factory=Counter)

    def begin(self, doing: Doing, unit: str, total: int) -> None:
        """Go on with another part of the work, which is counted by itself."""
        self.doing, self.unit, self.total, self.done = doing, unit, total, 0
        self.found.clear()

    def settled(self, links: Sequence[Undoing | Restoring]) -> None:
        """Count links that have their last word."""
        self.done += len(links)
        for one in links:
            self.found[one.state] += 1
            if one.state in _TO_SEE_TO:
                self.failed(one.reason, one.http_status if isinstance(one, Undoing) else None)


@dataclass(slots=True)
class RunTally(Tally):
    """How far a run has come.

    Attributes:
        begun: the portal takes us, so that there will be files, and something to go on with.
        rows: rows in the ledger.
        complete: the input is read to its end, so ``rows`` is final.
        settled: rows with an outcome, by state, over all sessions.
        settled_here: pairs that this session settled.
    """

    begun: bool = False
    rows: int = 0
    complete: bool = False
    settled: Counter[Status] = field(default_factory=Counter)
    settled_here: int = 0

    @property
    def done(self) -> int:
        """Rows with an outcome."""
        return self.settled.total()

    def admitted(self, chunk: Admitted) -> None:
        """Count rows read."""
        self.rows += chunk.pairs + chunk.duplicates + chunk.invalid
        self.settled[Status.DUPLICATE] += chunk.duplicates
        self.settled[Status.INVALID] += chunk.invalid

    def recorded(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.settled[outcome.status] += 1
        self.settled_here += 1
        if outcome.status in _FAILED:
            self.failed(outcome.reason, outcome.http_status)

    @property
    def failed_pairs(self) -> int:
        """Pairs that the portal did not confirm; rows that never were pairs are not among them."""
        return sum(self.settled[status] for status in _FAILED)

    @property
    def settled_pairs(self) -> int:
        """Pairs with an outcome."""
        return self.failed_pairs + self.settled[Status.LINKED] + self.settled[Status.ALREADY_LINKED]

    def by_state(self) -> dict[str, int]:
        """Settled rows by the state's name."""
        return {str(status): count for status, count in self.settled.items()}
