"""Looks at members under a virtual clock and a real limiter: as often as it takes, and no oftener."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, replace
from itertools import cycle, pairwise
from typing import Any

import pytest

from tests.unit.dealt import Highest, now
from worker.errors import PortalRefused
from worker.limiter import RETRY_RESERVE, Limiter
from worker.members import Looker
from worker.models import Attempt, Look, Member, Result
from worker.quantities import Rate
from worker.retry import RetryPolicy

Run = Callable[[Coroutine[Any, Any, Any]], Any]

FAST = Rate(1000, 1.0)
TOLD = Look(Attempt(0, Result.OK, http_status=200), {7: Member(None, b'{"id":7}')})
GONE = Look(Attempt(0, Result.PERMANENT, "not_found", 404))
UNREADABLE = Look(Attempt(0, Result.AMBIGUOUS, "unavailable", 503))
REFUSED = PortalRefused("https://portal.example: HTTP 401 unauthorized")


def throttled(retry_after: float | None = 0.0) -> Look:
    return Look(Attempt(0, Result.THROTTLED, "throttled", 429, retry_after))


@dataclass
class Asked:
    """A line in the portal's books."""

    time: float
    opportunity_id: int
    contact_ids: list[int]
    number: int
    told: float | None = None


class Portal:
    """Answers as scripted for each opportunity, else that the members were read."""

    def __init__(self, latency: Iterable[float] = (0.05,)) -> None:
        self.script: dict[int, deque[Look | Exception]] = {}
        self.books: list[Asked] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._latency = cycle(latency)

    def answers(self, opportunity_id: int, *answers: Look | Exception) -> None:
        self.script[opportunity_id] = deque(answers)

    async def find(self, opportunity_id: int, contact_ids: Collection[int], number: int) -> Look:
        asked = Asked(now(), opportunity_id, list(contact_ids), number)
        self.books.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        seconds = next(self._latency)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.in_flight -= 1
        asked.told = now()
        script = self.script.get(opportunity_id)
        answer = script.popleft() if script else TOLD
        if isinstance(answer, Exception):
            raise answer
        return replace(answer, attempt=replace(answer.attempt, number=number, seconds=seconds))

    def of(self, opportunity_id: int) -> list[Asked]:
        return [asked for asked in self.books if asked.opportunity_id == opportunity_id]


class World:
    """A looker with what it needs, and what it said it saw."""

    def __init__(
        self, portal: Portal, *, rate: Rate = FAST, concurrency: int = 2, policy: RetryPolicy | None = None
    ) -> None:
        rng = Highest(0)
        self.portal = portal
        self.limiter = Limiter(rate, concurrency, max_pause=300.0, rng=rng)
        self.observed: list[Attempt] = []
        self.looker = Looker(portal, self.limiter, policy or RetryPolicy(), observe=self.observe, rng=rng)

    def observe(self, attempt: Attempt) -> None:
        self.observed.append(attempt)
        self.limiter.observe(attempt)

    async def look(self, opportunity_id: int = 1) -> tuple[Look, tuple[Attempt, ...]]:
        return await self.looker.look(opportunity_id, [7, 8])

    async def look_at(self, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for opportunity_id in range(1, count + 1):
                group.create_task(self.look(opportunity_id))


@pytest.mark.parametrize("answer", [TOLD, GONE])
def test_a_look_that_tells_is_made_once_and_for_all_that_is_sought(virtual_time: Run, answer: Look) -> None:
    portal = Portal()
    portal.answers(5, answer)
    world = World(portal)
    look, attempts = virtual_time(world.look(5))
    assert look == replace(answer, attempt=replace(answer.attempt, number=1, seconds=0.05))
    assert attempts == (look.attempt,)
    assert [(asked.opportunity_id, asked.contact_ids) for asked in portal.books] == [(5, [7, 8])]


def test_all_requests_of_a_look_are_numbered_observed_and_handed_back_and_the_last_one_tells(
    virtual_time: Run,
) -> None:
    portal = Portal()
    portal.answers(1, UNREADABLE, throttled(), TOLD)
    world = World(portal)
    look, attempts = virtual_time(world.look())
    assert [asked.number for asked in portal.books] == [1, 2, 3]
    assert [(a.number, a.result) for a in attempts] == [
        (1, Result.AMBIGUOUS),
        (2, Result.THROTTLED),
        (3, Result.OK),
    ]
    assert world.observed == list(attempts)
    assert look.attempt is attempts[-1]
    assert look.found == TOLD.found


def test_members_that_cannot_be_read_are_asked_for_three_times_with_backoff(virtual_time: Run) -> None:
    portal = Portal(latency=(0.25,))
    portal.answers(1, *[UNREADABLE] * 9)
    world = World(portal, policy=RetryPolicy(base=4.0))
    look, attempts = virtual_time(world.look())
    waits = [later.time - earlier.time for earlier, later in pairwise(portal.books)]
    assert waits == [pytest.approx(4.25), pytest.approx(8.25)]
    assert len(attempts) == 3
    assert (look.is_told, look.attempt.reason, look.attempt.http_status) == (False, "unavailable", 503)


def test_throttled_looks_bring_the_end_of_unreadable_ones_no_nearer(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, throttled(), UNREADABLE, throttled(), throttled(), UNREADABLE, throttled(), TOLD)
    look, attempts = virtual_time(World(portal).look())
    assert look.is_told
    assert len(attempts) == len(portal.books) == 7


def test_a_throttled_look_is_not_repeated_for_ever(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, *[throttled()] * 500)
    look, attempts = virtual_time(World(portal, policy=RetryPolicy(max_throttled=20)).look())
    assert not look.is_told
    assert len(attempts) == len(portal.books) == 20


@pytest.mark.parametrize(("first", "waited"), [(throttled(), 0.05), (UNREADABLE, 0.95)])
def test_only_a_look_that_is_repeated_for_another_reason_than_throttling_pays_retry_budget(
    virtual_time: Run, first: Look, waited: float
) -> None:
    """One a second is earned here, and none is left: who has to pay waits for that."""
    portal = Portal()
    portal.answers(1, first)
    world = World(portal, rate=Rate(10, 1.0), policy=RetryPolicy(base=0.0))

    async def story() -> None:
        for _ in range(int(RETRY_RESERVE)):
            await world.limiter.retry()
        await world.look()

    virtual_time(story())
    one, two = portal.books
    assert one.told is not None
    assert two.time - one.told == pytest.approx(waited, abs=0.02)


def test_a_throttled_look_holds_back_all_others_for_as_long_as_the_portal_asks(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, throttled(60.0))
    world = World(portal, concurrency=1)
    virtual_time(world.look_at(3))
    first, *others = portal.books
    assert first.told is not None
    assert [asked.opportunity_id for asked in others] == [2, 3, 1]
    assert min(asked.time for asked in others) == pytest.approx(first.told + 60.0)


def test_no_permit_is_held_while_a_look_backs_off(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, UNREADABLE)
    world = World(portal, concurrency=1, policy=RetryPolicy(base=10.0))
    virtual_time(world.look_at(20))
    first, second = portal.of(1)
    assert first.told is not None
    assert second.time == pytest.approx(first.told + 10.0)
    assert max(asked.time for asked in portal.books[:-1]) < first.told + 2.0


@pytest.mark.parametrize("concurrency", [1, 3])
def test_never_more_looks_than_permits_are_in_flight(virtual_time: Run, concurrency: int) -> None:
    portal = Portal(latency=(1.0, 0.3, 2.0))
    portal.answers(2, UNREADABLE, UNREADABLE)
    world = World(portal, concurrency=concurrency)
    virtual_time(world.look_at(20))
    assert portal.most_in_flight == concurrency
    assert len(portal.books) == 22


def test_a_stall_leaves_no_stale_turns_to_be_spent_in_a_burst(virtual_time: Run) -> None:
    """The permit comes before the turn: a turn taken first would wait for a permit, and go stale."""
    portal = Portal(latency=[5.0] * 4 + [0.0] * 96)
    virtual_time(World(portal, rate=Rate(10, 1.0), concurrency=4).look_at(100))
    assert len(portal.books) == 100
    assert min(later.time - earlier.time for earlier, later in pairwise(portal.books)) > 0.09


def test_the_first_look_goes_alone_and_those_that_waited_keep_to_the_rate(virtual_time: Run) -> None:
    """A portal that was just started fails the looks beside its first one (contract 10.5)."""
    portal = Portal(latency=[5.0] + [1.0] * 19)
    virtual_time(World(portal, rate=Rate(10, 1.0), concurrency=4).look_at(20))
    first, *others = portal.books
    assert first.told is not None
    assert min(asked.time for asked in others) >= first.told
    assert min(later.time - earlier.time for earlier, later in pairwise(others)) > 0.09
    assert portal.most_in_flight == 4


@pytest.mark.parametrize("failed", [UNREADABLE, throttled(1.0), REFUSED])
def test_a_look_that_tells_nothing_lets_none_go_beside_the_next_one(
    virtual_time: Run, failed: Look | Exception
) -> None:
    portal = Portal(latency=(1.0,))
    portal.answers(1, failed)
    world = World(portal, concurrency=4, policy=RetryPolicy(base=0.0))

    async def story() -> None:
        tasks = [asyncio.create_task(world.look(one)) for one in range(1, 5)]
        await asyncio.gather(*tasks, return_exceptions=True)

    virtual_time(story())
    first, second, *others = portal.books
    assert first.told is not None
    assert second.told is not None
    assert second.time >= first.told
    assert min(asked.time for asked in others) >= second.told


def test_after_a_look_that_failed_the_next_one_goes_alone_again(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0,))
    portal.answers(2, UNREADABLE)
    world = World(portal, concurrency=4, policy=RetryPolicy(base=60.0))

    async def story() -> None:
        await world.look(1)
        failing = asyncio.create_task(world.look(2))
        await asyncio.sleep(5.0)
        await asyncio.gather(*map(world.look, range(3, 7)))
        await failing

    virtual_time(story())
    told, failed, alone, *others, _again = portal.books
    assert [told.opportunity_id, failed.opportunity_id, alone.opportunity_id] == [1, 2, 3]
    assert alone.told is not None
    assert min(asked.time for asked in others) >= alone.told


def test_a_refusal_of_us_is_raised_at_once_and_its_permit_is_given_back(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, REFUSED)
    world = World(portal, concurrency=1)

    async def story() -> None:
        with pytest.raises(PortalRefused) as raised:
            await world.look(1)
        assert raised.value is REFUSED
        await world.look(2)

    virtual_time(story())
    assert [asked.opportunity_id for asked in portal.books] == [1, 2]
    assert [attempt.result for attempt in world.observed] == [Result.OK]
