"""Each rule of an audit finds what breaks it, and none is broken by work that ends or is killed."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.judged import judged
from worker.errors import LedgerError
from worker.ledger import LedgerReader, audit, check, check_file, check_waiting
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Outcome, Pair, Reject, Result, Status

OK = Attempt(Result.OK, http_status=201, body=b"{}")
LOST = Attempt(Result.AMBIGUOUS, "timeout")
REFUSED = Attempt(Result.PERMANENT, "not_found", 404)


def pair(row: int) -> Pair:
    return Pair(row, row + 1, 1, row)


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    """Rows 1 to 6: linked, rejected, invalid, duplicate, in doubt, not attempted."""
    connection = connect(path, mode="rwc")
    store = Store(connection)
    store.begin_session()
    verdicts: list[Pair | Reject] = [pair(1), pair(2), Reject(3, 4, "no"), Pair(4, 5, 1, 1), pair(5), pair(6)]
    store.admit([judged(v) for v in verdicts])
    store.claim(3)
    store.settle([Outcome(pair(1), Status.LINKED, (LOST, OK), http_status=201)])
    store.settle([Outcome(pair(2), Status.REJECTED, (REFUSED,), "not_found", 404)])
    store.count(5, (LOST,))
    yield connection
    connection.close()


def faults(path: Path) -> list[str]:
    with LedgerReader(path) as reader:
        return audit(reader)


@pytest.mark.usefixtures("db")
def test_a_ledger_in_order_has_no_faults(path: Path) -> None:
    assert faults(path) == []


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("DELETE FROM rows WHERE row = 3", "5 rows, but they are numbered 1 to 6"),
        ("UPDATE rows SET status = 'lost' WHERE row = 2", "rows in a state that there is none of: 1"),
        ("UPDATE rows SET key = key + 1 WHERE row = 6", "rows whose line, pair or cells have changed: 1"),
        ("UPDATE rows SET line = -5 WHERE row = 6", "rows whose line, pair or cells have changed: 1"),
        ("UPDATE rows SET cells = '[1]' WHERE row = 3", "rows whose line, pair or cells have changed: 1"),
        ("UPDATE contacts SET body = '{ }'", "Contacts that have changed: 1, such as row 1"),
        ("UPDATE rows SET key = NULL WHERE row = 6", "rows called invalid that name a pair"),
        ("UPDATE rows SET status = 'rejected' WHERE row = 3", "rows called invalid that name a pair"),
        ("UPDATE pairs SET row = 2 WHERE row = 1", "pairs that belong to no row, or to the row of another"),
        ("DELETE FROM pairs WHERE row = 6", "rows whose pair was never noted: 1, such as row 6"),
        (
            "UPDATE rows SET status = 'linked' WHERE row = 6",
            "outcomes without an intent or without a request",
        ),
        ("UPDATE rows SET sent_at = NULL WHERE row = 1", "outcomes without an intent or without a request"),
        (
            "UPDATE rows SET attempts = 9 WHERE row = 2",
            "rows with more or fewer failures than failed requests",
        ),
        ("DELETE FROM failures WHERE row = 5", "rows with more or fewer failures than failed requests"),
        (
            "INSERT INTO contacts VALUES (2, '{}', 2745614147)",
            "Contacts of rows that are not linked: 1, such as row 2",
        ),
    ],
)
def test_each_rule_finds_what_breaks_it(path: Path, db: sqlite3.Connection, damage: str, fault: str) -> None:
    db.execute(damage)
    assert any(found.startswith(fault) for found in faults(path)), faults(path)


def test_many_rows_alike_are_counted_and_a_few_named(path: Path, db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO contacts SELECT row, '{}', 2745614147 FROM rows WHERE row > 1")
    assert faults(path) == ["Contacts of rows that are not linked: 5, such as row 2, 3, 4"]


def test_a_damaged_file_is_called_so(path: Path, db: sqlite3.Connection) -> None:
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'failures'")
    db.commit()
    db.close()
    with LedgerReader(path) as reader:
        assert audit(reader)[0].startswith("the file is damaged: ")


def test_counts_that_do_not_sum_to_the_rows_are_refused(path: Path, db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM rows WHERE row = 3")
    with LedgerReader(path) as reader, pytest.raises(LedgerError, match="5 rows have a state, 6 were read"):
        reader.counts()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("DELETE FROM rows WHERE row = 3", "5 rows, but they are numbered 1 to 6"),
        (
            "UPDATE rows SET key = key + 1 WHERE row >= 5",
            "rows whose line, pair or cells have changed: 2, such as row 5, 6",
        ),
        ("UPDATE rows SET key = key + 1 WHERE row = 1", ""),
        ("UPDATE contacts SET body = ''", ""),
        ("SELECT 1", ""),
    ],
)
def test_before_sending_the_rows_that_wait_are_looked_at(
    path: Path, db: sqlite3.Connection, damage: str, fault: str
) -> None:
    db.execute(damage)
    with LedgerReader(path) as reader:
        if fault:
            with pytest.raises(LedgerError, match=f"the ledger is damaged: {fault};"):
                check_waiting(reader, path)
        else:
            check_waiting(reader, path)


@pytest.mark.parametrize("table", ["rows", "pairs", "failures", "contacts"])
def test_before_sending_all_tables_are_looked_at_but_contacts_which_may_be_beside_it(
    path: Path, db: sqlite3.Connection, table: str
) -> None:
    check_file(path)
    (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size + size // 2)
        file.write(b"\xff" * (size // 2))
    with pytest.raises(LedgerError, match="damaged"):
        check_file(path)
    with LedgerReader(path) as reader:
        if table == "contacts":
            check_waiting(reader, path)
        else:
            with pytest.raises(LedgerError, match="damaged"):
                check_waiting(reader, path)


def test_a_check_passes_what_is_sound_and_refuses_the_rest_with_the_first_fault(
    path: Path, db: sqlite3.Connection
) -> None:
    with LedgerReader(path) as reader:
        check(reader, path)
    db.execute("DELETE FROM failures")
    db.execute("UPDATE contacts SET body = ''")
    with LedgerReader(path) as reader, pytest.raises(LedgerError) as raised:
        check(reader, path)
    assert str(raised.value) == (
        f"{path}: the ledger is damaged: Contacts that have changed: 1, such as row 1;"
        " the CSV files beside it are as last written"
    )
