"""Waiting for a broker that is away, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from worker.errors import QueueError, QueueUnavailable
from worker.supply.broker_retry import FIRST_WAIT, LONGEST_WAIT, BrokerRetry

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Longest(Random):
    """Chance that always makes one wait as long as it may."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class Shortest(Random):
    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


class Broker:
    """Away for a number of calls; notes when they came."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.calls: list[float] = []

    async def ask(self) -> str:
        self.calls.append(asyncio.get_running_loop().time())
        if len(self.calls) <= self.away:
            raise QueueUnavailable("redis://queue:6379: connection refused")
        return "answer"

    @property
    def waits(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.calls, self.calls[1:], strict=False)]


def test_a_broker_that_is_there_is_asked_once_and_nobody_is_told(virtual_time: Run) -> None:
    broker, notes = Broker(0), list[str]()
    assert virtual_time(BrokerRetry(notes.append, Longest()).call(broker.ask)) == "answer"
    assert (len(broker.calls), notes) == (1, [])


def test_it_is_asked_ever_less_often_and_the_user_hears_when_it_is_over(virtual_time: Run) -> None:
    broker, notes = Broker(4), list[str]()
    assert virtual_time(BrokerRetry(notes.append, Longest()).call(broker.ask)) == "answer"
    assert broker.waits == [0.25, 0.5, 1.0, 2.0]
    assert notes == [*["redis://queue:6379: connection refused; trying again"] * 4, ""]


def test_the_wait_has_a_bound_and_the_patience_has_none(virtual_time: Run) -> None:
    broker = Broker(200)
    virtual_time(BrokerRetry(lambda _: None, Longest()).call(broker.ask))
    assert max(broker.waits) == LONGEST_WAIT
    assert broker.waits[20:] == [LONGEST_WAIT] * 180


def test_half_of_each_wait_is_chance_so_that_workers_do_not_come_back_as_one(virtual_time: Run) -> None:
    broker = Broker(8)
    virtual_time(BrokerRetry(lambda _: None, Shortest()).call(broker.ask))
    assert broker.waits == [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 7.5, 7.5]


def test_each_call_begins_with_the_shortest_wait(virtual_time: Run) -> None:
    retry = BrokerRetry(lambda _: None, Longest())
    first, second = Broker(6), Broker(1)
    virtual_time(retry.call(first.ask))
    virtual_time(retry.call(second.ask))
    assert second.waits == [FIRST_WAIT]


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (0.24, 1), (0.25, 2), (3.0, 4), (60.0, 9)])
def test_it_gives_up_before_the_time_is_over_rather_than_after(
    virtual_time: Run, seconds: float, calls: int
) -> None:
    broker = Broker(10_000)

    async def story() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(QueueUnavailable, match="connection refused"):
            await BrokerRetry(lambda _: None, Longest()).call(broker.ask, give_up_after=seconds)
        return asyncio.get_running_loop().time() - began

    assert virtual_time(story()) <= seconds
    assert len(broker.calls) == calls


def test_a_broker_that_says_no_is_not_asked_again(virtual_time: Run) -> None:
    calls, notes = list[int](), list[str]()

    async def ask() -> None:
        calls.append(1)
        raise QueueError("redis://queue:6379: wrong password")

    with pytest.raises(QueueError, match="wrong password"):
        virtual_time(BrokerRetry(notes.append, Longest()).call(ask))
    assert (calls, notes) == ([1], [])


def test_one_who_waits_can_be_cancelled(virtual_time: Run) -> None:
    async def story() -> None:
        broker = Broker(10_000)
        waiting = asyncio.create_task(BrokerRetry(lambda _: None, Longest()).call(broker.ask))
        await asyncio.sleep(100.0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    virtual_time(story())
