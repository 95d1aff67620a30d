"""What was there before a pair was first sent, and the looks that told: noted, kept, merged, audited."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from tests.unit.judged import judged
from worker.ledger import Arrival, Delivery, Ledger, LedgerReader, RowRecord, audit, merge_ledgers
from worker.ledger.reader import Traffic
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Kind, Outcome, Pair, PreState, Reject, Request, Result, Row, Status

Work: TypeAlias = Callable[[Store], None]
Pre: TypeAlias = tuple[int, str, str]

READ = Attempt(Result.OK, http_status=200, seconds=0.25)
UNREADABLE = Attempt(Result.AMBIGUOUS, "unavailable", 503, seconds=2.0)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429, seconds=0.125)
GONE = Attempt(Result.PERMANENT, "not_found", 404, seconds=0.5)
CREATED = Attempt(Result.OK, http_status=201, body=b'{"id":7}', seconds=0.75)
BUSY = Attempt(Result.TRANSIENT, "unavailable", 503, seconds=3.0)
LOST = Attempt(Result.AMBIGUOUS, "timeout", seconds=30.0)


def pair(row: int) -> Pair:
    return Pair(row, row + 1, 1, row)


def absent(row: int) -> Pair:
    return replace(pair(row), pre=PreState.ABSENT)


def admit(store: Store, *verdicts: Pair | Reject) -> None:
    store.admit([judged(v) for v in verdicts])


def already(pair: Pair) -> Outcome:
    return Outcome(pair, Status.ALREADY_LINKED, (), http_status=200, found=b'{"id":"Zo\xc3\xab"}')


def linked(pair: Pair) -> Outcome:
    return Outcome(pair, Status.LINKED, (CREATED,), http_status=201)


def pre_states(path: Path) -> list[Pre]:
    """Row, state and pre-state, in the words of the view, as another reader sees them."""
    with LedgerReader(path) as reader:
        assert audit(reader) == []
        return list(reader.query("SELECT row, status, pre FROM links ORDER BY row"))


def requests(attempts: Sequence[Attempt], kind: Kind = Kind.LOOK) -> list[Request]:
    return [
        Request(kind, one.result, 1, reason=one.reason, http_status=one.http_status, seconds=one.seconds)
        for one in attempts
    ]


def looked(
    store: Store, looks: Sequence[Attempt], absent: Sequence[int], in_doubt: Sequence[int] = ()
) -> None:
    """Note looks, and what they told."""
    store.note(requests(looks))
    store.looked(absent, in_doubt)


def looks(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT * FROM requests WHERE kind = 'look' ORDER BY rowid").fetchall()


def of(opportunity_id: int, row: int) -> Pair:
    return Pair(row, row + 1, opportunity_id, row)


def test_a_claim_that_is_to_look_first_gives_all_pairs_of_an_opportunity_together_and_notes_nothing(
    path: Path, store: Store
) -> None:
    admit(store, of(1, 1), Reject(2, 3, "odd"), of(2, 3), of(1, 4), of(3, 5), of(2, 6), of(1, 7))
    assert store.claim(1, look_first=True) == [of(1, 1), of(1, 4), of(1, 7)]
    assert store.claim(9, look_first=True) == [of(2, 3), of(2, 6), of(3, 5)]
    assert store.claim(9, look_first=True) == []
    assert [(status, pre) for _, status, pre in pre_states(path) if status != "invalid"] == [
        ("not_attempted", "unread")
    ] * 6


def test_rows_that_come_in_after_their_opportunity_was_claimed_are_claimed_when_they_are_there(
    store: Store,
) -> None:
    admit(store, of(1, 1), of(1, 2))
    assert store.claim(9, look_first=True) == [of(1, 1), of(1, 2)]
    admit(store, of(2, 3), of(1, 4), of(2, 5))
    assert store.claim(9, look_first=True) == [of(2, 3), of(2, 5), of(1, 4)]


def test_what_was_given_together_is_not_given_again_whatever_becomes_of_it_before_its_own_place_is_reached(
    store: Store,
) -> None:
    admit(store, *(of(1 if row in {1, 5, 6, 7, 8} else row, row) for row in range(1, 9)))
    assert [pair.row for pair in store.claim(1, look_first=True)] == [1, 5, 6, 7, 8]
    looked(store, [READ], [1, 5], [6])
    store.settle([already(of(1, 7)), linked(replace(of(1, 5), pre=PreState.ABSENT))])
    assert [pair.row for pair in store.claim(99, look_first=True)] == [2, 3, 4]


def test_a_pair_whose_pre_state_an_earlier_session_has_read_is_given_alone_and_in_its_place(
    store: Store, reopened: Store
) -> None:
    admit(store, of(1, 1), of(1, 2), of(1, 3))
    store.claim(9, look_first=True)
    looked(store, [READ], [2])
    absent = Pair(2, 3, 1, 2, in_doubt=True, pre=PreState.ABSENT)
    assert reopened.claim(1, look_first=True) == [of(1, 1), of(1, 3)]
    assert reopened.claim(9, look_first=True) == [absent]


def test_a_shuffled_file_gives_each_pair_once_and_those_of_an_opportunity_in_one_claim(store: Store) -> None:
    rng = Random(7)  # noqa: S311 - a shuffle
    opportunities = [number for number in range(1, 31) for _ in range(40)]
    rng.shuffle(opportunities)
    admit(store, *(of(number, row) for row, number in enumerate(opportunities, 1)))
    claims = []
    while claim := store.claim(50, look_first=True):
        claims.append(claim)
    assert sorted(pair.row for claim in claims for pair in claim) == list(range(1, 1201))
    assert sum(len({pair.opportunity_id for pair in claim}) for claim in claims) == 30


def test_what_was_claimed_to_be_looked_for_is_claimed_by_the_next_session_and_in_no_doubt(
    store: Store, reopened: Store
) -> None:
    """A crash while it is looked for leaves no doubt: it was never about to be sent."""
    admit(store, pair(1))
    store.claim(1, look_first=True)
    assert reopened.claim(1) == [pair(1)]


@pytest.mark.parametrize("look_first", [False, True])
def test_a_pair_noted_as_absent_is_claimed_so_by_a_later_session_and_in_doubt(
    store: Store, reopened: Store, *, look_first: bool
) -> None:
    admit(store, pair(1), pair(2))
    store.claim(2, look_first=True)
    looked(store, [READ], [1])
    assert reopened.claim(9, look_first=look_first) == [replace(absent(1), in_doubt=True), pair(2)]


def test_looked_notes_which_rows_are_absent_and_about_to_be_sent_and_no_others(
    path: Path, store: Store
) -> None:
    admit(store, *map(pair, range(1, 5)))
    store.claim(4, look_first=True)
    looked(store, [READ], [2, 4])
    assert pre_states(path) == [
        (1, "not_attempted", "unread"),
        (2, "unknown", "absent"),
        (3, "not_attempted", "unread"),
        (4, "unknown", "absent"),
    ]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT session, sent_at > 0 FROM rows ORDER BY row").fetchall() == [
            (None, None),
            (1, 1),
            (None, None),
            (1, 1),
        ]


def test_every_request_is_noted_with_its_session(path: Path, store: Store, reopened: Store) -> None:
    admit(store, pair(1), pair(2))
    looked(store, [THROTTLED, UNREADABLE, GONE], [])
    looked(reopened, [READ], [])
    assert looks(path) == [
        (1, "look", 1, 0, "throttled", "throttled", 429, 0.125),
        (1, "look", 1, 0, "ambiguous", "unavailable", 503, 2.0),
        (1, "look", 1, 0, "permanent", "not_found", 404, 0.5),
        (2, "look", 1, 0, "ok", "", 200, 0.25),
    ]


def test_looked_leaves_the_intent_of_an_earlier_session_where_it_is_unless_its_link_is_not_there(
    path: Path, store: Store, reopened: Store
) -> None:
    """It may be what a crash left behind; that the link is not there settles the doubt."""
    admit(store, pair(1), pair(2))
    store.claim(2)
    reopened.claim(2, look_first=True)
    looked(reopened, [READ], [2], [1])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT row, session, pre FROM rows").fetchall() == [(1, 1, None), (2, 2, "absent")]


def test_looked_notes_an_intent_also_for_a_row_in_doubt_that_had_none(path: Path, store: Store) -> None:
    """A message that another worker had has none in this ledger."""
    store.take_in([delivery("a", again=True)], look_first=True)
    looked(store, [UNREADABLE], [], [1])
    assert pre_states(path) == [(1, "unknown", "unread")]


async def test_what_was_looked_for_is_durable_before_the_ledger_returns(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.admit([judged(pair(1)), judged(pair(2))])
        assert await ledger.claim(9, look_first=True) == [pair(1), pair(2)]
        assert pre_states(path) == [(1, "not_attempted", "unread"), (2, "not_attempted", "unread")]
        ledger.note(requests([READ])[0])
        assert looks(path) == []
        await ledger.looked([2])
        assert pre_states(path) == [(1, "not_attempted", "unread"), (2, "unknown", "absent")]
        assert len(looks(path)) == 1


def test_a_member_is_settled_without_an_attempt_with_its_contact_and_as_present(
    path: Path, store: Store
) -> None:
    admit(store, pair(1))
    store.claim(1, look_first=True)
    store.settle([already(pair(1))])
    assert pre_states(path) == [(1, "already_linked", "present")]
    with LedgerReader(path) as reader:
        (record,) = reader.rows(list(Status))
        assert record == RowRecord(1, 2, (), 1, 1, Status.ALREADY_LINKED, "", 200, attempts=0)
        assert list(reader.query("SELECT body FROM contacts")) == [('{"id":"Zoë"}',)]
        assert reader.traffic().attempts == 0
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT sent_at, session, settled_at > 0 FROM rows").fetchone() == (
            *(None, None),
            1,
        )
        assert db.execute("SELECT count(*) FROM failures").fetchone() == (0,)


@pytest.mark.parametrize(("status", "look"), [(Status.REJECTED, GONE), (Status.RETRYABLE, UNREADABLE)])
def test_a_pair_settled_by_a_look_alone_has_its_reason_no_attempt_and_no_contact(
    path: Path, store: Store, status: Status, look: Attempt
) -> None:
    admit(store, pair(1))
    looked(store, [look], [])
    store.settle([Outcome(pair(1), status, (), look.reason, look.http_status)])
    assert pre_states(path) == [(1, str(status), "unread")]
    with LedgerReader(path) as reader:
        (record,) = reader.rows(list(Status))
        assert list(reader.query("SELECT body FROM contacts")) == []
    assert (record.reason, record.http_status, record.attempts) == (look.reason, look.http_status, 0)


@pytest.mark.parametrize(
    ("status", "last"), [(Status.LINKED, CREATED), (Status.REJECTED, GONE), (Status.UNKNOWN, LOST)]
)
def test_a_pair_that_was_absent_stays_so_whatever_becomes_of_it(
    path: Path, store: Store, status: Status, last: Attempt
) -> None:
    admit(store, pair(1))
    looked(store, [READ], [1])
    store.settle([Outcome(absent(1), status, (last,), last.reason, last.http_status)])
    assert pre_states(path) == [(1, str(status), "absent")]


def test_release_takes_back_what_was_seen_of_rows_that_were_not_sent_but_not_of_those_in_doubt_or_settled(
    path: Path, store: Store, reopened: Store
) -> None:
    admit(store, *map(pair, range(1, 6)))
    store.claim(9, look_first=True)
    looked(store, [READ], [1, 2, 3])
    store.settle([linked(absent(1))])
    store.settle([already(pair(4))])
    store.release([2])
    assert pre_states(path) == [
        (1, "linked", "absent"),
        (2, "unknown", "absent"),
        (3, "not_attempted", "unread"),
        (4, "already_linked", "present"),
        (5, "not_attempted", "unread"),
    ]
    assert reopened.claim(9) == [replace(absent(2), in_doubt=True), pair(3), pair(5)]


def test_release_keeps_what_an_earlier_session_saw_of_what_it_may_have_sent(
    path: Path, store: Store, reopened: Store
) -> None:
    admit(store, pair(1))
    looked(store, [READ], [1])
    assert reopened.claim(1, look_first=True) == [replace(absent(1), in_doubt=True)]
    reopened.release([])
    assert pre_states(path) == [(1, "unknown", "absent")]


def test_release_takes_back_what_this_session_saw_of_a_row_that_only_an_earlier_one_may_have_sent(
    path: Path, store: Store, reopened: Store
) -> None:
    """Somebody else may link it before it is sent one day: a rollback must not take that for ours."""
    admit(store, pair(1))
    store.claim(1)
    reopened.claim(1, look_first=True)
    looked(reopened, [READ], [1])
    reopened.release([])
    assert pre_states(path) == [(1, "not_attempted", "unread")]


def delivery(identity: str, contact_id: int = 1, *, again: bool = False) -> Delivery:
    return Delivery(identity, Row(0, 0, (), None, None), Pair(0, 0, 1, contact_id), again=again)


def take(store: Store, one: Delivery, *, look_first: bool = True) -> Arrival:
    (arrival,) = store.take_in([one], look_first=look_first)
    return arrival


def test_a_message_taken_in_to_be_looked_for_has_no_intent_until_it_is_seen_to_be_absent(
    path: Path, store: Store
) -> None:
    one, two = store.take_in([delivery("a", 1), delivery("b", 2, again=True)], look_first=True)
    assert one == Arrival(1, None, "", Pair(1, 1, 1, 1), fresh=True)
    assert two == Arrival(2, None, "", Pair(2, 2, 1, 2, in_doubt=True), fresh=True)
    assert pre_states(path) == [(1, "not_attempted", "unread"), (2, "not_attempted", "unread")]
    looked(store, [READ], [2])
    assert pre_states(path) == [(1, "not_attempted", "unread"), (2, "unknown", "absent")]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT session, sent_at IS NULL FROM rows").fetchall() == [(None, 1), (1, 0)]


def test_a_message_that_comes_again_while_it_is_looked_for_is_not_taken_twice(store: Store) -> None:
    take(store, delivery("a"))
    assert take(store, delivery("a", again=True)) == Arrival(1, None, "", None, fresh=False)


def test_a_message_whose_look_told_nothing_comes_again_unseen_and_without_an_intent(
    path: Path, store: Store
) -> None:
    one = take(store, delivery("a")).pair
    assert one is not None
    looked(store, [UNREADABLE], [])
    store.settle([Outcome(one, Status.RETRYABLE, (), "unavailable", 503)])
    assert take(store, delivery("a")) == Arrival(
        1, Status.RETRYABLE, "unavailable", Pair(1, 1, 1, 1), fresh=False
    )
    assert pre_states(path) == [(1, "not_attempted", "unread")]


@pytest.mark.parametrize(("status", "last"), [(Status.RETRYABLE, BUSY), (Status.UNKNOWN, LOST)])
@pytest.mark.parametrize("look_first", [False, True])
def test_a_message_that_was_sent_comes_again_with_what_was_seen_before_its_first_request(
    path: Path, store: Store, status: Status, last: Attempt, *, look_first: bool
) -> None:
    one = take(store, delivery("a")).pair
    assert one is not None
    looked(store, [READ], [1])
    store.settle([Outcome(one, status, (last,), last.reason, last.http_status)])
    again = Pair(1, 1, 1, 1, in_doubt=status is Status.UNKNOWN, pre=PreState.ABSENT)
    assert take(store, delivery("a"), look_first=look_first) == Arrival(
        1, status, last.reason, again, fresh=False
    )
    # Its intent is there: nobody looks for it any more, so nobody would note one.
    assert pre_states(path) == [(1, "unknown", "absent")]
    store.settle([linked(again)])
    assert pre_states(path) == [(1, "linked", "absent")]


def test_a_message_that_is_linked_already_is_not_given_when_it_comes_again(store: Store) -> None:
    one = take(store, delivery("a")).pair
    assert one is not None
    store.settle([already(one)])
    assert take(store, delivery("a", again=True)) == Arrival(1, Status.ALREADY_LINKED, "", None, fresh=False)


FACTS = {
    "run_id": "merged",
    "portal": "https://portal.example",
    "input_path": "",
    "input_name": "2 runs",
    "settings": {},
    "input_kind": "queue",
    "merged": ["a", "b"],
}


@pytest.fixture
def merged(tmp_path: Path) -> Callable[..., Path]:
    """The ledger of several workers, each of which had one message."""

    def make(*works: Work) -> Path:
        paths = [tmp_path / f"run-{at}.db" for at in range(len(works))]
        for path, work in zip(paths, works, strict=True):
            with closing(connect(path, mode="rwc")) as db:
                store = Store(db)
                store.put_meta({**FACTS, "run_id": path.stem})
                store.begin_session()
                work(store)
        merge_ledgers(tmp_path / "all.db", paths, FACTS)
        return tmp_path / "all.db"

    return make


def ends(status: Status | None, *, seen: bool = True) -> Work:
    """A worker that looks for the message, finds it absent if it sees anything, and leaves it so."""

    def work(store: Store) -> None:
        one = take(store, delivery("a"), look_first=seen or status is Status.ALREADY_LINKED).pair
        assert one is not None
        if status is Status.ALREADY_LINKED:
            looked(store, [READ], [])
            store.settle([already(one)])
            return
        if seen:
            looked(store, [READ], [1])
        last = {Status.LINKED: CREATED, Status.REJECTED: GONE, Status.RETRYABLE: BUSY, Status.UNKNOWN: LOST}
        if status in last:
            attempt = last[status]
            store.settle([Outcome(one, status, (attempt,), attempt.reason, attempt.http_status)])
        elif status is Status.NOT_ATTEMPTED:
            store.release([])

    return work


@pytest.mark.parametrize(
    ("better", "worse", "told"),
    [
        (ends(Status.LINKED), ends(Status.ALREADY_LINKED), ("linked", "absent")),
        (ends(Status.LINKED, seen=False), ends(Status.ALREADY_LINKED), ("linked", "unread")),
        (ends(Status.LINKED, seen=False), ends(Status.UNKNOWN), ("linked", "absent")),
        (ends(Status.LINKED, seen=False), ends(None), ("linked", "absent")),
        (ends(Status.LINKED), ends(Status.RETRYABLE, seen=False), ("linked", "absent")),
        (ends(Status.ALREADY_LINKED), ends(Status.REJECTED), ("already_linked", "present")),
        (ends(Status.ALREADY_LINKED), ends(None), ("already_linked", "present")),
        (ends(Status.ALREADY_LINKED), ends(Status.NOT_ATTEMPTED), ("already_linked", "present")),
        (ends(Status.REJECTED, seen=False), ends(Status.RETRYABLE), ("rejected", "absent")),
        (ends(Status.REJECTED, seen=False), ends(None, seen=False), ("rejected", "unread")),
        (ends(None), ends(Status.NOT_ATTEMPTED), ("unknown", "absent")),
    ],
)
@pytest.mark.parametrize("first", ["better", "worse"])
def test_of_two_workers_the_better_word_counts_and_only_it_can_say_that_the_link_was_there(
    merged: Callable[..., Path], better: Work, worse: Work, told: tuple[str, str], first: str
) -> None:
    works = (better, worse) if first == "better" else (worse, better)
    assert pre_states(merged(*works)) == [(1, *told)]


@pytest.mark.parametrize("seen", [[True, False], [False, True], [True, True], [False, False]])
def test_of_two_workers_who_say_the_same_either_may_have_seen_that_it_was_absent(
    merged: Callable[..., Path], seen: Sequence[bool]
) -> None:
    path = merged(*(ends(Status.LINKED, seen=one) for one in seen))
    assert pre_states(path) == [(1, "linked", "absent" if any(seen) else "unread")]


def test_the_looks_of_all_workers_are_kept(
    merged: Callable[..., Path],
) -> None:
    def one(store: Store) -> None:
        store.take_in([delivery("x", 8), delivery("a", 1)], look_first=True)
        looked(store, [UNREADABLE, READ], [2])

    def two(store: Store) -> None:
        store.take_in([delivery("a", 1), delivery("y", 9)], look_first=True)
        looked(store, [THROTTLED, READ], [])
        looked(store, [GONE], [])

    path = merged(one, two)
    assert [look[4] for look in looks(path)] == ["ambiguous", "ok", "throttled", "ok", "permanent"]
    with LedgerReader(path) as reader:
        assert (reader.traffic().attempts, reader.traffic().looks, reader.traffic().retries) == (5, 5, 0)


@pytest.fixture
def whole(path: Path, store: Store) -> sqlite3.Connection:
    """Rows 1 to 5: linked and absent before, present before, rejected by a look, by a request, in doubt."""
    admit(store, *map(pair, range(1, 6)))
    store.claim(9, look_first=True)
    looked(store, [READ], [1, 4, 5])
    looked(store, [GONE], [])
    store.settle([linked(absent(1))])
    store.settle([already(pair(2))])
    store.settle([Outcome(pair(3), Status.REJECTED, (), "not_found", 404)])
    store.settle([Outcome(absent(4), Status.REJECTED, (GONE,), "not_found", 404)])
    assert [pre for *_, pre in pre_states(path)] == ["absent", "present", "unread", "absent", "absent"]
    return store._db


BEFORE = "rows called linked before, or not, against what was seen: "
NO_REQUEST = "outcomes without an intent or without a request: "


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("UPDATE rows SET pre = 'present' WHERE row = 1", BEFORE + "1, such as row 1"),
        ("UPDATE rows SET pre = 'present' WHERE row = 5", BEFORE + "1, such as row 5"),
        ("UPDATE rows SET pre = NULL WHERE row = 2", BEFORE + "1, such as row 2"),
        ("UPDATE rows SET pre = 'absent' WHERE row = 2", BEFORE + "1, such as row 2"),
        ("UPDATE rows SET pre = 'absenu' WHERE row = 4", BEFORE + "1, such as row 4"),
        ("UPDATE rows SET pre = 'unread' WHERE row = 3", BEFORE + "1, such as row 3"),
        ("UPDATE rows SET pre = '' WHERE row = 5", BEFORE + "1, such as row 5"),
        ("UPDATE rows SET status = 'already_linked' WHERE row = 4", BEFORE + "1, such as row 4"),
        ("UPDATE rows SET sent_at = NULL WHERE row = 1", NO_REQUEST + "1, such as row 1"),
        ("UPDATE rows SET status = 'unknown' WHERE row = 3", NO_REQUEST + "1, such as row 3"),
        ("UPDATE rows SET status = 'linked', pre = NULL WHERE row = 2", NO_REQUEST + "1, such as row 2"),
        ("DELETE FROM requests", NO_REQUEST + "1, such as row 3"),
    ],
)
def test_an_audit_finds_a_pre_state_or_an_outcome_that_contradicts_what_was_seen(
    path: Path, whole: sqlite3.Connection, damage: str, fault: str
) -> None:
    whole.execute(damage)
    with LedgerReader(path) as reader:
        assert fault in audit(reader)


def test_looks_are_requests_and_no_retries(path: Path, store: Store) -> None:
    admit(store, *map(pair, range(1, 5)))
    looked(store, [THROTTLED, UNREADABLE, READ], [1, 2])
    looked(store, [UNREADABLE, UNREADABLE, UNREADABLE], [])
    store.note(requests([CREATED, THROTTLED, BUSY], Kind.LINK))
    store.note([Request(Kind.LINK, Result.OK, 1, 1, ("unavailable",), seconds=0.75)])
    with LedgerReader(path) as reader:
        assert reader.traffic() == Traffic(
            attempts=6 + 4,
            retries=1,
            retries_by_reason={"unavailable": 1},
            looks=6,
            batches=0,
            items=10,
            throttled=2,
            latency_ms={"p50": 2000.0, "p95": 3000.0, "p99": 3000.0, "max": 3000.0},
        )
