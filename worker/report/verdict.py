"""What a run comes to, in a sentence, and what to type next. Pure."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.models import Status
from worker.removals import Restored, Undo

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
    """How many rows are links, and what the others need; why a sync removed nothing; what verify missed."""
    why = "" if report.sync is None or report.status == "rolled_back" else report.sync.why_withheld
    said = f"{_of_rows(report)}{f' Nothing was removed: {why}.' if why else ''}"
    if report.verify is None or not _is_newest(report):
        return said
    back = report.verify.back + report.verify.pruned_back
    found = [
        f"{count:,} {'link is' if count == 1 else 'links are'} {what}"
        for count, what in ((report.verify.missing, "missing"), (back, "there again"))
        if count
    ]
    return f"{said} By the last look {' and '.join(found)}." if found else said


def _is_newest(report: "Report") -> bool:
    """Whether what verify found is newer than what the last rollback did."""
    if report.verify is None:
        return False
    return report.rollback is None or report.verify.verified_at >= report.rollback.rolled_back_at


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
        return f"{whole}{_of_them(duplicates)}."
    to_mend, to_try = rows_in(report, TO_MEND), rows_in(report, TO_TRY)
    needs = [
        f"{count:,} {what}"
        for count, what in (
            (duplicates, "are duplicates" if duplicates > 1 else "is a duplicate"),
            (to_mend, "need a fix" if to_mend > 1 else "needs a fix"),
            (to_try, "another try" if to_mend else "need another try" if to_try > 1 else "needs another try"),
        )
        if count
    ]
    is_whole = report.input.complete or report.input.kind == "queue"
    more = "" if is_whole else " The input was not read to its end."
    return f"{linked:,} of {rows:,} rows are linked{'; ' if needs else ''}{', '.join(needs)}.{more}"


def _of_them(duplicates: int) -> str:
    if not duplicates:
        return ""
    return f", {duplicates:,} of them {'duplicates' if duplicates > 1 else 'a duplicate'}"


def next_steps(report: "Report", runs_dir: str) -> list[Step]:
    """What to type next, the most urgent first.

    Args:
        report: what became of the run.
        runs_dir: the folder of all runs, as it was told to the run.
    """
    run_id = report.run_id
    steps = []
    if report.status == "rolled_back":
        return _after_rollback(report, runs_dir)
    if report.status in _CUT_SHORT and report.input.kind not in {"queue", "merged"}:
        again = _about("resume", run_id, runs_dir)
        steps.append(Step("It ended before all was done. Go on where it stopped:", again))
    elif removals_failed(report):
        steps.append(Step("Try again what could not be removed:", _about("resume", run_id, runs_dir)))
    elif rows_in(report, TO_TRY):
        steps.append(Step("Try again what is worth another try:", _about("retry", run_id, runs_dir)))
    if rows_in(report, TO_MEND):
        run = shlex.join(["bulklink", "run", f"{runs_dir}/{run_id}/rejected.csv"])
        steps.append(Step("Correct the rows in rejected.csv, then:", run))
    if report.verify is not None and report.verify.missing and _is_newest(report):
        run = shlex.join(["bulklink", "run", f"{runs_dir}/{run_id}/verify.csv"])
        steps.append(Step("Make the links again that the last look did not find:", run))
    elif not steps and report.counts[Status.LINKED] and report.verify is None:
        steps.append(Step("Make sure that all links are there:", _about("verify", run_id, runs_dir)))
    return steps


def _after_rollback(report: "Report", runs_dir: str) -> list[Step]:
    """What there may be to do about a run that was undone."""
    if report.rollback is None:
        return []
    failed = report.rollback.counts[Undo.FAILED] or report.rollback.restored.get(Restored.FAILED)
    if failed or report.rollback.left > report.rollback.counts[Undo.KEPT]:
        again = _about("rollback", report.run_id, runs_dir)
        return [Step("Try again what could not be undone:", again)]
    run = shlex.join(["bulklink", "run", f"{runs_dir}/{report.run_id}/rollback.csv"])
    steps = [Step("To make its links again:", run)]
    if not _is_newest(report):
        verify = _about("verify", report.run_id, runs_dir)
        steps.insert(0, Step("Make sure that they are gone:", verify))
    return steps


def _about(verb: str, run_id: str, runs_dir: str) -> str:
    where = [] if runs_dir == _USUAL else ["--runs-dir", runs_dir]
    return shlex.join(["bulklink", verb, run_id, *where])


def removals_failed(report: "Report") -> bool:
    """Whether a sync has removals that are worth another try, by resume."""
    return bool(
        report.sync is not None
        and report.sync.failed
        and report.status != "rolled_back"
        and report.input.kind != "merged"
    )


def rows_in(report: "Report", states: tuple[Status, ...]) -> int:
    """Rows that are in any of these states."""
    return sum(report.counts[state] for state in states)
