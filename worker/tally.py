"""Running counts of a session, for progress and the log. The report never uses them: the ledger counts."""

from collections import Counter
from dataclasses import dataclass, field

from worker.ledger import Admitted
from worker.models import Outcome, Request, Result, Status


@dataclass(slots=True)
class Tally:
    """What has happened so far.

    Attributes:
        begun: the portal takes us, so that there will be files, and something to go on with.
        rows: rows in the ledger.
        complete: the input is read to its end, so ``rows`` is final.
        settled: rows with an outcome, by state, over all sessions.
        settled_here: pairs that this session settled.
        sent: requests of this session.
        note: something to tell the user at once.
        ended: these are the last counts of the session.
    """

    begun: bool = False
    rows: int = 0
    complete: bool = False
    settled: Counter[Status] = field(default_factory=Counter)
    settled_here: int = 0
    sent: int = 0
    failed_attempts: int = 0
    throttled: int = 0
    seconds: float = 0.0
    paused_seconds: float = 0.0
    note: str = ""
    ended: bool = False

    @property
    def done(self) -> int:
        """Rows with an outcome."""
        return self.settled.total()

    def admitted(self, chunk: Admitted) -> None:
        """Count rows read."""
        self.rows += chunk.pairs + chunk.duplicates + chunk.invalid
        self.settled[Status.DUPLICATE] += chunk.duplicates
        self.settled[Status.INVALID] += chunk.invalid

    def observe(self, request: Request) -> None:
        """Count a request."""
        self.sent += 1
        self.failed_attempts += request.result is not Result.OK
        self.throttled += request.result is Result.THROTTLED

    def recorded(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.settled[outcome.status] += 1
        self.settled_here += 1

    @property
    def failed_pairs(self) -> int:
        """Pairs that the portal did not confirm; rows that never were pairs are not among them."""
        return sum(self.settled[s] for s in (Status.REJECTED, Status.RETRYABLE, Status.UNKNOWN))

    @property
    def settled_pairs(self) -> int:
        """Pairs with an outcome."""
        return self.failed_pairs + self.settled[Status.LINKED] + self.settled[Status.ALREADY_LINKED]

    def by_state(self) -> dict[str, int]:
        """Settled rows by the state's name."""
        return {str(status): count for status, count in self.settled.items()}
