"""What the page shows of a ledger, and that it stays small whatever the run was."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from worker.ledger import Ledger, LedgerReader, Sample, SessionRecord
from worker.models import Attempt, Kind, Outcome, Pair, Request, Result, Row, Status
from worker.report.figures import CAUSES, EXAMPLES, SESSIONS, Figures, figures_of, stretches_of

Key = int | str


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
        for request in requests:
            ledger.note(request)
        await ledger.admit(rows)
        await ledger.claim(len(rows) + 1)
        await ledger.settle(outcomes)
        await ledger.beat(100.0, 0.0)
        with LedgerReader(path) as reader:
            return figures_of(reader)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_a_cause_has_its_first_rows_as_they_are_in_the_input(path: Path) -> None:
    rows: list[tuple[Row, Key]] = [(row(n, "9", str(n), "x" * 80), (9 << 32) | n) for n in range(1, 9)]
    rows.append((row(9, "oops", "1"), "opportunity_id is not a whole number"))
    found = await figures(path, rows, [failed(n, 9, n) for n in range(1, 9)])

    assert found.examples is not None
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

    assert found.examples is not None
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
