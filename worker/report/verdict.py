"""What a run comes to, in a sentence, and what to type next. Pure."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.models import Status

if TYPE_CHECKING:
    from worker.report.build import Report

TO_MEND = (Status.INVALID, Status.REJECTED)
"""States of rows that need a person."""

TO_TRY = (Status.RETRYABLE, Status.UNKNOWN, Status.NOT_ATTEMPTED)
"""States of rows that another run may make links."""

_CUT_SHORT = {"interrupted", "aborted"}
_USUAL = "runs"


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next.

    Attributes:
        why: in a few words, before the command.
        command: to be typed as it stands.
    """

    why: str
    command: str


def verdict(report: "Report") -> str:
    """How many rows are links, and what the others need; and why a sync removed nothing."""
    why = "" if report.sync is None or report.status == "rolled_back" else report.sync.why_withheld
    return f"{_of_rows(report)}{f' Nothing was removed: {why}.' if why else ''}"


def _of_rows(report: "Report") -> str:
    counts, rows = report.counts, report.counts["rows"]
    linked = counts[Status.LINKED] + counts[Status.ALREADY_LINKED]
    duplicates = counts[Status.DUPLICATE]
    if report.rollback is not None and report.status == "rolled_back":
        return f"Rolled back: {report.rollback.words}."
    if not rows:
        return "There was no row in it."
    if linked + duplicates == rows and report.input.complete:
        whole = "The one row is linked" if rows == 1 else f"All {rows:,} rows are linked"
        return f"{whole}{f', {duplicates:,} of them duplicates' if duplicates else ''}."
    needs = [
        f"{count:,} {what}"
        for count, what in (
            (duplicates, "are duplicates" if duplicates > 1 else "is a duplicate"),
            (rows_in(report, TO_MEND), "need a fix"),
            (rows_in(report, TO_TRY), "another try"),
        )
        if count
    ]
    is_whole = report.input.complete or report.input.kind == "queue"
    more = "" if is_whole else " The input was not read to its end."
    return f"{linked:,} of {rows:,} rows are linked{'; ' if needs else ''}{', '.join(needs)}.{more}"


def next_steps(report: "Report", runs_dir: str) -> list[Step]:
    """What to type next, the most urgent first.

    Args:
        report: what became of the run.
        runs_dir: the folder of all runs, as it was told to the run.
    """
    run_id = report.run_id
    steps = []
    if report.status == "rolled_back":
        return []
    if report.status in _CUT_SHORT and report.input.kind not in {"queue", "merged"}:
        again = _about("resume", run_id, runs_dir)
        steps.append(Step("It ended before all was done. Go on where it stopped:", again))
    elif rows_in(report, TO_TRY):
        steps.append(Step("Try again what is worth another try:", _about("retry", run_id, runs_dir)))
    if rows_in(report, TO_MEND):
        run = shlex.join(["bulklink", "run", f"{runs_dir}/{run_id}/rejected.csv"])
        steps.append(Step("Correct the rows in rejected.csv, then:", run))
    if not steps and report.counts[Status.LINKED] and report.input.kind != "merged":
        steps.append(Step("Make sure that all links are there:", _about("verify", run_id, runs_dir)))
    return steps


def _about(verb: str, run_id: str, runs_dir: str) -> str:
    where = [] if runs_dir == _USUAL else ["--runs-dir", runs_dir]
    return shlex.join(["bulklink", verb, run_id, *where])


def rows_in(report: "Report", states: tuple[Status, ...]) -> int:
    """Rows that are in any of these states."""
    return sum(report.counts[state] for state in states)
