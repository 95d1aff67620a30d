"""What a ledger knows of links that a run made, and of their removal."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from tests.unit.judged import judged
from worker.ledger import (
    Claim,
    Delivery,
    LedgerReader,
    UndoLedger,
    audit,
    claims,
    count_claims,
    count_made,
    links_made,
    undone_at,
    undone_counts,
    undone_reasons,
    undone_rows,
)
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import MAX_ID, Attempt, Outcome, Pair, Reject, Result, Row, Status
from worker.reasons import PRE_STATE_UNREAD
from worker.removals import Made, Undo, Undoing

BODY = b'{"id":7,"created":"2023-05-12T17:28:00.0000000+03:00"}'
CREATED = datetime(2023, 5, 12, 14, 28, tzinfo=UTC)
LINKED = Attempt(Result.OK, http_status=201, body=BODY)
LOST = Attempt(Result.AMBIGUOUS, "timeout")
BUSY = Attempt(Result.TRANSIENT, "unavailable", 503)
REFUSED = Attempt(Result.PERMANENT, "not_found", 404)


@dataclass(frozen=True)
class Kind:
    """How a run has left a row.

    Attributes:
        status: None for a row that was sent and has no outcome.
        seen: it was seen to be absent before it was sent.
    """

    status: Status | None
    seen: bool = False


MADE = [Kind(*both) for both in product((Status.LINKED, Status.UNKNOWN, None), (True, False))]
NOT_MADE = [
    Kind(Status.ALREADY_LINKED),
    Kind(Status.DUPLICATE),
    Kind(Status.INVALID),
    Kind(Status.REJECTED, seen=True),
    Kind(Status.REJECTED),
    Kind(Status.RETRYABLE, seen=True),
    Kind(Status.RETRYABLE),
    Kind(Status.NOT_ATTEMPTED),
]


def write(store: Store, pair: Pair, kind: Kind) -> None:
    """A row, as a run would leave it."""
    verdict: Pair | Reject = pair
    if kind.status is Status.INVALID:
        verdict = Reject(pair.row, pair.line, "odd")
    if kind.status is Status.DUPLICATE:
        verdict = Pair(pair.row, pair.line, 1, 1)
    store.admit([judged(verdict)])
    if kind.status in {Status.INVALID, Status.DUPLICATE, Status.NOT_ATTEMPTED}:
        return
    if kind.status is Status.ALREADY_LINKED:
        store.settle([Outcome(pair, kind.status, (), "", 200, found=BODY)])
        return
    if kind.seen:
        store.looked([pair.row])
    else:
        store._intend([pair.row])
    last = {Status.LINKED: LINKED, Status.UNKNOWN: LOST, Status.RETRYABLE: BUSY, Status.REJECTED: REFUSED}
    if kind.status is not None:
        attempt = last[kind.status]
        store.settle([Outcome(pair, kind.status, (attempt,), attempt.reason, attempt.http_status)])


def pair(row: int, opportunity: int = 1) -> Pair:
    return Pair(row, row + 1, opportunity, row)


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path, mode="rwc")) as connection:
        yield connection


@pytest.fixture
def store(db: sqlite3.Connection) -> Store:
    store = Store(db)
    store.begin_session()
    return store


def made(path: Path, *, unread: bool = True) -> list[Made]:
    with LedgerReader(path) as reader:
        return list(links_made(reader, unread=unread))


def rows_made(path: Path, *, unread: bool = True) -> list[int]:
    return [link.row for link in made(path, unread=unread)]


def undone(path: Path) -> list[Undoing]:
    with LedgerReader(path) as reader:
        return list(undone_rows(reader))


def faults(path: Path) -> list[str]:
    with LedgerReader(path) as reader:
        return audit(reader)


def test_a_run_made_what_it_linked_or_may_have_linked_and_did_not_find_there(
    path: Path, store: Store
) -> None:
    kinds = dict(enumerate([Kind(Status.LINKED, seen=True), *MADE, *NOT_MADE], 1))
    for row, kind in kinds.items():
        write(store, pair(row), kind)
    assert faults(path) == []
    known = [row for row, kind in kinds.items() if kind in MADE and kind.seen]
    either = [row for row, kind in kinds.items() if kind in MADE]
    assert rows_made(path, unread=False) == known
    assert rows_made(path, unread=True) == either
    with LedgerReader(path) as reader:
        assert count_made(reader) == (len(known), len(either)) == (4, 7)


def test_a_run_claims_what_it_linked_and_what_was_linked_already(path: Path, store: Store) -> None:
    kinds = dict(enumerate([Kind(Status.LINKED, seen=True), *MADE, *NOT_MADE], 1))
    for row, kind in kinds.items():
        write(store, pair(row), kind)
    there = [row for row, kind in kinds.items() if kind.status in {Status.LINKED, Status.ALREADY_LINKED}]
    with LedgerReader(path) as reader:
        assert list(claims(reader)) == [Claim(row, 1, row, there=True) for row in there]
        assert count_claims(reader) == (4, 0)


@dataclass(frozen=True)
class Undone:
    """What rollbacks did with a link so far: whether it was begun, and what it came to."""

    begun: bool
    state: Undo | None


UNDONE = [Undone(*both) for both in product((False, True), (None, *Undo))]


async def test_what_is_left_and_what_is_claimed_follows_from_each_state_of_a_link_and_of_its_removal(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    cases = dict(enumerate(product(MADE, UNDONE), 1))
    for row, (kind, _) in cases.items():
        write(store, pair(row, opportunity=2), kind)
    db.close()
    async with UndoLedger(path, create=False) as ledger:
        for row, (_, undo) in cases.items():
            if undo.begun:
                await ledger.begin([row])
            if undo.state is not None:
                await ledger.conclude([Undoing(row, undo.state, "why", 404)])
    assert faults(path) == []

    over = {Undo.REMOVED, Undo.GONE}
    left = {row: case for row, case in cases.items() if case[1].state not in over}
    known = [row for row, (kind, undo) in left.items() if kind.seen or undo.begun]
    assert {link.row: link.begun for link in made(path, unread=True)} == {
        row: undo.begun for row, (_, undo) in left.items()
    }
    assert rows_made(path, unread=False) == known
    claimed = {
        row: undo.state not in over
        for row, (kind, undo) in cases.items()
        if kind.status is Status.LINKED or undo.state in over
    }
    told = [Undoing(row, undo.state, "why", 404) for row, (_, undo) in cases.items() if undo.state]
    with LedgerReader(path) as reader:
        assert count_made(reader) == (len(known), len(left))
        assert list(claims(reader)) == [Claim(row, 2, row, there=there) for row, there in claimed.items()]
        there = sum(claimed.values())
        assert count_claims(reader) == (there, len(claimed) - there)
        assert list(undone_rows(reader)) == told
        assert undone_counts(reader) == dict.fromkeys(Undo, len(MADE) * 2)


@pytest.mark.usefixtures("store")
def test_a_ledger_without_rows_has_made_claimed_and_undone_nothing(path: Path) -> None:
    with LedgerReader(path) as reader:
        assert (count_made(reader), count_claims(reader)) == ((0, 0), (0, 0))
        assert undone_counts(reader) == dict.fromkeys(Undo, 0)
        assert [*links_made(reader, unread=True), *claims(reader), *undone_rows(reader)] == []


def test_links_and_claims_come_opportunity_by_opportunity_with_their_ids(path: Path, store: Store) -> None:
    ids = [(3, 9), (MAX_ID, 1), (2, MAX_ID), (1, 2), (2, 8), (MAX_ID, MAX_ID), (1, 1), (3, 5)]
    for row, both in enumerate(ids, 1):
        write(store, Pair(row, row + 1, *both), Kind(Status.LINKED, seen=True))
    assert [(link.opportunity_id, link.contact_id) for link in made(path)] == sorted(ids)
    assert all(ids[link.row - 1] == (link.opportunity_id, link.contact_id) for link in made(path))
    with LedgerReader(path) as reader:
        assert [(one.opportunity_id, one.contact_id) for one in claims(reader)] == sorted(ids)


def test_a_link_knows_when_its_contact_was_created_if_the_portal_said_so(path: Path, store: Store) -> None:
    bodies = [BODY, b'{"id":7}', b'{"id":7,"created":"yesterday"}', b""]
    for row, body in enumerate(bodies, 1):
        store.admit([judged(pair(row))])
        store.looked([row])
        done = Attempt(Result.OK, http_status=201, body=body)
        store.settle([Outcome(pair(row), Status.LINKED, (done,))])
    write(store, pair(5), Kind(Status.UNKNOWN, seen=True))
    assert made(path) == [
        Made(1, 1, 1, CREATED),
        *(Made(row, 1, row, created=None) for row in range(2, 6)),
    ]


async def test_links_whose_state_before_nobody_read_are_kept_and_still_there_for_whoever_insists(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    for row, kind in enumerate([*MADE, *NOT_MADE], 1):
        write(store, pair(row), kind)
    db.close()
    unread = [row for row, kind in enumerate(MADE, 1) if not kind.seen]
    async with UndoLedger(path, create=False) as ledger:
        await ledger.keep_unread()
        await ledger.keep_unread()
    assert undone(path) == [Undoing(row, Undo.KEPT, PRE_STATE_UNREAD) for row in unread]
    assert faults(path) == []
    assert set(unread) <= set(rows_made(path, unread=True))
    assert set(unread).isdisjoint(rows_made(path, unread=False))


async def test_a_link_of_unread_state_is_not_called_kept_once_its_removal_has_begun_or_is_done(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    for row in range(1, 6):
        write(store, pair(row), Kind(Status.LINKED))
    db.close()
    ends = [
        Undoing(2, Undo.FAILED, "timeout"),
        Undoing(3, Undo.REMOVED, "", 200),
        Undoing(4, Undo.GONE),
        Undoing(5, Undo.FAILED, "unavailable", 503),
    ]
    async with UndoLedger(path, create=False) as ledger:
        await ledger.begin([1, 2, 3])
        await ledger.conclude(ends)
        await ledger.keep_unread()
    # Of row 1 nobody knows; that of row 5 had not even begun.
    assert undone(path) == [*ends[:3], Undoing(5, Undo.KEPT, PRE_STATE_UNREAD)]
    assert [(link.row, link.begun) for link in made(path, unread=False)] == [(1, True), (2, True)]


async def test_each_step_is_durable_before_it_returns(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    write(store, pair(1), Kind(Status.LINKED, seen=True))
    write(store, pair(2), Kind(Status.LINKED))
    db.close()
    async with UndoLedger(path, create=False) as ledger:
        await ledger.begin([1])
        assert made(path, unread=False) == [Made(1, 1, 1, CREATED, begun=True)]
        await ledger.conclude([Undoing(1, Undo.REMOVED, "", 200)])
        assert undone(path) == [Undoing(1, Undo.REMOVED, "", 200)]
        await ledger.keep_unread()
        assert undone(path) == [Undoing(1, Undo.REMOVED, "", 200), Undoing(2, Undo.KEPT, PRE_STATE_UNREAD)]


async def test_a_removal_can_be_begun_and_concluded_again_and_the_last_word_counts(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    for row in (1, 2):
        write(store, pair(row), Kind(Status.LINKED, seen=True))
    db.close()
    async with UndoLedger(path, create=False) as ledger:
        await ledger.begin([1])
        await ledger.conclude(
            [Undoing(1, Undo.FAILED, "timeout"), Undoing(2, Undo.FAILED, "unavailable", 503)]
        )
        # That a removal has begun is not forgotten, and not made up.
        assert [(link.row, link.begun) for link in made(path)] == [(1, True), (2, False)]

        await ledger.begin([1, 2])
        assert undone(path) == []
        with closing(sqlite3.connect(path)) as reader:
            assert reader.execute("SELECT state, reason FROM undone").fetchall() == [(None, "")] * 2
        assert [(link.row, link.begun) for link in made(path)] == [(1, True), (2, True)]

        await ledger.conclude([Undoing(2, Undo.KEPT, "not_found", 404), Undoing(1, Undo.REMOVED, "", 200)])
        await ledger.conclude([])
    assert undone(path) == [Undoing(1, Undo.REMOVED, "", 200), Undoing(2, Undo.KEPT, "not_found", 404)]
    assert rows_made(path) == [2]
    assert faults(path) == []


async def test_when_something_was_last_undone_and_why_not_all_of_it_are_known(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    for row in (1, 2, 3, 4):
        write(store, pair(row), Kind(Status.LINKED, seen=True))
    db.close()
    with LedgerReader(path) as reader:
        assert (undone_at(reader), undone_reasons(reader)) == (None, {})
    before = datetime.now(UTC).timestamp()
    async with UndoLedger(path, create=False) as ledger:
        await ledger.begin([1])
        with LedgerReader(path) as reader:
            assert (undone_at(reader) or 0) >= before
        ends = [Undoing(1, Undo.REMOVED, "unheard"), Undoing(2, Undo.KEPT, "not_found", 404)]
        await ledger.conclude([*ends, Undoing(3, Undo.KEPT, "not_found"), Undoing(4, Undo.FAILED, "timeout")])
    with LedgerReader(path) as reader:
        assert undone_reasons(reader) == {"not_found": 2, "timeout": 1}


async def test_the_moments_of_a_removal_are_noted(path: Path, db: sqlite3.Connection, store: Store) -> None:
    write(store, pair(1), Kind(Status.LINKED, seen=True))
    write(store, pair(2), Kind(Status.LINKED))
    db.close()
    before = datetime.now(UTC).timestamp()
    async with UndoLedger(path, create=False) as ledger:
        await ledger.begin([1])
        await ledger.conclude([Undoing(1, Undo.REMOVED)])
        await ledger.keep_unread()
    after = datetime.now(UTC).timestamp()
    with closing(sqlite3.connect(path)) as reader:
        (begun, settled), (never, kept) = reader.execute(
            "SELECT begun_at, settled_at FROM undone ORDER BY row"
        ).fetchall()
    assert never is None
    assert before <= begun <= settled <= kept <= after


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO undone VALUES (99, NULL, 'removed', '', 200, 1.0)",
        "INSERT INTO undone (row, begun_at) VALUES (3, 1.0)",
        "INSERT INTO undone VALUES (4, 1.0, 'kept', '', NULL, 1.0)",
        "INSERT INTO undone VALUES (5, 1.0, 'removed', '', 200, 1.0)",
        "UPDATE rows SET sent_at = 1.0 WHERE row = 3; INSERT INTO undone (row, begun_at) VALUES (3, 1.0)",
        "UPDATE rows SET sent_at = 1.0 WHERE row = 5; INSERT INTO undone (row, begun_at) VALUES (5, 1.0)",
        "INSERT INTO undone VALUES (1, 1.0, 'lost', '', NULL, 1.0)",
        "INSERT INTO undone VALUES (1, 1.0, 'rEmoved', '', NULL, 1.0)",
    ],
    ids=[
        "no such row",
        "no pair",
        "never sent",
        "there before",
        "no pair, but sent",
        "there before, but sent",
        "no state",
        "a bit has flipped",
    ],
)
def test_an_audit_finds_the_removal_of_what_was_never_linked(
    path: Path, db: sqlite3.Connection, store: Store, damage: str
) -> None:
    kinds = [
        Kind(Status.LINKED, seen=True),
        Kind(Status.LINKED),
        Kind(Status.INVALID),
        Kind(Status.NOT_ATTEMPTED),
        Kind(Status.ALREADY_LINKED),
    ]
    for row, kind in enumerate(kinds, 1):
        write(store, pair(row), kind)
    assert faults(path) == []
    db.executescript(damage)
    (fault,) = faults(path)
    assert fault.startswith("removals of what was never linked: 1, such as row ")


async def remove(path: Path, *rows: int) -> None:
    async with UndoLedger(path, create=False) as ledger:
        await ledger.begin(rows)
        await ledger.conclude([Undoing(row, Undo.REMOVED, "", 200) for row in rows])


async def test_a_link_that_a_resumed_run_makes_after_its_removal_is_there_and_to_be_removed_again(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    """A row in doubt has no outcome, so resume sends it once more, also when it was undone meanwhile."""
    write(store, pair(1), Kind(None, seen=True))
    write(store, pair(2), Kind(Status.LINKED, seen=True))
    db.close()
    await remove(path, 1, 2)
    assert made(path) == []

    with closing(connect(path, mode="rw")) as reopened:
        resumed = Store(reopened)
        resumed.begin_session()
        (again,) = resumed.claim(1)
        resumed.settle([Outcome(again, Status.LINKED, (LINKED,), http_status=201)])
    assert rows_made(path) == [1]
    with LedgerReader(path) as reader:
        assert list(claims(reader)) == [Claim(1, 1, 1, there=True), Claim(2, 1, 2, there=False)]
        assert count_claims(reader) == (1, 1)


async def test_a_link_that_a_rollback_saw_gone_is_in_no_doubt_and_looked_for_anew_by_a_resumed_run(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    """Else one that a user makes meanwhile is taken for the run's own, and removed by the next rollback."""
    write(store, pair(1), Kind(None, seen=True))
    db.close()
    await remove(path, 1)
    with closing(connect(path, mode="rw")) as reopened:
        resumed = Store(reopened)
        resumed.begin_session()
        (again,) = resumed.claim(1, look_first=True)
    assert again == pair(1)


async def test_two_rows_of_one_link_never_claim_that_it_is_there_and_that_it_is_removed(
    path: Path, db: sqlite3.Connection, store: Store
) -> None:
    """A queue that names a pair again when its first message is settled gets it looked for once more."""
    first, second = (Delivery(name, Row(0, 0, (), "1", "7"), Pair(0, 0, 1, 7)) for name in "ab")
    (arrival,) = store.take_in([first], look_first=True)
    assert arrival.pair is not None
    store.looked([1])
    store.settle([Outcome(arrival.pair, Status.LINKED, (LINKED,), http_status=201)])
    (arrival,) = store.take_in([second], look_first=True)
    assert arrival.pair is not None
    store.settle([Outcome(arrival.pair, Status.ALREADY_LINKED, (), "", 200, found=BODY)])
    with LedgerReader(path) as reader:
        assert list(claims(reader)) == [Claim(1, 1, 7, there=True)]
    db.close()
    await remove(path, 1)
    assert faults(path) == []
    with LedgerReader(path) as reader:
        assert list(claims(reader)) == [Claim(1, 1, 7, there=False)]
        assert count_claims(reader) == (0, 1)
