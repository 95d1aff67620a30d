"""Runs that are made into one: which belong together, and what a worker that was killed early leaves."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from worker.errors import LedgerError, UsageError
from worker.ledger import Delivery, LedgerReader, run_lock
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Outcome, Pair, Result, Row, Status
from worker.run.directory import RunDirectory
from worker.run.report import merge_runs
from worker.settings import Settings

COLUMNS = ["opportunity_id", "contact_id", "id"]
OK = Attempt(Result.OK, http_status=201, body=b'{"id": 7}', seconds=0.1)
BEGUN = {
    "version": "0",
    "portal": "https://portal.example",
    "input_path": "redis://queue?stream=links",
    "input_name": "redis://queue?stream=links",
    "input_kind": "queue",
    "settings": {},
}
READING = {"columns": COLUMNS, "input_complete": True}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs_dir=tmp_path, run_id="all")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Make a run directory whose ledger says what is given, and links so many messages."""

    def make(name: str, *, links: int = 0, **facts: Any) -> RunDirectory:
        directory = RunDirectory.create(tmp_path, name)
        with closing(connect(directory.ledger, mode="rwc")) as db:
            store = Store(db)
            if facts:
                store.put_meta({"run_id": name, **facts})
            store.begin_session()
            for number in range(1, links + 1):
                row = Row(0, 0, (str(number), "7", ""), str(number), "7")
                (arrival,) = store.take_in([Delivery(f"{name}-{number}", row, Pair(0, 0, number, 7))])
                assert arrival.pair is not None
                store.settle([Outcome(arrival.pair, Status.LINKED, (OK,), http_status=201)])
        return directory

    return make


def merged(settings: Settings, runs: list[RunDirectory]) -> tuple[dict[str, Any], int, list[str]]:
    told: list[str] = []
    with LedgerReader(merge_runs(settings, runs, told.append).ledger) as reader:
        return reader.facts(), reader.counts()[Status.LINKED], told


def test_a_worker_that_was_killed_before_it_read_anything_keeps_nobody_from_being_merged(
    settings: Settings, run: Callable[..., RunDirectory]
) -> None:
    early = run("early", **BEGUN)
    good = run("good", links=2, **BEGUN, **READING)
    facts, linked, told = merged(settings, [early, good])
    assert (facts["columns"], facts["input_complete"], linked, told) == (COLUMNS, True, 2, [])
    assert facts["merged"] == ["early", "good"]


def test_one_that_was_killed_before_it_began_is_left_out_and_named(
    settings: Settings, run: Callable[..., RunDirectory]
) -> None:
    facts, linked, told = merged(settings, [run("none"), run("good", links=3, **BEGUN, **READING)])
    assert (facts["merged"], linked) == (["good"], 3)
    assert told == ["run none was killed before it began: left out"]


def test_one_that_was_killed_while_its_ledger_was_made_is_left_out_too(
    settings: Settings, run: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    empty = RunDirectory.create(tmp_path, "empty")
    empty.ledger.touch()
    with closing(sqlite3.connect((bare := RunDirectory.create(tmp_path, "bare")).ledger)) as db:
        db.execute("PRAGMA journal_mode = WAL")  # as far as a new ledger comes before it has tables
    good = run("good", links=1, **BEGUN, **READING)
    facts, linked, told = merged(settings, [empty, bare, good])
    assert (facts["merged"], linked) == (["good"], 1)
    assert told == [f"run {name} was killed before it began: left out" for name in ("empty", "bare")]


def test_a_damaged_one_is_not_taken_for_one_that_never_began(
    settings: Settings, run: Callable[..., RunDirectory]
) -> None:
    damaged = run("damaged", links=1, **BEGUN, **READING)
    damaged.ledger.write_bytes(b"no ledger at all, but longer than a header of a hundred bytes" * 3)
    with pytest.raises(LedgerError, match="not a database"):
        merged(settings, [damaged, run("good", links=1, **BEGUN, **READING)])


def test_when_none_began_there_is_nothing_to_merge(
    settings: Settings, run: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    with pytest.raises(LedgerError, match="killed before it began"):
        merged(settings, [run("one"), run("two")])
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"columns": ["opportunity", "contact"]}, "columns"),
        ({"portal": "https://other.example"}, "portals"),
    ],
)
def test_runs_that_do_not_belong_together_are_not_merged(
    settings: Settings, run: Callable[..., RunDirectory], tmp_path: Path, other: dict[str, Any], what: str
) -> None:
    runs = [run("early", **BEGUN), run("a", **BEGUN, **READING), run("b", **{**BEGUN, **READING, **other})]
    with pytest.raises(UsageError, match=f"runs (early|a) and b have different {what}"):
        merged(settings, runs)
    assert not (tmp_path / "all").exists()


def test_a_file_that_was_not_read_to_its_end_is_still_incomplete(
    settings: Settings, run: Callable[..., RunDirectory]
) -> None:
    part = {**BEGUN, "input_kind": "csv"}
    facts, _, _ = merged(settings, [run("early", **part), run("good", links=1, **part, **READING)])
    assert facts["input_complete"] is False


def test_no_run_is_merged_twice(settings: Settings, run: Callable[..., RunDirectory]) -> None:
    one = run("one", links=1, **BEGUN, **READING)
    with pytest.raises(UsageError, match="named twice"):
        merged(settings, [one, one])


def test_nor_is_one_that_is_already_in_another_that_is_named(
    settings: Settings, run: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    """Its rows would count once, and its requests and tries twice."""
    one, two, three = (run(name, links=1, **BEGUN, **READING) for name in ("one", "two", "three"))
    both = merge_runs(settings, [one, two], lambda _: None)
    others = merge_runs(settings.model_copy(update={"run_id": "others"}), [two, three], lambda _: None)
    again = settings.model_copy(update={"run_id": "again"})
    for runs, part, where in (
        ([one, two, both], "one", "one and all"),
        ([three, both, two], "two", "all and two"),
        ([both, others], "two", "all and others"),
    ):
        with pytest.raises(UsageError) as caught:
            merged(again, runs)
        assert (
            str(caught.value) == f"run {part} is in both {where}, and would count twice: name each run once"
        )
    assert not (tmp_path / "again").exists()


def test_what_was_merged_can_be_merged_with_what_is_not_in_it(
    settings: Settings, run: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    one, two, three = (run(name, links=1, **BEGUN, **READING) for name in ("one", "two", "three"))
    both = merge_runs(settings, [one, two], lambda _: None)
    more = merge_runs(settings.model_copy(update={"run_id": "more"}), [both, three], lambda _: None)
    with LedgerReader(more.ledger) as reader:
        assert reader.counts()[Status.LINKED] == 3
        # A rollback asks which others are parts of it.
        assert reader.facts()["merged"] == ["one", "two", "three"]
    last = settings.model_copy(update={"run_id": "last"})
    with pytest.raises(UsageError, match="run one is in both more and one"):
        merged(last, [more, one])

    # A copy is the same run; another of its name, of another machine, is not.
    shutil.copytree(one.path, tmp_path / "copies" / "one")
    with pytest.raises(UsageError, match="run one is in both more and one"):
        merged(last, [more, RunDirectory(tmp_path / "copies" / "one")])
    with closing(connect(RunDirectory.create(tmp_path / "elsewhere", "one").ledger, mode="rwc")) as db:
        Store(db).put_meta({"run_id": "one", **BEGUN, **READING})
        Store(db).begin_session()
    _, linked, _ = merged(last, [more, RunDirectory(tmp_path / "elsewhere" / "one")])
    assert linked == 3


def test_a_run_that_is_being_worked_on_is_taken_as_it_stands_and_told_of(
    run: Callable[..., RunDirectory], settings: Settings
) -> None:
    runs = [run("first", links=2, **BEGUN, **READING), run("second", links=1, **BEGUN, **READING)]

    with run_lock(runs[1].path):
        facts, linked, told = merged(settings, runs)

    assert (linked, facts["end_message"]) == (3, "merged: first, second (still being worked on)")
    assert told == ["run second is being worked on: taken as it stands now"]
