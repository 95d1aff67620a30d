"""Signals to stop: which are one, which are two, and what comes of them inside and outside an event loop."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from worker.run.signals import TOGETHER, StopSignals, on_signals, on_stop


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def nothing() -> None:
    pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Whatever a block does, signals do afterwards what they did before it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def test_signals_within_a_second_of_one_that_counts_are_the_same_one(clock: Clock) -> None:
    stops = StopSignals(clock)
    told = []
    for after in (0.0, 0.0, TOGETHER - 0.1, 0.1, TOGETHER - 0.1, 5.0):
        clock.now += after
        told.append(stops.is_new(signal.SIGTERM))

    assert told == [True, False, False, True, False, True]
    assert stops.count == 3


def test_who_presses_again_and_again_is_heard_within_a_second(clock: Clock) -> None:
    """However fast: a key that repeats, or somebody who thinks that nothing happens."""
    stops = StopSignals(clock)
    for _ in range(12):
        stops.is_new(signal.SIGINT)
        clock.now += 0.1

    assert stops.count == 2


async def test_a_signal_that_comes_twice_at_once_asks_for_a_drain_only(clock: Clock) -> None:
    """As of ``timeout``, which signals its child and then the group that the child is in."""
    heard: list[str] = []
    stops = StopSignals(clock)
    with on_signals(lambda one: heard.append(one.name), lambda: heard.append("end"), nothing, stops=stops):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.01)
        assert len(heard) == 1
        clock.now += TOGETHER
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.01)

    assert heard in (["SIGTERM", "end"], ["SIGINT", "end"])


async def test_a_signal_that_came_before_the_loop_is_acted_on_in_it(clock: Clock) -> None:
    heard: list[str] = []
    stops = StopSignals(clock)
    with on_stop(stops, lambda one: heard.append(f"end {one.name}")):
        os.kill(os.getpid(), signal.SIGTERM)
        with on_signals(lambda one: heard.append(one.name), nothing, nothing, stops=stops):
            assert heard == ["SIGTERM"]


def test_outside_a_loop_the_first_signal_passes_and_the_second_ends_what_goes_on(clock: Clock) -> None:
    stops = StopSignals(clock)
    done: list[str] = []

    def end(number: signal.Signals) -> None:
        raise InterruptedError(number.name)

    def work() -> None:
        with on_stop(stops, end):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("half")
            clock.now += TOGETHER
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all")

    with pytest.raises(InterruptedError, match="SIGINT"):
        work()
    assert done == ["half"]
