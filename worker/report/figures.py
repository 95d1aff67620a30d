"""What the page shows beyond report.json: pace over time, times of answers, who fails most, example rows.

All of it is bounded, whatever the size of the run.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from worker.json_text import load_texts
from worker.ledger import LedgerReader, Sample, SessionRecord, samples_of, sessions_of
from worker.models import Status

EXAMPLES = 5
"""Rows that are shown for a cause."""

CAUSES = 30
"""Causes that have example rows; the others are in report.json."""

WORST = 5
STRETCHES = 120
SESSIONS = 50
_LONGEST_CELL = 60
_MOST_CELLS = 6

_FAILED = (Status.REJECTED, Status.RETRYABLE, Status.UNKNOWN)
_FINE = (Status.LINKED, Status.ALREADY_LINKED, Status.DUPLICATE)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the time at work.

    Attributes:
        begin: seconds at work before it, over all sessions.
        end: the same after it.
        links: pairs that had their last word in it, a second.
        requests: requests in it, a second.
        paused: share of it for which the portal held everyone back.
        permits: requests that might be in flight at its end.
        begins_session: the run was stopped, or killed, before it.
    """

    begin: float
    end: float
    links: float
    requests: float
    paused: float
    permits: int
    begins_session: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A row that failed, as it is in the input, each cell cut to what is readable."""

    line: int
    opportunity_id: int | None
    contact_id: int | None
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it.

    Attributes:
        stretches: in order; empty for a run too short to have any, or merged of several.
        latencies: times of answers: upper bound in milliseconds, and how many were below it and above the one
            before; in order.
        opportunities: those with most failed pairs, with their number.
        contacts: the same for contacts.
        examples: by reason and HTTP status.
        sessions: the latest, in order.
        more_sessions: that many came before these.
    """

    stretches: tuple[Stretch, ...] = ()
    latencies: tuple[tuple[float, int], ...] = ()
    opportunities: tuple[tuple[int, int], ...] = ()
    contacts: tuple[tuple[int, int], ...] = ()
    examples: dict[tuple[str, int | None], tuple[Example, ...]] | None = None
    sessions: tuple[SessionRecord, ...] = ()
    more_sessions: int = 0


def figures_of(reader: LedgerReader) -> Figures:
    """Read them from the ledger of a run."""
    sessions = sessions_of(reader)
    return Figures(
        stretches=stretches_of(sessions, samples_of(reader)),
        latencies=_latencies(reader),
        opportunities=_worst(reader, "key >> 32"),
        contacts=_worst(reader, "key & 4294967295"),
        examples=_examples(reader),
        sessions=tuple(sessions[-SESSIONS:]),
        more_sessions=max(0, len(sessions) - SESSIONS),
    )


def stretches_of(
    sessions: Sequence[SessionRecord], samples: Sequence[tuple[int, Sample]], most: int = STRETCHES
) -> tuple[Stretch, ...]:
    """Pace over the time at work; gaps between sessions take none. At most ``most`` of about one length.

    Args:
        sessions: all, in order.
        samples: with the number of their session, in order.
        most: stretches that there is room for.
    """
    began: dict[int, float] = {}
    total = 0.0
    for session in sessions:
        began[session.number] = total
        total += session.seconds
    shortest = total / most if most else 0.0
    found: list[Stretch] = []
    last: tuple[int, Sample] | None = None
    for number, sample in samples:
        if last is None or last[0] != number:
            last = (number, Sample(0.0, 0, 0, 0, 0.0, sample.permits))
            fresh = True
        before = last[1]
        seconds = sample.seconds - before.seconds
        if seconds < max(shortest, 1e-3):
            continue
        found.append(
            Stretch(
                began.get(number, 0.0) + before.seconds,
                began.get(number, 0.0) + sample.seconds,
                max(0, sample.links - before.links) / seconds,
                max(0, sample.requests - before.requests) / seconds,
                min(1.0, max(0.0, sample.paused_seconds - before.paused_seconds) / seconds),
                sample.permits,
                fresh and bool(found),
            )
        )
        last, fresh = (number, sample), False
    return tuple(found)


def _latencies(reader: LedgerReader) -> tuple[tuple[float, int], ...]:
    """Times of answers, in steps that double."""
    counts: Counter[int] = Counter()
    for milliseconds, count in reader.query(
        "SELECT CAST(seconds * 1000 AS INTEGER), count(*) FROM latencies GROUP BY 1"
    ):
        counts[max(0, int(milliseconds)).bit_length()] += count
    if not counts:
        return ()
    return tuple((float(2**step), counts[step]) for step in range(min(counts), max(counts) + 1))


def _worst(reader: LedgerReader, what: str) -> tuple[tuple[int, int], ...]:
    found = reader.query(
        f"SELECT {what}, count(*) FROM rows WHERE status IN (?, ?, ?)"  # noqa: S608 - one of two expressions of ours
        " GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT ?",
        (*_FAILED, WORST),
    )
    return tuple((number, count) for number, count in found)


def _examples(reader: LedgerReader) -> dict[tuple[str, int | None], tuple[Example, ...]]:
    found: dict[tuple[str, int | None], tuple[Example, ...]] = {}
    rows = reader.query(
        "SELECT reason, http_status, line, opportunity_id, contact_id, cells FROM ("
        " SELECT *, row_number() OVER (PARTITION BY reason, http_status ORDER BY row) AS nth"
        " FROM links WHERE status NOT IN (?, ?, ?)) WHERE nth <= ? ORDER BY row",
        (*_FINE, EXAMPLES),
    )
    for reason, http_status, line, opportunity, contact, cells in rows:
        if (reason, http_status) not in found and len(found) >= CAUSES:
            continue
        shown = tuple(_cut(cell) for cell in load_texts(cells)[:_MOST_CELLS])
        found[reason, http_status] = (
            *found.get((reason, http_status), ()),
            Example(line, opportunity, contact, shown),
        )
    return found


def _cut(cell: str) -> str:
    return cell if len(cell) <= _LONGEST_CELL else f"{cell[: _LONGEST_CELL - 1]}…"
