"""The ledger of a retry: the rows that a run left, with their lines, and what may have been sent in doubt."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from worker.errors import LedgerError
from worker.ledger import Delivery, LedgerReader, audit, branch_ledger, merge_ledgers
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Outcome, Pair, PreState, Result, Row, Status

FACTS = {
    "portal": "https://portal.example",
    "input_path": "/in/pairs.csv",
    "input_name": "pairs.csv",
    "settings": {},
    "columns": ["deal_id", "person"],
    "ids": {"contact": ["person", 1, 2]},
    "dialect": {"delimiter": ";"},
}
OK = Attempt(Result.OK, http_status=201, body=b'{"id": 7}', seconds=0.1)
BUSY = Attempt(Result.TRANSIENT, "unavailable", 503)
REFUSED = Attempt(Result.PERMANENT, "forbidden", 403)
LOST = Attempt(Result.AMBIGUOUS, "timeout")
LAST_WORDS = {
    Status.LINKED: (OK, ""),
    Status.REJECTED: (REFUSED, "forbidden"),
    Status.RETRYABLE: (BUSY, "unavailable"),
    Status.UNKNOWN: (LOST, "timeout"),
}

Make = Callable[..., Path]


def pair(row: int) -> Pair:
    return Pair(row, row * 10, 1, row)


def settle(store: Store, row: int, status: Status) -> None:
    attempt, reason = LAST_WORDS[status]
    store.settle([Outcome(pair(row), status, (attempt,), reason, attempt.http_status)])


@pytest.fixture
def run(tmp_path: Path) -> Make:
    """Make the ledger of a run whose rows ended so; None was sent when the run was killed."""

    def make(*ends: Status | None) -> Path:
        path = tmp_path / "run.db"
        with closing(connect(path, mode="rwc")) as db:
            store = Store(db)
            store.put_meta({"run_id": "run", **FACTS})
            store.begin_session()
            rows = range(1, len(ends) + 1)
            store.admit([(Row(n, n * 10, ("1", str(n)), "1", str(n)), pair(n).key) for n in rows])
            store.claim(len(ends), look_first=True)
            store.looked([row for row, end in enumerate(ends, 1) if end is not Status.NOT_ATTEMPTED])
            for row, end in enumerate(ends, 1):
                if end not in (None, Status.NOT_ATTEMPTED):
                    settle(store, row, end)
        return path

    return make


def claimed(path: Path) -> list[Pair]:
    with closing(connect(path, mode="rw")) as db:
        store = Store(db)
        store.put_meta({"run_id": path.stem, **FACTS})
        store.begin_session()
        return store.claim(100)


def counts(path: Path) -> dict[str, int]:
    with LedgerReader(path) as reader:
        assert audit(reader) == []
        return {str(status): count for status, count in reader.counts().items() if count}


def test_only_what_is_worth_another_try_is_taken_with_its_line_and_what_may_be_there_in_doubt(
    run: Make, tmp_path: Path
) -> None:
    parent = run(
        *(Status.LINKED, Status.RETRYABLE, Status.REJECTED),
        *(Status.UNKNOWN, Status.NOT_ATTEMPTED, None),
    )
    branch_ledger(tmp_path / "retry.db", parent)
    assert counts(tmp_path / "retry.db") == {"not_attempted": 2, "unknown": 2}
    assert claimed(tmp_path / "retry.db") == [
        Pair(1, 20, 1, 2),
        Pair(2, 40, 1, 4, in_doubt=True, pre=PreState.ABSENT),
        Pair(3, 50, 1, 5),
        Pair(4, 60, 1, 6, in_doubt=True, pre=PreState.ABSENT),
    ]


def test_its_rows_are_numbered_and_written_as_in_the_input_of_the_first_run(
    run: Make, tmp_path: Path
) -> None:
    branch_ledger(tmp_path / "retry.db", run(Status.LINKED, Status.RETRYABLE, None))
    claimed(tmp_path / "retry.db")
    branch_ledger(tmp_path / "again.db", tmp_path / "retry.db")
    for path in (tmp_path / "retry.db", tmp_path / "again.db"):
        with LedgerReader(path) as reader:
            rows = list(reader.rows([Status.NOT_ATTEMPTED, Status.UNKNOWN]))
            facts = reader.meta()
        assert [(row.row, row.line, row.cells) for row in rows] == [(2, 20, ("1", "2")), (3, 30, ("1", "3"))]
        assert {name: facts[name] for name in ("columns", "ids", "dialect")} == {
            name: FACTS[name] for name in ("columns", "ids", "dialect")
        }
        assert facts["input_complete"] is True


def test_what_a_rollback_has_removed_since_is_in_no_doubt(run: Make, tmp_path: Path) -> None:
    parent = run(Status.UNKNOWN, None, Status.UNKNOWN)
    with closing(connect(parent, mode="rw")) as db:
        db.execute("INSERT INTO undone VALUES (1, 1, 'removed', '', 200, 2), (2, 1, 'gone', '', NULL, 2)")
    branch_ledger(tmp_path / "retry.db", parent)
    assert [(one.in_doubt, one.pre) for one in claimed(tmp_path / "retry.db")] == [
        (False, PreState.UNREAD),
        (False, PreState.UNREAD),
        (True, PreState.ABSENT),
    ]


def test_a_link_that_a_queue_has_named_twice_is_asked_for_once(tmp_path: Path) -> None:
    parent = tmp_path / "queue.db"
    with closing(connect(parent, mode="rwc")) as db:
        store = Store(db)
        store.put_meta({"run_id": "queue", **FACTS})
        store.begin_session()
        for name in ("a", "b"):
            row = Row(0, 0, ("1", "7"), "1", "7")
            (arrival,) = store.take_in([Delivery(name, row, Pair(0, 0, 1, 7))])
            assert arrival.pair is not None
            store.settle([Outcome(arrival.pair, Status.RETRYABLE, (BUSY,), "unavailable", 503)])
    branch_ledger(tmp_path / "retry.db", parent)
    assert counts(tmp_path / "retry.db") == {"not_attempted": 1, "duplicate": 1}
    with LedgerReader(tmp_path / "retry.db") as reader:
        (twin,) = reader.rows([Status.DUPLICATE])
    assert twin.reason == "same pair as line 1"


@pytest.mark.parametrize("retry_first", [False, True])
@pytest.mark.parametrize("end", [Status.LINKED, Status.REJECTED, Status.RETRYABLE, Status.UNKNOWN, None])
def test_a_run_and_its_retries_have_each_row_once_in_input_order(
    run: Make, tmp_path: Path, end: Status | None, retry_first: bool
) -> None:
    parent, retry, again = (
        run(Status.LINKED, Status.RETRYABLE, Status.UNKNOWN),
        tmp_path / "a",
        tmp_path / "b",
    )
    for older, path in ((parent, retry), (retry, again)):
        branch_ledger(path, older)
        with closing(connect(path, mode="rw")) as db:
            store = Store(db)
            store.put_meta({"run_id": path.name, "parent": older.stem, "origin": "run", **FACTS})
            store.begin_session()
            for one in store.claim(100):
                status = Status.RETRYABLE if path == retry else end
                if status is not None:
                    attempt, reason = LAST_WORDS[status]
                    store.settle([Outcome(one, status, (attempt,), reason, attempt.http_status)])
    sources = [parent, retry, again]
    merged = tmp_path / "all.db"
    merge_ledgers(merged, sources[::-1] if retry_first else sources, {"run_id": "all", "merged": [], **FACTS})
    best = "retryable" if end in (None, Status.UNKNOWN) else str(end)
    expected = {"linked": 1}
    expected[best] = expected.get(best, 0) + 2
    assert counts(merged) == expected
    with LedgerReader(merged) as reader:
        assert [(row.row, row.line) for row in reader.rows(list(Status))] == [(1, 10), (2, 20), (3, 30)]


def test_parts_that_a_retry_was_made_of_are_merged_with_it_too(run: Make, tmp_path: Path) -> None:
    """Also if the run that was retried was itself merged of others."""
    parent = run(Status.LINKED, Status.RETRYABLE)
    merge_ledgers(tmp_path / "m.db", [parent], {"run_id": "m", "merged": ["run"], **FACTS})
    branch_ledger(tmp_path / "r.db", tmp_path / "m.db")
    with closing(connect(tmp_path / "r.db", mode="rw")) as db:
        store = Store(db)
        store.put_meta({"run_id": "r", "parent": "m", "origin": "m", **FACTS})
        store.begin_session()
        (one,) = store.claim(100)
        store.settle([Outcome(one, Status.LINKED, (OK,), "", 201)])
    for name, first in (("x", parent), ("y", tmp_path / "m.db")):
        facts = {"run_id": name, "merged": [], **FACTS}
        merge_ledgers(tmp_path / f"{name}.db", [first, tmp_path / "r.db"], facts)
        assert counts(tmp_path / f"{name}.db") == {"linked": 2}


def test_a_parent_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"gone\.db: no such ledger"):
        branch_ledger(tmp_path / "retry.db", tmp_path / "gone.db")


def test_a_ledger_that_cannot_be_made_is_named(run: Make, tmp_path: Path) -> None:
    parent = run(None)
    with closing(connect(parent, mode="rw")) as db:
        db.execute("DROP TABLE undone")
    with pytest.raises(LedgerError, match=r"retry\.db"):
        branch_ledger(tmp_path / "retry.db", parent)
