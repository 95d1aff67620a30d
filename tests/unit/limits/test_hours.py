"""Limits by the time of day: they change at the edge, and who waits for a turn goes by the new ones."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.dealt import Highest, now
from worker.limits import Limiter
from worker.limits.hours import Hours, Rates, spoken
from worker.quantities import Rate
from worker.timetable import Timetable, parse_timetable

Run = Callable[[Coroutine[Any, Any, Any]], Any]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Wall:
    """A clock on the wall that goes with the loop's, and can be set."""

    def __init__(self, shows: datetime) -> None:
        self._shows = shows
        self._since = now()

    def __call__(self) -> datetime:
        return self._shows + timedelta(seconds=now() - self._since)

    def set(self, shows: datetime) -> None:
        self._shows, self._since = shows, now()


class Story:
    """A limiter that is kept to a timetable, and when it gave turns. To be made on the loop."""

    def __init__(self, rate: str, links: str | None, shows: datetime) -> None:
        self.wall = Wall(shows)
        self.told: list[str] = []
        rates = self.rates(rate, links)
        at_first, links_at_first, _ = rates.at_present()
        self.limiter = Limiter(at_first, 4, link_rate=links_at_first, max_pause=300.0, rng=Highest(0))
        self.hours = Hours(rates, self.limiter, self.told.append)

    def rates(self, rate: str, links: str | None = None) -> Rates:
        return Rates(parse_timetable(rate), None if links is None else parse_timetable(links), self.wall)

    async def turns(self, seconds: float, links: int = 0) -> list[float]:
        """When turns were given in the next seconds, to one that always wants one."""
        begin, given = now(), []

        async def want() -> None:
            while True:
                await self.limiter.turn(links=links)
                given.append(now() - begin)

        following = asyncio.create_task(self.hours.follow())
        wanting = asyncio.create_task(want())
        await asyncio.sleep(seconds)
        for task in (following, wanting):
            task.cancel()
        await asyncio.gather(following, wanting, return_exceptions=True)
        return given


def test_at_the_edge_of_the_timetable_turns_come_at_the_other_rate(virtual_time: Run) -> None:
    async def work() -> None:
        story = Story("12:01-12:02=5/s,50/s", None, NOON)
        given = await story.turns(180.0)
        by_minute = [sum(minute * 60 <= at < minute * 60 + 60 for at in given) for minute in range(3)]
        assert by_minute == [
            pytest.approx(2965, abs=3),
            pytest.approx(297, abs=2),
            pytest.approx(2965, abs=6),
        ]
        assert story.told == ["timetable: now 5/s", "timetable: now 50/s"]

    virtual_time(work())


def test_who_waits_long_for_a_slow_turn_does_not_wait_for_it_when_a_fast_rate_begins(
    virtual_time: Run,
) -> None:
    async def work() -> None:
        story = Story("08:00-12:01=1/h,50/s", None, NOON)
        given = await story.turns(62.0)
        assert given[0] == 0.0
        assert 60.0 <= given[1] <= 61.1
        assert len(given) > 40

    virtual_time(work())


def test_links_have_a_timetable_of_their_own(virtual_time: Run) -> None:
    async def work() -> None:
        story = Story("100/s", "12:01-12:02=60/min,10/s", NOON)
        given = await story.turns(120.0, links=1)
        assert sum(at < 60.0 for at in given) == pytest.approx(593, abs=2)
        # Those that left just before the edge count in the windows after it.
        assert 49 <= sum(at >= 60.0 for at in given) <= 60
        assert story.told == ["timetable: now 100/s and links 60/m"]

    virtual_time(work())


def test_a_clock_that_is_set_is_noticed(virtual_time: Run) -> None:
    async def work() -> None:
        story = Story("18:00-19:00=5/s,50/s", None, NOON)
        asyncio.get_running_loop().call_later(1.0, story.wall.set, NOON + timedelta(hours=6))
        await story.turns(40.0)
        assert story.told == ["timetable: now 5/s"]

    virtual_time(work())


def test_other_timetables_hold_from_now_on(virtual_time: Run) -> None:
    async def work() -> None:
        story = Story("5/s", None, NOON)
        change = story.rates("12:01-13:00=20/s,10/s", "1/s")
        asyncio.get_running_loop().call_later(30.0, story.hours.change, change)
        given = await story.turns(90.0)
        by_half_minute = [sum(part * 30 <= at < part * 30 + 30 for at in given) for part in range(3)]
        assert by_half_minute == [pytest.approx(n * 30 / 1.012, abs=3) for n in (5, 10, 20)]
        # Who changed them knows that they hold; what the clock changes later is told.
        assert story.told == ["timetable: now 20/s and links 1/s"]

    virtual_time(work())


def test_rates_without_a_time_of_day_change_nothing_and_nothing_is_told(virtual_time: Run) -> None:
    async def work() -> None:
        story = Story("10/s", None, NOON)
        await story.turns(100.0)
        assert story.told == []
        assert story.rates("10/s").at_present() == (Rate(10, 1.0), None, 30.0)

    virtual_time(work())


def test_both_rates_are_named_if_there_are_two() -> None:
    assert spoken(Rate(5, 1.0), None) == "5/s"
    assert spoken(Timetable(Rate(5, 1.0)), Rate(1, 60.0)) == "5/s and links 1/m"


def test_who_wants_it_slower_gets_it_slower_and_never_faster_than_the_timetable(virtual_time: Run) -> None:
    async def work() -> None:
        story = Story("12:01-12:02=5/s,50/s", None, NOON)
        story.hours.slow_to(Rate(20, 1.0))
        given = await story.turns(180.0)
        by_minute = [sum(minute * 60 <= at < minute * 60 + 60 for at in given) for minute in range(3)]
        assert by_minute == [pytest.approx(60 * n / 1.012, abs=8) for n in (20, 5, 20)]
        assert story.hours.stated == Rate(50, 1.0)
        story.hours.slow_to(Rate(500, 1.0))
        assert story.limiter.per_second == 50.0

    virtual_time(work())


def test_other_timetables_end_a_wish_for_less(virtual_time: Run) -> None:
    async def work() -> None:
        story = Story("50/s", None, NOON)
        story.hours.slow_to(Rate(1, 1.0))
        assert story.limiter.per_second == 1.0
        story.hours.change(story.rates("40/s"))
        assert story.limiter.per_second == 40.0

    virtual_time(work())
