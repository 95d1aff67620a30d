"""Pairs are taken lazily from whatever iterable, and each comes back with one outcome."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any

import pytest

from worker.api.channel import Channel
from worker.api.supply import CHUNK, PairSupply
from worker.errors import InputError, LedgerError
from worker.ledger import Admitted, MemoryLedger, Standing
from worker.models import Attempt, Pair, Result, Status
from worker.models import Outcome as Concluded
from worker.tally import RunTally

Run = Callable[[Coroutine[Any, Any, Any]], Any]

DONE = (Attempt(Result.OK, http_status=201, body=b'{"id":1}'),)


class Desk:
    """A supply, and what it is wired to."""

    def __init__(self, pairs: Any, *, window: int = 1_000, look_first: bool = False) -> None:
        self.outcomes: Channel[Any] = Channel()
        self.tally = RunTally()
        self.ledger = MemoryLedger()
        self.window = window
        self.completed = 0
        self.supply = PairSupply(
            pairs,
            self.outcomes,
            self.ledger,
            self.tally,
            look_first=look_first,
            window=lambda: self.window,
            complete=self._complete,
        )

    async def _complete(self) -> None:
        self.completed += 1

    async def settle(self, pair: Pair) -> None:
        outcome = Concluded(pair, Status.LINKED, DONE, http_status=201)
        await self.ledger.settle([outcome])
        await self.supply.settled(outcome)

    @property
    def states(self) -> dict[str, int]:
        return {str(status): count for status, count in self.outcomes.states.items()}


async def slowly(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(1)
        yield item


def endless() -> Iterator[tuple[int, int]]:
    number = 0
    while True:
        number += 1
        yield number, number


async def endless_slowly() -> AsyncIterator[tuple[int, int]]:
    for item in endless():
        yield item


def test_all_of_an_iterable_is_given_in_order_and_then_nothing(virtual_time: Run) -> None:
    async def story() -> None:
        desk = Desk([(7, number) for number in range(1, 3 * CHUNK)])
        reading = asyncio.create_task(desk.supply.read())
        taken: list[int] = []
        while pairs := await desk.supply.take(64):
            taken += [pair.contact_id for pair in pairs]
        await reading

        assert taken == list(range(1, 3 * CHUNK))
        assert (desk.tally.rows, desk.tally.complete, desk.completed) == (3 * CHUNK - 1, True, 1)

    virtual_time(story())


def test_what_an_async_iterable_has_brought_does_not_wait_for_what_it_will_bring(virtual_time: Run) -> None:
    async def story() -> list[float]:
        desk = Desk(slowly([(1, 1), (1, 2)]))
        loop = asyncio.get_running_loop()
        began = loop.time()
        reading = asyncio.create_task(desk.supply.read())
        times = []
        while await desk.supply.take(64):
            times.append(loop.time() - began)
        await reading
        return times

    assert virtual_time(story()) == [1.0, 2.0]


def test_what_comes_as_the_last_while_the_ledger_is_busy_is_not_forgotten(
    virtual_time: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> list[int]:
        desk = Desk(slowly(["nonsense", (1, 2)]))
        admit = desk.ledger.admit

        async def admit_slowly(judged: Any) -> Admitted:
            admitted = await admit(judged)
            await asyncio.sleep(5)
            return admitted

        monkeypatch.setattr(desk.ledger, "admit", admit_slowly)
        reading = asyncio.create_task(desk.supply.read())
        taken: list[int] = []
        while pairs := await desk.supply.take(64):
            taken += [pair.row for pair in pairs]
        await reading
        return taken

    assert virtual_time(story()) == [2]


@pytest.mark.parametrize("pairs", [endless, endless_slowly])
def test_no_more_are_taken_than_there_is_room_for(virtual_time: Run, pairs: Callable[[], Any]) -> None:
    async def story() -> None:
        desk = Desk(pairs(), window=10)
        reading = asyncio.create_task(desk.supply.read())
        first = await desk.supply.take(64)
        for _ in range(50):
            await asyncio.sleep(0)
        assert desk.supply.taken == 10

        await desk.settle(first[0])  # nobody has taken its outcome
        await asyncio.sleep(1)
        assert desk.supply.taken == 10
        await desk.outcomes.get()
        await asyncio.sleep(1)
        assert desk.supply.taken == 11
        desk.window = 12
        await desk.settle((await desk.supply.take(1))[0])
        await desk.outcomes.get()
        await asyncio.sleep(1)
        assert desk.supply.taken == 14
        reading.cancel()
        await asyncio.wait({reading})

    virtual_time(story())


def test_what_is_no_pair_and_what_comes_twice_has_its_outcome_at_once(virtual_time: Run) -> None:
    async def story() -> None:
        desk = Desk([(1, 2), "nonsense", (1, 2), {"deal": 1, "contact": 2}])
        reading = asyncio.create_task(desk.supply.read())
        assert [pair.row for pair in await desk.supply.take(64)] == [1]
        await reading

        told = [await desk.outcomes.get() for _ in range(3)]
        assert [(one.item, one.status, one.reason) for one in told if one] == [
            ("nonsense", "invalid", "neither a pair (opportunity, contact) nor a mapping"),
            ((1, 2), "duplicate", "same pair as line 1"),
            ({"deal": 1, "contact": 2}, "duplicate", "same pair as line 1"),
        ]
        assert [(one.opportunity_id, one.contact_id) for one in told if one] == [(None, None), (1, 2), (1, 2)]

    virtual_time(story())


def test_an_outcome_has_the_item_and_what_the_portal_said(virtual_time: Run) -> None:
    async def story() -> None:
        item = {"Deal ID": "07", "Contact ID": "8", "note": "mine"}
        desk = Desk([item])
        reading = asyncio.create_task(desk.supply.read())
        (pair,) = await desk.supply.take(64)
        await desk.settle(pair)
        await reading

        outcome = await desk.outcomes.get()
        assert outcome is not None
        assert outcome.item is item
        assert (outcome.opportunity_id, outcome.contact_id, outcome.status) == (7, 8, Status.LINKED)
        assert (outcome.http_status, outcome.attempts, outcome.contact_json) == (201, 1, b'{"id":1}')

    virtual_time(story())


def broken() -> Iterator[tuple[int, int]]:
    yield 1, 1
    raise ZeroDivisionError("of the program")


async def broken_slowly() -> AsyncIterator[tuple[int, int]]:
    yield 1, 1
    raise ZeroDivisionError("of the program")


@pytest.mark.parametrize("pairs", [broken, broken_slowly])
def test_an_iterable_that_breaks_off_is_an_input_error_with_its_cause(
    virtual_time: Run, pairs: Callable[[], Any]
) -> None:
    async def story() -> None:
        desk = Desk(pairs())
        with pytest.raises(InputError, match="broke off after 1 pair: ZeroDivisionError: of the") as caught:
            await desk.supply.read()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert len(await desk.supply.take(64)) == 1
        assert await desk.supply.take(64) == []
        assert (desk.tally.complete, desk.completed) == (False, 0)

    virtual_time(story())


def test_what_is_no_iterable_is_an_input_error(virtual_time: Run) -> None:
    async def story() -> None:
        with pytest.raises(InputError, match="'int' object is not iterable"):
            await Desk(7).supply.read()

    virtual_time(story())


def test_a_generator_that_is_left_is_closed(virtual_time: Run) -> None:
    async def story() -> None:
        ended: list[str] = []

        async def pairs() -> AsyncIterator[tuple[int, int]]:
            try:
                for item in endless():
                    yield item
            finally:
                ended.append("closed")

        desk = Desk(pairs(), window=3)
        reading = asyncio.create_task(desk.supply.read())
        await asyncio.sleep(1)
        assert not ended
        reading.cancel()
        await asyncio.wait({reading})
        assert ended == ["closed"]

    virtual_time(story())


def test_at_the_end_whatever_was_taken_has_an_outcome(virtual_time: Run) -> None:
    async def story() -> None:
        desk = Desk([(1, 1), (1, 2), (1, 3)])
        await desk.supply.read()
        await desk.supply.take(2)
        busy = Attempt(Result.AMBIGUOUS, "timeout")
        await desk.ledger.count({1: (busy, busy)})
        await desk.ledger.release([1])
        desk.supply._arrived((1, 4))  # taken, and never admitted
        desk.supply._arrived("nonsense")
        await desk.supply.close()

        told = [(one.item, one.status, one.attempts) for one in desk.outcomes.waiting]
        assert told == [
            ((1, 1), "unknown", 2),
            ((1, 2), "not_attempted", 0),
            ((1, 3), "not_attempted", 0),
            ((1, 4), "not_attempted", 0),
            ("nonsense", "invalid", 0),
        ]

    virtual_time(story())


def test_of_a_ledger_that_has_given_up_nothing_is_known(
    virtual_time: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        desk = Desk([(1, 1)])
        await desk.supply.read()
        await desk.supply.take(2)

        async def fail(_: object) -> list[Standing]:
            raise LedgerError("ledger.db: disk full")

        monkeypatch.setattr(desk.ledger, "standing", fail)
        await desk.supply.close()
        assert desk.states == {"unknown": 1}

    virtual_time(story())
