"""How a ledger is opened, and which files are none."""

import errno
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from worker.errors import LedgerBlocked, LedgerError
from worker.ledger.schema import SCHEMA_VERSION, connect


def _without_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")


def _of_another_version(path: Path, version: str = "99") -> None:
    connect(path, mode="rwc").close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (version,))


def _garbage(path: Path) -> None:
    path.write_bytes(b"opportunity_id,contact_id\n" * 100)


def _empty(path: Path) -> None:
    path.touch()


def _of_somebody_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE photos (name TEXT)")


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _directory(path: Path) -> None:
    path.mkdir()


NO_LEDGERS = (
    _without_version,
    _of_another_version,
    _garbage,
    _empty,
    _of_somebody_else,
    _missing,
    _directory,
)


@pytest.mark.parametrize("mode", ["ro", "rw"])
@pytest.mark.parametrize("make", NO_LEDGERS)
def test_a_file_that_is_no_ledger_is_refused_in_one_line_that_names_it(
    tmp_path: Path, make: Callable[[Path], None], mode: str
) -> None:
    path = tmp_path / "ledger.db"
    make(path)

    with pytest.raises(LedgerError) as caught:
        connect(path, mode=mode)

    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("version", "whose"), [("99", "a newer"), ("1", "an older")])
def test_a_ledger_of_another_version_is_told_and_not_changed(
    tmp_path: Path, version: str, whose: str
) -> None:
    path = tmp_path / "ledger.db"
    _of_another_version(path, version)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    before = path.read_bytes()

    with pytest.raises(LedgerError) as caught:
        connect(path, mode="rw")

    assert str(caught.value) == (
        f"{path}: made by {whose} bulklink, with ledger version {version}; this one reads version"
        f" {SCHEMA_VERSION}; nothing was changed"
    )
    assert path.read_bytes() == before


def test_a_file_without_a_version_is_no_ledger(tmp_path: Path) -> None:
    _without_version(tmp_path / "ledger.db")

    with pytest.raises(LedgerError, match=r": no ledger of bulklink$"):
        connect(tmp_path / "ledger.db", mode="ro")


def test_a_file_that_is_no_database_is_a_damaged_ledger(tmp_path: Path) -> None:
    _garbage(tmp_path / "ledger.db")

    with pytest.raises(
        LedgerError, match=r"is damaged: file is not a database; the CSV files beside it are as"
    ):
        connect(tmp_path / "ledger.db", mode="ro")


def test_a_ledger_for_which_there_is_no_room_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(LedgerBlocked, match=r"the disk is full; all done so far is kept; make room$"):
        connect(tmp_path / "ledger.db", mode="rwc")


def _killed(source: Path, path: Path) -> None:
    """What is left of a ledger whose writer was killed after it had begun to change the file itself."""
    connect(source, mode="rwc").close()
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
        rows = ((f"fact {n}", "x" * 1_000) for n in range(500))
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        for end in ("", "-journal"):
            path.with_name(path.name + end).write_bytes(source.with_name(source.name + end).read_bytes())


def test_what_a_killed_writer_left_is_rolled_back_before_anybody_reads(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    _killed(tmp_path / "source.db", path)
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        db.execute("SELECT 1 FROM meta")

    with closing(connect(path, mode="ro")) as db:
        assert db.execute("SELECT name, value FROM meta").fetchall() == [("schema_version", SCHEMA_VERSION)]
    assert not path.with_name("ledger.db-journal").exists()


def test_where_it_cannot_be_rolled_back_it_is_said_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    _killed(tmp_path / "source.db", path)
    monkeypatch.setattr("worker.ledger.schema._roll_back", lambda _: None)  # this user may write anything
    with pytest.raises(LedgerError, match=r"was killed, .* where it may be written; nothing is lost$"):
        connect(path, mode="ro")


def test_create_takes_no_file_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("mine")

    with pytest.raises(LedgerError, match=r"ledger\.db: File exists$"):
        connect(path, mode="rwc")
    assert path.read_text() == "mine"


def test_create_in_a_missing_folder_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"ledger\.db: No such file or directory$"):
        connect(tmp_path / "none" / "ledger.db", mode="rwc")


def test_only_the_owner_may_read_a_ledger_and_its_side_files(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "ledger.db", mode="rwc")) as db:
        db.execute("INSERT INTO sessions (started_at) VALUES (0)")

        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert files == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


@pytest.mark.parametrize("name", ["a b", "what?mode=memory", "50%41", "#1", "caf\udce9"])
def test_any_path_is_the_path(tmp_path: Path, name: str) -> None:
    """The connection is by URI, where some characters mean something else."""
    (tmp_path / name).mkdir()
    path = tmp_path / name / "ledger.db"
    connect(path, mode="rwc").close()

    assert path.is_file()
    connect(path, mode="ro").close()
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("mode", ["rwc", "rw"])
def test_what_is_committed_survives_a_power_cut(tmp_path: Path, mode: str) -> None:
    connect(tmp_path / "ledger.db", mode="rwc").close()
    path = tmp_path / ("new.db" if mode == "rwc" else "ledger.db")

    with closing(connect(path, mode=mode)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    connect(tmp_path / "ledger.db", mode="rwc").close()

    with closing(connect(tmp_path / "ledger.db", mode="ro")) as db, pytest.raises(sqlite3.OperationalError):
        db.execute("INSERT INTO sessions (started_at) VALUES (0)")
