"""A process that is killed while it takes the ledger out of WAL mode, or into it, leaves a journal behind.

Until that is rolled back, SQLite lets nobody read the file who may not write it.
"""

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

# What SQLite does there it does to a page; to have many of them on their way shows that all come back.
DIES = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE rows SET status = 'rejected', reason = 'never committed'")
db.execute("UPDATE contacts SET body = body || body")
os.kill(os.getpid(), signal.SIGKILL)
"""


def die(ledger: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, str(ledger)], check=False)
    assert done.returncode == -signal.SIGKILL
    journal = ledger.with_name("ledger.db-journal")
    assert journal.stat().st_size
    with (
        closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as db,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        db.execute("SELECT 1 FROM rows")


@pytest.fixture
def portal(bulklink: "CommandLine", simulate: "Simulate") -> "SimulatedPortal":
    """Where a run of 300 rows, of which one is refused, has ended."""
    rows = "".join(f"{n},{n}\n" for n in range(1, 300))
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}1,1000000\n")
    portal = simulate("calm")
    words = ("--portal", portal.url, "--run-id", "it", "--rate", "500/s", "-q")
    assert bulklink("run", "pairs.csv", *words).returncode == 3
    return portal


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("report it", 3),
        ("report it --check", 0),
        ("status it", 0),
        ("runs", 0),
        ("verify it", 0),
        ("resume it", 3),
        ("retry it", 0),
        ("rollback it", 0),
        ("report it --json", 3),
    ],
)
def test_every_verb_goes_on_with_what_was_committed(
    bulklink: "CommandLine", portal: "SimulatedPortal", words: str, code: int
) -> None:
    ledger = bulklink.folder / "runs/it/ledger.db"
    die(ledger)

    done = bulklink(*words.split())

    assert (done.returncode, "readonly" in done.stderr) == (code, False), done.stderr
    assert portal.links() == (set() if words == "rollback it" else {(n, n) for n in range(1, 300)})
    counts = json.loads(bulklink("report", "it", "--json").stdout)["counts"]
    assert (counts["linked"], counts["rejected"]) == (299, 1)
    assert bulklink("report", "it", "--check").returncode == 0
