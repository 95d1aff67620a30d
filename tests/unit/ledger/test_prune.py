"""What a ledger knows of links beyond the input, of their removal, and of their being made again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.judged import judged
from worker.errors import LedgerError
from worker.ledger import (
    Claim,
    LedgerReader,
    Pruned,
    PruneLedger,
    check_removals,
    count_unsettled,
    desired_contacts,
    last_words,
    links_to_make_again,
    links_to_prune,
    named_opportunities,
    prune_counts,
    prune_reasons,
    pruned_at,
    pruned_claims,
    pruned_links,
    restored_at,
    restored_counts,
    rows_of,
)
from worker.ledger.store import Store
from worker.models import MAX_ID, Attempt, Outcome, Pair, Reject, Result, Status
from worker.removals import Extra, Made, Restored, Restoring, Undo, Undoing

THEN = datetime(2023, 5, 12, 14, 28, tzinfo=UTC)
LINKED = Attempt(Result.OK, http_status=201, body=b'{"id":7,"created":"2023-05-12T14:28:00Z"}')
REMOVALS = [Extra(2, 5, THEN), Extra(1, 7), Extra(1, 9)]


def key(opportunity: int, contact: int) -> int:
    return opportunity << 32 | contact


def decided(path: Path, *removals: Extra, withheld: str = "") -> None:
    async def decide(ledger: PruneLedger) -> None:
        await ledger.decide(removals, withheld, {"sync_decided": {"links": 3}})

    asyncio.run(_with(path, decide))


async def _with(path: Path, work: Callable[[PruneLedger], Awaitable[None]]) -> None:
    async with PruneLedger(path, create=False) as ledger:
        await work(ledger)


def link(store: Store, row: int, opportunity: int, contact: int, *, seen: bool = True) -> None:
    pair = Pair(row, row + 1, opportunity, contact)
    store.admit([judged(pair)])
    if seen:
        store.looked([row])
    else:
        store._intend([row])
    store.settle([Outcome(pair, Status.LINKED, (LINKED,), "", 201)])


def test_each_named_opportunity_is_given_once_with_its_contacts(path: Path, store: Store) -> None:
    pairs = [(5, 1), (MAX_ID, MAX_ID), (5, 3), (1, 2), (5, 1)]
    store.admit([judged(Pair(row, row + 1, *one)) for row, one in enumerate(pairs, 1)])
    with LedgerReader(path) as reader:
        assert list(named_opportunities(reader)) == [1, 5, MAX_ID]
        assert desired_contacts(reader, 5) == {1, 3}
        assert desired_contacts(reader, MAX_ID) == {MAX_ID}
        assert desired_contacts(reader, 4) == frozenset()


def test_an_empty_input_names_nothing(path: Path, store: Store) -> None:  # noqa: ARG001 - makes it
    with LedgerReader(path) as reader:
        assert list(named_opportunities(reader)) == []


def test_rows_that_are_no_pair_have_no_opportunity(path: Path, store: Store) -> None:
    store.admit([judged(Pair(1, 2, 5, 1), "5", "1"), judged(Reject(2, 3, "odd"), "6", "x")])
    with LedgerReader(path) as reader:
        assert list(rows_of(reader, Status.INVALID)) == [(("6", "x"), None)]
        assert list(rows_of(reader, Status.NOT_ATTEMPTED)) == [(("5", "1"), 5)]
        assert count_unsettled(reader) == 1


def test_all_that_is_decided_is_durable_before_anything_goes(path: Path, store: Store) -> None:  # noqa: ARG001 - makes it
    decided(path, Extra(3, 3))
    decided(path, *REMOVALS)  # what another decision noted is gone
    with LedgerReader(path) as reader:
        assert list(links_to_prune(reader)) == [Made(2, 1, 7), Made(3, 1, 9), Made(1, 2, 5, THEN)]
        assert prune_counts(reader)["planned"] == 3
        assert reader.meta()["sync_decided"] == {"links": 3}


@pytest.mark.parametrize(
    ("stray", "said"),
    [
        (Extra(2, 1), "the input names"),
        (Extra(3, 7), "does not know of"),
        (Extra(MAX_ID, 7), "does not know of"),
    ],
)
def test_nothing_goes_by_a_decision_that_the_input_does_not_bear(
    path: Path, store: Store, stray: Extra, said: str
) -> None:
    pairs = [(1, 1), (2, 1)]
    store.admit([judged(Pair(row, row + 1, *one)) for row, one in enumerate(pairs, 1)])
    decided(path, *REMOVALS)
    with LedgerReader(path) as reader:
        check_removals(reader, path)
    decided(path, *REMOVALS, stray)
    with (
        LedgerReader(path) as reader,
        pytest.raises(LedgerError, match=f"damaged: removals of .*{said}.*row 4"),
    ):
        check_removals(reader, path)


def test_what_is_withheld_is_listed_and_never_goes(path: Path, store: Store) -> None:  # noqa: ARG001 - makes it
    decided(path, *REMOVALS, withheld="too many")
    with LedgerReader(path) as reader:
        assert list(links_to_prune(reader)) == []
        assert prune_counts(reader) == {
            **dict.fromkeys(("removed", "gone", "kept", "failed", "planned"), 0),
            "withheld": 3,
        }
        assert [one.state for one in pruned_links(reader)] == ["withheld"] * 3


def test_what_has_begun_says_so_and_what_failed_comes_again(path: Path, store: Store) -> None:  # noqa: ARG001 - makes it
    decided(path, *REMOVALS)

    async def work(ledger: PruneLedger) -> None:
        await ledger.begin([2, 3])
        await ledger.conclude(
            [Undoing(3, Undo.FAILED, "timeout", 504), Undoing(1, Undo.KEPT, "primary_contact")]
        )

    asyncio.run(_with(path, work))
    with LedgerReader(path) as reader:
        assert list(links_to_prune(reader)) == [Made(2, 1, 7, begun=True), Made(3, 1, 9, begun=True)]
        assert prune_reasons(reader) == {"primary_contact": 1, "timeout": 1}
        assert list(pruned_links(reader)) == [
            Pruned(2, 1, 7, "planned", "", None, None, ""),
            Pruned(3, 1, 9, "failed", "timeout", 504, None, ""),
            Pruned(1, 2, 5, "kept", "primary_contact", None, None, ""),
        ]
        # Of both it is not known whether they are gone.
        assert [pair.row for pair in links_to_make_again(reader)] == [2, 3]
    asyncio.run(_with(path, lambda ledger: ledger.begin([3])))
    with LedgerReader(path) as reader:
        assert prune_counts(reader)["failed"] == 0


def test_when_a_sync_last_did_something_with_a_link_is_told(path: Path, store: Store) -> None:  # noqa: ARG001 - makes it
    def told() -> float | None:
        with LedgerReader(path) as reader:
            return pruned_at(reader)

    decided(path, *REMOVALS)
    assert told() is None  # decided is not done
    before = time.time()
    asyncio.run(_with(path, lambda ledger: ledger.begin([2])))
    begun = told()
    assert begun is not None
    assert before <= begun <= time.time()
    asyncio.run(_with(path, lambda ledger: ledger.conclude([Undoing(2, Undo.REMOVED)])))
    settled = told()
    assert settled is not None
    assert begun <= settled <= time.time()


def test_what_was_removed_is_made_again_once(path: Path, store: Store) -> None:  # noqa: ARG001 - makes it
    decided(path, *REMOVALS)

    async def work(ledger: PruneLedger) -> None:
        await ledger.begin([1, 2, 3])
        await ledger.conclude([Undoing(1, Undo.REMOVED), Undoing(2, Undo.REMOVED), Undoing(3, Undo.GONE)])

    asyncio.run(_with(path, work))
    with LedgerReader(path) as reader:
        assert list(links_to_make_again(reader)) == [Pair(2, 0, 1, 7), Pair(1, 0, 2, 5)]
        assert restored_at(reader) is None
    said = [Restoring(1, Restored.FAILED, "timeout"), Restoring(2, Restored.RESTORED)]
    asyncio.run(_with(path, lambda ledger: ledger.restore(said)))
    with LedgerReader(path) as reader:
        assert [pair.row for pair in links_to_make_again(reader)] == [1]
        assert restored_counts(reader) == {
            Restored.RESTORED: 1,
            Restored.THERE: 0,
            Restored.REFUSED: 0,
            Restored.FAILED: 1,
        }
        assert restored_at(reader) is not None
        assert [(one.restored, one.restored_reason) for one in pruned_links(reader)] == [
            (Restored.RESTORED, ""),
            (None, ""),
            (Restored.FAILED, "timeout"),
        ]


@pytest.mark.parametrize("word", [Restored.RESTORED, Restored.THERE, Restored.REFUSED, Restored.FAILED])
@pytest.mark.parametrize("ended", [Undo.REMOVED, Undo.FAILED, None])
def test_a_removal_after_a_rollback_can_be_undone_like_the_first(
    path: Path,
    store: Store,  # noqa: ARG001 - makes it
    word: Restored,
    ended: Undo | None,
) -> None:
    """Whoever goes on with a sync that was rolled back removes anew; a kill leaves it begun."""
    decided(path, *REMOVALS)

    async def work(ledger: PruneLedger) -> None:
        await ledger.begin([1])
        await ledger.conclude([Undoing(1, Undo.FAILED, "timeout")])
        await ledger.restore([Restoring(1, word)])
        await ledger.begin([1])
        if ended is not None:
            await ledger.conclude([Undoing(1, ended)])

    asyncio.run(_with(path, work))
    with LedgerReader(path) as reader:
        assert [pair.row for pair in links_to_make_again(reader)] == [1]
        assert sum(restored_counts(reader).values()) == 0
        assert restored_at(reader) is None
        assert [claim.there for claim in pruned_claims(reader)] == [False] * (ended is Undo.REMOVED)


@pytest.mark.parametrize(
    ("word", "begun"),
    [
        (Restored.RESTORED, False),
        (Restored.THERE, False),
        (Restored.REFUSED, True),
        (Restored.FAILED, True),
    ],
)
def test_a_removal_whose_link_a_rollback_saw_there_is_as_if_it_had_not_begun(
    path: Path,
    store: Store,  # noqa: ARG001 - makes it
    word: Restored,
    *,
    begun: bool,
) -> None:
    """Gone when the sync goes on, it is gone by others, and nobody is to make it again."""
    decided(path, *REMOVALS)

    async def work(ledger: PruneLedger) -> None:
        await ledger.begin([1])
        await ledger.restore([Restoring(1, word)])

    asyncio.run(_with(path, work))
    with LedgerReader(path) as reader:
        assert [link.begun for link in links_to_prune(reader) if link.row == 1] == [begun]
    asyncio.run(_with(path, lambda ledger: ledger.conclude([Undoing(1, Undo.GONE)])))
    with LedgerReader(path) as reader:
        assert list(links_to_make_again(reader)) == []
        assert [claim.there for claim in pruned_claims(reader)] == [False]


def test_a_sync_says_that_what_it_removed_is_gone_unless_it_is_there_again(path: Path, store: Store) -> None:  # noqa: ARG001 - makes it
    decided(path, *REMOVALS)
    said = [Undoing(1, Undo.REMOVED), Undoing(2, Undo.GONE), Undoing(3, Undo.KEPT)]
    asyncio.run(_with(path, lambda ledger: ledger.conclude(said)))
    with LedgerReader(path) as reader:
        assert list(pruned_claims(reader)) == [Claim(-2, 1, 7, there=False), Claim(-1, 2, 5, there=False)]
    again = [Restoring(1, Restored.THERE), Restoring(2, Restored.REFUSED)]
    asyncio.run(_with(path, lambda ledger: ledger.restore(again)))
    with LedgerReader(path) as reader:
        assert [claim.there for claim in pruned_claims(reader)] == [False, True]


def words(path: Path, *keys: int) -> list[tuple[int, bool, datetime | None]]:
    with LedgerReader(path) as reader:
        return [(one, made, created) for one, _, made, created in last_words(reader, set(keys))]


def test_a_run_made_what_it_saw_absent_and_linked(path: Path, store: Store) -> None:
    link(store, 1, 1, 7)
    link(store, 2, 1, 8, seen=False)
    link(store, 3, 1, 9)
    pair = Pair(4, 5, 1, 10)
    store.admit([judged(pair)])
    store.settle([Outcome(pair, Status.ALREADY_LINKED, (), "", 200, found=b"{}")])
    store._db.execute("DELETE FROM contacts WHERE row = 3")
    asked = [key(1, contact) for contact in (7, 8, 9, 10)]
    assert words(path, *asked) == [(key(1, 7), True, THEN), (key(1, 9), True, None)]
    assert words(path, key(1, 9)) == [(key(1, 9), True, None)]
    assert words(path) == []


@pytest.mark.parametrize("state", [Undo.REMOVED, Undo.GONE])
def test_what_a_rollback_or_a_sync_removed_is_no_longer_a_runs_own(
    path: Path, store: Store, state: Undo
) -> None:
    link(store, 1, 1, 7)
    store._db.execute("INSERT INTO undone VALUES (1, 1.0, ?, '', 200, 2.0)", (state,))
    decided(path, *REMOVALS)
    asyncio.run(_with(path, lambda ledger: ledger.conclude([Undoing(1, state), Undoing(3, Undo.KEPT)])))
    asked = [key(1, 7), key(2, 5), key(1, 9)]
    assert words(path, *asked) == [
        (key(1, 7), True, THEN),
        (key(1, 7), False, None),
        (key(2, 5), False, None),
    ]
    assert words(path, key(4, 4)) == []


def test_what_was_removed_and_made_again_is_as_if_it_had_never_gone(path: Path, store: Store) -> None:  # noqa: ARG001 - makes it
    decided(path, *REMOVALS)
    asyncio.run(_with(path, lambda ledger: ledger.conclude([Undoing(1, Undo.REMOVED)])))
    asyncio.run(_with(path, lambda ledger: ledger.restore([Restoring(1, Restored.RESTORED)])))
    assert words(path, key(2, 5)) == []
