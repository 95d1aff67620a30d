"""The ledger of a plan: what it says of rows, and what a run begins with that does it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from worker.errors import LedgerError
from worker.ledger import (
    LedgerReader,
    PlanLedger,
    Planned,
    Scope,
    audit,
    contacts_to_link,
    copy_plan,
    first_lines_of,
    pairs_waiting,
    plan_counts,
    plan_digest,
    planned,
    question_seconds,
    scope_of,
)
from worker.models import Kind, Outcome, Pair, Request, Result, Row, Status
from worker.reasons import CONTACT_MISSING

PAIRS = [(2, 7), (1, 8), (1, 7), (2, 9), (2, 7), None, (3, 9), (4, 7)]
"""In the order of their rows, from 1 on; None is no pair."""

LOOK = Request(Kind.LOOK, Result.OK, items=1, seconds=0.25)
LOST = Request(Kind.LOOK, Result.AMBIGUOUS, items=1, seconds=30.0)
PROBE = Request(Kind.PROBE, Result.PERMANENT, seconds=9.0)


def pair(row: int) -> Pair:
    ids = PAIRS[row - 1]
    assert ids is not None
    return Pair(row, row * 10, *ids)


def judged() -> Iterator[tuple[Row, int | str]]:
    for number, ids in enumerate(PAIRS, 1):
        cells = ("x", "y") if ids is None else (str(ids[0]), str(ids[1]))
        key = "no pair" if ids is None else ids[0] << 32 | ids[1]
        yield Row(number, number * 10, cells, *cells), key


@pytest.fixture
async def plan(path: Path) -> Path:
    """Rows 1 and 7 are there; rows 2, 3 and 8 are to be linked; contact 9 of row 4 is missing."""
    async with PlanLedger(path, create=True) as ledger:
        facts = {"run_id": "p", "portal": "https://portal.example", "input_path": "/in/pairs.csv"}
        await ledger.put_facts({**facts, "input_name": "pairs.csv", "settings": {}, "plans": True})
        await ledger.put_meta(columns=["a", "b"], ids={}, dialect={}, input_sha256="ab", input_complete=True)
        await ledger.begin_session()
        await ledger.admit(list(judged()))
        for request in (LOOK, LOST, PROBE):
            ledger.note(request)
        await ledger.settle(
            [Outcome(pair(row), Status.ALREADY_LINKED, (), http_status=200) for row in (1, 7)]
        )
        await ledger.absent([2, 3, 4, 8])
        await ledger.contacts_missing([9, 10])
    return path


def test_only_what_is_absent_and_can_be_linked_waits(plan: Path) -> None:
    with LedgerReader(plan) as reader:
        assert audit(reader) == []
        assert [(one.row, one.line, one.contact_id) for one in pairs_waiting(reader)] == [
            (3, 30, 7),
            (2, 20, 8),
            (8, 80, 7),
        ]
        assert list(contacts_to_link(reader)) == [7, 8]
        assert list(reader.query("SELECT row FROM rows WHERE sent_at IS NOT NULL OR attempts")) == []
        assert plan_counts(reader) == {
            (Status.ALREADY_LINKED, ""): 2,
            (Status.NOT_ATTEMPTED, ""): 3,
            (Status.REJECTED, CONTACT_MISSING): 1,
            (Status.DUPLICATE, ""): 1,
            (Status.INVALID, ""): 1,
        }


def test_what_is_planned_comes_by_opportunity_and_says_what_is_there(plan: Path) -> None:
    with LedgerReader(plan) as reader:
        assert list(planned(reader)) == [
            Planned(3, 30, 1, 7, there=False),
            Planned(2, 20, 1, 8, there=False),
            Planned(1, 10, 2, 7, there=True),
            Planned(7, 70, 3, 9, there=True),
            Planned(8, 80, 4, 7, there=False),
        ]
        assert first_lines_of(reader, [7, 9]) == {7: Planned(3, 30, 1, 7, there=False)}
    assert Planned(3, 30, 1, 7, there=True).pair == Pair(3, 30, 1, 7)


def test_the_scope_counts_looks_by_what_one_asks_for(plan: Path) -> None:
    with LedgerReader(plan) as reader:
        assert scope_of(reader, 100) == Scope(links=3, looks=2, all_links=5, all_looks=4, contacts=2)
        assert scope_of(reader, 1) == Scope(links=3, looks=3, all_links=5, all_looks=5, contacts=2)
        # Only what was answered, and only what it was about.
        assert question_seconds(reader) == 0.25


async def test_an_empty_plan_has_nothing_to_do(path: Path) -> None:
    async with PlanLedger(path, create=True) as ledger:
        await ledger.begin_session()
    with LedgerReader(path) as reader:
        assert scope_of(reader, 100) == Scope(links=0, looks=0, all_links=0, all_looks=0, contacts=0)
        assert (question_seconds(reader), plan_counts(reader)) == (0.0, {})


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rows SET status = 'rejected' WHERE row = 2",
        "UPDATE rows SET key = key + 1 WHERE row = 2",
        "UPDATE rows SET pre = NULL WHERE row = 2",
        'UPDATE rows SET cells = \'["1", "08"]\' WHERE row = 2',
        "UPDATE meta SET value = '\"https://other.example\"' WHERE name = 'portal'",
        "DELETE FROM rows WHERE row = 8",
    ],
)
def test_the_digest_tells_whether_anything_was_changed(plan: Path, change: str) -> None:
    with LedgerReader(plan) as reader:
        before = plan_digest(reader)
        assert plan_digest(reader) == before
    with closing(sqlite3.connect(plan)) as db:
        db.execute(change)
        db.commit()
    with LedgerReader(plan) as reader:
        assert plan_digest(reader) != before


def test_a_run_begins_with_what_is_planned_and_what_is_there_open(plan: Path, tmp_path: Path) -> None:
    before = plan.read_bytes()
    copy_plan(tmp_path / "run.db", plan)
    assert plan.read_bytes() == before
    with LedgerReader(tmp_path / "run.db") as reader:
        assert audit(reader) == []
        rows = [(one.row, one.line, str(one.status), one.reason) for one in reader.rows(tuple(Status))]
        assert rows == [
            (1, 10, "not_attempted", "run_ended"),
            (2, 20, "not_attempted", "run_ended"),
            (3, 30, "not_attempted", "run_ended"),
            (4, 40, "rejected", CONTACT_MISSING),
            (5, 50, "duplicate", "same pair as line 10"),
            (6, 60, "invalid", "no pair"),
            (7, 70, "not_attempted", "run_ended"),
            (8, 80, "not_attempted", "run_ended"),
        ]
        assert [pre for (pre,) in reader.query("SELECT pre FROM rows WHERE status IS NULL")] == [None] * 5
        facts = reader.meta()
    assert (facts["plan"], facts["input_sha256"], facts["columns"]) == ("p", "ab", ["a", "b"])
    assert "plans" not in facts
    assert facts["input_complete"] is True


def test_what_cannot_be_copied_is_a_line(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no such ledger"):
        copy_plan(tmp_path / "run.db", tmp_path / "none.db")
    with closing(sqlite3.connect(plan)) as db:
        db.execute("DROP TABLE pairs")
        db.commit()
    with pytest.raises(LedgerError, match=r"run\.db"):
        copy_plan(tmp_path / "run.db", plan)
