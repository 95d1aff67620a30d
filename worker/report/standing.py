"""How a run stands that is still at work, in words for the terminal."""

from worker.errors import one_line
from worker.models import Status
from worker.quantities import counted, format_duration
from worker.report.build import Report

_MEANING = {
    Status.LINKED: "now linked, confirmed by the portal",
    Status.ALREADY_LINKED: "were linked before",
    Status.DUPLICATE: "same pair as an earlier line",
    Status.INVALID: "never a pair",
    Status.REJECTED: "the portal said no",
    Status.RETRYABLE: "worth another try, by retry",
    Status.UNKNOWN: "on their way, or no proof either way",
    Status.NOT_ATTEMPTED: "to go",
}


def standing(report: Report) -> list[str]:
    """A few lines; states without rows are left out.

    Args:
        report: made of the ledger as it stands.
    """
    width = len(f"{report.counts['rows']:,}")
    rows = counted(report.counts["rows"], "row")
    sent, pace = report.requests, report.timing.pairs_per_second
    is_all = report.input.complete and report.input.kind != "queue"  # of which more may come at any time
    user = report.sessions[-1].user if report.sessions else None
    who = f", as {one_line(user.name)}" if user is not None else ""
    lines = [
        f"run {report.run_id}: running; {report.input.name} -> {report.portal}{who}",
        *(
            f"  {report.counts[status]:>{width},} {meaning}"
            for status, meaning in _MEANING.items()
            if report.counts[status]
        ),
        (
            f"  {rows}{'' if is_all else ' so far'}; {counted(sent.attempts, 'request')}"
            f" in {report.timing.seconds:,.1f} s ({pace:,.1f} pairs/s), {counted(sent.retries, 'retry')},"
            f" {sent.throttled:,} throttled"
        ),
    ]
    left = report.counts[Status.NOT_ATTEMPTED]
    if is_all and pace and left:
        lines.append(f"  {format_duration(float(round(left / pace)))} to go at this pace")
    return lines
