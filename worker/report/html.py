"""report.html: the report as one offline page, which reads also where neither style nor script may run."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from worker.ledger import SessionRecord
from worker.models import Status
from worker.report.build import Report
from worker.report.chart import Lines, over_time, side_by_side, spoken
from worker.report.figures import CAUSES, Figures, LimitChange
from worker.report.sessions import of_interest
from worker.report.verdict import TO_MEND, TO_TRY, next_steps, verdict
from worker.sinks import replaced

_FINE, _SO_SO, _TO_MEND, _TO_TRY = "#1a8754", "#6b7f99", "#c0392b", "#b9770e"
_COLORS: Mapping[str, str] = {
    Status.LINKED: _FINE,
    Status.ALREADY_LINKED: _FINE,
    Status.DUPLICATE: _SO_SO,
    Status.INVALID: _TO_MEND,
    Status.REJECTED: _TO_MEND,
    Status.RETRYABLE: _TO_TRY,
    Status.UNKNOWN: _TO_TRY,
    Status.NOT_ATTEMPTED: _TO_TRY,
    # Of links that are looked for, removed, or made again.
    "there": _FINE,
    "not_linked": _SO_SO,
    "removed": _FINE,
    "restored": _FINE,
    "gone": _SO_SO,
    "missing": _TO_MEND,
    "there_again": _TO_MEND,
    "kept": _TO_MEND,
    "refused": _TO_MEND,
    "unread": _TO_TRY,
    "failed": _TO_TRY,
}
_LIMITS = {"rate": "requests a second", "concurrency": "requests in flight", "batch_size": "pairs in a batch"}


def write_html(report: Report, figures: Figures, facts: Mapping[str, Any], path: Path) -> None:
    """Write the page; whatever comes from the input or the portal is escaped.

    Args:
        report: what became of the run.
        figures: what the page shows beside it.
        facts: of the run, from its ledger.
        path: of the page.
    """
    style, script = (files("worker.report").joinpath(f"page.{kind}").read_text() for kind in ("css", "js"))
    zone = timezone(timedelta(minutes=facts.get("utc_offset", 0)))

    def local(moment: datetime) -> str:
        return f" ({_text(moment.astimezone(zone))} local)" if zone.utcoffset(None) else ""

    template = templates().get_template("page.html")
    page = template.render(
        report=report,
        figures=figures,
        verdict=verdict(report),
        steps=next_steps(report, facts.get("runs_dir", "runs")),
        states=states_of({state: report.counts[state] for state in Status}, report.counts["rows"]),
        causes=_causes(report, figures),
        more_causes=max(0, len(report.causes) - CAUSES),
        links=_over_time(figures, [one.links for one in figures.stretches]),
        requests=_over_time(figures, [one.requests for one in figures.stretches], figures.changes),
        answers=side_by_side(figures.latencies) if figures.latencies else None,
        # Ours, and nothing of anybody else in it.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        utc=_text,
        local=local,
        moment=lambda seconds: f"{_text(at := datetime.fromtimestamp(seconds, UTC))}{local(at)}",
        of_messages=report.input.kind == "queue" or facts.get("merged_queue", False),
        sums=" + ".join(f"{count:,}" for state in Status if (count := report.counts[state])),
        told=_told,
        spoken=spoken,
        limit_names=_LIMITS,
    )
    with replaced(path) as file:
        file.write(page)


@cache
def templates() -> Environment:
    """The page and its parts; compiled once, which takes longer than to write a page."""
    return Environment(loader=PackageLoader("worker", "report"), autoescape=True, undefined=StrictUndefined)


def _over_time(figures: Figures, of: Sequence[float], changes: Sequence[LimitChange] = ()) -> Lines | None:
    return over_time(figures.stretches, of, changes) if figures.stretches else None


def states_of(counts: Mapping[str, int], of: int) -> list[dict[str, Any]]:
    """Each state with its number, its share of all ``of`` in percent, and a colour."""
    return [
        {
            "name": str(state),
            "count": count,
            "share": count / of * 100 if of else 0,
            "color": _COLORS[state],
        }
        for state, count in counts.items()
    ]


def _causes(report: Report, figures: Figures) -> list[dict[str, Any]]:
    return [
        {
            **cause.model_dump(),
            "words": cause.words,
            "examples": figures.examples.get((cause.reason, cause.http_status), ()),
            "file": " and ".join(_in_files(figures.states.get((cause.reason, cause.http_status), ()))),
        }
        for cause in report.causes[:CAUSES]
    ]


def _in_files(states: Sequence[Status]) -> list[str]:
    """Where rows in these states are."""
    known = [("rejected.csv", TO_MEND), ("retry.csv", TO_TRY)]
    return [name for name, those in known if not states or set(those) & set(states)]


def _told(session: SessionRecord) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in of_interest(session).items())


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
