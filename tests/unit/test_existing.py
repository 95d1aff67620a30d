"""Lanes that look before they send, under a virtual clock: portal, supply and ledger keep books."""

import asyncio
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import VirtualLoop
from tests.unit.dealt import Highest, now
from tests.unit.run.queue_desk import HereLedger
from worker.dispatch import Dispatcher
from worker.errors import LedgerError, PortalRefused, WorkerError
from worker.existing import WINDOW, Scout
from worker.ledger import LedgerReader, audit
from worker.limiter import Limiter
from worker.members import MOST_SOUGHT, Looker
from worker.models import Attempt, Look, Member, Outcome, Pair, PreState, Result, Row, Status
from worker.quantities import Rate
from worker.retry import RetryPolicy
from worker.run.feed import Feed

Run = Callable[[Coroutine[Any, Any, Any]], Any]

FAST = Rate(1000, 1.0)
ENDLESS = 1e6
"""Seconds, which pass quickly here, after which nothing more will happen."""

OK = Attempt(1, Result.OK, http_status=200)
UNREADABLE = Attempt(1, Result.AMBIGUOUS, "unavailable", 503)
THROTTLED = Attempt(1, Result.THROTTLED, "throttled", 429, 0.0)
GONE = Attempt(1, Result.PERMANENT, "not_found", 404)
CREATED = Attempt(1, Result.OK, http_status=201, body=b'{"id":1}')
REFUSED = PortalRefused("https://portal.example: HTTP 401 unauthorized")
BROKEN = LedgerError("ledger.db: disk full")


def body(contact_id: int) -> bytes:
    return b'{"id":%d}' % contact_id


def pairs(*ids: tuple[int, int]) -> list[Pair]:
    """Rows from 1 on that ask for these opportunities and contacts."""
    return [Pair(row, row + 1, *both) for row, both in enumerate(ids, 1)]


def of_one(count: int, opportunity_id: int = 1) -> list[Pair]:
    return pairs(*[(opportunity_id, contact_id) for contact_id in range(1, count + 1)])


def of_many(count: int) -> list[Pair]:
    return pairs(*[(opportunity_id, 7) for opportunity_id in range(1, count + 1)])


def absent(pair: Pair) -> Pair:
    return replace(pair, pre=PreState.ABSENT, in_doubt=False)


@dataclass
class Asked:
    """A line in the portal's books; no contacts are those of a link."""

    time: float
    opportunity_id: int
    contact_ids: list[int]


class Portal:
    """Has members, knows no other opportunities than it should, and fails first as scripted."""

    def __init__(self) -> None:
        self.members: set[tuple[int, int]] = set()
        self.missing: set[int] = set()
        self.script: dict[int, deque[Attempt | Exception]] = {}
        self.seconds: dict[int, float] = {}
        self.books: list[Asked] = []
        self.in_flight = 0
        self.most_in_flight = 0

    def answers(self, opportunity_id: int, *answers: Attempt | Exception) -> None:
        self.script[opportunity_id] = deque(answers)

    async def find(self, opportunity_id: int, contact_ids: Collection[int], number: int) -> Look:
        await self._work(opportunity_id, contact_ids)
        script = self.script.get(opportunity_id)
        answer = script.popleft() if script else GONE if opportunity_id in self.missing else OK
        if isinstance(answer, Exception):
            raise answer
        attempt = replace(answer, number=number)
        if attempt.result is not Result.OK:
            return Look(attempt)
        there = [contact for contact in contact_ids if (opportunity_id, contact) in self.members]
        return Look(attempt, {contact: Member(None, body(contact)) for contact in there})

    async def link(self, pair: Pair, number: int) -> Attempt:
        await self._work(pair.opportunity_id, [])
        return replace(CREATED, number=number)

    async def reread(self, pair: Pair, number: int) -> Attempt:
        raise NotImplementedError

    async def _work(self, opportunity_id: int, contact_ids: Collection[int]) -> None:
        self.books.append(Asked(now(), opportunity_id, list(contact_ids)))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.seconds.get(opportunity_id, 0.05))
        finally:
            self.in_flight -= 1

    @property
    def looks(self) -> list[tuple[int, int]]:
        """Whose members were asked for, and for how many."""
        return [(asked.opportunity_id, len(asked.contact_ids)) for asked in self.books if asked.contact_ids]


class Supply:
    """Gives pairs; those of ``waits`` only after so many seconds, and until then nothing behind them."""

    def __init__(self, todo: Iterable[Pair], chunk: int = WINDOW) -> None:
        self.todo = deque(todo)
        self.chunk = chunk
        self.waits: dict[int, float] = {}
        self.limits: list[int] = []
        self.taking = self.most_taking = self.given_up = 0
        self.end_takes = 0.0
        self.broken_before: int | None = None

    async def take(self) -> Pair | None:
        self.taking += 1
        self.most_taking = max(self.most_taking, self.taking)
        try:
            await asyncio.sleep(self.waits.pop(self.todo[0].row, 0.0) if self.todo else self.end_takes)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.taking -= 1
        if self.todo and self.todo[0].row == self.broken_before:
            raise BROKEN
        return self.todo.popleft() if self.todo else None

    def at_hand(self, limit: int) -> list[Pair]:
        self.limits.append(limit)
        found: list[Pair] = []
        while self.todo and len(found) < min(limit, self.chunk - 1):
            if self.todo[0].row in self.waits or self.todo[0].row == self.broken_before:
                break
            found.append(self.todo.popleft())
        return found


@dataclass
class Noted:
    """A line in the ledger's books: looks, and what they told."""

    time: float
    looks: list[Result]
    absent: list[int]
    row: int


@dataclass
class Given:
    """A pair that a lane got, and when."""

    time: float
    lane: int
    pair: Pair


class World:
    """A scout with what it needs, lanes that take from it, and what came of it."""

    def __init__(
        self,
        portal: Portal,
        supply: Supply | Iterable[Pair],
        *,
        rate: Rate = FAST,
        concurrency: int = 8,
        policy: RetryPolicy | None = None,
    ) -> None:
        rng = Highest(0)
        self.portal = portal
        self.supply = supply if isinstance(supply, Supply) else Supply(supply)
        self.unread = {pair.row for pair in self.supply.todo if pair.pre is PreState.UNREAD}
        self.policy = policy or RetryPolicy(base=0.0)
        self.limiter = Limiter(rate, concurrency, max_pause=300.0, rng=rng)
        self.notes: list[Noted] = []
        self.intended: set[int] = set()
        self.outcomes: list[Outcome] = []
        self.given: list[Given] = []
        self.note_seconds = self.record_seconds = self.link_seconds = 0.0
        self.record_error: Exception | None = None
        self.scout = Scout(
            Looker(portal, self.limiter, self.policy, observe=self.limiter.observe, rng=rng),
            take=self.supply.take,
            at_hand=self.supply.at_hand,
            note=self.note,
            record=self.record,
        )
        self.begin = self.end = 0.0

    async def note(
        self, looks: Sequence[Attempt], rows: Sequence[int], row: int, in_doubt: Sequence[int]
    ) -> None:
        await asyncio.sleep(self.note_seconds)
        self.intended |= {*rows, *in_doubt}
        self.notes.append(Noted(now(), [look.result for look in looks], list(rows), row))

    async def record(self, outcome: Outcome) -> None:
        await asyncio.sleep(self.record_seconds)
        if self.record_error is not None:
            raise self.record_error
        self.outcomes.append(outcome)

    async def lane(self, lane: int = 0) -> None:
        while (pair := await self.scout.take()) is not None:
            if pair.row in self.unread:
                assert pair.row in self.intended, f"row {pair.row} is given before it is noted"
            self.given.append(Given(now(), lane, pair))
            await asyncio.sleep(self.link_seconds)

    async def run(self, lanes: int = 4) -> None:
        """Until every lane has got its None; then the scout is closed."""
        self.begin = now()
        async with asyncio.timeout(ENDLESS):
            await asyncio.gather(*map(self.lane, range(lanes)))
        self.end = now()
        await self.scout.close()

    async def run_to_its_error(self, lanes: int) -> list[Exception | None]:
        """What ended each lane."""
        self.begin = now()
        async with asyncio.timeout(ENDLESS):
            ends = await asyncio.gather(*map(self.lane, range(lanes)), return_exceptions=True)
        await self.scout.close()
        assert not [end for end in ends if not isinstance(end, WorkerError | None)], ends
        return [end for end in ends if isinstance(end, Exception | None)]

    @property
    def durable(self) -> set[int]:
        return {row for note in self.notes for row in note.absent}

    @property
    def pairs(self) -> list[Pair]:
        return [given.pair for given in self.given]

    @property
    def statuses(self) -> dict[int, Status]:
        return {outcome.pair.row: outcome.status for outcome in self.outcomes}

    @property
    def lasted(self) -> float:
        return self.end - self.begin


def test_pairs_of_one_opportunity_cost_one_request_wherever_they_stand_in_the_window(
    virtual_time: Run,
) -> None:
    ids = [(opportunity, contact) for contact in range(1, 21) for opportunity in (3, 1, 2)]
    world = World(Portal(), pairs(*ids))
    virtual_time(world.run())
    assert sorted(world.portal.looks) == [(1, 20), (2, 20), (3, 20)]
    assert Counter(world.pairs) == Counter(map(absent, pairs(*ids)))


@pytest.mark.parametrize(
    ("count", "sought"), [(1, [1]), (100, [100]), (101, [1, 100]), (250, [50, 100, 100])]
)
def test_a_request_seeks_at_most_a_hundred_contacts(virtual_time: Run, count: int, sought: list[int]) -> None:
    world = World(Portal(), of_one(count))
    virtual_time(world.run())
    assert sorted(number for _, number in world.portal.looks) == sought
    asked = [contact for one in world.portal.books for contact in one.contact_ids]
    assert sorted(asked) == list(range(1, count + 1))


def test_a_window_has_so_many_pairs_and_no_more(virtual_time: Run) -> None:
    world = World(Portal(), Supply(of_one(WINDOW + 1), chunk=2 * WINDOW))
    virtual_time(world.run())
    assert set(world.supply.limits) == {WINDOW - 1}
    assert Counter(number for _, number in world.portal.looks) == {MOST_SOUGHT: WINDOW // MOST_SOUGHT, 1: 1}


def test_pairs_of_one_opportunity_are_sought_and_given_in_input_order(virtual_time: Run) -> None:
    todo = pairs((2, 9), (1, 5), (2, 3), (1, 8), (2, 7))
    world = World(Portal(), todo)
    virtual_time(world.run(lanes=1))
    assert [asked.contact_ids for asked in world.portal.books] == [[5, 8], [9, 3, 7]]
    assert [pair.row for pair in world.pairs] == [2, 4, 1, 3, 5]


def test_looks_and_links_together_keep_to_the_rate_and_the_permits(virtual_time: Run) -> None:
    portal = Portal()
    portal.seconds = {opportunity: (0.9, 0.1, 1.7)[opportunity % 3] for opportunity in range(1, 41)}
    world = World(portal, of_many(40), rate=Rate(10, 1.0), concurrency=4)
    dispatcher = Dispatcher(
        portal,
        world.limiter,
        world.policy,
        take=world.scout.take,
        record=world.record,
        observe=world.limiter.observe,
        rng=Highest(0),
    )
    virtual_time(dispatcher.run(4, 25.0))
    times = [asked.time for asked in portal.books]
    assert len(portal.looks) == 40
    assert len(times) == 80
    assert max(bisect_right(times, begin + 1.0) - at for at, begin in enumerate(times)) <= 10
    assert portal.most_in_flight == 4
    assert world.statuses == dict.fromkeys(range(1, 41), Status.LINKED)


def test_a_throttled_look_is_repeated_until_it_tells_and_ends_no_pair(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, *[THROTTLED] * 50)
    portal.members = {(1, 2)}
    world = World(portal, of_one(3))
    virtual_time(world.run())
    assert len(portal.looks) == 51
    assert world.pairs == [absent(pair) for pair in (of_one(3)[0], of_one(3)[2])]
    assert world.statuses == {2: Status.ALREADY_LINKED}
    (noted,) = world.notes
    assert noted.looks == [Result.THROTTLED] * 50 + [Result.OK]


def test_pairs_whose_look_cannot_be_read_end_as_retryable_with_its_reason(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, *[UNREADABLE] * 9)
    todo = pairs((1, 1), (2, 1), (1, 2))
    world = World(portal, todo, policy=RetryPolicy(base=4.0))
    virtual_time(world.run())
    assert [opportunity for opportunity, _ in portal.looks].count(1) == 3
    assert world.outcomes == [
        Outcome(pair, Status.RETRYABLE, (), "unavailable", 503) for pair in (todo[0], todo[2])
    ]
    assert world.pairs == [absent(todo[1])]
    assert world.lasted == pytest.approx(4.0 + 8.0 + 0.15, abs=0.05)
    assert [(note.looks, note.absent, note.row) for note in world.notes] == [
        ([Result.OK], [2], 2),
        ([Result.AMBIGUOUS] * 3, [], 1),
    ]


def test_a_look_that_is_read_at_the_third_time_tells_as_well_as_one_at_the_first(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, UNREADABLE, UNREADABLE)
    world = World(portal, of_one(2))
    virtual_time(world.run())
    assert world.pairs == list(map(absent, of_one(2)))
    assert world.outcomes == []


@pytest.mark.parametrize("in_doubt", [False, True])
def test_all_pairs_of_an_opportunity_that_is_not_there_are_rejected_and_none_is_given(
    virtual_time: Run, *, in_doubt: bool
) -> None:
    portal = Portal()
    portal.missing = {1}
    todo = [replace(pair, in_doubt=in_doubt) for pair in of_one(130)]
    world = World(portal, todo)
    virtual_time(world.run())
    assert world.given == []
    assert sorted(world.outcomes, key=lambda one: one.pair.row) == [
        Outcome(pair, Status.REJECTED, (), "not_found", 404) for pair in todo
    ]
    assert len(portal.books) == 2


def test_a_member_is_linked_already_with_its_contact_and_without_a_request_of_its_own(
    virtual_time: Run,
) -> None:
    portal = Portal()
    portal.members = {(1, 2), (1, 4), (2, 1)}
    todo = of_one(5)
    world = World(portal, todo)
    virtual_time(world.run())
    assert world.outcomes == [
        Outcome(todo[1], Status.ALREADY_LINKED, (), http_status=200, found=body(2)),
        Outcome(todo[3], Status.ALREADY_LINKED, (), http_status=200, found=body(4)),
    ]
    assert [outcome.body for outcome in world.outcomes] == [body(2), body(4)]
    assert len(portal.books) == 1
    assert [pair.row for pair in world.pairs] == [1, 3, 5]


def test_a_pair_that_is_not_there_is_noted_so_before_it_is_given(virtual_time: Run) -> None:
    portal = Portal()
    portal.members = {(1, 2)}
    world = World(portal, pairs((2, 5), (1, 1), (1, 2), (1, 3)))
    world.note_seconds = 60.0
    virtual_time(world.run())
    assert {(note.row, *note.absent) for note in world.notes} == {(1, 1), (2, 2, 4)}
    for given_pair in world.given:
        (noted,) = (note for note in world.notes if given_pair.pair.row in note.absent)
        assert given_pair.time >= noted.time == pytest.approx(world.begin + 60.05, abs=0.06)
        assert given_pair.pair.pre is PreState.ABSENT


def test_outcomes_are_recorded_together_and_after_the_looks_that_they_rest_on(virtual_time: Run) -> None:
    portal = Portal()
    portal.members = {(1, contact) for contact in range(1, 101)}
    world = World(portal, of_one(100))
    world.note_seconds = 5.0
    world.record_seconds = 1.0
    virtual_time(world.run())
    assert len(world.outcomes) == 100
    assert world.lasted == pytest.approx(0.05 + 5.0 + 1.0, abs=0.05)


def test_a_pair_in_doubt_that_is_there_is_given_still_in_doubt_and_tells_nothing_of_before(
    virtual_time: Run,
) -> None:
    """Perhaps it was us: who calls that present leaves a link of ours behind, or absent, takes another's."""
    portal = Portal()
    portal.members = {(1, 1), (1, 2)}
    first, second = of_one(2)
    doubtful = replace(first, in_doubt=True)
    world = World(portal, [doubtful, second])
    virtual_time(world.run())
    assert world.pairs == [doubtful]
    assert doubtful.pre is PreState.UNREAD
    assert world.durable == set()
    assert world.statuses == {2: Status.ALREADY_LINKED}


def test_a_pair_in_doubt_that_is_not_there_is_in_doubt_no_more(virtual_time: Run) -> None:
    (pair,) = of_one(1)
    world = World(Portal(), [replace(pair, in_doubt=True)])
    virtual_time(world.run())
    assert world.pairs == [replace(pair, in_doubt=False, pre=PreState.ABSENT)]
    assert world.durable == {1}


def test_a_pair_in_doubt_whose_look_cannot_be_read_is_not_called_retryable(virtual_time: Run) -> None:
    """Retryable means certainly not stored. To send it once more is safe, and so is to call it unknown."""
    portal = Portal()
    portal.answers(1, *[UNREADABLE] * 9)
    (pair,) = of_one(1)
    world = World(portal, [replace(pair, in_doubt=True)])
    virtual_time(world.run())
    assert len(world.given) + len(world.outcomes) == 1
    assert Status.RETRYABLE not in world.statuses.values()


@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_pair_of_which_it_is_known_what_was_there_is_given_as_it_is_without_a_look(
    virtual_time: Run, *, in_doubt: bool
) -> None:
    portal = Portal()
    portal.members = {(1, 1)}
    known, other = of_one(2)
    known = replace(known, pre=PreState.ABSENT, in_doubt=in_doubt)
    world = World(portal, [known, other])
    virtual_time(world.run())
    assert [asked.contact_ids for asked in portal.books] == [[2]]
    assert world.pairs == [known, absent(other)]
    assert world.durable == {2}


@pytest.mark.parametrize("lanes", [1, 2, 7, 50])
@pytest.mark.parametrize("link_seconds", [0.0, 0.3])
def test_many_lanes_get_every_pair_once_and_all_come_to_an_end(
    virtual_time: Run, lanes: int, link_seconds: float
) -> None:
    todo = pairs(*[(row % 9 + 1, row) for row in range(1, 301)])
    world = World(Portal(), Supply(todo, chunk=50))
    world.link_seconds = link_seconds
    virtual_time(world.run(lanes))
    assert sorted(world.pairs, key=lambda pair: pair.row) == list(map(absent, todo))
    assert world.supply.most_taking == 1
    assert world.outcomes == []


@pytest.mark.parametrize("lanes", [1, 2, 20])
def test_all_lanes_come_to_an_end_when_everything_is_linked_already(virtual_time: Run, lanes: int) -> None:
    portal = Portal()
    todo = pairs(*[(row % 9 + 1, row) for row in range(1, 101)])
    portal.members = {(pair.opportunity_id, pair.contact_id) for pair in todo}
    world = World(portal, Supply(todo, chunk=30))
    virtual_time(world.run(lanes))
    assert world.given == []
    assert world.statuses == dict.fromkeys(range(1, 101), Status.ALREADY_LINKED)


@pytest.mark.parametrize("lanes", [1, 6])
def test_all_lanes_come_to_an_end_when_there_is_nothing_at_all(virtual_time: Run, lanes: int) -> None:
    world = World(Portal(), [])
    virtual_time(world.run(lanes))
    assert world.given == []
    assert world.portal.books == []


def test_all_lanes_come_to_an_end_when_the_supply_is_slow(virtual_time: Run) -> None:
    supply = Supply(of_one(12))
    supply.waits = dict.fromkeys(range(1, 13, 3), 40.0)
    supply.end_takes = 500.0
    world = World(Portal(), supply)
    virtual_time(world.run(6))
    assert [pair.row for pair in world.pairs] == list(range(1, 13))
    assert world.portal.looks == [(1, 3)] * 4
    assert world.lasted == pytest.approx(4 * 40.0 + 500.0, abs=1.0)


def test_all_lanes_come_to_an_end_when_the_last_looks_find_that_nothing_is_left(virtual_time: Run) -> None:
    """The others wait for them, since they could yield something."""
    portal = Portal()
    portal.members = {(8, 7)}
    portal.missing = {9}
    portal.seconds = {8: 100.0, 9: 200.0}
    world = World(portal, of_many(9))
    virtual_time(world.run(6))
    assert sorted(pair.opportunity_id for pair in world.pairs) == list(range(1, 8))
    assert world.statuses == {8: Status.ALREADY_LINKED, 9: Status.REJECTED}
    assert world.lasted == pytest.approx(200.0, abs=1.0)


def test_a_lane_that_waits_gets_what_the_last_look_finds(virtual_time: Run) -> None:
    portal = Portal()
    portal.seconds = {1: 100.0}
    world = World(portal, of_one(10))
    world.link_seconds = 10.0
    virtual_time(world.run(10))
    assert {given.lane for given in world.given} == set(range(10))
    assert world.lasted == pytest.approx(110.0, abs=1.0)


def test_a_supply_that_lets_wait_holds_up_no_lane_from_what_others_find(virtual_time: Run) -> None:
    portal = Portal()
    portal.seconds = {1: 10.0}
    supply = Supply([*of_one(10), Pair(11, 12, 2, 1)])
    supply.waits = {11: 500.0}
    world = World(portal, supply)
    world.link_seconds = 1.0
    virtual_time(world.run(2))
    found = [given for given in world.given if given.pair.opportunity_id == 1]
    assert Counter(given.lane for given in found) == {0: 5, 1: 5}
    assert max(given.time for given in found) - world.begin == pytest.approx(14.0, abs=0.1)
    assert world.pairs[-1].row == 11


def test_looks_are_made_side_by_side_by_as_many_lanes_as_there_are(virtual_time: Run) -> None:
    portal = Portal()
    portal.seconds = dict.fromkeys(range(1, 13), 10.0)
    world = World(portal, of_many(12), concurrency=4)
    virtual_time(world.run(4))
    assert portal.most_in_flight == 4
    assert world.lasted == pytest.approx(40.0, abs=0.5)  # the first one goes alone


def test_what_is_ready_is_given_before_anything_else_is_looked_for(virtual_time: Run) -> None:
    """What has been noted as about to be sent is in doubt after a crash, so it is kept small."""
    world = World(Portal(), of_many(5))
    world.link_seconds = 10.0
    virtual_time(world.run(1))
    looked = [asked.time for asked in world.portal.books]
    assert [round(later - world.begin) for later in looked] == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("lanes", [1, 5])
def test_a_refusal_of_us_comes_out_of_the_lane_that_looked_and_the_others_come_to_an_end(
    virtual_time: Run, lanes: int
) -> None:
    portal = Portal()
    portal.answers(2, REFUSED)
    world = World(portal, of_many(4))
    ends = virtual_time(world.run_to_its_error(lanes))
    assert Counter(ends) == Counter([REFUSED] + [None] * (lanes - 1))
    assert 2 not in {pair.row for pair in world.pairs} | world.durable | set(world.statuses)


@pytest.mark.parametrize("lanes", [1, 5])
@pytest.mark.parametrize("row", [1, 4])
def test_an_error_of_the_supply_comes_out_of_every_lane_once_what_came_before_is_given(
    virtual_time: Run, lanes: int, row: int
) -> None:
    supply = Supply(of_many(9))
    supply.broken_before = row
    world = World(Portal(), supply)
    assert virtual_time(world.run_to_its_error(lanes)) == [BROKEN] * lanes
    assert [pair.row for pair in world.pairs] == list(range(1, row))


def test_a_ledger_that_cannot_record_is_heard_of_in_the_lane_that_looked(virtual_time: Run) -> None:
    portal = Portal()
    portal.missing = {1}
    world = World(portal, of_one(3))
    world.record_error = BROKEN
    assert sorted(map(str, virtual_time(world.run_to_its_error(3)))) == ["None", "None", str(BROKEN)]
    assert world.given == []


def test_to_close_gives_up_what_waits_for_the_supply_and_leaves_no_task(virtual_time: Run) -> None:
    supply = Supply(of_one(1))
    supply.waits = {1: 1000.0}
    world = World(Portal(), supply)

    async def story() -> set[asyncio.Task[Any]]:
        lane = asyncio.create_task(world.scout.take())
        await asyncio.sleep(5.0)
        lane.cancel()
        await asyncio.wait({lane})
        assert supply.taking == 1
        await world.scout.close()
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert virtual_time(story()) == set()
    assert (supply.taking, supply.given_up) == (0, 1)
    assert len(supply.todo) == 1


def test_a_lane_that_is_cancelled_while_it_looks_leaves_the_others_their_end(virtual_time: Run) -> None:
    portal = Portal()
    portal.seconds = {1: 1000.0}
    world = World(portal, of_many(2))

    async def story() -> None:
        looking = asyncio.create_task(world.lane(0))
        other = asyncio.create_task(world.lane(1))
        await asyncio.sleep(5.0)
        assert not other.done()
        looking.cancel()
        await other
        await asyncio.wait({looking})

    virtual_time(story())
    assert [given.pair.row for given in world.given] == [2]
    assert portal.in_flight == 0


def test_over_a_real_ledger_the_accounts_are_in_order_and_say_what_was_there_before(
    virtual_time: Run, tmp_path: Path
) -> None:
    portal = Portal()
    todo = pairs(*[(row % 4 + 1, row) for row in range(1, 61)])
    portal.members = {(1, row) for row in range(4, 61, 8)}
    portal.missing = {2}
    portal.answers(3, *[UNREADABLE] * 3)

    async def story() -> None:
        async with HereLedger(tmp_path / "ledger.db") as ledger:
            await ledger.admit([(Row(p.row, p.line, (), None, None), p) for p in todo])
            feed = Feed(ledger, WINDOW, look_first=True)
            feed.complete()
            world = World(portal, [])
            scout = Scout(
                Looker(portal, world.limiter, world.policy, observe=world.limiter.observe, rng=Highest(0)),
                take=feed.take,
                at_hand=feed.at_hand,
                note=ledger.looked,
                record=ledger.settle,
            )

            async def lane() -> None:
                while (pair := await scout.take()) is not None:
                    await ledger.settle(Outcome(pair, Status.LINKED, (CREATED,), http_status=201))

            await asyncio.gather(*(lane() for _ in range(5)))
            await scout.close()

    virtual_time(story())
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert audit(reader) == []
        found = reader.query(
            "SELECT opportunity_id, status, pre, count(*), sum(attempts), count(sent_at)"
            " FROM links GROUP BY 1, 2, 3 ORDER BY 1, 2"
        )
        assert list(found) == [
            (1, "already_linked", "present", 8, 0, 0),
            (1, "linked", "absent", 7, 7, 7),
            (2, "rejected", "unread", 15, 0, 0),
            (3, "retryable", "unread", 15, 0, 0),
            (4, "linked", "absent", 15, 15, 15),
        ]
        assert reader.traffic().attempts == 7 + 15 + 6


@dataclass(frozen=True)
class Story:
    """Pairs, what the portal has of them, and who asks."""

    todo: list[Pair]
    members: set[tuple[int, int]]
    missing: set[int]
    silent: set[int]
    slow: dict[int, float]
    lanes: int
    chunk: int
    hiccups: dict[int, list[Attempt]]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    chance = Random(draw(st.integers(0, 10**6)))  # noqa: S311 - for a story
    kinds = draw(st.lists(st.sampled_from(["there", "missing", "silent"]), min_size=1, max_size=5))
    ids = [
        (opportunity, contact)
        for opportunity in range(1, len(kinds) + 1)
        for contact in range(1, draw(st.sampled_from([0, 1, 3, 20, 99, 100, 101, 230])) + 1)
    ]
    chance.shuffle(ids)
    odd = draw(st.sampled_from([0.0, 0.1, 0.5]))
    silent = {at for at, kind in enumerate(kinds, 1) if kind == "silent"}
    todo = []
    for pair in pairs(*ids):
        in_doubt = chance.random() < odd and pair.opportunity_id not in silent
        pre = PreState.ABSENT if chance.random() < odd else PreState.UNREAD
        todo.append(replace(pair, in_doubt=in_doubt, pre=pre))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    hiccup = st.lists(st.sampled_from([THROTTLED, THROTTLED, UNREADABLE]), max_size=2)
    return Story(
        todo,
        {both for both in ids if chance.random() < share},
        {at for at, kind in enumerate(kinds, 1) if kind == "missing"},
        silent,
        {pair.row: draw(st.sampled_from([0.0, 0.01, 7.0])) for pair in todo[::60]},
        draw(st.integers(1, 9)),
        draw(st.sampled_from([1, 2, 25, WINDOW])),
        {at: draw(hiccup) for at in range(1, len(kinds) + 1)},
    )


def expected(story: Story, pair: Pair) -> Pair | Status:
    """The pair as it is to be given, or how it is to end."""
    if pair.pre is not PreState.UNREAD:
        return pair
    if pair.opportunity_id in story.silent:
        return Status.RETRYABLE
    if pair.opportunity_id in story.missing:
        return Status.REJECTED
    if (pair.opportunity_id, pair.contact_id) not in story.members:
        return absent(pair)
    return pair if pair.in_doubt else Status.ALREADY_LINKED


@given(story=stories(), link_seconds=st.sampled_from([0.0, 0.02, 1.0]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_pair_is_either_recorded_once_or_given_once_whatever_the_portal_has(
    story: Story, link_seconds: float
) -> None:
    portal = Portal()
    portal.members, portal.missing = story.members, story.missing
    portal.seconds = dict.fromkeys(range(1, 6), 0.03)
    for opportunity, answers in story.hiccups.items():
        portal.answers(opportunity, *answers)
    for opportunity in story.silent:
        portal.answers(opportunity, *[UNREADABLE] * 10_000)
    supply = Supply(story.todo, story.chunk)
    supply.waits = dict(story.slow)
    world = World(portal, supply)
    world.note_seconds, world.record_seconds, world.link_seconds = 0.01, 0.02, link_seconds
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(world.run(story.lanes))

    came: dict[int, list[Pair | Status]] = {pair.row: [] for pair in story.todo}
    for pair in world.pairs:
        came[pair.row].append(pair)
    for outcome in world.outcomes:
        came[outcome.pair.row].append(outcome.status)
    assert came == {pair.row: [expected(story, pair)] for pair in story.todo}
    assert world.durable == {
        pair.row
        for pair in story.todo
        if pair.pre is PreState.UNREAD and expected(story, pair) == absent(pair)
    }
    assert sum(len(note.looks) for note in world.notes) == len(portal.books)
    assert all(count <= MOST_SOUGHT for _, count in portal.looks)
