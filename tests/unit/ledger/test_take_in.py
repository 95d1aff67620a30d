"""Messages taken in: each is one row however often it comes, and the ledger agrees with itself throughout."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.unit.judged import judged
from worker.ledger import WORN_OUT, Arrival, Delivery, LedgerReader, RowRecord, audit
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import MAX_ID, Attempt, Outcome, Pair, Reject, Result, Row, Status

AGAIN = (Status.RETRYABLE, Status.UNKNOWN)
FINAL = (Status.LINKED, Status.ALREADY_LINKED, Status.REJECTED)

_LAST = {
    Status.LINKED: Attempt(Result.OK, http_status=201, seconds=0.25, body=b'{"id":7}'),
    Status.ALREADY_LINKED: Attempt(Result.PERMANENT, "seen", 200),
    Status.REJECTED: Attempt(Result.PERMANENT, "not_found", 404),
    Status.RETRYABLE: Attempt(Result.TRANSIENT, "unavailable", 503),
    Status.UNKNOWN: Attempt(Result.AMBIGUOUS, "timeout"),
}


def delivery(
    identity: str,
    ids: tuple[int, int] | None = (1, 1),
    *,
    again: bool = False,
    worn_out: bool = False,
    cells: tuple[str, ...] = (),
    life: str = "",
) -> Delivery:
    """A message about a pair; about none if there are no ids."""
    verdict = Reject(0, 0, "contact_id is empty") if ids is None else Pair(0, 0, *ids)
    row = Row(0, 0, cells, None, None)
    return Delivery(identity, row, verdict, again=again, worn_out=worn_out, life=life)


def settle(store: Store, pair: Pair | None, status: Status) -> None:
    assert pair is not None
    last = _LAST[status]
    store.settle([Outcome(pair, status, (last,), last.reason, last.http_status)])


def take(store: Store, one: Delivery) -> Arrival:
    (arrival,) = store.take_in([one])
    return arrival


def records(path: Path) -> list[RowRecord]:
    with LedgerReader(path) as reader:
        return list(reader.rows(list(Status)))


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A ledger that is audited when the test is over."""
    with closing(connect(path, mode="rwc")) as connection:
        store = Store(connection)
        store.begin_session()
        yield store
        with LedgerReader(path) as reader:
            assert audit(reader) == []


def test_a_fresh_message_is_a_row_whose_intent_is_noted(path: Path, store: Store) -> None:
    assert take(store, delivery("a", (5, 6), cells=("5", "6", "", ""))) == Arrival(
        1, None, "", Pair(1, 1, 5, 6), fresh=True
    )
    assert records(path) == [RowRecord(1, 1, ("5", "6", "", ""), 5, 6, Status.UNKNOWN, "no_answer", None, 0)]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT session, sent_at > 0, settled_at FROM rows").fetchone() == (1, 1, None)


def test_a_message_that_someone_else_had_is_in_doubt(store: Store) -> None:
    """Whoever had it may have sent it, and died before the broker was told."""
    assert take(store, delivery("a", again=True)).pair == Pair(1, 1, 1, 1, in_doubt=True)
    assert take(store, delivery("b", (1, 2))).pair == Pair(2, 2, 1, 2, in_doubt=False)


def test_the_largest_ids_come_back_as_they_went_in(store: Store) -> None:
    assert take(store, delivery("a", (MAX_ID, MAX_ID))).pair == Pair(1, 1, MAX_ID, MAX_ID)
    settle(store, Pair(1, 1, MAX_ID, MAX_ID), Status.RETRYABLE)
    assert take(store, delivery("a", (MAX_ID, MAX_ID))).pair == Pair(1, 1, MAX_ID, MAX_ID)


def test_a_message_that_comes_again_while_it_waits_is_the_same_row_and_not_sent_twice(store: Store) -> None:
    first, second = store.take_in([delivery("a"), delivery("a")])
    assert first.pair == Pair(1, 1, 1, 1)
    assert second == Arrival(1, None, "", None, fresh=False)
    assert take(store, delivery("a", again=True)) == second
    settle(store, first.pair, Status.LINKED)


@pytest.mark.parametrize("worn_out", [False, True])
def test_a_message_that_wears_out_while_it_waits_goes_on_waiting(store: Store, *, worn_out: bool) -> None:
    take(store, delivery("a"))
    assert take(store, delivery("a", worn_out=worn_out)) == Arrival(1, None, "", None, fresh=False)


@pytest.mark.parametrize("status", FINAL)
def test_a_message_that_has_its_last_word_is_not_sent_again(path: Path, store: Store, status: Status) -> None:
    settle(store, take(store, delivery("a")).pair, status)
    before = records(path)
    assert take(store, delivery("a", again=True)) == Arrival(
        1, status, _LAST[status].reason, None, fresh=False
    )
    assert records(path) == before


def test_a_reject_is_settled_with_its_reason_and_stays_so(path: Path, store: Store) -> None:
    wanted = Arrival(1, Status.INVALID, "contact_id is empty", None, fresh=True)
    assert take(store, delivery("a", None, cells=("1", ""))) == wanted
    assert take(store, delivery("a", None, cells=("1", ""), again=True, worn_out=True)) == Arrival(
        1, Status.INVALID, "contact_id is empty", None, fresh=False
    )
    assert records(path) == [
        RowRecord(1, 1, ("1", ""), None, None, Status.INVALID, "contact_id is empty", None, 0)
    ]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT session, sent_at, settled_at > 0 FROM rows").fetchone() == (None, None, 1)


@pytest.mark.parametrize(("status", "in_doubt"), [(Status.RETRYABLE, False), (Status.UNKNOWN, True)])
@pytest.mark.parametrize("again", [False, True])
def test_a_message_worth_another_try_gets_it_and_its_last_word_is_taken_back(
    path: Path, store: Store, status: Status, *, in_doubt: bool, again: bool
) -> None:
    settle(store, take(store, delivery("a", cells=("x",))).pair, status)
    assert records(path)[0].status is status

    arrival = take(store, delivery("a", again=again))

    assert arrival == Arrival(
        1, status, _LAST[status].reason, Pair(1, 1, 1, 1, in_doubt=in_doubt or again), fresh=False
    )
    assert records(path) == [RowRecord(1, 1, ("x",), 1, 1, Status.UNKNOWN, "no_answer", None, 1)]
    assert take(store, delivery("a")).pair is None
    settle(store, arrival.pair, Status.LINKED)
    assert records(path) == [RowRecord(1, 1, ("x",), 1, 1, Status.LINKED, "", 201, 2)]


@pytest.mark.parametrize("status", AGAIN)
def test_a_message_that_is_worn_out_keeps_its_last_word(path: Path, store: Store, status: Status) -> None:
    settle(store, take(store, delivery("a")).pair, status)
    before = records(path)
    assert take(store, delivery("a", again=True, worn_out=True)) == Arrival(
        1, status, _LAST[status].reason, None, fresh=False
    )
    assert records(path) == before


def test_a_message_that_comes_worn_out_is_not_sent_at_all(path: Path, store: Store) -> None:
    """It went from worker to worker and was never settled: it may be what kills them."""
    assert take(store, delivery("a", again=True, worn_out=True)) == Arrival(
        1, Status.RETRYABLE, WORN_OUT, None, fresh=True
    )
    assert take(store, delivery("b", None, worn_out=True)).status is Status.INVALID
    assert [(r.status, r.reason, r.attempts) for r in records(path)] == [
        (Status.RETRYABLE, WORN_OUT, 0),
        (Status.INVALID, "contact_id is empty", 0),
    ]


def test_a_message_put_back_after_it_was_worn_out_is_tried_anew(store: Store) -> None:
    take(store, delivery("a", worn_out=True))
    arrival = take(store, delivery("a"))
    assert arrival.pair == Pair(1, 1, 1, 1)
    settle(store, arrival.pair, Status.LINKED)


@pytest.mark.parametrize("again", [False, True])
def test_a_rejected_message_that_was_put_back_is_tried_anew_once_for_each_time(
    path: Path, store: Store, *, again: bool
) -> None:
    settle(store, take(store, delivery("a", cells=("x",))).pair, Status.REJECTED)
    for life in ("1", "2"):
        arrival = take(store, delivery("a", again=again, life=life))
        anew = Pair(1, 1, 1, 1, in_doubt=again)
        assert arrival == Arrival(1, Status.REJECTED, "not_found", anew, fresh=False)
        assert take(store, delivery("a", again=True, life=life)) == Arrival(1, None, "", None, fresh=False)
        settle(store, arrival.pair, Status.REJECTED)
        # Handed out again, of whichever life: what is known of it is its last word.
        for known in ("", "1", life):
            assert take(store, delivery("a", again=True, life=known)) == Arrival(
                1, Status.REJECTED, "not_found", None, fresh=False
            )
    assert [(r.row, r.status, r.attempts) for r in records(path)] == [(1, Status.REJECTED, 3)]
    settle(store, take(store, delivery("a", life="3")).pair, Status.LINKED)
    assert records(path) == [RowRecord(1, 1, ("x",), 1, 1, Status.LINKED, "", 201, 4)]


@pytest.mark.parametrize("look_first", [False, True])
def test_of_a_message_that_is_tried_anew_nothing_is_taken_for_known(
    path: Path, store: Store, *, look_first: bool
) -> None:
    """In the dead letters it may have lain for a week, and others may have linked the pair."""
    settle(store, take(store, delivery("a")).pair, Status.REJECTED)
    store.looked([1])
    (arrival,) = store.take_in([delivery("a", life="1")], look_first=look_first)
    assert arrival.pair == Pair(1, 1, 1, 1)
    state = Status.NOT_ATTEMPTED if look_first else Status.UNKNOWN
    assert [(r.status, r.http_status, r.attempts) for r in records(path)] == [(state, None, 1)]
    store.looked([1])
    settle(store, arrival.pair, Status.REJECTED)


def test_a_message_that_another_worker_put_among_the_dead_letters_is_known_by_its_life(store: Store) -> None:
    settle(store, take(store, delivery("a", life="1")).pair, Status.REJECTED)
    assert take(store, delivery("a", again=True, life="1")).pair is None
    assert take(store, delivery("a", life="2")).pair == Pair(1, 1, 1, 1)
    # One that came while it was tried has had that try.
    assert take(store, delivery("a", life="3")).pair is None
    settle(store, Pair(1, 1, 1, 1), Status.REJECTED)
    assert take(store, delivery("a", again=True, life="3")).pair is None


@pytest.mark.parametrize("status", [Status.LINKED, Status.ALREADY_LINKED])
def test_a_message_that_is_linked_is_not_sent_again_though_it_was_put_back(
    path: Path, store: Store, status: Status
) -> None:
    settle(store, take(store, delivery("a")).pair, status)
    before = records(path)
    assert take(store, delivery("a", life="1")).pair is None
    assert records(path) == before


def test_what_is_no_pair_stays_so_though_it_was_put_back(path: Path, store: Store) -> None:
    take(store, delivery("a", None))
    before = records(path)
    assert take(store, delivery("a", None, life="1")) == Arrival(
        1, Status.INVALID, "contact_id is empty", None, fresh=False
    )
    assert records(path) == before


def test_a_message_that_comes_worn_out_in_a_new_life_keeps_its_last_word(path: Path, store: Store) -> None:
    settle(store, take(store, delivery("a")).pair, Status.REJECTED)
    before = records(path)
    assert take(store, delivery("a", again=True, worn_out=True, life="1")).pair is None
    assert records(path) == before


def test_of_two_messages_for_a_pair_that_are_put_back_together_one_is_a_duplicate(
    path: Path, store: Store
) -> None:
    settle(store, take(store, delivery("a")).pair, Status.REJECTED)
    settle(store, take(store, delivery("b")).pair, Status.REJECTED)
    first, second = store.take_in([delivery("a", life="1"), delivery("b", life="2")])
    assert first.pair == Pair(1, 1, 1, 1)
    assert second == Arrival(
        2, Status.DUPLICATE, "same pair as line 1", None, fresh=False, instead_of=Status.REJECTED
    )
    settle(store, first.pair, Status.LINKED)
    assert [(r.status, r.attempts) for r in records(path)] == [(Status.LINKED, 1 + 1), (Status.DUPLICATE, 1)]


def test_a_duplicate_that_another_worker_gave_up_is_tried_when_it_is_put_back(store: Store) -> None:
    """Its acknowledgement came too late, so it was handed to another, and is more than a duplicate now."""
    first, second = store.take_in([delivery("a"), delivery("b")])
    assert second.status is Status.DUPLICATE
    settle(store, first.pair, Status.LINKED)
    arrival = take(store, delivery("b", life="1"))
    assert arrival == Arrival(2, Status.DUPLICATE, "same pair as line 1", Pair(2, 2, 1, 1), fresh=False)
    settle(store, arrival.pair, Status.LINKED)


def test_a_pair_that_waits_in_another_row_makes_a_duplicate(path: Path, store: Store) -> None:
    first, second = store.take_in([delivery("a"), delivery("b", worn_out=True)])
    third = take(store, delivery("c", again=True))
    assert first.pair is not None
    assert second == Arrival(2, Status.DUPLICATE, "same pair as line 1", None, fresh=True)
    assert third == Arrival(3, Status.DUPLICATE, "same pair as line 1", None, fresh=True)
    settle(store, first.pair, Status.LINKED)
    assert take(store, delivery("b")) == Arrival(
        2, Status.DUPLICATE, "same pair as line 1", None, fresh=False
    )
    assert [r.status for r in records(path)] == [Status.LINKED, Status.DUPLICATE, Status.DUPLICATE]


@pytest.mark.parametrize("status", [*FINAL, *AGAIN])
def test_a_pair_that_is_settled_makes_none_for_the_link_may_be_gone(store: Store, status: Status) -> None:
    settle(store, take(store, delivery("a")).pair, status)
    assert take(store, delivery("b")) == Arrival(2, None, "", Pair(2, 2, 1, 1), fresh=True)
    # From now on it is this row that others are compared with.
    assert take(store, delivery("c")).reason == "same pair as line 2"


def test_a_reject_is_never_a_duplicate(store: Store) -> None:
    assert [a.status for a in store.take_in([delivery("a", None), delivery("b", None)])] == [
        Status.INVALID,
        Status.INVALID,
    ]


def test_rows_are_numbered_without_a_gap_across_batches_and_sessions(path: Path, store: Store) -> None:
    store.take_in([delivery("a", (1, 1)), delivery("b", None), delivery("a", (1, 1)), delivery("c", (1, 1))])
    store.take_in([])
    store.take_in([delivery("b", None), delivery("d", (1, 2))])
    with closing(connect(path, mode="rw")) as connection:
        later = Store(connection)
        later.begin_session()
        assert [a.row for a in later.take_in([delivery("c"), delivery("e", (9, 9)), delivery("a")])] == [
            3,
            5,
            1,
        ]
    assert [(r.row, r.line) for r in records(path)] == [(n, n) for n in range(1, 6)]


def test_identities_are_compared_to_the_letter(store: Store) -> None:
    names = ["a", "A", "a ", "", "ä", "a\0b", "a\0c", "1", "01", "x" * 10_000]
    arrivals = store.take_in([delivery(name, (1, at)) for at, name in enumerate(names, 1)])
    assert [arrival.row for arrival in arrivals] == list(range(1, len(names) + 1))


def test_the_same_identity_on_another_pair_is_another_row(path: Path, store: Store) -> None:
    """Publishers name messages after what they belong to: three contacts of order-7 are three pairs."""
    first, second, third = store.take_in([delivery("order-7", (1, n)) for n in (1, 2, 3)])
    assert [a.pair for a in (first, second, third)] == [Pair(n, n, 1, n) for n in (1, 2, 3)]
    settle(store, second.pair, Status.LINKED)
    settle(store, third.pair, Status.RETRYABLE)
    assert take(store, delivery("order-7", (1, 2))) == Arrival(2, Status.LINKED, "", None, fresh=False)
    assert take(store, delivery("order-7", (1, 3))).pair == Pair(3, 3, 1, 3)
    assert take(store, delivery("order-7", (1, 1))) == Arrival(1, None, "", None, fresh=False)
    assert len(records(path)) == 3


def test_the_same_identity_on_what_is_no_pair_is_a_row_for_each_content(path: Path, store: Store) -> None:
    cells = [("x", "2", "", ""), ("y", "2", "", ""), ("x", "2", "", "\udc80")]
    deliveries = [delivery("order-7", None, cells=one) for one in cells]
    arrivals = store.take_in([delivery("order-7", (1, 1)), *deliveries, *deliveries])
    assert [(a.row, a.fresh) for a in arrivals] == [
        (1, True),
        (2, True),
        (3, True),
        (4, True),
        (2, False),
        (3, False),
        (4, False),
    ]
    assert [r.cells for r in records(path)] == [(), *cells]


def test_cells_of_any_text_come_back_as_they_went_in(path: Path, store: Store) -> None:
    cells = ("1", "2", "a\0b\n\udc80'\"", "Zoë \U0001f600")
    take(store, delivery("a", None, cells=cells))
    assert records(path)[0].cells == cells


def test_release_takes_back_the_intents_of_messages(path: Path, store: Store) -> None:
    one, two, three = store.take_in([delivery(name, (1, at)) for at, name in enumerate("abc", 1)])
    settle(store, one.pair, Status.LINKED)
    store.release([two.row])
    assert [r.status for r in records(path)] == [Status.LINKED, Status.UNKNOWN, Status.NOT_ATTEMPTED]
    assert three.pair is not None


def test_waiting_gives_rows_without_an_outcome_beyond_one_in_order_with_their_cells(store: Store) -> None:
    verdicts: list[Pair | Reject] = [
        Pair(1, 2, 5, 6),
        Reject(2, 3, "odd"),
        Pair(3, 4, 5, 6),
        Pair(4, 5, 7, 8),
    ]
    store.admit([judged(v, f"cell {v.row}", "ü") for v in verdicts])
    first, last = (Pair(1, 2, 5, 6), ("cell 1", "ü")), (Pair(4, 5, 7, 8), ("cell 4", "ü"))
    assert store.waiting(0, 10) == [first, last]
    assert store.waiting(0, 1) == [first]
    assert store.waiting(1, 10) == [last]
    assert store.waiting(4, 10) == []
    assert [store.count_waiting(until) for until in range(6)] == [0, 1, 1, 1, 2, 2]
    # It makes no claim: what is asked for again comes again.
    assert store.waiting(0, 10) == [first, last]
    assert store.claim(10) == [first[0], last[0]]


def test_waiting_leaves_out_what_has_an_outcome(store: Store) -> None:
    one, two = store.take_in([delivery("a", (1, 1), cells=("x",)), delivery("b", (1, 2), cells=("y",))])
    settle(store, one.pair, Status.LINKED)
    assert store.waiting(0, 10) == [(Pair(2, 2, 1, 2), ("y",))]
    assert store.count_waiting(2) == 1
    assert two.pair is not None


@dataclass
class _Known:
    """What the model knows of a row."""

    ids: tuple[int, int] | None
    status: Status | None
    attempts: int = 0


class TakingInAgainstModel(RuleBasedStateMachine):
    """Messages of a few pairs come, come again and are settled; a dictionary must foretell every answer."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.db = connect(self.path, mode="rwc")
        self.db.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
        self.store = Store(self.db)
        self.store.begin_session()
        self.rows: list[_Known] = []
        self.names: dict[tuple[str, tuple[int, int] | None], int] = {}
        self.holder: dict[tuple[int, int], int] = {}
        self.waiting: dict[int, Pair] = {}
        self.lives: set[tuple[int, str]] = set()

    def teardown(self) -> None:
        self.db.close()
        self.folder.cleanup()

    @rule(
        came=st.lists(
            st.tuples(
                st.sampled_from("abcd"),
                st.none() | st.tuples(st.just(1), st.integers(1, 3)),
                st.booleans(),
                st.sampled_from([False, False, True]),
                st.sampled_from(["", "", "1", "2", "3"]),
            ),
            max_size=4,
        )
    )
    def take_in(self, came: list[tuple[str, tuple[int, int] | None, bool, bool, str]]) -> None:
        deliveries, expected = [], []
        for name, ids, again, worn_out, life in came:
            deliveries.append(delivery(name, ids, again=again, worn_out=worn_out, life=life))
            expected.append(self.foretell(name, ids, again=again, worn_out=worn_out, life=life))
        found = self.store.take_in(deliveries)
        assert [(a.row, a.status, a.pair, a.fresh) for a in found] == expected

    def foretell(
        self, name: str, ids: tuple[int, int] | None, *, again: bool, worn_out: bool, life: str
    ) -> tuple[int, Status | None, Pair | None, bool]:
        fresh = (name, ids) not in self.names
        row = self.names.setdefault((name, ids), len(self.rows) + 1)
        if fresh:
            self.rows.append(_Known(ids, None))
        known = self.rows[row - 1]
        before = known.status
        if ids is None:
            known.status = Status.INVALID
            return row, known.status, None, fresh
        anew = life != "" and (row, life) not in self.lives
        self.lives.add((row, life))
        send = False
        if fresh:
            rival = self.holder.get(ids)
            if rival is not None and rival in self.waiting:
                known.status = Status.DUPLICATE
            else:
                self.holder[ids] = row
                send = not worn_out
                known.status = None if send else Status.RETRYABLE
            before = known.status
        elif before in {Status.REJECTED, Status.DUPLICATE} and anew and not worn_out:
            if self.holder[ids] in self.waiting:
                known.status = Status.DUPLICATE
            else:
                self.holder[ids] = row
                send, known.status = True, None
        elif before in AGAIN and not worn_out:
            send, known.status = True, None
        if not send:
            return row, known.status, None, fresh
        pair = Pair(row, row, *ids, in_doubt=again or before is Status.UNKNOWN)
        self.waiting[row] = pair
        return row, before, pair, fresh

    @rule(at=st.integers(0, 10), status=st.sampled_from([*FINAL[::2], Status.REJECTED, *AGAIN]))
    def settle_one(self, at: int, status: Status) -> None:
        if self.waiting:
            row = list(self.waiting)[at % len(self.waiting)]
            settle(self.store, self.waiting.pop(row), status)
            self.rows[row - 1].status = status
            self.rows[row - 1].attempts += 1

    @invariant()
    def rows_are_those_of_the_model_and_the_ledger_agrees_with_itself(self) -> None:
        expected = [(at, row.status or Status.UNKNOWN, row.attempts) for at, row in enumerate(self.rows, 1)]
        with LedgerReader(self.path) as reader:
            assert audit(reader) == []
            assert [(r.row, r.status, r.attempts) for r in reader.rows(list(Status))] == expected
        assert [pair.row for pair, _ in self.store.waiting(0, 100)] == sorted(self.waiting)


def test_each_message_is_one_row_whatever_comes_in_whatever_order() -> None:
    run_state_machine_as_test(
        TakingInAgainstModel, settings=settings(max_examples=40, stateful_step_count=20)
    )
