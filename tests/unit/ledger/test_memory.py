"""What sending needs of a ledger is the same whether it is a file or not: both pass all of this."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.judged import judged
from worker.ledger import Admitted, Ledger, MemoryLedger, PairLedger, Standing
from worker.models import Attempt, Outcome, Pair, PreState, Reject, Result, Status

DONE = (Attempt(Result.OK, http_status=201, body=b'{"id":1}'),)
BUSY = (Attempt(Result.TRANSIENT, "unavailable", 503),)


@pytest.fixture(params=["file", "memory"])
async def ledger(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[PairLedger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    async with Ledger(path, create=True) as kept:
        await kept.begin_session()
        yield kept


def pair(row: int, opportunity: int = 1, contact: int = 0) -> Pair:
    return Pair(row, row, opportunity, contact or row)


async def test_rows_are_admitted_once_and_those_that_ask_again_know_where_it_was_asked_first(
    ledger: PairLedger,
) -> None:
    rows: list[Pair | Reject] = [
        pair(1, 5, 6),
        Reject(2, 2, "contact_id is empty"),
        pair(3, 5, 6),
        pair(4, 6, 5),
    ]

    assert await ledger.admit([judged(one) for one in rows]) == Admitted(2, 1, 1)
    assert await ledger.admit([judged(pair(5, 6, 5))]) == Admitted(0, 1, 0)

    assert [one for one in await ledger.standing([1, 3, 4, 5, 6]) if one.status is not None] == [
        Standing(3, Status.DUPLICATE, "same pair as line 1"),
        Standing(5, Status.DUPLICATE, "same pair as line 4"),
    ]


async def test_a_pair_that_is_settled_is_still_known_when_it_is_asked_for_again(ledger: PairLedger) -> None:
    await ledger.admit([judged(pair(1))])
    (claimed,) = await ledger.claim(5)
    await ledger.settle([Outcome(claimed, Status.LINKED, DONE, http_status=201)])

    assert await ledger.admit([judged(pair(2, 1, 1))]) == Admitted(0, 1, 0)
    assert await ledger.claim(5) == []


async def test_pairs_are_claimed_in_input_order_and_each_once(ledger: PairLedger) -> None:
    await ledger.admit([judged(pair(row)) for row in (1, 2, 3)])

    assert await ledger.claim(2) == [pair(1), pair(2)]
    assert await ledger.claim(2) == [pair(3)]
    assert await ledger.claim(2) == []


async def test_who_looks_first_is_given_all_pairs_of_an_opportunity_together(ledger: PairLedger) -> None:
    rows = [pair(1, 7), pair(2, 8), pair(3, 7), pair(4, 8), pair(5, 9)]
    await ledger.admit([judged(one) for one in rows])

    first = await ledger.claim(1, look_first=True)
    rest = [*await ledger.claim(1, look_first=True), *await ledger.claim(5, look_first=True)]

    assert first == [pair(1, 7), pair(3, 7)]
    assert sorted(one.row for one in rest) == [2, 4, 5]


async def test_what_is_left_says_whether_the_portal_may_hold_it_and_how_often_it_was_sent(
    ledger: PairLedger,
) -> None:
    await ledger.admit([judged(pair(row)) for row in (1, 2, 3, 4)])
    claimed = await ledger.claim(3, look_first=True)
    await ledger.looked([one.row for one in claimed])
    await ledger.settle([Outcome(pair(1), Status.ALREADY_LINKED, (), found=b'{"id":1}')])
    await ledger.count({2: BUSY})
    await ledger.release([2])

    assert await ledger.standing([2, 3, 4, 99]) == [
        Standing(2, None, attempts=1, sent=True),
        Standing(3, None),
        Standing(4, None),
    ]


async def test_a_reason_that_is_found_out_late_does_no_harm_to_what_is_known(ledger: PairLedger) -> None:
    await ledger.admit([judged(pair(1))])
    await ledger.claim(1)
    outcome = Outcome(Pair(1, 1, 1, 1, pre=PreState.ABSENT), Status.REJECTED, (), "not_found", 404)
    await ledger.settle([outcome])

    await ledger.explain({1: "contact_missing"})

    assert await ledger.admit([judged(pair(2, 1, 1))]) == Admitted(0, 1, 0)
