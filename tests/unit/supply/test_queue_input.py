"""Opening a queue for a run: what is waited for, and what is left open when it is not there."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.memory_queue import MemoryBroker, MemoryQueue
from tests.unit.supply.queue_desk import PLAN, HereLedger, Results, Run
from worker.errors import QueueMissing, QueueUnavailable
from worker.supply.queue import QueueSupply
from worker.supply.queue_input import QueueInput
from worker.tally import RunTally


class Opening:
    """An input whose brokers may be away, and what came of opening it."""

    def __init__(self, wait_for: float, ledger: HereLedger) -> None:
        self.broker, self.other = MemoryBroker("links"), MemoryBroker("results")
        self.broker.make()
        self.queue = MemoryQueue(self.broker)
        self.results = Results(self.other, [])
        self.notes: list[str] = []
        self.ledger = ledger
        self.input = QueueInput(
            "redis://host/0?stream=links", self.queue, self.results, plan=PLAN, wait_for=wait_for
        )

    async def open(self) -> QueueSupply:
        return await self.input.open(self.ledger, RunTally(), self.notes.append)


@asynccontextmanager
async def opening_of(wait_for: float) -> AsyncIterator[Opening]:
    with tempfile.TemporaryDirectory() as folder:
        async with HereLedger(Path(folder) / "ledger.db") as ledger:
            yield Opening(wait_for, ledger)


def test_an_input_opens_the_queue_and_the_results(virtual_time: Run) -> None:
    async def story() -> None:
        async with opening_of(0.0) as one:
            assert one.input.facts == {
                "input_path": "redis://host/0?stream=links",
                "input_name": "redis://host/0?stream=links",
                "input_kind": "queue",
            }
            supply = await one.open()
            assert await one.queue.is_drained()
            await supply.close()
            one.input.close()
            assert one.results.closed

    virtual_time(story())


@pytest.mark.parametrize("which", ["queue", "results"])
def test_an_input_waits_for_a_broker_only_as_long_as_it_may_and_leaves_nothing_open(
    virtual_time: Run, which: str
) -> None:
    async def story() -> None:
        async with opening_of(60.0) as one:
            (one.broker if which == "queue" else one.other).is_up = False
            began = asyncio.get_running_loop().time()
            with pytest.raises(QueueUnavailable, match=r"the broker is down; nothing was taken$"):
                await one.open()
            assert 40.0 <= asyncio.get_running_loop().time() - began <= 60.0
            assert len(one.notes) > 5
            one.broker.is_up = True
            with pytest.raises(QueueUnavailable, match="closed"):
                await one.queue.is_drained()
            if which == "results":  # which may hold half a connection
                assert one.results.closed

    virtual_time(story())


def test_an_input_goes_on_when_the_broker_comes(virtual_time: Run) -> None:
    async def story() -> None:
        async with opening_of(60.0) as one:
            one.broker.is_up = False
            asyncio.get_running_loop().call_later(20.0, setattr, one.broker, "is_up", True)  # noqa: FBT003
            supply = await one.open()
            assert one.notes[-1] == ""
            await supply.close()

    virtual_time(story())


def test_a_queue_that_is_not_there_yet_is_waited_for_like_its_broker(virtual_time: Run) -> None:
    async def story() -> None:
        async with opening_of(60.0) as one:
            one.broker._exists = False
            asyncio.get_running_loop().call_later(20.0, one.broker.make)
            supply = await one.open()
            assert one.notes[0].endswith("there is no queue links; 'bulklink publish' makes it; trying again")
            assert one.notes[-1] == ""
            await supply.close()

    virtual_time(story())


@pytest.mark.parametrize("wait", [0.0, 60.0])
def test_a_queue_that_never_comes_is_an_error_that_says_what_makes_it(virtual_time: Run, wait: float) -> None:
    async def story() -> None:
        async with opening_of(wait) as one:
            one.broker._exists = False
            began = asyncio.get_running_loop().time()
            with pytest.raises(QueueMissing, match=r"there is no queue links; 'bulklink publish' makes it$"):
                await one.open()
            assert asyncio.get_running_loop().time() - began <= wait

    virtual_time(story())


def test_what_a_queue_complains_of_is_told_at_once_and_when_all_is_over(virtual_time: Run) -> None:
    async def story() -> None:
        async with opening_of(0.0) as one:
            one.queue.warnings = ("3 entries came before the group",)
            supply = await one.open()
            reading = asyncio.create_task(supply.read())
            await asyncio.sleep(0.1)
            assert one.notes == ["3 entries came before the group"]
            one.queue.warnings = ("3 entries came before the group", "1 entry is lost")
            await reading
            assert one.notes[1:] == ["3 entries came before the group; 1 entry is lost"]
            await supply.close()
            assert one.input.lost == one.notes[1]

    virtual_time(story())


def test_a_queue_without_complaints_has_lost_nothing(virtual_time: Run) -> None:
    async def story() -> None:
        async with opening_of(0.0) as one:
            supply = await one.open()
            await supply.close()
            assert one.input.lost == ""

    virtual_time(story())
