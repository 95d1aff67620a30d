"""What a sync removed, in report.json and in words."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.judged import judged
from worker.errors import Exit
from worker.ledger import LedgerReader, PruneLedger
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Outcome, Pair, Result, Status
from worker.removals import Extra, Undo, Undoing
from worker.report.build import Report, build_report
from worker.report.summary import left, summary
from worker.report.sync import SyncPart
from worker.report.verdict import verdict

FACTS: dict[str, Any] = {
    "run_id": "monday",
    "portal": "https://portal.example",
    "input_path": "/in/pairs.csv",
    "input_name": "pairs.csv",
    "settings": {},
    "input_complete": True,
    "end_code": 0,
}
OWN = {"sync": {"prune": "own", "allow_removals": None}}
ENDED = {**OWN, "sync_ended": True}
REMOVALS = [Extra(1, contact) for contact in range(1, 4)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture(autouse=True)
def store(path: Path) -> Iterator[Store]:
    with closing(connect(path, mode="rwc")) as db:
        store = Store(db)
        store.put_meta(FACTS)
        store.begin_session()
        pair = Pair(1, 2, 1, 9)
        store.admit([judged(pair)])
        store.looked([1])
        store.settle([Outcome(pair, Status.LINKED, (Attempt(Result.OK, body=b"{}"),), "", 201)])
        yield store


def decide(path: Path, *undoings: Undoing, withheld: str = "", **decided: Any) -> None:
    async def work() -> None:
        async with PruneLedger(path, create=False) as ledger:
            facts = {"links": 40, "withheld": withheld, **decided}
            await ledger.decide(REMOVALS, withheld, {"sync_decided": facts, "sync_requests": 7})
            await ledger.conclude(undoings)

    asyncio.run(work())


def report_of(path: Path) -> Report:
    with LedgerReader(path) as reader:
        return build_report(reader)


def sync_of(path: Path) -> SyncPart:
    found = report_of(path).sync
    assert found is not None
    return found


def test_a_run_that_is_no_sync_has_no_such_part(path: Path) -> None:
    report = report_of(path)
    assert (report.sync, report.exit_code, "removed.csv" in report.files) == (None, Exit.OK, False)


def test_a_sync_that_only_adds_has_nothing_to_say(path: Path, store: Store) -> None:
    store.put_meta({"sync": {"prune": None, "allow_removals": None}})
    report = report_of(path)
    assert report.sync is not None
    assert (report.sync.lines("runs/monday"), report.sync.pending, report.status) == ([], False, "completed")
    assert "removed.csv" not in report.files


def test_a_sync_that_has_not_decided_yet_is_not_over(path: Path, store: Store) -> None:
    store.put_meta(OWN)
    report = report_of(path)
    assert (report.status, report.exit_code) == ("interrupted", Exit.RETRYABLE)
    assert sync_of(path).lines() == ["--prune own: not decided yet"]
    assert any(
        "go on with: bulklink resume" in line for line in summary(report, "d", "bulklink resume monday")
    )


def test_what_became_of_each_removal_is_counted(path: Path, store: Store) -> None:
    store.put_meta(ENDED)
    decide(path, Undoing(1, Undo.REMOVED), Undoing(2, Undo.GONE), Undoing(3, Undo.KEPT, "primary_contact"))
    report = report_of(path)
    found = json.loads(report.to_json())["sync"]
    assert found == {
        "prune": "own",
        "links": 40,
        "removed": 1,
        "gone": 1,
        "kept": 1,
        "failed": 0,
        "planned": 0,
        "withheld": 0,
        "why_withheld": "",
        "primary": 0,
        "emptied": [],
        "untouched": {},
        "reasons": {"primary_contact": 1},
        "requests": 7,
        "pending": False,
    }
    assert (report.status, report.exit_code) == ("completed_with_failures", Exit.DIFFERENCES)
    assert report.files["removed.csv"] == "removed.csv"
    said = [line for line in summary(report, "runs/monday", "") if "--prune" in line]
    assert said == ["  --prune own: 1 removed, 1 gone, 1 kept; 7 requests; runs/monday/removed.csv"]


def test_a_removal_that_failed_is_worth_another_try(path: Path, store: Store) -> None:
    store.put_meta(ENDED)
    decide(path, Undoing(1, Undo.FAILED, "timeout"), Undoing(2, Undo.KEPT))
    assert report_of(path).exit_code == Exit.RETRYABLE


def test_why_removals_were_withheld_is_one_line_also_of_a_quiet_run(path: Path, store: Store) -> None:
    store.put_meta(ENDED)
    decide(path, withheld="too many", emptied=[5, 6], primary=1)
    report = report_of(path)
    assert (report.exit_code, report.sync and report.sync.withheld) == (Exit.DIFFERENCES, 3)
    assert verdict(report) == "The one row is linked. Nothing was removed: too many."
    assert left(report, "runs/monday") == "run monday: exit code 8: nothing was removed: too many"
    assert sync_of(path).lines("d")[1:] == [
        "nothing was removed: too many",
        "opportunities that lose all their links by it: 5, 6",
        "1 link of primary contacts is left",
    ]


def test_of_many_opportunities_that_are_not_touched_the_first_are_named(path: Path, store: Store) -> None:
    store.put_meta(ENDED)
    untouched = {"incomplete_list": list(range(1, 13)), "not_found": [40]}
    decide(path, *(Undoing(number, Undo.REMOVED) for number in (1, 2, 3)), untouched=untouched, primary=2)
    report = report_of(path)
    assert report.exit_code == Exit.DIFFERENCES
    assert report.sync is not None
    assert report.sync.untouched["incomplete_list"].count == 12
    assert report.sync.untouched["incomplete_list"].ids == tuple(range(1, 11))
    lines = report.sync.lines()
    assert lines[1] == "2 links of primary contacts are left"
    assert lines[2].startswith(
        "12 opportunities not touched (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...): incomplete_list: "
    )
    assert lines[3] == "1 opportunity not touched (40): not_found"
