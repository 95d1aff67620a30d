"""contacts.jsonl: each line an object, each Contact as the portal sent it."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.judged import judged
from worker.ledger import LedgerReader
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Outcome, Pair, Result, Status
from worker.sinks import write_contacts


def pair(row: int) -> Pair:
    return Pair(row, row + 1, 1234, row)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(connect(tmp_path / "ledger.db", mode="rwc")) as connection:
        store = Store(connection)
        store.begin_session()
        store.admit([judged(pair(row)) for row in range(1, 6)])
        yield store


def settle(store: Store, row: int, status: Status, body: bytes = b"") -> None:
    result = Result.OK if status in {Status.LINKED, Status.ALREADY_LINKED} else Result.PERMANENT
    store.settle([Outcome(pair(row), status, (Attempt(result, body=body),))])


def written(folder: Path) -> bytes:
    with LedgerReader(folder / "ledger.db") as reader:
        write_contacts(reader, folder / "contacts.jsonl")
    return (folder / "contacts.jsonl").read_bytes()


def test_a_line_per_link_that_stands_in_input_order(tmp_path: Path, store: Store) -> None:
    settle(store, 4, Status.LINKED, b'{"id":4}')
    settle(store, 1, Status.ALREADY_LINKED, b'{"id":1}')
    settle(store, 2, Status.REJECTED)
    settle(store, 3, Status.UNKNOWN)

    assert written(tmp_path).decode() == (
        '{"row":1,"line":2,"opportunity_id":1234,"contact_id":1,"status":"already_linked","contact":{"id":1}}\n'
        '{"row":4,"line":5,"opportunity_id":1234,"contact_id":4,"status":"linked","contact":{"id":4}}\n'
    )


def test_a_link_that_a_rollback_has_removed_is_there_no_more(tmp_path: Path, store: Store) -> None:
    for row in range(1, 6):
        settle(store, row, Status.LINKED, b"{}")
    store.execute(
        "INSERT INTO undone (row, begun_at, state) VALUES (?, 1, ?)",
        [(1, "removed"), (2, "gone"), (3, "kept"), (4, "failed"), (5, None)],
    )
    assert [json.loads(line)["row"] for line in written(tmp_path).splitlines()] == [3, 4, 5]


def test_a_contact_goes_out_byte_by_byte_as_it_came(tmp_path: Path, store: Store) -> None:
    """Neither the order of keys nor the spelling of a number or a letter is ours to change."""
    body = '{"z":1.0,"a":1e2,"name":"Zo\\u00eb €","__type":null,"z":2}'.encode()
    settle(store, 1, Status.LINKED, body)

    line = written(tmp_path)
    assert line.endswith(b',"status":"linked","contact":' + body + b"}\n")
    assert json.loads(line)["contact"]["name"] == "Zoë €"


def test_a_link_without_a_contact_has_a_null(tmp_path: Path, store: Store) -> None:
    settle(store, 1, Status.LINKED)

    assert json.loads(written(tmp_path)) == {
        "row": 1,
        "line": 2,
        "opportunity_id": 1234,
        "contact_id": 1,
        "status": "linked",
        "contact": None,
    }


def test_a_run_without_links_has_an_empty_file(tmp_path: Path, store: Store) -> None:
    settle(store, 1, Status.REJECTED)

    assert written(tmp_path) == b""
