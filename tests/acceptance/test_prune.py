"""runs --prune: what ended long ago is removed, once that is confirmed, and nothing else."""

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.ledger import Ledger, run_lock
from worker.run.directory import RunDirectory

if TYPE_CHECKING:
    from tests.conftest import CommandLine

DAY = 86_400.0
FACTS = {"portal": "p", "input_path": "/a.csv", "input_name": "a.csv", "settings": {}, "input_complete": True}


async def ended(folder: Path, run_id: str, days: float) -> RunDirectory:
    """A run that ended so many days ago."""
    run = RunDirectory.create(folder / "runs", run_id)
    async with Ledger(run.ledger, create=True) as ledger:
        await ledger.begin_session()
        await ledger.put_facts({"run_id": run_id, "end_code": 0, "end_message": "", **FACTS})
    then = time.time() - days * DAY
    import sqlite3  # noqa: PLC0415 - to turn the clock back

    with sqlite3.connect(run.ledger) as db:
        db.execute("UPDATE sessions SET started_at = ?", (then,))
    db.close()
    (run.path / "linked.csv").write_bytes(b"x" * 100_000)
    for path in run.path.iterdir():
        os.utime(path, (then, then))
    return run


@pytest.fixture
async def runs(bulklink: "CommandLine") -> dict[str, RunDirectory]:
    days = {"ancient": 400.0, "old": 100.0, "new": 1.0}
    return {name: await ended(bulklink.folder, name, age) for name, age in days.items()}


def left(bulklink: "CommandLine") -> set[str]:
    return {path.name for path in (bulklink.folder / "runs").iterdir()}


def test_old_runs_are_listed_and_removed(bulklink: "CommandLine", runs: dict[str, RunDirectory]) -> None:
    done = bulklink("runs", "--prune", "90d", "--yes")

    assert (done.returncode, left(bulklink)) == (0, {"new"})
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["run", "ancient", "old"]
    assert re.fullmatch(r"2 runs removed, 0\.\d MB\n", done.stderr)
    assert len(runs) == 3


def test_a_dry_run_removes_nothing(bulklink: "CommandLine", runs: dict[str, RunDirectory]) -> None:
    done = bulklink("runs", "--prune", "300d", "-n")

    assert (done.returncode, left(bulklink)) == (0, set(runs))
    assert re.match(r"1 run, 0\.\d MB to remove", done.stderr)


def test_nobody_there_to_confirm_is_a_refusal(bulklink: "CommandLine", runs: dict[str, RunDirectory]) -> None:
    done = bulklink("runs", "--prune", "90d")

    assert (done.returncode, left(bulklink)) == (2, set(runs))
    assert re.match(r"bulklink: 2 runs, 0\.\d MB to remove: nobody is here to confirm that", done.stderr)


def test_a_run_at_work_or_touched_lately_is_kept(
    bulklink: "CommandLine", runs: dict[str, RunDirectory]
) -> None:
    (runs["old"].path / "verify.json").write_text("{}")  # somebody verified it just now
    with run_lock(runs["ancient"].path):
        done = bulklink("runs", "--prune", "90d", "--yes")

    assert (done.returncode, left(bulklink)) == (0, set(runs))
    assert "run ancient: a process works on it; it is kept" in done.stderr


def test_what_a_kill_left_of_a_removal_is_no_run_and_goes_with_the_next(
    bulklink: "CommandLine", runs: dict[str, RunDirectory]
) -> None:
    for name, file in (("old", "contacts.jsonl"), ("new", "ledger.db")):
        folder = runs["old"].path.with_name(f".removed-{name}")
        folder.mkdir()
        (folder / file).write_bytes(runs["new"].ledger.read_bytes())
    at_work = runs["old"].path.with_name(".removed-else")  # by another process
    at_work.mkdir()

    listed = bulklink("runs")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["run", *runs]

    assert bulklink("runs", "--prune", "90d", "-n").returncode == 0
    assert left(bulklink) == {*runs, ".removed-old", ".removed-new", ".removed-else"}

    with run_lock(at_work):
        done = bulklink("runs", "--prune", "90d", "--yes")
        assert (done.returncode, left(bulklink)) == (0, {"new", ".removed-else"}), done.stderr


def test_a_run_that_was_moved_to_another_disk_goes_with_the_link_that_stands_for_it(
    bulklink: "CommandLine", runs: dict[str, RunDirectory]
) -> None:
    elsewhere = bulklink.folder / "elsewhere"
    runs["old"].path.rename(elsewhere)
    runs["old"].path.symlink_to(elsewhere)

    done = bulklink("runs", "--prune", "90d", "--yes")

    assert (done.returncode, left(bulklink)) == (0, {"new"}), done.stderr
    assert sorted(path.name for path in bulklink.folder.iterdir()) == ["runs"]


def test_nothing_old_is_said(bulklink: "CommandLine", runs: dict[str, RunDirectory]) -> None:
    done = bulklink("runs", "--prune", "500d")

    assert (done.returncode, done.stderr, left(bulklink)) == (
        0,
        "no run ended longer than 500d ago\n",
        set(runs),
    )


def test_an_age_that_is_none_is_refused(bulklink: "CommandLine") -> None:
    done = bulklink("runs", "--prune", "soon")

    assert done.returncode == 2
    assert done.stderr.startswith("bulklink: --prune: 'soon' is not a duration")
