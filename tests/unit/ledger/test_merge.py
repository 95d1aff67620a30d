"""Ledgers of several workers made into one: each message once, as the best that became of it."""

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.unit.judged import judged
from worker.errors import LedgerError
from worker.ledger import Delivery, LedgerReader, audit, merge_ledgers
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Kind, Outcome, Pair, Reject, Request, Result, Row, Status

Work: TypeAlias = Callable[[Store], None]

FACTS = {
    "run_id": "merged",
    "portal": "https://portal.example",
    "input_path": "",
    "input_name": "2 runs",
    "settings": {},
    "merged": ["a", "b"],
}
OK = Attempt(Result.OK, http_status=201, body=b'{"id": 7}', seconds=0.1)
BUSY = Attempt(Result.TRANSIENT, "unavailable", 503)
REFUSED = Attempt(Result.PERMANENT, "not_found", 404)


def delivery(number: int, *, fault: str = "") -> Delivery:
    verdict = Reject(0, 0, fault) if fault else Pair(0, 0, number, 7)
    return Delivery(f"m{number}", Row(0, 0, (str(number), "7"), str(number), "7", fault), verdict)


def take(store: Store, number: int) -> Pair:
    store.note([Request(Kind.LINK, Result.TRANSIENT, 1, 1, ("unavailable",), "unavailable", 503)])
    (arrival,) = store.take_in([delivery(number)])
    assert arrival.pair is not None
    return arrival.pair


def ends(status: Status | None, number: int = 1) -> Work:
    """A worker that takes message ``number`` and leaves it so."""

    def work(store: Store) -> None:
        if status is Status.INVALID:
            store.take_in([delivery(number, fault="not JSON")])
            return
        pair = take(store, number)
        match status:
            case Status.LINKED:
                store.settle([Outcome(pair, status, (OK,), http_status=201)])
            case Status.REJECTED:
                store.settle([Outcome(pair, status, (REFUSED,), "not_found", 404)])
            case Status.RETRYABLE | Status.UNKNOWN:
                store.settle([Outcome(pair, status, (BUSY, BUSY), "unavailable", 503)])
            case Status.NOT_ATTEMPTED:
                store.release([])

    return work


@pytest.fixture
def ledger(tmp_path: Path) -> Callable[..., Path]:
    names = (f"run-{letter}" for letter in "abcdef")

    def make(*works: Work, kind: str = "queue") -> Path:
        name = next(names)
        path = tmp_path / f"{name}.db"
        with closing(connect(path, mode="rwc")) as db:
            store = Store(db)
            store.put_meta({**FACTS, "run_id": name, "input_kind": kind})
            store.begin_session()
            for work in works:
                work(store)
        return path

    return make


def counts(path: Path) -> dict[str, int]:
    with LedgerReader(path) as reader:
        assert audit(reader) == []
        return {str(status): count for status, count in reader.counts().items() if count}


BEST_FIRST = (
    Status.LINKED,
    Status.REJECTED,
    Status.RETRYABLE,
    Status.UNKNOWN,
    None,
    Status.NOT_ATTEMPTED,
)


@pytest.mark.parametrize(("better", "worse"), list(itertools.combinations(BEST_FIRST, 2)))
@pytest.mark.parametrize("first", ["better", "worse"])
def test_a_message_that_two_workers_had_counts_once_as_the_best_that_became_of_it(
    ledger: Callable[..., Path], tmp_path: Path, better: Status, worse: Status | None, first: str
) -> None:
    paths = [ledger(ends(better)), ledger(ends(worse))]
    merge_ledgers(tmp_path / "all.db", paths if first == "better" else paths[::-1], FACTS)
    assert counts(tmp_path / "all.db") == {str(better or Status.UNKNOWN): 1}


def test_attempts_and_failures_of_all_workers_are_kept_and_one_contact(
    ledger: Callable[..., Path], tmp_path: Path
) -> None:
    paths = [ledger(ends(Status.RETRYABLE)), ledger(ends(Status.LINKED)), ledger(ends(Status.LINKED))]
    merge_ledgers(tmp_path / "all.db", paths, FACTS)
    with LedgerReader(tmp_path / "all.db") as reader:
        (row,) = reader.rows([Status.LINKED])
        assert (row.attempts, row.http_status, row.reason) == (4, 201, "")
        assert list(reader.query("SELECT body FROM contacts")) == [('{"id": 7}',)]
        assert reader.traffic().retries_by_reason == {"unavailable": 3}
        assert (reader.traffic().attempts, reader.traffic().retries) == (3, 3)


def test_messages_of_different_workers_are_all_there_numbered_without_a_gap(
    ledger: Callable[..., Path], tmp_path: Path
) -> None:
    def duplicate(store: Store) -> None:
        store.take_in([Delivery("twin", Row(0, 0, (), "3", "7"), Pair(0, 0, 3, 7))])

    one = ledger(ends(Status.LINKED, 1), ends(Status.INVALID, 2), ends(None, 3), duplicate)
    two = ledger(ends(Status.REJECTED, 4), ends(Status.LINKED, 3), ends(Status.LINKED, 5))
    merge_ledgers(tmp_path / "all.db", [one, two], FACTS)
    assert counts(tmp_path / "all.db") == {"linked": 3, "duplicate": 1, "invalid": 1, "rejected": 1}


def test_the_same_identity_on_another_pair_is_another_row_of_the_merged_ledger(
    ledger: Callable[..., Path], tmp_path: Path
) -> None:
    def works_on(*contacts: int) -> Work:
        def work(store: Store) -> None:
            for contact in contacts:
                row = Row(0, 0, ("1", str(contact)), "1", str(contact))
                (arrival,) = store.take_in([Delivery("order-7", row, Pair(0, 0, 1, contact))])
                assert arrival.pair is not None
                store.settle([Outcome(arrival.pair, Status.LINKED, (OK,))])

        return work

    merge_ledgers(tmp_path / "all.db", [ledger(works_on(1, 2)), ledger(works_on(3, 2, 4))], FACTS)
    assert counts(tmp_path / "all.db") == {"linked": 4}
    with LedgerReader(tmp_path / "all.db") as reader:
        assert sorted(row.contact_id or 0 for row in reader.rows([Status.LINKED])) == [1, 2, 3, 4]


def test_rows_of_files_are_never_the_same_row(ledger: Callable[..., Path], tmp_path: Path) -> None:
    def admits(store: Store) -> None:
        store.admit([judged(Pair(1, 5, 1, 7), "1", "7")])
        (pair,) = store.claim(1)
        store.settle([Outcome(pair, Status.LINKED, (OK,))])

    merge_ledgers(tmp_path / "all.db", [ledger(admits, kind="file"), ledger(admits, kind="file")], FACTS)
    assert counts(tmp_path / "all.db") == {"linked": 2}
    with LedgerReader(tmp_path / "all.db") as reader:
        assert [row.line for row in reader.rows([Status.LINKED])] == [5, 5]


@pytest.mark.parametrize(
    ("starts", "sessions"),
    [
        ((100.0, 103.0), [(100.0, 12.5, 2.0)]),
        ((103.0, 100.0), [(100.0, 12.5, 2.0)]),
        ((100.0, 100.5), [(100.0, 10.0, 2.0)]),
        ((100.0, 500.0), [(100.0, 10.0, 1.0), (500.0, 9.5, 1.0)]),
    ],
)
def test_its_sessions_are_the_stretches_in_which_any_of_the_runs_was_at_work(
    ledger: Callable[..., Path],
    tmp_path: Path,
    starts: tuple[float, float],
    sessions: list[tuple[float, float, float]],
) -> None:
    paths = [ledger(), ledger()]
    lengths = {100.0: 10.0, 100.5: 9.5, 103.0: 9.5, 500.0: 9.5}
    for path, started in zip(paths, starts, strict=True):
        with closing(connect(path, mode="rw")) as db:
            db.execute(
                "UPDATE sessions SET started_at = ?, seconds = ?, paused_seconds = 1",
                (started, lengths[started]),
            )
    merge_ledgers(tmp_path / "all.db", paths, FACTS)
    with LedgerReader(tmp_path / "all.db") as reader:
        assert reader.sessions() == sessions
        assert reader.facts() == FACTS


def test_runs_that_never_began_make_an_empty_one(ledger: Callable[..., Path], tmp_path: Path) -> None:
    path = ledger()
    with closing(connect(path, mode="rw")) as db:
        db.execute("DELETE FROM sessions")
    merge_ledgers(tmp_path / "all.db", [path], FACTS)
    assert counts(tmp_path / "all.db") == {}


def test_a_source_that_is_no_ledger_is_named_and_the_others_are_untouched(
    ledger: Callable[..., Path], tmp_path: Path
) -> None:
    good = ledger(ends(Status.LINKED))
    before = good.read_bytes()
    (tmp_path / "bad.db").write_text("no ledger")
    with pytest.raises(LedgerError, match=r"bad\.db: "):
        merge_ledgers(tmp_path / "all.db", [good, tmp_path / "bad.db"], FACTS)
    assert good.read_bytes() == before


def test_a_source_that_breaks_in_the_middle_is_an_error_of_the_new_ledger(
    ledger: Callable[..., Path], tmp_path: Path
) -> None:
    path = ledger(ends(Status.LINKED))
    with closing(connect(path, mode="rw")) as db:
        db.execute("DROP TABLE failures")
    with pytest.raises(LedgerError, match=r"all\.db: no such table"):
        merge_ledgers(tmp_path / "all.db", [path], FACTS)
