"""A damaged ledger: it is refused in one line, or what the worker goes on to say is true."""

import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from tests.conftest import ONE_BY_ONE
from tests.crash.torn_damage import (
    DB,
    FRAME,
    PAGE,
    SHM,
    WAL,
    WAL_HEADER,
    Damage,
    cut,
    gone,
    overwritten,
    replaced,
)
from tests.crash.torn_judge import Said, command
from tests.crash.torn_sample import SetOfLinks, end_when, write_input
from tests.forks import Forked, ForkServer
from worker.run import access

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

HERE = Path(__file__).parent
LOOP = re.compile(
    r"seed \d+: (?P<cases>\d+) cases, (?P<false>\d+) false, (?P<lost>\d+) lost, (?P<strange>\d+) strange,"
    r" (?P<garbled>\d+) garbled, (?P<crude>\d+) crude; (?P<went_on>\d+) commands went on, .* seconds\n"
)


Loop = Callable[..., tuple[dict[str, int], str]]


@pytest.fixture
def torn_loop(fork_server: ForkServer) -> Loop:
    """What the loop counts, and what it tells."""

    def loop(*words: str, timeout: float = 110) -> tuple[dict[str, int], str]:
        with Forked(
            fork_server,
            *(str(HERE / "torn_loop.py"), *words, "--forks", str(fork_server.folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            out, err = process.communicate(timeout=timeout)
        found = LOOP.fullmatch(out)
        assert found, err + out
        counts = {name: int(count) for name, count in found.groupdict().items()}
        wrong = sum(counts[kind] for kind in ("false", "lost", "strange", "garbled", "crude"))
        assert (process.returncode == 0) == (wrong == 0)
        return counts, err

    return loop


NOTHING_WRONG = {"false": 0, "lost": 0, "strange": 0, "garbled": 0, "crude": 0}


def test_whatever_happens_to_the_wal_is_refused_or_repeated(torn_loop: Loop) -> None:
    counts, told = torn_loop("--only", "wal", "--cases", "15", "--rows", "200", "--seed", "1")

    assert counts == {**counts, **NOTHING_WRONG}, told
    # Most damage to a WAL shortens it, and what is left is a run that knows less: that is gone on with.
    assert counts["cases"] >= 70
    assert counts["went_on"] > counts["cases"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whatever_happens_to_the_wal_is_refused_or_repeated_in_long(torn_loop: Loop) -> None:
    counts, told = torn_loop("--only", "wal", "--cases", "300", "--rows", "600", timeout=1200)

    assert counts == {**counts, **NOTHING_WRONG}, told


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whatever_happens_to_the_database_is_refused_or_harmless(torn_loop: Loop) -> None:
    counts, told = torn_loop("--only", "db", "--cases", "500", "--rows", "300", "--seed", "3", timeout=1200)

    assert counts == {**counts, **NOTHING_WRONG}, told


# A text, or a header that is cut, is no certain refusal while the WAL holds other pages: see the last test.
NO_LEDGERS: dict[str, tuple[tuple[Damage, ...], int]] = {
    "empty, and no WAL": ((cut(DB, 0), gone(WAL)), 1),
    "text, and no WAL": ((replaced(DB, b"opportunity_id\n" * 1000), gone(WAL)), 1),
    "a folder": ((replaced(DB, None),), 2),
    "a WAL that is a folder": ((replaced(WAL, None),), 1),
}


@pytest.fixture
def killed(
    bulklink: "CommandLine", simulate: "Simulate", fork_server: ForkServer
) -> "tuple[Path, SimulatedPortal]":
    """The directory of a run that was folded once and is now killed half-way, and its portal."""
    write_input(bulklink.folder / "pairs.csv", 200)
    portal = simulate("calm")
    words = ("run", "pairs.csv", "--run-id", "it", "--portal", portal.url, *ONE_BY_ONE, "--rate", "300/s")
    end_when(fork_server, 50, portal.url, bulklink.folder, signal.SIGTERM, *words)
    end_when(fork_server, 110, portal.url, bulklink.folder, signal.SIGKILL, "resume", "it")
    run = bulklink.folder / "runs/it"
    assert (run / WAL).stat().st_size > 20 * FRAME
    return run, portal


def test_a_file_that_is_no_ledger_any_more_is_refused_and_nothing_is_sent(
    bulklink: "CommandLine", killed: "tuple[Path, SimulatedPortal]"
) -> None:
    run, portal = killed
    whole = {name: (run / name).read_bytes() for name in (DB, WAL, SHM)}
    posts = portal.books()["posts"]
    for name, (damages, code) in NO_LEDGERS.items():
        for damage in damages:
            damage(run)
        for words in (("report", "it", "--json"), ("resume", "it")):
            done = bulklink(*words)
            lines = [text for text in done.stderr.splitlines() if not text.startswith("run it: files in")]
            assert len(lines) == 1, (name, words, done.stderr)
            line = lines[0]
            assert (name, words, done.returncode, done.stdout) == (name, words, code, "")
            assert "internal error" not in line
            assert ("runs/it/ledger.db: " if code == 1 else "it: no such run") in line
        for file, content in whole.items():
            if (run / file).is_dir():
                (run / file).rmdir()
            (run / file).write_bytes(content)
    assert portal.books()["posts"] == posts

    assert bulklink.report("resume", "it")["exit_code"] == 3


@pytest.mark.parametrize("damage", [gone(WAL), gone(SHM), cut(WAL, WAL_HEADER + 11 * FRAME)])
def test_what_a_disk_has_forgotten_is_repeated(
    bulklink: "CommandLine", killed: "tuple[Path, SimulatedPortal]", damage: Damage
) -> None:
    run, portal = killed
    damage(run)

    assert bulklink.report("report", "it")["counts"]["linked"] <= len(portal.links())
    report = bulklink.report("resume", "it")

    assert (report["exit_code"], report["counts"]["rows"]) == (3, 200)
    assert report["counts"]["linked"] == len(portal.links()) == 185


class Stopped:
    """A run that was stopped half-way, in this process; its ledger is one file."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "runs/it/ledger.db"
        (folder / "pairs.csv").write_text(
            "opportunity_id,contact_id\n" + "".join(f"{n},{n}\n" for n in range(1, 41))
        )
        said = self(
            "run", "pairs.csv", "--run-id", "it", *ONE_BY_ONE, "--rate", "25/s", "--max-duration", "1s"
        )
        assert (said.code, 0 < len(SetOfLinks.held) < 40) == (10, True)

    def __call__(self, verb: str, *words: str) -> Said:
        # Another one for each process that tests: none links the same input at the same portal as another.
        portal = () if verb == "report" else ("--portal", f"http://127.0.0.1:{1 + os.getpid() % 65_000}")
        return command(verb, *words, *portal)

    def change(self, sql: str, *values: str) -> None:
        """Change the ledger as damage within a cell does: the file stays sound for SQLite."""
        with closing(sqlite3.connect(self.ledger)) as db, db:
            assert db.execute(sql, values).rowcount == 1
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def refuses(self, said: Said) -> None:
        """It must have been told in one line that names the file."""
        assert (said.code, said.report) == (1, {})
        (line,) = said.err.splitlines()
        assert "ledger.db: " in line
        assert "internal error" not in line


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopped]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BULKLINK_TOKEN", "demo-token")
    hangup = signal.getsignal(signal.SIGHUP)
    SetOfLinks.held = set()
    with patch.object(access, "PortalClient", SetOfLinks):
        yield Stopped(tmp_path)
    signal.signal(signal.SIGHUP, hangup)


def test_a_bit_of_a_pair_that_has_changed_is_no_success(stopped: Stopped) -> None:
    stopped.change("UPDATE rows SET key = key + 2 WHERE row = 40")

    said = stopped("resume", "it")

    assert said.code == 1 or SetOfLinks.held == {(n, n) for n in range(1, 41)}
    stopped.refuses(said)


def test_a_state_that_there_is_none_of_is_refused(stopped: Stopped) -> None:
    stopped.change("UPDATE rows SET status = 'linkee' WHERE row = 1")

    stopped.refuses(stopped("report", "it"))


@pytest.mark.parametrize("cells", ["", '["1', "[1,", '{"1":2}', "7"])
def test_cells_that_are_none_are_refused(stopped: Stopped, cells: str) -> None:
    stopped.change("UPDATE rows SET cells = ? WHERE row = 1", cells)

    stopped.refuses(stopped("report", "it"))


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("UPDATE meta SET value = '{' WHERE name = ?", "settings"),
        ("UPDATE meta SET value = '{' WHERE name = ?", "portal"),
        ("UPDATE meta SET value = '{' WHERE name = ?", "columns"),
        ("UPDATE meta SET name = 'x' WHERE name = ?", "settings"),
        ("UPDATE meta SET name = 'x' WHERE name = ?", "portal"),
        ("UPDATE meta SET name = 'x' WHERE name = ?", "input_name"),
    ],
)
def test_facts_that_are_none_are_refused(stopped: Stopped, sql: str, name: str) -> None:
    stopped.change(sql, name)

    stopped.refuses(stopped("resume", "it"))


def test_a_contact_that_is_no_json_is_refused(stopped: Stopped) -> None:
    stopped.change("UPDATE contacts SET body = substr(body, 1, 5) WHERE row = 1")

    stopped.refuses(stopped("report", "it"))


def test_text_that_is_none_is_refused_in_one_line(stopped: Stopped) -> None:
    stopped.change("UPDATE contacts SET body = CAST(X'7B0A0AFF' AS TEXT) WHERE row = 1")

    stopped.refuses(stopped("report", "it"))


def without_page(stopped: Stopped, table: str) -> None:
    """Make zeros of the page that the table begins with."""
    with closing(sqlite3.connect(stopped.ledger)) as db:
        sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        (page,) = db.execute(sql, (table,)).fetchone()
    overwritten(DB, (page - 1) * PAGE, bytes(PAGE))(stopped.ledger.parent)


@pytest.mark.parametrize("table", ["rows", "meta", "requests", "sessions"])
def test_nothing_is_sent_from_a_ledger_of_which_a_page_is_gone(stopped: Stopped, table: str) -> None:
    without_page(stopped, table)
    before = set(SetOfLinks.held)

    stopped.refuses(stopped("resume", "it"))

    assert before == SetOfLinks.held


def test_contacts_of_which_a_page_is_gone_are_found_out_beside_the_work(stopped: Stopped) -> None:
    """They say nothing of what is to be sent, and are most of a ledger."""
    without_page(stopped, "contacts")

    stopped.refuses(stopped("resume", "it"))
