"""The feed over a real ledger: each pair once, in order, whoever takes, waits or is cancelled."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from worker.ledger import Ledger, LedgerReader
from worker.models import Attempt, Outcome, Pair, Reject, Result, Row, Status
from worker.run.feed import Feed

ATTEMPT = Attempt(1, Result.PERMANENT, "not_found", 404)


def pair(number: int) -> Pair:
    return Pair(number, number + 1, number, 7)


def pairs(first: int, last: int) -> list[Pair]:
    return [pair(number) for number in range(first, last + 1)]


async def admit(ledger: Ledger, *numbers: int) -> None:
    await ledger.admit([(Row(n, n + 1, (str(n), "7"), str(n), "7"), pair(n)) for n in numbers])


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


async def take_all(feed: Feed) -> list[Pair]:
    taken = []
    while (one := await feed.take()) is not None:
        taken.append(one)
    return taken


@pytest.mark.parametrize("chunk", [1, 3, 10, 100])
async def test_one_taker_gets_each_pair_once_and_in_input_order(ledger: Ledger, chunk: int) -> None:
    await admit(ledger, *range(1, 11))
    feed = Feed(ledger, chunk)
    feed.complete()
    assert await take_all(feed) == pairs(1, 10)
    assert await feed.take() is None


@pytest.mark.parametrize("chunk", [1, 3, 100])
async def test_many_takers_get_each_pair_once_and_in_input_order(ledger: Ledger, chunk: int) -> None:
    await admit(ledger, *range(1, 41))
    feed = Feed(ledger, chunk)
    feed.complete()
    order: list[Pair] = []

    async def lane() -> None:
        while (one := await feed.take()) is not None:
            order.append(one)

    await asyncio.gather(*(lane() for _ in range(8)))
    assert order == pairs(1, 40)


async def test_duplicates_rejects_and_settled_pairs_are_not_given(ledger: Ledger) -> None:
    await admit(ledger, 1, 2)
    again = Row(3, 4, ("1", "7"), "1", "7")
    await ledger.admit([(again, Pair(3, 4, 1, 7)), (Row(4, 5, (), None, None), Reject(4, 5, "is empty"))])
    await admit(ledger, 5)
    feed = Feed(ledger, 10)
    feed.complete()
    assert await take_all(feed) == [pair(1), pair(2), pair(5)]


async def test_a_taker_waits_while_the_input_is_incomplete_and_wakes_on_more(ledger: Ledger) -> None:
    feed = Feed(ledger, 10)
    taking = asyncio.create_task(feed.take())
    await quiet(ledger)
    assert not taking.done()
    await admit(ledger, 1, 2)
    await quiet(ledger)
    assert not taking.done()
    feed.more()
    assert await taking == pair(1)
    assert await feed.take() == pair(2)


async def test_news_of_nothing_lets_nobody_go_and_is_looked_at_once(ledger: GatedLedger) -> None:
    feed = Feed(ledger, 10)
    taking = asyncio.create_task(feed.take())
    await quiet(ledger)
    for _ in range(3):
        feed.more()
        await quiet(ledger)
    assert not taking.done()
    assert ledger.claims == 4
    feed.complete()
    assert await taking is None


async def test_takers_who_wait_together_share_one_claim(ledger: GatedLedger) -> None:
    """What is claimed is noted as sent: a crash puts it in doubt, so it is kept small."""
    await admit(ledger, *range(1, 41))
    feed = Feed(ledger, 10)
    ledger.gate.clear()
    taking = [asyncio.create_task(feed.take()) for _ in range(8)]
    await quiet(ledger)
    assert ledger.claims == 1
    ledger.gate.set()
    assert await asyncio.gather(*taking) == pairs(1, 8)
    assert ledger.claims == 1


async def test_at_the_end_every_lane_gets_none(ledger: Ledger) -> None:
    await admit(ledger, 1)
    feed = Feed(ledger, 10)
    taking = [asyncio.create_task(feed.take()) for _ in range(6)]
    await quiet(ledger)
    assert [t.result() for t in taking if t.done()] == [pair(1)]
    feed.complete()
    assert await asyncio.gather(*taking) == [pair(1), None, None, None, None, None]


async def test_pairs_admitted_just_before_the_end_are_given(ledger: GatedLedger) -> None:
    """The claim that found nothing was made before they came: its answer is no end."""
    feed = Feed(ledger, 10)
    ledger.gate.clear()
    taking = asyncio.create_task(feed.take())
    await quiet(ledger)
    await admit(ledger, 1)
    feed.more()
    feed.complete()
    ledger.gate.set()
    assert await taking == pair(1)
    assert await feed.take() is None


async def test_news_that_comes_during_a_claim_is_not_lost(ledger: GatedLedger) -> None:
    feed = Feed(ledger, 10)
    ledger.gate.clear()
    taking = asyncio.create_task(feed.take())
    await quiet(ledger)
    await admit(ledger, 1)
    feed.more()
    ledger.gate.set()
    assert await taking == pair(1)


async def test_more_is_claimed_only_when_the_chunk_is_used_up(ledger: Ledger) -> None:
    await admit(ledger, *range(1, 8))
    feed = Feed(ledger, 3)
    assert await feed.take() == pair(1)
    assert await ledger.claim(1) == [pair(4)]
    assert [await feed.take(), await feed.take(), await feed.take()] == [pair(2), pair(3), pair(5)]


async def test_a_taker_cancelled_while_it_waits_for_news_loses_no_pair(ledger: Ledger) -> None:
    feed = Feed(ledger, 10)
    first, second = asyncio.create_task(feed.take()), asyncio.create_task(feed.take())
    await quiet(ledger)
    first.cancel()
    await admit(ledger, 1, 2)
    feed.more()
    assert await second == pair(1)
    assert first.cancelled()
    assert await feed.take() == pair(2)


async def test_a_taker_cancelled_while_it_queues_loses_no_pair(ledger: Ledger) -> None:
    feed = Feed(ledger, 10)
    taking = [asyncio.create_task(feed.take()) for _ in range(3)]
    await quiet(ledger)
    taking[1].cancel()
    await admit(ledger, 1, 2)
    feed.more()
    assert [await taking[0], await taking[2]] == [pair(1), pair(2)]
    assert taking[1].cancelled()


async def test_a_chunk_claimed_for_a_cancelled_taker_comes_back_with_the_next_session(tmp_path: Path) -> None:
    """Takers are cancelled only when the run ends; then the intents of what was not sent are taken back."""
    path = tmp_path / "ledger.db"
    async with GatedLedger(path) as ledger:
        await ledger.begin_session()
        await admit(ledger, 1, 2, 3, 4)
        feed = Feed(ledger, 2)
        assert await feed.take() == pair(1)
        await ledger.settle(Outcome(pair(1), Status.REJECTED, (ATTEMPT,), "not_found", 404))
        assert await feed.take() == pair(2)
        ledger.gate.clear()
        taking = asyncio.create_task(feed.take())
        await quiet(ledger)
        taking.cancel()
        await asyncio.wait({taking})
        assert taking.cancelled()
        await ledger.release([2])
    async with Ledger(path, create=False) as ledger:
        await ledger.begin_session()
        feed = Feed(ledger, 10)
        feed.complete()
        assert await take_all(feed) == [replace(pair(2), in_doubt=True), pair(3), pair(4)]


async def test_what_is_claimed_already_can_be_had_at_once_in_order_and_each_once(ledger: GatedLedger) -> None:
    await admit(ledger, *range(1, 8))
    feed = Feed(ledger, 5)
    feed.complete()
    assert await feed.take() == pair(1)
    assert feed.at_hand(2) == pairs(2, 3)
    assert await feed.take() == pair(4)
    assert feed.at_hand(9) == [pair(5)]
    assert feed.at_hand(9) == []
    assert ledger.claims == 1
    assert await take_all(feed) == pairs(6, 7)


@pytest.mark.parametrize("limit", [0, 9])
async def test_nothing_is_at_hand_before_the_first_claim(ledger: GatedLedger, limit: int) -> None:
    await admit(ledger, 1, 2)
    feed = Feed(ledger, 5)
    assert feed.at_hand(limit) == []
    assert ledger.claims == 0
    assert await feed.take() == pair(1)
    assert feed.at_hand(limit) == [pair(2)][:limit]


async def test_what_is_had_at_once_takes_nothing_from_a_claim_that_is_on_its_way(ledger: GatedLedger) -> None:
    await admit(ledger, *range(1, 5))
    feed = Feed(ledger, 2)
    ledger.gate.clear()
    taking = [asyncio.create_task(feed.take()) for _ in range(2)]
    await quiet(ledger)
    assert feed.at_hand(9) == []
    ledger.gate.set()
    assert await asyncio.gather(*taking) == pairs(1, 2)
    assert await feed.take() == pair(3)
    assert feed.at_hand(9) == [pair(4)]


async def test_takers_who_also_take_what_is_at_hand_get_each_pair_once(ledger: Ledger) -> None:
    await admit(ledger, *range(1, 41))
    feed = Feed(ledger, 7)
    feed.complete()
    taken: list[Pair] = []

    async def lane(limit: int) -> None:
        while (one := await feed.take()) is not None:
            taken.extend([one, *feed.at_hand(limit)])

    await asyncio.gather(*(lane(limit) for limit in range(5)))
    assert taken == pairs(1, 40)


@pytest.mark.parametrize(("look_first", "status"), [(True, Status.NOT_ATTEMPTED), (False, Status.UNKNOWN)])
async def test_intents_are_noted_at_once_unless_it_is_to_be_looked_first(
    ledger: GatedLedger, tmp_path: Path, status: Status, *, look_first: bool
) -> None:
    await admit(ledger, 1, 2, 3)
    feed = Feed(ledger, 3, look_first=look_first)
    feed.complete()
    assert await take_all(feed) == pairs(1, 3)
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert [row.status for row in reader.rows(list(Status))] == [status] * 3
