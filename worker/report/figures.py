"""What the page shows beyond report.json: pace over time, times of answers, who fails most, example rows.

All of it is bounded, whatever the size of the run.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from worker.json_text import load_texts
from worker.ledger import LedgerReader, Sample, SessionRecord, samples_of, sessions_of
from worker.models import Status
from worker.report.sessions import SESSIONS

if TYPE_CHECKING:
    from worker.report.build import Report

EXAMPLES = 5
"""Rows that are shown for a cause."""

CAUSES = 20
"""Causes that are shown; the others are in report.json."""

WORST = 5
STRETCHES = 120
CHANGES = 200
"""Changes of limits that are marked, the latest ones."""

_LONGEST_CELL = 60
_LONGEST_ROW = 100

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
    message: str = ""
    """What the message is known by that it came in, from a queue."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit that was changed.

    Attributes:
        at: seconds at work before it, over all sessions.
        knob: which limit.
        was: before; ``now``: after.
        reason: in a word.
    """

    at: float
    knob: str
    was: float
    now: float
    reason: str


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it.

    Attributes:
        stretches: in order; empty for a run too short to have any.
        latencies: times of answers: upper bound in milliseconds, and how many were below it and above the one
            before; in order.
        opportunities: those with most failed pairs, with their number.
        contacts: the same for contacts.
        examples: by reason and HTTP status.
        states: of all rows of a cause, by the same.
        sessions: the latest, in order.
        more_sessions: that many came before these.
        changes: of limits, the latest, in order.
    """

    stretches: tuple[Stretch, ...] = ()
    latencies: tuple[tuple[float, int], ...] = ()
    opportunities: tuple[tuple[int, int], ...] = ()
    contacts: tuple[tuple[int, int], ...] = ()
    examples: Mapping[tuple[str, int | None], tuple[Example, ...]] = field(default_factory=dict)
    states: Mapping[tuple[str, int | None], tuple[Status, ...]] = field(default_factory=dict)
    sessions: tuple[SessionRecord, ...] = ()
    more_sessions: int = 0
    changes: tuple[LimitChange, ...] = ()


def figures_of(reader: LedgerReader, report: "Report") -> Figures:
    """Read them from the ledger of a run, of which the report was made."""
    sessions = sessions_of(reader)
    return Figures(
        stretches=stretches_of(sessions, samples_of(reader)),
        latencies=_latencies(reader),
        opportunities=_worst(reader, "key >> 32"),
        contacts=_worst(reader, "key & 4294967295"),
        examples=_examples(reader, report),
        states=_states(reader),
        sessions=tuple(sessions[-SESSIONS:]),
        more_sessions=max(0, len(sessions) - SESSIONS),
        changes=changes_of(sessions, report.limits),
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


def changes_of(
    sessions: Sequence[SessionRecord], limits: Sequence[Mapping[str, str | float]]
) -> tuple[LimitChange, ...]:
    """When at work limits were changed; without those that only taught something.

    Args:
        sessions: all, in order.
        limits: as in report.json, in order.
    """
    found = []
    for one in limits[-CHANGES:]:
        moment = datetime.fromisoformat(str(one["at"])).timestamp()
        before = [session for session in sessions if session.started_at <= moment]
        if before and one["from"] != one["to"]:
            last = before[-1]
            at = sum(session.seconds for session in before[:-1])
            at += min(moment - last.started_at, last.seconds)
            values = float(one["from"]), float(one["to"])
            found.append(LimitChange(at, str(one["knob"]), *values, str(one["reason"])))
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


def _examples(reader: LedgerReader, report: "Report") -> dict[tuple[str, int | None], tuple[Example, ...]]:
    """Those rows of each cause whose lines the report names; of a queue with the names of their messages."""
    wanted = {(one.reason, one.http_status): one.example_lines[:EXAMPLES] for one in report.causes[:CAUSES]}
    lines = json.dumps([line for some in wanted.values() for line in some])
    rows = reader.query(
        "SELECT row, reason, http_status, line, opportunity_id, contact_id, cells FROM links"
        " WHERE line IN (SELECT value FROM json_each(?)) AND status NOT IN (?, ?, ?) ORDER BY row",
        (lines, *_FINE),
    )
    facts = reader.facts()
    is_queue = report.input.kind == "queue" or facts.get("merged_queue", False)
    named = _messages(reader, lines) if is_queue else {}
    found: dict[tuple[str, int | None], tuple[Example, ...]] = {}
    for row, reason, http_status, line, opportunity, contact, cells in rows:
        cause = reason, http_status
        so_far = found.get(cause, ())
        # Parts of a merged input have the same lines.
        if line in wanted.get(cause, ()) and len(so_far) < EXAMPLES:
            shown = _shown(load_texts(cells))
            found[cause] = (*so_far, Example(line, opportunity, contact, shown, named.get(row, "")))
    return found


def _states(reader: LedgerReader) -> dict[tuple[str, int | None], tuple[Status, ...]]:
    """States of the rows of each cause."""
    found: dict[tuple[str, int | None], tuple[Status, ...]] = {}
    for reason, http_status, status in reader.query(
        "SELECT DISTINCT reason, http_status, status FROM links WHERE status NOT IN (?, ?, ?)", _FINE
    ):
        found[reason, http_status] = (*found.get((reason, http_status), ()), Status(status))
    return found


def _messages(reader: LedgerReader, rows: str) -> dict[int, str]:
    """What the messages are known by that rows came in, whose numbers are a list in JSON."""
    named = reader.query(
        "SELECT row, identity FROM messages WHERE row IN (SELECT value FROM json_each(?))", (rows,)
    )
    return {row: _cut(identity, _LONGEST_CELL) for row, identity in named}


def _shown(cells: Sequence[str]) -> tuple[str, ...]:
    """As many cells as there is room for in a row that is read at a glance."""
    room, shown = _LONGEST_ROW, []
    last = max((place for place, cell in enumerate(cells) if cell), default=-1)
    for cell in cells[: last + 1]:
        if room <= 0:
            break
        shown.append(_cut(cell, min(_LONGEST_CELL, room)))
        room -= len(shown[-1])
    return tuple(shown)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
