"""What rollback did: rollback.json, its place in report.json, and the words about it on the terminal."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from worker.errors import Exit
from worker.ledger import (
    LedgerReader,
    count_made,
    restored_at,
    restored_counts,
    undone_at,
    undone_counts,
    undone_reasons,
)
from worker.quantities import counted
from worker.reasons import HINTS_OF_ROLLBACK
from worker.removals import Restored, Undo

ROLLBACK_CSV = "rollback.csv"

_MADE_AGAIN = {
    Restored.RESTORED: "removed by this sync, and made again",
    Restored.THERE: "removed by this sync, and there again before",
    Restored.REFUSED: "removed by this sync, and the portal does not take them",
    Restored.FAILED: "removed by this sync, and could not be made again; roll back again",
}
_NOT_UNDONE = {Undo.KEPT, Undo.FAILED, Restored.REFUSED, Restored.FAILED}
_MEANING = {
    Undo.REMOVED: "made by this run, and removed",
    Undo.GONE: "not there any more",
    Undo.KEPT: "left as they are",
    Undo.FAILED: "could not be removed; roll back again",
}


class RolledBack(BaseModel):
    """What all rollbacks of a run have done, as its report tells it; from the ledger, also after a kill.

    Attributes:
        rolled_back_at: when the last one last did something.
        counts: links by what became of them.
        left: links that the run made, and that may still be there.
        reasons: why links were kept or not removed.
        restored: links that a sync removed, by what became of making them again; empty if there were none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rolled_back_at: datetime
    counts: dict[str, int]
    left: int
    reasons: dict[str, int]
    restored: dict[str, int] = {}

    @property
    def undone(self) -> int:
        """Links of the run that are there no more."""
        return self.counts[Undo.REMOVED] + self.counts[Undo.GONE]

    @property
    def words(self) -> str:
        """What became of the links, in a few words."""
        counts = [*self.counts.items(), *self.restored.items()]
        said = [f"{count:,} {state}" for state, count in counts if count]
        said.append(
            f"{counted(self.left, 'link')} of the run may still be there" if self.left else "none left"
        )
        return ", ".join(said)


def rolled_back(reader: LedgerReader) -> RolledBack | None:
    """What all rollbacks of a run have done; None if there was none."""
    times = [at for at in (undone_at(reader), restored_at(reader)) if at is not None]
    if not times:
        return None
    restored = restored_counts(reader)
    return RolledBack(
        rolled_back_at=datetime.fromtimestamp(max(times), UTC),
        counts={str(state): count for state, count in undone_counts(reader).items()},
        left=count_made(reader)[0],
        reasons=undone_reasons(reader),
        restored={str(state): count for state, count in restored.items()} if any(restored.values()) else {},
    )


class Rollback(BaseModel):
    """rollback.json; its keys are stable.

    Attributes:
        counts: links by what became of them, over all rollbacks of the run.
        left: links that the run made, and that may still be there.
        reasons: why links were kept or not removed.
        restored: links that a sync removed, by what became of making them again; empty if there were none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    run_id: str
    portal: str
    rolled_back_at: datetime
    seconds: float
    requests: int
    throttled: int
    counts: dict[str, int]
    left: int
    reasons: dict[str, int]
    restored: dict[str, int] = {}

    @property
    def exit_code(self) -> Exit:
        """What is worth another try comes first, as in a run."""
        if self.counts[Undo.FAILED] or self.restored.get(Restored.FAILED):
            return Exit.RETRYABLE
        is_kept = self.counts[Undo.KEPT] or self.restored.get(Restored.REFUSED)
        return Exit.DIFFERENCES if is_kept else Exit.OK

    def left_over(self, directory: str) -> str:
        """What is not undone, in one line; empty if all is."""
        if not self.exit_code:
            return ""
        said = [
            f"{count:,} {state}"
            for state, count in (*self.counts.items(), *self.restored.items())
            if count and state in _NOT_UNDONE
        ]
        return (
            f"run {self.run_id}: exit code {self.exit_code}: {', '.join(said)} ({directory}/{ROLLBACK_CSV})"
        )

    def to_json(self) -> str:
        """The rollback as indented JSON text."""
        return self.model_dump_json(indent=2) + "\n"

    def summary(self, directory: str) -> list[str]:
        """A few lines; states without links are left out."""
        if not self.requests and not self.left and not self.counts[Undo.KEPT]:
            removed = counted(self.counts[Undo.REMOVED] + self.counts[Undo.GONE], "link")
            before = f"; {removed} removed before" if any(self.counts.values()) else ""
            return [f"run {self.run_id}: nothing is left to remove{before}"]
        effort = f"{counted(self.requests, 'request')} in {self.seconds:,.1f} s"
        width = max(len(f"{count:,}") for count in (*self.counts.values(), *self.restored.values()))
        return [
            f"run {self.run_id}: rolled back, exit code {self.exit_code}; {effort}",
            *(
                f"  {self.counts[state]:>{width},} {state:<8} {meaning}"
                for state, meaning in _MEANING.items()
                if self.counts[state]
            ),
            *(
                f"  {self.restored[again]:>{width},} {again:<8} {meaning}"
                for again, meaning in _MADE_AGAIN.items()
                if self.restored.get(again)
            ),
            *(f"  {count:,} x {reason}{_hint(reason)}" for reason, count in self.reasons.items()),
            f"  the rows: {directory}/{ROLLBACK_CSV}",
        ]


def _hint(reason: str) -> str:
    return f": {HINTS_OF_ROLLBACK[reason]}" if reason in HINTS_OF_ROLLBACK else ""
