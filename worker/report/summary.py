"""The last words on the terminal: what became of the rows, why, and what to do next."""

from typing import TYPE_CHECKING

from worker.models import Status
from worker.quantities import counted, noun
from worker.report.verdict import TO_MEND, TO_TRY, removals_failed, rows_in

if TYPE_CHECKING:
    from worker.report.build import Report

_MEANING = {
    Status.LINKED: "now linked, confirmed by the portal",
    Status.ALREADY_LINKED: "were linked before",
    Status.DUPLICATE: "same pair as an earlier line",
    Status.INVALID: "never a pair; see rejected.csv",
    Status.REJECTED: "the portal said no; see rejected.csv",
    Status.RETRYABLE: "worth another try; see retry.csv",
    Status.UNKNOWN: "sent, no proof either way; see retry.csv",
    Status.NOT_ATTEMPTED: "the run ended first; see retry.csv",
}
_CAUSES_SHOWN = 6
_CUT_SHORT = {"interrupted", "aborted"}


def summary(report: "Report", directory: str, go_on: str) -> list[str]:
    """A few lines; states without rows are left out.

    Args:
        report: what became of the run.
        directory: of the run.
        go_on: the command that does what it left undone.
    """
    lines = [f"run {report.run_id}: {report.status.replace('_', ' ')}, exit code {report.exit_code}"]
    if report.message:
        lines.append(f"  {report.message}")
    if report.parent:
        lines.append(
            f"  a retry of run {report.parent}; both: bulklink report {report.parent} {report.run_id}"
        )
    if report.plan:
        lines.append(f"  did what plan {report.plan} says")
    if report.rollback:
        lines.append(f"  its rollback: {report.rollback.words}; the rows: {directory}/rollback.csv")
    if report.verify:
        lines.append(f"  verified {report.verify.verified_at:%Y-%m-%d %H:%M:%S} UTC: {report.verify.words}")
    width = len(f"{report.counts['rows']:,}")
    lines += [
        f"  {report.counts[status]:>{width},} {status:<14} {meaning}"
        for status, meaning in _MEANING.items()
        if report.counts[status]
    ]
    rows = report.counts["rows"]
    lines.append(f"  {rows:>{width},} {noun(rows, 'row')} in {report.input.name}{_pace(report)}")
    if report.requests.transport == "single" and report.requests.transport_reason:
        lines.append(f"  each pair in a request of its own: {report.requests.transport_reason}")
    lines += _of_sync(report, directory)
    if not rows and report.input.kind == "file":
        lines.append("  nothing was in it: if that cannot be right, --min-rows 1 makes it exit code 2")
    for cause in report.causes[:_CAUSES_SHOWN]:
        http = f" (HTTP {cause.http_status})" if cause.http_status else ""
        examples = ", ".join(map(str, cause.example_lines[:3]))
        dots = ", ..." if cause.count > len(cause.example_lines[:3]) else ""
        lines.append(f"  {cause.count:,} x {cause.reason}{http}, line {examples}{dots}: {cause.hint}")
        lines += [f"    {cause.words}"] if cause.words else []
    if len(report.causes) > _CAUSES_SHOWN:
        more = len(report.causes) - _CAUSES_SHOWN
        lines.append(f"  and {more} more {noun(more, 'cause')} in report.json")
    lines.append(f"  report: {directory}/report.html")
    lines += [f"  {line}" for line in _what_next(report, go_on)]
    return lines


def ending(report: "Report", go_on: str) -> str:
    """Why a run ended before all was done, and how to go on; empty if nothing but its rows ended it."""
    if report.status not in _CUT_SHORT:
        return ""
    start = f"run {report.run_id}: {report.status}, exit code {report.exit_code}"
    return "; ".join([f"{start}: {report.message}", *_what_next(report, go_on)])


def left(report: "Report", directory: str) -> str:
    """What is left to do after a run whose rows did not all become links, in one line; empty if nothing is.

    Args:
        report: what became of the run.
        directory: of the run.
    """
    to_mend, to_retry = rows_in(report, TO_MEND), rows_in(report, TO_TRY)
    parts = [
        f"{counted(to_mend, 'row')} to mend ({directory}/rejected.csv)" if to_mend else "",
        f"{counted(to_retry, 'row')} for 'bulklink retry {report.run_id}'" if to_retry else "",
    ]
    if report.sync is not None and report.sync.why_withheld:
        parts.append(f"nothing was removed: {report.sync.why_withheld}")
    elif report.sync is not None and (report.sync.differs or report.sync.failed):
        again = f", for 'bulklink resume {report.run_id}'" if removals_failed(report) else ""
        parts.append(f"of what was to be removed: {report.sync.words} ({directory}/removed.csv){again}")
    if not any(parts):
        return ""
    return f"run {report.run_id}: exit code {report.exit_code}: {', '.join(filter(None, parts))}"


def _of_sync(report: "Report", directory: str) -> list[str]:
    return [] if report.sync is None else [f"  {line}" for line in report.sync.lines(directory)]


def _what_next(report: "Report", go_on: str) -> list[str]:
    if report.status not in _CUT_SHORT:
        return [f"to try again what could not be removed: {go_on}"] if removals_failed(report) else []
    if not _resumable(report):
        return []
    return [f"nothing is lost; go on with: {go_on}"]


def _resumable(report: "Report") -> bool:
    """Whether resume has anything to do; of a standard input that is gone it can read no more."""
    left = report.counts[Status.NOT_ATTEMPTED] + report.counts[Status.UNKNOWN]
    left += report.sync is not None and (report.sync.pending or removals_failed(report))
    return bool(left) or (not report.input.complete and report.input.name != "-")


def _pace(report: "Report") -> str:
    sent = report.requests
    if not sent.attempts:
        return ""
    timing, how = report.timing, " by batch" if sent.transport == "batch" else ""
    return (
        f"; {counted(sent.attempts, 'request')}{how} in {timing.seconds:,.1f} s"
        f" ({timing.pairs_per_second:,.1f} pairs/s, {timing.requests_per_second:,.1f} requests/s),"
        f" {counted(sent.retries, 'retry')}, {sent.throttled:,} throttled"
    )
