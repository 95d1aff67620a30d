"""How sending begins again after a pause, in virtual time: few at first, and never in a burst."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from tests.unit.dealt import now
from worker.limits import Limiter
from worker.limits.ramp import FIRST, Ramp
from worker.models import Kind, Request, Result
from worker.quantities import Rate

Run = Callable[[Coroutine[Any, Any, Any]], Any]

FAST = Rate(1000, 1.0)

DONE = Request(Kind.LINK, Result.OK, 1, http_status=201)
THROTTLED = Request(Kind.LINK, Result.THROTTLED, 1, reason="throttled", http_status=429, retry_after=5.0)
SILENT = Request(Kind.LINK, Result.AMBIGUOUS, 1, reason="timeout")


@dataclass
class Portal:
    """Answers each request after the same time, and keeps books."""

    limiter: Limiter
    seconds: float = 1.0
    sent: list[float] = field(default_factory=list)
    in_flight: int = 0
    most: dict[int, int] = field(default_factory=dict)

    async def lane(self, answer: Callable[[int], Request]) -> None:
        while True:
            async with self.limiter.slot() as slot:
                number = len(self.sent)
                self.sent.append(now())
                self.in_flight += 1
                second = int(now())
                self.most[second] = max(self.most.get(second, 0), self.in_flight)
                await asyncio.sleep(self.seconds)
                self.in_flight -= 1
                slot.observe(answer(number))

    async def sends(self, lanes: int, seconds: float, answer: Callable[[int], Request]) -> None:
        working = [asyncio.create_task(self.lane(answer)) for _ in range(lanes)]
        await asyncio.sleep(seconds)
        for lane in working:
            lane.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    def after(self, time: float) -> list[float]:
        return [at for at in self.sent if at > time]


def limiter(rate: Rate = FAST, concurrency: int = 16, seed: int = 1) -> Limiter:
    return Limiter(rate, concurrency, max_pause=300.0, rng=Random(seed))  # noqa: S311 - jitter


def test_after_a_pause_each_round_of_answers_doubles_what_is_in_flight(virtual_time: Run) -> None:
    async def story() -> Portal:
        portal = Portal(limiter())
        await portal.sends(16, 20.0, lambda number: THROTTLED if number == 40 else DONE)
        return portal

    portal = virtual_time(story())
    began = portal.after(portal.sent[40] + 4.0)[0]
    rounds = [sum(began + n - 0.01 <= at < began + n + 0.9 for at in portal.sent) for n in range(6)]
    assert rounds == [2, 4, 8, 16, 16, 16]


def test_an_answer_that_asks_to_be_slower_begins_it_anew(virtual_time: Run) -> None:
    async def story() -> Portal:
        portal = Portal(limiter())
        await portal.sends(16, 40.0, lambda number: THROTTLED if number % 10 == 0 else DONE)
        return portal

    portal = virtual_time(story())
    starts = [
        later for sooner, later in zip(portal.sent, portal.sent[1:], strict=False) if later - sooner > 3.0
    ]
    assert len(starts) >= 4
    for start in starts:
        assert sum(start <= at < start + 0.9 for at in portal.sent) == FIRST


def test_one_that_gets_no_answer_holds_nobody_up(virtual_time: Run) -> None:
    async def story() -> Portal:
        portal = Portal(limiter(), seconds=0.1)
        portal.limiter.observe(THROTTLED)
        stuck = asyncio.create_task(Portal(portal.limiter, seconds=60.0).lane(lambda _: SILENT))
        await portal.sends(15, 20.0, lambda _: DONE)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        return portal

    portal = virtual_time(story())
    assert max(portal.most.values()) == 15
    assert len(portal.sent) > 1500


def test_requests_without_answers_leave_it_at_the_start(virtual_time: Run) -> None:
    async def story() -> Portal:
        portal = Portal(limiter())
        portal.limiter.observe(THROTTLED)
        await portal.sends(16, 30.0, lambda _: SILENT)
        return portal

    assert max(virtual_time(story()).most.values()) == FIRST


@pytest.mark.parametrize("concurrency", [1, 2])
def test_where_few_are_in_flight_at_any_time_there_is_nothing_to_begin_slowly(
    virtual_time: Run, concurrency: int
) -> None:
    async def story() -> Portal:
        portal = Portal(limiter(concurrency=concurrency))
        portal.limiter.observe(THROTTLED)
        await portal.sends(concurrency, 25.0, lambda _: SILENT)
        return portal

    portal = virtual_time(story())
    assert max(portal.most.values()) == concurrency
    assert len(portal.sent) >= 18 * concurrency


def test_after_an_outage_it_begins_slowly_too(virtual_time: Run) -> None:
    async def story() -> Portal:
        portal = Portal(limiter())
        portal.limiter.hold()
        sending = asyncio.create_task(portal.sends(16, 10.0, lambda _: DONE))
        await asyncio.sleep(3.0)
        assert portal.sent == []
        portal.limiter.let_go()
        await sending
        return portal

    portal = virtual_time(story())
    first = portal.sent[0]
    assert sum(at < first + 0.9 for at in portal.sent) == FIRST
    assert max(portal.most.values()) == 16


@pytest.mark.parametrize("rate", [Rate(50, 1.0), Rate(500, 10.0), Rate(5, 1.0)], ids=str)
def test_when_a_pause_ends_no_second_holds_more_than_the_rate(virtual_time: Run, rate: Rate) -> None:
    async def story() -> Portal:
        portal = Portal(limiter(rate), seconds=0.05)
        await portal.sends(16, 30.0, lambda number: THROTTLED if number == 20 else DONE)
        return portal

    portal = virtual_time(story())
    resumed = portal.after(portal.sent[20] + 4.0)
    most = max(bisect_right(resumed, at + 1.0) - place for place, at in enumerate(resumed))
    assert most <= rate.per_second + 1
    assert most >= 0.9 * rate.per_second


def test_clients_who_are_told_the_same_do_not_come_back_at_once(virtual_time: Run) -> None:
    """And none before it was asked to."""

    async def story() -> list[float]:
        portals = [Portal(limiter(seed=seed), seconds=0.05) for seed in range(20)]
        told = now()
        for portal in portals:
            portal.limiter.observe(THROTTLED)
        await asyncio.gather(*(portal.sends(4, 6.0, lambda _: DONE) for portal in portals))
        return sorted(portal.sent[0] - told for portal in portals)

    first = virtual_time(story())
    assert first[0] >= 5.0
    assert first[-1] <= 5.5
    assert max(bisect_right(first, at + 0.1) - place for place, at in enumerate(first)) <= 10


def test_what_was_sent_before_a_pause_is_not_counted_after_it(virtual_time: Run) -> None:
    async def story() -> None:
        ramp = Ramp()
        before = ramp.leaves(16)
        ramp.begin()
        ramp.returns(before, answered=True)
        left = [ramp.leaves(16) for _ in range(FIRST)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ramp.room(), 1.0)
        ramp.begin()
        for one in left:
            ramp.returns(one, answered=True)
        for _ in range(FIRST):
            await asyncio.wait_for(ramp.room(), 1.0)
            ramp.leaves(16)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ramp.room(), 1.0)

    virtual_time(story())
