"""What the page shows of a ledger, and that it stays small whatever the run was."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.ledger import Ledger, LedgerReader, Sample, SessionRecord
from worker.ledger.intake import Delivery
from worker.models import Attempt, Kind, Outcome, Pair, Reject, Request, Result, Row, Status
from worker.report.build import build_report
from worker.report.figures import (
    CAUSES,
    CHANGES,
    EXAMPLES,
    Figures,
    changes_of,
    figures_of,
    stretches_of,
)
from worker.report.html import write_html
from worker.report.sessions import SESSIONS

Key = int | str

FACTS: dict[str, Any] = {
    "run_id": "one",
    "portal": "https://portal.example",
    "input_path": "/in/pairs.csv",
    "input_name": "pairs.csv",
    "settings": {},
}


def row(number: int, *cells: str) -> Row:
    return Row(number, number + 1, cells, cells[0], cells[1])


def failed(number: int, opportunity: int, contact: int, reason: str = "not_found") -> Outcome:
    attempt = Attempt(Result.PERMANENT, reason, 404, 0.1)
    return Outcome(Pair(number, number + 1, opportunity, contact), Status.REJECTED, (attempt,), reason, 404)


async def figures(
    path: Path,
    rows: Sequence[tuple[Row, Key]],
    outcomes: Sequence[Outcome] = (),
    requests: Sequence[Request] = (),
    sessions: int = 1,
) -> Figures:
    async with Ledger(path, create=True) as ledger:
        for _ in range(sessions):
            await ledger.begin_session()
        await ledger.put_meta(**FACTS)
        for request in requests:
            ledger.note(request)
        await ledger.admit(rows)
        await ledger.claim(len(rows) + 1)
        await ledger.settle(outcomes)
        await ledger.beat(100.0, 0.0)
        with LedgerReader(path) as reader:
            return figures_of(reader, build_report(reader))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_a_cause_has_its_first_rows_as_they_are_in_the_input(path: Path) -> None:
    rows: list[tuple[Row, Key]] = [(row(n, "9", str(n), "x" * 80), (9 << 32) | n) for n in range(1, 9)]
    rows.append((row(9, "oops", "1"), "opportunity_id is not a whole number"))
    found = await figures(path, rows, [failed(n, 9, n) for n in range(1, 9)])

    shown = found.examples["not_found", 404]
    assert [(one.line, one.opportunity_id, one.contact_id) for one in shown] == [
        (n + 1, 9, n) for n in range(1, EXAMPLES + 1)
    ]
    assert shown[0].cells == ("9", "1", "x" * 59 + "…")
    (invalid,) = found.examples["opportunity_id is not a whole number", None]
    assert (invalid.line, invalid.opportunity_id, invalid.cells) == (10, None, ("oops", "1"))


async def test_causes_without_end_have_examples_only_at_first(path: Path) -> None:
    rows: list[tuple[Row, Key]] = [(row(n, "x", str(n)), f"reason {n}") for n in range(1, 100)]
    found = await figures(path, rows)

    assert len(found.examples) == CAUSES


async def test_ids_that_fail_more_than_once_are_told_the_worst_first(path: Path) -> None:
    pairs = [(7, 1), (7, 2), (7, 3), (8, 1), (8, 9), (6, 6)]
    rows: list[tuple[Row, Key]] = [
        (row(n, str(o), str(c)), (o << 32) | c) for n, (o, c) in enumerate(pairs, 1)
    ]
    found = await figures(path, rows, [failed(n, o, c) for n, (o, c) in enumerate(pairs, 1)])

    assert found.opportunities == ((7, 3), (8, 2))
    assert found.contacts == ((1, 2),)


async def test_answers_are_counted_by_the_time_that_they_took_in_steps_that_double(path: Path) -> None:
    times = (0.0001, 0.0005, 0.0015, 0.003, 0.005, 0.03)
    requests = [Request(Kind.LINK, Result.OK, seconds=seconds) for seconds in times]
    found = await figures(path, [(row(1, "1", "2"), (1 << 32) | 2)], requests=requests)

    assert found.latencies == ((1.0, 2), (2.0, 1), (4.0, 1), (8.0, 1), (16.0, 0), (32.0, 1))


async def test_of_many_sessions_the_last_are_shown(path: Path) -> None:
    found = await figures(path, [(row(1, "1", "2"), (1 << 32) | 2)], sessions=SESSIONS + 3)

    assert len(found.sessions) == SESSIONS
    assert found.sessions[-1].number == SESSIONS + 3
    assert found.more_sessions == 3


async def test_a_run_of_nothing_has_no_figures(path: Path) -> None:
    found = await figures(path, [])

    assert (found.stretches, found.latencies, found.opportunities, found.examples) == ((), (), (), {})


def session(number: int, seconds: float) -> SessionRecord:
    return SessionRecord(number, 0.0, seconds, 0.0, "", {}, 0, "")


def sample(seconds: float, links: int, paused: float = 0.0) -> Sample:
    return Sample(seconds, links, links // 10, 0, paused, 2)


def test_pace_is_what_was_done_between_two_samples() -> None:
    one, two = stretches_of([session(1, 20.0)], [(1, sample(10, 100)), (1, sample(20, 300, 5.0))])

    assert (one.begin, one.end, one.links, one.requests, one.paused) == (0.0, 10.0, 10.0, 1.0, 0.0)
    assert (two.begin, two.end, two.links, two.requests, two.paused) == (10.0, 20.0, 20.0, 2.0, 0.5)


def test_a_second_session_goes_on_where_the_first_one_was_and_begins_anew() -> None:
    one, two = stretches_of([session(1, 10.0), session(2, 10.0)], [(1, sample(10, 100)), (2, sample(10, 50))])

    assert (two.begin, two.end, two.links) == (10.0, 20.0, 5.0)
    assert (one.begins_session, two.begins_session) == (False, True)


def test_however_long_a_run_was_its_pace_has_so_many_stretches_at_most() -> None:
    samples = [(1, sample(5.0 * n, 100 * n)) for n in range(1, 5_001)]
    found = stretches_of([session(1, 25_000.0)], samples, most=100)

    assert 90 <= len(found) <= 100
    assert {round(one.links, 6) for one in found} == {20.0}


async def test_examples_are_those_of_the_causes_that_are_shown_the_most_frequent_ones(path: Path) -> None:
    rows: list[tuple[Row, Key]] = [(row(n, "x", str(n)), f"reason {n}") for n in range(1, 100)]
    rows += [(row(n, "y", str(n)), "often") for n in range(100, 110)]
    found = await figures(path, rows)

    assert [one.line for one in found.examples["often", None]] == [101, 102, 103, 104, 105]


async def test_a_row_with_many_cells_is_shown_as_far_as_it_is_read_at_a_glance(path: Path) -> None:
    rows: list[tuple[Row, Key]] = [
        (row(1, *["x" * 50] * 40), "many"),
        (row(2, "1", "", "y", "", ""), "empty ones at the end"),
        (row(3, "", ""), "nothing"),
    ]
    found = await figures(path, rows)

    assert {cause: one.cells for (cause, _), (one,) in found.examples.items()} == {
        "many": ("x" * 50, "x" * 50),
        "empty ones at the end": ("1", "", "y"),
        "nothing": (),
    }


async def test_rows_of_a_queue_are_known_by_their_messages(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.put_meta(**FACTS, input_kind="queue")
        rows = [row(n, "x", "1") for n in (1, 2)]
        deliveries = [
            Delivery(f"message-{one.number}", one, Reject(one.number, one.line, "odd")) for one in rows
        ]
        await ledger.take_in(deliveries, look_first=False)
        with LedgerReader(path) as reader:
            found = figures_of(reader, build_report(reader))

    assert [(one.line, one.message) for one in found.examples["odd", None]] == [
        (1, "message-1"),
        (2, "message-2"),
    ]


def changed(at: str, was: float, now: float) -> dict[str, str | float]:
    return {"at": at, "knob": "rate", "from": was, "to": now, "reason": "throttled"}


def test_limits_were_changed_after_so_much_time_at_work() -> None:
    one, two, three = changes_of(
        [replace(session(1, 100.0), started_at=1000.0), replace(session(2, 50.0), started_at=2000.0)],
        [
            changed("1970-01-01T00:15:00+00:00", 1, 2),  # before there was a session
            changed("1970-01-01T00:17:00.500+00:00", 50, 35),
            changed("1970-01-01T00:17:10+00:00", 35, 35),  # only something was learned
            changed("1970-01-01T00:25:00+00:00", 35, 40),
            changed("1970-01-01T00:33:40+00:00", 40, 44),
        ],
    )

    assert (one.at, one.knob, one.was, one.now, one.reason) == (20.5, "rate", 50.0, 35.0, "throttled")
    assert two.at == 100.0  # it ended before that was noted
    assert three.at == 120.0


def test_of_many_changes_the_last_ones_are_marked() -> None:
    many = [changed("1970-01-01T00:17:00+00:00", n, n + 1) for n in range(1000)]
    found = changes_of([replace(session(1, 100.0), started_at=1000.0)], many)

    assert (len(found), found[-1].now) == (CHANGES, 1000.0)


HOSTILE = "<b>\"'&" * 50


async def size_of(path: Path, count: int, reasons: int, cell: str) -> int:
    """Bytes of the page of a run of which every row failed."""
    rows: list[tuple[Row, Key]] = [
        (Row(n, n + 1, (cell, cell, cell), cell, cell), f"{n % reasons} {cell}"[:300])
        for n in range(1, count + 1)
    ]
    async with Ledger(path, create=True) as ledger:
        for _ in range(SESSIONS * 2):
            await ledger.begin_session()
            await ledger.add_sample(Sample(1.0, 1, 1, 0, 0.5, 2))
            await ledger.end_session(1, cell)
        await ledger.put_meta(**FACTS, retries=[f"20261126T184101Z-{n:06x}" for n in range(1000)])
        for start in range(0, count, 1000):
            await ledger.admit(rows[start : start + 1000])
        with LedgerReader(path) as reader:
            made = build_report(reader)
            write_html(made, figures_of(reader, made), reader.facts(), path.parent / "report.html")
    return (path.parent / "report.html").stat().st_size


async def test_the_page_of_a_thousand_failed_rows_is_small(path: Path) -> None:
    assert await size_of(path, 1000, 10, "some cell of a row") <= 60_000


async def test_the_page_is_bounded_whatever_the_rows_are_and_however_many(path: Path) -> None:
    assert await size_of(path, 5_000, 500, HOSTILE) <= 150_000
