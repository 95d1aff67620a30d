"""Telling the broker what became of its messages: in batches, results first, and nothing is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from tests.memory_queue import MemoryBroker, MemoryPublisher, MemoryQueue
from worker.errors import QueueError, QueueUnavailable
from worker.queues import Failure
from worker.supply.acknowledger import LINGER, Acknowledgement, Acknowledger
from worker.supply.broker_retry import BrokerRetry

Run = Callable[[Coroutine[Any, Any, Any]], Any]

FAILURE = Failure("not_found", "rejected", 404, 1)


class Witness(MemoryQueue, MemoryPublisher):
    """A queue and a place for results, which notes every call; some of them find the broker away."""

    def __init__(self, broker: MemoryBroker) -> None:
        MemoryQueue.__init__(self, broker)
        self.said: list[tuple[str, object]] = []
        self.away: set[int] = set()
        self.refusal = ""
        self.calls = 0

    def note(self, verb: str, what: object) -> None:
        self.calls += 1
        if self.calls in self.away:
            raise QueueUnavailable("away")
        if self.refusal == verb:
            raise QueueError("no rights")
        self.said.append((verb, what))

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        await asyncio.sleep(0)
        self.note("publish", [identity for identity, _ in messages])

    async def ack(self, handles: Sequence[str]) -> None:
        await asyncio.sleep(0)
        self.note("ack", list(handles))

    async def release(self, handle: str, delay: float) -> None:
        await asyncio.sleep(0)
        self.note("release", (handle, delay))

    async def dead(self, handle: str, why: Failure) -> None:
        await asyncio.sleep(0)
        self.note("dead", (handle, why))


@asynccontextmanager
async def at_work(witness: Witness, *, results: bool = True) -> AsyncIterator[Acknowledger]:
    retry = BrokerRetry(lambda _: None, Random(1))  # noqa: S311 - spreads tries
    acknowledger = Acknowledger(witness, witness if results else None, retry)
    working = asyncio.create_task(acknowledger.work())
    try:
        yield acknowledger
    finally:
        working.cancel()
        await asyncio.wait({working})
        if not working.cancelled():
            working.exception()


@pytest.fixture
def witness() -> Witness:
    return Witness(MemoryBroker())


MIXED = (
    Acknowledgement("1", result=("a", b"{}")),
    Acknowledgement("2", FAILURE, result=("b", b"{}")),
    Acknowledgement("3", release_after=30.0),
    Acknowledgement("4"),
    Acknowledgement("5", FAILURE),
)
SAID = [
    ("publish", ["a", "b"]),
    ("ack", ["1", "4"]),
    ("dead", ("2", FAILURE)),
    ("release", ("3", 30.0)),
    ("dead", ("5", FAILURE)),
]


def test_what_comes_together_is_settled_together_results_first(virtual_time: Run, witness: Witness) -> None:
    async def story() -> None:
        async with at_work(witness) as acknowledger:
            for done in MIXED:
                acknowledger.add(done)
            assert await acknowledger.flush(60.0)
            assert witness.said == SAID

    virtual_time(story())


def test_what_comes_within_a_moment_shares_a_call(virtual_time: Run, witness: Witness) -> None:
    async def story() -> None:
        async with at_work(witness) as acknowledger:
            for number in range(8):
                acknowledger.add(Acknowledgement(str(number)))
                await asyncio.sleep(LINGER / 10)
            assert await acknowledger.flush(60.0)
            assert witness.said == [("ack", [str(number) for number in range(8)])]

    virtual_time(story())


def test_a_batch_has_a_bound(virtual_time: Run, witness: Witness) -> None:
    async def story() -> None:
        async with at_work(witness) as acknowledger:
            for number in range(1_201):
                acknowledger.add(Acknowledgement(str(number)))
            assert await acknowledger.flush(60.0)
            batches = [handles for _, handles in witness.said if isinstance(handles, list)]
            assert [len(handles) for handles in batches] == [500, 500, 201]
            assert [handle for handles in batches for handle in handles] == [str(n) for n in range(1_201)]

    virtual_time(story())


def test_without_a_place_for_results_none_are_published(virtual_time: Run, witness: Witness) -> None:
    async def story() -> None:
        async with at_work(witness, results=False) as acknowledger:
            for done in MIXED:
                acknowledger.add(done)
            assert await acknowledger.flush(60.0)
            assert witness.said == SAID[1:]

    virtual_time(story())


@pytest.mark.parametrize("call", range(1, 6))
def test_a_broker_that_is_away_in_any_call_is_asked_again_and_nothing_is_settled_twice(
    virtual_time: Run, witness: Witness, call: int
) -> None:
    async def story() -> None:
        witness.away = {call, call + 1, call + 2}
        async with at_work(witness) as acknowledger:
            for done in MIXED:
                acknowledger.add(done)
            assert await acknowledger.flush(60.0)
            assert witness.said == SAID

    virtual_time(story())


def test_what_comes_while_the_broker_is_away_waits_its_turn(virtual_time: Run, witness: Witness) -> None:
    async def story() -> None:
        witness.away = set(range(1, 12))
        async with at_work(witness) as acknowledger:
            acknowledger.add(Acknowledgement("1"))
            assert not await acknowledger.flush(5.0)
            acknowledger.add(Acknowledgement("2"))
            acknowledger.add(Acknowledgement("3", FAILURE))
            assert await acknowledger.flush(600.0)
            assert witness.said == [("ack", ["1"]), ("ack", ["2"]), ("dead", ("3", FAILURE))]

    virtual_time(story())


def test_flush_waits_for_all_and_tells_when_that_takes_too_long(virtual_time: Run, witness: Witness) -> None:
    async def story() -> None:
        async with at_work(witness) as acknowledger:
            assert await acknowledger.flush(0.01)
            witness.away = set(range(1, 4))
            acknowledger.add(Acknowledgement("1"))
            began = asyncio.get_running_loop().time()
            assert not await acknowledger.flush(0.1)
            assert asyncio.get_running_loop().time() - began == pytest.approx(0.1)
            assert witness.said == []
            assert await acknowledger.flush(60.0)
            assert witness.said == [("ack", ["1"])]

    virtual_time(story())


def test_it_goes_on_after_a_pause(virtual_time: Run, witness: Witness) -> None:
    async def story() -> None:
        async with at_work(witness) as acknowledger:
            for number in range(3):
                acknowledger.add(Acknowledgement(str(number)))
                assert await acknowledger.flush(60.0)
                await asyncio.sleep(100.0)
            assert witness.said == [("ack", ["0"]), ("ack", ["1"]), ("ack", ["2"])]

    virtual_time(story())


@pytest.mark.parametrize("verb", ["publish", "ack", "release", "dead"])
def test_a_broker_that_refuses_ends_it_and_what_was_not_settled_is_not_called_so(
    virtual_time: Run, witness: Witness, verb: str
) -> None:
    async def story() -> None:
        witness.refusal = verb
        retry = BrokerRetry(lambda _: None, Random(1))  # noqa: S311 - spreads tries
        acknowledger = Acknowledger(witness, witness, retry)
        for done in MIXED:
            acknowledger.add(done)
        with pytest.raises(QueueError, match="no rights"):
            await acknowledger.work()
        assert not await acknowledger.flush(1.0)

    virtual_time(story())


def test_one_cancelled_in_the_middle_of_a_batch_still_owes_all_of_it(
    virtual_time: Run, witness: Witness
) -> None:
    """Telling it twice does no harm, for a handle that is no longer ours is ignored; forgetting would."""

    async def story() -> None:
        witness.away = set(range(3, 100))
        async with at_work(witness) as acknowledger:
            for done in MIXED:
                acknowledger.add(done)
            assert not await acknowledger.flush(10.0)
        assert witness.said == SAID[:2]
        assert not await acknowledger.flush(0.01)
        witness.away = set()
        again = asyncio.create_task(acknowledger.work())
        acknowledger.add(Acknowledgement("6"))
        assert await acknowledger.flush(60.0)
        assert witness.said[2:] == [*SAID[:1], ("ack", ["1", "4", "6"]), *SAID[2:]]
        again.cancel()

    virtual_time(story())
