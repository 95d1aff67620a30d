"""What can be done to a ledger: against exact cases, and against a model of a few lines."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from tests.unit.judged import judged
from worker.ledger.base import Admitted
from worker.ledger.reader import LedgerReader, RowRecord
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import MAX_ID, Attempt, Outcome, Pair, Reject, Result, Row, Status

OK = Attempt(Result.OK, http_status=201, seconds=0.25, body=b'{"id":7}')
SETTLED = (Status.LINKED, Status.ALREADY_LINKED, Status.REJECTED, Status.RETRYABLE, Status.UNKNOWN)


def pair(row: int, opportunity: int = 1, contact: int | None = None) -> Pair:
    return Pair(row, row + 1, opportunity, row if contact is None else contact)


def chunk(*verdicts: Pair | Reject) -> list[tuple[Row, int | str]]:
    return [judged(verdict) for verdict in verdicts]


def records(path: Path) -> list[RowRecord]:
    with LedgerReader(path) as reader:
        return list(reader.rows(list(Status)))


def states(path: Path) -> list[tuple[int, Status, str]]:
    return [(record.row, record.status, record.reason) for record in records(path)]


def test_admit_counts_how_a_chunk_was_judged(store: Store) -> None:
    assert store.admit([]) == Admitted()
    assert store.admit(chunk(pair(1), pair(2), Reject(3, 4, "odd"), pair(4, contact=1))) == Admitted(2, 1, 1)


def test_admit_settles_rejects_with_their_reason(path: Path, store: Store) -> None:
    store.admit([judged(Reject(1, 9, "contact_id is empty"), "12", "")])

    (record,) = records(path)
    assert record == RowRecord(1, 9, ("12", ""), None, None, Status.INVALID, "contact_id is empty", None, 0)


def test_admit_finds_duplicates_within_a_chunk(path: Path, store: Store) -> None:
    assert store.admit(chunk(pair(1, 5, 6), pair(2, 5, 6), pair(3, 6, 5))) == Admitted(2, 1, 0)

    assert [status for _, status, _ in states(path)] == [
        Status.NOT_ATTEMPTED,
        Status.DUPLICATE,
        Status.NOT_ATTEMPTED,
    ]


def test_admit_finds_duplicates_across_chunks_and_names_the_first_line(path: Path, store: Store) -> None:
    store.admit(chunk(pair(1, 5, 6)))
    store.admit(chunk(pair(2, 5, 6)))

    assert states(path)[1] == (2, Status.DUPLICATE, "same pair as line 2")


def test_admit_finds_duplicates_after_reopening(path: Path, store: Store, reopened: Store) -> None:
    store.admit(chunk(pair(1, 5, 6)))

    assert reopened.admit(chunk(pair(2, 5, 6), pair(3, 5, 7))) == Admitted(1, 1, 0)
    assert states(path)[1] == (2, Status.DUPLICATE, "same pair as line 2")


def test_a_duplicate_of_a_pair_that_is_settled_is_one_all_the_same(store: Store) -> None:
    store.admit(chunk(pair(1, 5, 6)))
    store.claim(1)
    store.settle([Outcome(pair(1, 5, 6), Status.REJECTED, (OK,))])

    assert store.admit(chunk(pair(2, 5, 6))) == Admitted(0, 1, 0)


def test_ids_up_to_the_largest_come_back_as_they_went_in(path: Path, store: Store) -> None:
    wanted = [pair(1, MAX_ID, MAX_ID), pair(2, MAX_ID, 1), pair(3, 1, MAX_ID)]
    store.admit(chunk(*wanted))

    assert [(r.opportunity_id, r.contact_id) for r in records(path)] == [
        (p.opportunity_id, p.contact_id) for p in wanted
    ]
    assert store.claim(9) == wanted


@given(
    cells=st.lists(
        st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")), max_size=5
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_cells_survive_whatever_bytes_they_came_from(path: Path, cells: list[str]) -> None:
    """A byte that is no UTF-8 is a lone surrogate here, which SQLite would not take as text."""
    with closing(connect(path, mode="rwc")) as connection:
        store = Store(connection)
        store.admit([judged(pair(1), *cells)])

        assert records(path)[0].cells == tuple(cells)
        assert store.known(0, 9) == [(2, tuple(cells), pair(1).key)]
    path.unlink()


def test_claim_gives_pairs_in_input_order_and_each_once(store: Store) -> None:
    store.admit(chunk(*(pair(row) for row in range(1, 6))))

    assert store.claim(2) == [pair(1), pair(2)]
    assert store.claim(2) == [pair(3), pair(4)]
    assert store.claim(2) == [pair(5)]
    assert store.claim(2) == []


def test_claim_goes_on_with_rows_that_were_admitted_meanwhile(store: Store) -> None:
    store.admit(chunk(pair(1)))
    assert store.claim(9) == [pair(1)]
    assert store.claim(9) == []
    store.admit(chunk(pair(2)))

    assert store.claim(9) == [pair(2)]


def test_claim_passes_over_rows_that_are_settled(store: Store) -> None:
    store.admit(chunk(pair(1), Reject(2, 3, "odd"), pair(3, contact=1), pair(4)))

    assert store.claim(9) == [pair(1), pair(4)]


def test_a_later_session_claims_what_has_no_outcome(store: Store, reopened: Store) -> None:
    store.admit(chunk(pair(1), pair(2), pair(3)))
    store.claim(2)
    store.settle([Outcome(pair(1), Status.LINKED, (OK,))])

    assert reopened.claim(9) == [replace(pair(2), in_doubt=True), pair(3)]


def test_a_row_without_outcome_reads_as_not_attempted_until_claimed_and_then_as_unknown(
    path: Path, store: Store
) -> None:
    store.admit(chunk(pair(1), pair(2)))
    assert states(path)[0] == (1, Status.NOT_ATTEMPTED, "run_ended")
    store.claim(1)

    assert states(path) == [(1, Status.UNKNOWN, "no_answer"), (2, Status.NOT_ATTEMPTED, "run_ended")]


def test_settle_stores_the_outcome_and_the_contact(path: Path, store: Store) -> None:
    store.admit([judged(pair(1), "a", "b")])
    store.claim(1)
    failed = Attempt(Result.TRANSIENT, "unavailable", 503, seconds=0.5)
    done = Attempt(Result.OK, http_status=201, seconds=0.25, body='{"name":"Zoë"}'.encode())
    store.settle([Outcome(pair(1), Status.LINKED, (failed, done), http_status=201)])

    assert records(path) == [RowRecord(1, 2, ("a", "b"), 1, 1, Status.LINKED, "", 201, 2)]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT body FROM contacts").fetchall() == [('{"name":"Zoë"}',)]


def test_settle_stores_every_failed_attempt_with_its_session(path: Path, store: Store) -> None:
    store.admit(chunk(pair(1)))
    store.claim(1)
    attempts = (
        Attempt(Result.THROTTLED, "throttled", 429, seconds=0.125),
        Attempt(Result.AMBIGUOUS, "timeout", None, seconds=30.0),
    )
    store.settle([Outcome(pair(1), Status.UNKNOWN, attempts, "timeout")])

    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM failures ORDER BY number").fetchall() == [
            (1, 1, 1, "throttled", "throttled", 429),
            (1, 1, 2, "ambiguous", "timeout", None),
        ]
        assert db.execute("SELECT count(*) FROM contacts").fetchall() == [(0,)]


def test_settled_rows_tell_when_they_were_sent_and_settled(path: Path, store: Store) -> None:
    store.admit(chunk(pair(1), Reject(2, 3, "odd"), pair(3)))
    store.claim(1)
    store.settle([Outcome(pair(1), Status.LINKED, (OK,))])

    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT sent_at <= settled_at FROM rows WHERE row = 1").fetchone() == (1,)
        assert db.execute("SELECT sent_at IS NULL, settled_at > 0 FROM rows WHERE row = 2").fetchone() == (
            1,
            1,
        )
        assert db.execute("SELECT sent_at IS NULL AND settled_at IS NULL FROM rows WHERE row = 3").fetchone()[
            0
        ]


def test_release_takes_back_the_intents_of_this_session(path: Path, store: Store) -> None:
    store.admit(chunk(pair(1), pair(2), pair(3)))
    store.claim(2)
    store.settle([Outcome(pair(1), Status.LINKED, (OK,))])
    store.release([])

    assert states(path) == [
        (1, Status.LINKED, ""),
        (2, Status.NOT_ATTEMPTED, "run_ended"),
        (3, Status.NOT_ATTEMPTED, "run_ended"),
    ]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT row, session FROM rows ORDER BY row").fetchall() == [
            (1, 1),
            (2, None),
            (3, None),
        ]


def test_release_keeps_intents_that_may_have_reached_the_portal(path: Path, store: Store) -> None:
    store.admit(chunk(pair(1), pair(2), pair(3)))
    store.claim(3)
    store.release([2])
    store.release([3, 2])

    assert [status for _, status, _ in states(path)] == [
        Status.NOT_ATTEMPTED,
        Status.UNKNOWN,
        Status.NOT_ATTEMPTED,
    ]


def test_release_keeps_what_an_earlier_session_left_behind(path: Path, store: Store, reopened: Store) -> None:
    """The crashed session may have sent it: that the later one did not is no proof of anything."""
    store.admit(chunk(pair(1), pair(2)))
    store.claim(1)
    reopened.claim(2)
    reopened.release([])

    assert states(path) == [(1, Status.UNKNOWN, "no_answer"), (2, Status.NOT_ATTEMPTED, "run_ended")]


def test_what_was_released_is_claimed_by_the_next_session_and_not_by_this_one(
    store: Store, reopened: Store
) -> None:
    store.admit(chunk(pair(1)))
    store.claim(1)
    store.release([])

    assert store.claim(1) == []
    assert reopened.claim(1) == [pair(1)]


def test_sessions_are_counted_from_one_and_beaten_one_by_one(
    path: Path, store: Store, reopened: Store
) -> None:
    store.beat(1.0, 0.5)
    reopened.beat(9.0, 0.0)
    store.beat(2.0, 0.75)

    with LedgerReader(path) as reader:
        assert [(seconds, paused) for _, seconds, paused in reader.sessions()] == [(2.0, 0.75), (9.0, 0.0)]
    assert reopened.begin_session() == 3


def test_facts_are_set_replaced_and_dropped(path: Path, store: Store) -> None:
    store.put_meta({"a": 1, "b": [None, "ü\udcff"], "c": {"d": True}})
    store.put_meta({"a": 2})
    store.drop_meta(["c", "never there"])

    with LedgerReader(path) as reader:
        assert reader.meta() == {"a": 2, "b": [None, "ü\udcff"]}


def test_known_rows_come_in_order_so_many_at_a_time(store: Store) -> None:
    assert store.known(0, 9) == []
    store.admit([judged(pair(1), "a"), judged(Reject(2, 3, "odd"), "b", "c")])

    assert store.known(0, 9) == [(2, ("a",), pair(1).key), (3, ("b", "c"), None)]
    assert store.known(0, 1) == store.known(0, 9)[:1]
    assert store.known(1, 1) == store.known(0, 9)[1:]


def test_a_fact_that_is_not_known_is_none(store: Store) -> None:
    store.put_meta({"columns": ["a", "b"]})

    assert store.get_meta("columns") == ["a", "b"]
    assert store.get_meta("column") is None


class LedgerAgainstModel(RuleBasedStateMachine):
    """A ledger and a dictionary live through the same sessions and crashes, and must agree throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.rows: list[dict[str, Any]] = []
        self.session = 0
        self.open("rwc")

    def open(self, mode: str) -> None:
        self.db = connect(self.path, mode=mode)
        self.db.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
        self.store = Store(self.db)
        self.session += 1
        assert self.store.begin_session() == self.session
        self.cursor = 0
        self.claimed: list[Pair] = []
        self.doubt: set[int] = set()

    def teardown(self) -> None:
        self.db.close()
        self.folder.cleanup()

    @rule(ids=st.lists(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=6))
    def admit(self, ids: list[tuple[int, int] | None]) -> None:
        verdicts: list[Pair | Reject] = []
        seen = {row["pair"] for row in self.rows}
        for both in ids:
            number = len(self.rows) + 1
            status = None if both and both not in seen else Status.DUPLICATE if both else Status.INVALID
            seen.add(both)
            verdicts.append(Pair(number, number, *both) if both else Reject(number, number, "odd"))
            self.rows.append({"pair": both, "status": status, "sent": None})
        added = [row["status"] for row in self.rows[len(self.rows) - len(ids) :]]

        assert self.store.admit(chunk(*verdicts)) == Admitted(
            added.count(None), added.count(Status.DUPLICATE), added.count(Status.INVALID)
        )

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        open_rows = [
            number
            for number, row in enumerate(self.rows, 1)
            if number > self.cursor and row["status"] is None
        ][:limit]
        found = self.store.claim(limit)

        assert [p.row for p in found] == open_rows
        assert [(p.opportunity_id, p.contact_id) for p in found] == [
            self.rows[number - 1]["pair"] for number in open_rows
        ]
        for number in open_rows:
            self.cursor = number
            self.rows[number - 1]["sent"] = self.rows[number - 1]["sent"] or self.session
        self.claimed += found

    @rule(which=st.randoms(use_true_random=False), status=st.sampled_from(SETTLED))
    def settle(self, which: Any, status: Status) -> None:
        if self.claimed:
            taken = self.claimed.pop(which.randrange(len(self.claimed)))
            self.store.settle([Outcome(taken, status, (OK,), str(status))])
            self.rows[taken.row - 1]["status"] = status

    @rule(which=st.randoms(use_true_random=False))
    def release(self, which: Any) -> None:
        doubt = [p.row for p in self.claimed if which.random() < 0.5]
        self.store.release(doubt)
        self.doubt.update(doubt)
        for number, row in enumerate(self.rows, 1):
            if row["status"] is None and row["sent"] == self.session and number not in self.doubt:
                row["sent"] = None

    @rule()
    def crash_and_begin_a_new_session(self) -> None:
        self.db.close()
        self.open("rw")

    @invariant()
    def states_are_those_of_the_model_and_sum_to_the_rows(self) -> None:
        expected = [
            row["status"] or (Status.UNKNOWN if row["sent"] else Status.NOT_ATTEMPTED) for row in self.rows
        ]
        with LedgerReader(self.path) as reader:
            counts = reader.counts()
            assert [record.status for record in reader.rows(list(Status))] == expected
        assert counts == {status: expected.count(status) for status in Status}
        assert sum(counts.values()) == len(self.rows)


def test_states_sum_to_the_rows_through_all_sessions_and_crashes() -> None:
    run_state_machine_as_test(LedgerAgainstModel, settings=settings(max_examples=40, stateful_step_count=25))


def test_a_duplicate_names_the_line_of_the_first_also_within_one_chunk(path: Path, store: Store) -> None:
    store.admit(chunk(pair(1), pair(2, contact=1)))
    store.admit(chunk(pair(3, contact=1)))

    assert [record.reason for record in records(path)] == [
        "run_ended",
        "same pair as line 2",
        "same pair as line 2",
    ]


def test_attempts_of_a_pair_left_unsettled_count_with_those_of_the_session_that_settles_it(
    path: Path, store: Store, reopened: Store
) -> None:
    lost = Attempt(Result.AMBIGUOUS, "timeout", seconds=1.0)
    store.admit(chunk(pair(1)))
    store.claim(1)
    store.count(1, [lost, Attempt(Result.TRANSIENT, "unavailable", 503, seconds=0.1)])
    (one,) = reopened.claim(1)
    reopened.settle([Outcome(one, Status.LINKED, (lost, Attempt(Result.OK, seconds=0.2)), "", 201)])

    assert [record.attempts for record in records(path)] == [4]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT session, number, reason FROM failures ORDER BY number").fetchall() == [
            (1, 1, "timeout"),
            (1, 2, "unavailable"),
            (2, 3, "timeout"),
        ]
