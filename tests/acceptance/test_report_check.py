"""``bulklink report --check``: each row has one state, and each file says what the ledger says."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]


@pytest.fixture
def run(simulate: "Simulate", bulklink: "CommandLine", tmp_path: Path) -> Path:
    """The directory of a finished run of 40 rows, some of them no pairs or nobody's."""
    rows = [f"{n},{n}" for n in range(1, 37)] + ["1,1", "x,1", "1,99999999", " 2 , 2 "]
    (tmp_path / "pairs.csv").write_text("opportunity_id,contact_id\n" + "\n".join(rows) + "\n")
    portal = simulate("[portal]\n")
    done = bulklink("run", "pairs.csv", "--portal", portal.url, "--rate", "1000/s")
    assert done.returncode == 3, done.stderr
    return bulklink.only_run()


def test_a_run_in_order_passes_and_its_states_are_summed_up(bulklink: "CommandLine", run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    done = bulklink("report", "--check")
    assert done.returncode == 0
    assert done.stdout == (
        f"run {run.name}: 36 linked + 2 duplicate + 1 invalid + 1 rejected = 40 rows; all files agree\n"
    )
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    quiet = bulklink("report", run.name, "--check", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")


@pytest.mark.parametrize(
    "name", ["linked.csv", "rejected.csv", "retry.csv", "contacts.jsonl", "report.json", "report.html"]
)
def test_a_file_that_is_changed_or_missing_is_named_and_can_be_made_again(
    bulklink: "CommandLine", run: Path, name: str
) -> None:
    path = run / name
    path.write_bytes(path.read_bytes() + b"999,999,,,,,\n")
    done = bulklink("report", "--check")
    assert done.returncode == 1
    assert done.stderr.startswith(f"bulklink: {run.name}/{name}: is not what the ledger says")
    path.unlink()
    done = bulklink("report", "--check")
    assert (done.returncode, done.stderr) == (1, f"bulklink: {run.name}/{name}: is missing\n")
    assert bulklink("report").returncode == 3
    assert bulklink("report", "--check").returncode == 0


def test_a_ledger_that_contradicts_itself_is_named(bulklink: "CommandLine", run: Path) -> None:
    with closing(sqlite3.connect(run / "ledger.db")) as db:
        db.execute("UPDATE rows SET status = 'linked' WHERE status = 'rejected'")
        db.commit()
    done = bulklink("report", "--check")
    assert done.returncode == 1
    assert done.stderr.startswith(f"bulklink: {run.name}/ledger.db: rows with more or fewer failures")


def test_a_dead_run_has_no_files_until_report_makes_them(
    simulate: "Simulate", bulklink: "CommandLine", tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text(
        "opportunity_id,contact_id\n" + "".join(f"{n},{n}\n" for n in range(1, 2001))
    )
    portal = simulate("[latency]\nseconds = 0.01\n")
    with bulklink.start(
        "run", "pairs.csv", "--portal", portal.url, *ONE_BY_ONE, "--rate", "200/s"
    ) as process:
        deadline = time.monotonic() + 60
        while portal.books()["posts"] < 20:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()
    done = bulklink("report", "--check")
    assert done.returncode == 1
    assert "contacts.jsonl: is missing" in done.stderr
    report = json.loads(bulklink("report", "--json").stdout)
    assert report["counts"]["unknown"] > 0
    assert bulklink("report", "--check").returncode == 0
