"""The feed over a real ledger: each pair once, in order, whether it waits or is cancelled."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.unit.judged import judged
from worker.ledger import Ledger, LedgerReader
from worker.models import Attempt, Outcome, Pair, Reject, Result, Status
from worker.supply.feed import Feed

ATTEMPT = Attempt(Result.PERMANENT, "not_found", 404)


def pair(number: int) -> Pair:
    return Pair(number, number + 1, number, 7)


def pairs(first: int, last: int) -> list[Pair]:
    return [pair(number) for number in range(first, last + 1)]


async def admit(ledger: Ledger, *numbers: int) -> None:
    await ledger.admit([judged(pair(n), str(n), "7") for n in numbers])


async def quiet(ledger: Ledger) -> None:
    """Until everyone who can go on has done so: the ledger answers in the order in which it is asked."""
    for _ in range(5):
        await ledger.fact("columns")
        await asyncio.sleep(0)


class GatedLedger(Ledger):
    """A ledger whose claims are made at once, but answered only when the gate is open."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, create=True)
        self.gate = asyncio.Event()
        self.gate.set()
        self.claims = 0

    async def claim(self, limit: int, *, look_first: bool = False) -> list[Pair]:
        self.claims += 1
        claimed = await super().claim(limit, look_first=look_first)
        await self.gate.wait()
        return claimed


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[GatedLedger]:
    async with GatedLedger(tmp_path / "ledger.db") as ledger:
        await ledger.begin_session()
        yield ledger


async def take_all(feed: Feed, most: int = 10) -> list[Pair]:
    taken: list[Pair] = []
    while some := await feed.take(most):
        taken += some
    return taken


@pytest.mark.parametrize("most", [1, 3, 10, 100])
async def test_each_pair_is_given_once_and_in_input_order(ledger: Ledger, most: int) -> None:
    await admit(ledger, *range(1, 11))
    feed = Feed(ledger)
    feed.complete()
    assert await take_all(feed, most) == pairs(1, 10)
    assert await feed.take(most) == []


async def test_duplicates_rejects_and_settled_pairs_are_not_given(ledger: Ledger) -> None:
    await admit(ledger, 1, 2)
    await ledger.admit([judged(Pair(3, 4, 1, 7), "1", "7"), judged(Reject(4, 5, "is empty"))])
    await admit(ledger, 5)
    feed = Feed(ledger)
    feed.complete()
    assert await take_all(feed) == [pair(1), pair(2), pair(5)]


async def test_it_waits_while_the_input_is_incomplete_and_wakes_on_more(ledger: Ledger) -> None:
    feed = Feed(ledger)
    taking = asyncio.create_task(feed.take(10))
    await quiet(ledger)
    assert not taking.done()
    await admit(ledger, 1, 2)
    await quiet(ledger)
    assert not taking.done()
    feed.more(2)
    assert await taking == pairs(1, 2)


async def test_news_of_nothing_lets_nobody_go_and_is_looked_at_once(ledger: GatedLedger) -> None:
    feed = Feed(ledger)
    taking = asyncio.create_task(feed.take(10))
    await quiet(ledger)
    for _ in range(3):
        feed.more(0)
        await quiet(ledger)
    assert not taking.done()
    assert ledger.claims == 4
    feed.complete()
    assert await taking == []


async def test_pairs_admitted_just_before_the_end_are_given(ledger: GatedLedger) -> None:
    """The claim that found nothing was made before they came: its answer is no end."""
    feed = Feed(ledger)
    ledger.gate.clear()
    taking = asyncio.create_task(feed.take(10))
    await quiet(ledger)
    await admit(ledger, 1)
    feed.more(1)
    feed.complete()
    ledger.gate.set()
    assert await taking == [pair(1)]
    assert await feed.take(10) == []


async def test_news_that_comes_during_a_claim_is_not_lost(ledger: GatedLedger) -> None:
    feed = Feed(ledger)
    ledger.gate.clear()
    taking = asyncio.create_task(feed.take(10))
    await quiet(ledger)
    await admit(ledger, 1)
    feed.more(1)
    ledger.gate.set()
    assert await taking == [pair(1)]


async def test_one_cancelled_while_it_waits_for_news_loses_no_pair(ledger: Ledger) -> None:
    feed = Feed(ledger)
    taking = asyncio.create_task(feed.take(10))
    await quiet(ledger)
    taking.cancel()
    await admit(ledger, 1, 2)
    feed.more(2)
    assert await feed.take(10) == pairs(1, 2)
    assert taking.cancelled()


async def test_to_look_first_it_waits_until_rows_up_to_a_horizon_are_read(ledger: GatedLedger) -> None:
    feed = Feed(ledger, look_first=True, horizon=4)
    taking = asyncio.create_task(feed.take(1))
    for number in (1, 2, 3):
        await admit(ledger, number)
        feed.more(1)
        await quiet(ledger)
    assert not taking.done()
    assert ledger.claims == 0
    await admit(ledger, 4)
    feed.more(1)
    assert await taking == [pair(1)]


async def test_an_input_that_ends_before_the_horizon_is_looked_at_then(ledger: Ledger) -> None:
    feed = Feed(ledger, look_first=True, horizon=100)
    await admit(ledger, 1, 2)
    feed.more(2)
    feed.complete()
    assert await take_all(feed) == pairs(1, 2)


async def test_a_chunk_claimed_for_a_cancelled_taker_comes_back_with_the_next_session(tmp_path: Path) -> None:
    """Takers are cancelled only when the run ends; then the intents of what was not sent are taken back."""
    path = tmp_path / "ledger.db"
    async with GatedLedger(path) as ledger:
        await ledger.begin_session()
        await admit(ledger, 1, 2, 3, 4)
        feed = Feed(ledger)
        assert await feed.take(1) == [pair(1)]
        await ledger.settle([Outcome(pair(1), Status.REJECTED, (ATTEMPT,), "not_found", 404)])
        assert await feed.take(1) == [pair(2)]
        ledger.gate.clear()
        taking = asyncio.create_task(feed.take(2))
        await quiet(ledger)
        taking.cancel()
        await asyncio.wait({taking})
        assert taking.cancelled()
        await ledger.release([2])
    async with Ledger(path, create=False) as ledger:
        await ledger.begin_session()
        feed = Feed(ledger)
        feed.complete()
        assert await take_all(feed) == [replace(pair(2), in_doubt=True), pair(3), pair(4)]


@pytest.mark.parametrize(("look_first", "status"), [(True, Status.NOT_ATTEMPTED), (False, Status.UNKNOWN)])
async def test_intents_are_noted_at_once_unless_it_is_to_be_looked_first(
    ledger: GatedLedger, tmp_path: Path, status: Status, *, look_first: bool
) -> None:
    await admit(ledger, 1, 2, 3)
    feed = Feed(ledger, look_first=look_first)
    feed.complete()
    assert await take_all(feed) == pairs(1, 3)
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert [row.status for row in reader.rows(list(Status))] == [status] * 3


async def test_it_has_kept_ahead_if_pairs_were_taken_and_none_was_waited_for(ledger: Ledger) -> None:
    feed = Feed(ledger)
    await admit(ledger, 1, 2)
    feed.more(2)
    assert not feed.has_kept_ahead(), "nobody has taken any"

    await feed.take(1)
    assert feed.has_kept_ahead()
    assert not feed.has_kept_ahead(), "not since it was last asked"

    await feed.take(1)
    waiting = asyncio.create_task(feed.take(1))
    await quiet(ledger)
    assert not feed.has_kept_ahead(), "somebody waits"
    await admit(ledger, 3)
    feed.more(1)
    assert await waiting == [pair(3)]
    assert feed.has_kept_ahead(), "nobody has waited any more"
