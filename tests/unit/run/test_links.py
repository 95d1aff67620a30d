"""Going through links at the portal, opportunity by opportunity and in lanes, under a virtual clock."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import VirtualLoop
from tests.unit.dealt import now
from tests.unit.lanes import BUSY, DOWN, NOT_FOUND, READ, Answer, Portal, Run, site_of, throttled
from worker.dispatch import Finished
from worker.errors import LedgerError, OutageError, PortalRefused, PortalUnreachable, WorkerError
from worker.limits.breaker import WINDOW
from worker.limits.limiter import JITTER
from worker.models import Kind, Result
from worker.operations.base import Operation
from worker.operations.look import MOST_SOUGHT, Told
from worker.operations.policy import RetryPolicy
from worker.run.access import open_site
from worker.run.links import READY, go_through, look_for, offer_all
from worker.run.progress import show_often
from worker.settings import load_settings
from worker.simulator import Portal as SimulatedPortal
from worker.simulator import Scenario
from worker.tally import LinkTally

REFUSED = PortalRefused("https://portal.example: HTTP 401 unauthorized")
BROKEN = LedgerError("ledger.db: damaged")


@dataclass(frozen=True)
class Linked:
    """A link, and whose."""

    contact_id: int
    opportunity_id: int


def links(*sizes: int) -> list[Linked]:
    """Links by opportunity: so many of the first, so many of the second, and so on."""
    owners = [at for at, size in enumerate(sizes, 1) for _ in range(size)]
    return [Linked(number, at) for number, at in enumerate(owners, 1)]


class World:
    """A verb at work, what it was told, and what it showed."""

    def __init__(
        self,
        portal: Portal | None = None,
        *,
        lanes: int = 4,
        give_up_after: float = 900.0,
        policy: RetryPolicy | None = None,
        show_error: Exception | None = None,
        conclude_error: Exception | None = None,
    ) -> None:
        self.portal = portal or Portal()
        self.lanes = lanes
        self.give_up_after = give_up_after
        self.policy = policy
        self.show_error = show_error
        self.conclude_error = conclude_error
        self.told: list[Told[tuple[Linked, ...]]] = []
        self.taken = 0
        self.most_ahead = 0
        self.shown: list[LinkTally] = []
        self.progress = LinkTally(total=0)
        self.lasted = 0.0
        self.left_behind: set[asyncio.Task[Any]] = set()

    async def each(self, todo: Iterator[Linked] | Sequence[Linked]) -> None:
        site = site_of(
            self.portal,
            concurrency=self.lanes,
            policy=self.policy,
            observers=[self.progress.observe],
            give_up_after=self.give_up_after,
            tell=self.tell,
        )
        begin, before = now(), asyncio.all_tasks()
        try:
            side_tasks = [partial(show_often, self.progress, self.show, site.limiter)]
            await go_through(self.watched(iter(todo)), site, self.conclude, side_tasks)
        finally:
            self.lasted = now() - begin
            self.left_behind = asyncio.all_tasks() - before

    def watched(self, todo: Iterator[Linked]) -> Iterator[Linked]:
        for link in todo:
            self.taken += 1
            self.most_ahead = max(self.most_ahead, self.taken - len(self.portal.books))
            yield link

    async def conclude(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        if self.conclude_error is not None:
            raise self.conclude_error
        for _, told in finished:
            self.told.append(told)
            self.progress.done += len(told.about)
        return ()

    def tell(self, note: str) -> None:
        self.progress.note = note

    def show(self, progress: LinkTally) -> None:
        self.shown.append(replace(progress))
        if self.show_error is not None:
            raise self.show_error


@given(
    sizes=st.lists(st.sampled_from([1, 2, 99, 100, 101, 200, 250]), max_size=8),
    lanes=st.integers(1, 5),
    latency=st.lists(st.sampled_from([0.0, 0.1, 3.0]), min_size=1, max_size=4),
)
@settings(max_examples=60)
def test_every_link_is_looked_for_once_and_with_others_of_its_opportunity_alone(
    sizes: list[int], lanes: int, latency: list[float]
) -> None:
    world = World(Portal(latency=latency), lanes=lanes)
    todo = links(*sizes)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(world.each(todo))
    sought = world.portal.sought
    assert [Linked(contact, at) for at, contacts in sought for contact in contacts] == todo
    parts = [
        part
        for size in sizes
        for part in (*[MOST_SOUGHT] * (size // MOST_SOUGHT), size % MOST_SOUGHT)
        if part
    ]
    assert [len(contacts) for _, contacts in sought] == parts
    assert sorted((link for told in world.told for link in told.about), key=todo.index) == todo
    assert all(told.is_told for told in world.told)


@pytest.mark.parametrize("lanes", [1, 3])
def test_so_many_opportunities_are_looked_at_at_once_as_may_be_in_flight(
    virtual_time: Run, lanes: int
) -> None:
    world = World(Portal(latency=(1.0, 0.2, 3.0)), lanes=lanes)
    virtual_time(world.each(links(*[2] * 20)))
    assert world.portal.most_in_flight == lanes
    assert len(world.told) == 20


def test_links_are_read_no_further_ahead_than_lanes_need(virtual_time: Run) -> None:
    """A run may have made millions."""
    world = World(lanes=2)
    virtual_time(world.each(links(*[1] * 500)))
    assert world.taken == 500
    assert world.most_ahead <= READY + 3


def test_what_follows_from_a_look_is_done_before_it_ends(virtual_time: Run) -> None:
    class Twice(World):
        async def conclude(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
            await super().conclude(finished)
            return [operation for operation, _ in finished] if len(self.told) <= 3 else ()

    world = Twice(lanes=1)
    virtual_time(world.each(links(1, 1, 1)))
    assert [at for at, _ in world.portal.sought] == [1, 1, 1, 1, 2, 3]


def test_going_through_nothing_ends_at_once(virtual_time: Run) -> None:
    world = World()
    virtual_time(world.each([]))
    assert world.lasted == 0.0
    assert world.portal.books == []
    assert [(shown.total, shown.ended) for shown in world.shown] == [(0, True)]


def test_the_first_error_ends_the_work_of_all_others_and_is_raised(virtual_time: Run) -> None:
    portal = Portal(seconds={1: 100.0, 2: 3.0, 3: 2.0})
    portal.shows(1, ZeroDivisionError())
    portal.shows(2, BROKEN)
    portal.shows(3, REFUSED)
    world = World(portal, lanes=3)
    with pytest.raises(WorkerError) as raised:
        virtual_time(world.each(links(*[2] * 20)))
    assert raised.value is REFUSED
    assert world.lasted == pytest.approx(2.0, abs=0.1)
    assert [at for at, _ in portal.sought] == [1, 2, 3]
    assert (portal.in_flight, world.told) == (0, [])


def test_what_was_told_before_an_error_is_concluded_and_shown(virtual_time: Run) -> None:
    portal = Portal()
    portal.shows(3, REFUSED)
    world = World(portal, lanes=1)
    with pytest.raises(PortalRefused):
        virtual_time(world.each(links(5, 2, 4, 1)))
    assert [told.about[0].opportunity_id for told in world.told] == [1, 2]
    assert [(world.shown[-1].done, world.shown[-1].ended)] == [(7, True)]


def test_what_cannot_be_concluded_ends_it(virtual_time: Run) -> None:
    world = World(lanes=1, conclude_error=BROKEN)
    with pytest.raises(LedgerError) as raised:
        virtual_time(world.each(links(*[2] * 20)))
    assert raised.value is BROKEN
    assert len(world.portal.books) == 1


def test_links_that_cannot_be_read_end_the_visit(virtual_time: Run) -> None:
    def unreadable() -> Iterator[Linked]:
        yield from links(2, 2)
        raise BROKEN

    world = World(Portal(latency=(100.0,)), lanes=2)
    with pytest.raises(LedgerError) as raised:
        virtual_time(world.each(unreadable()))
    assert raised.value is BROKEN
    assert world.portal.in_flight == 0


@pytest.mark.parametrize("ending", ["done", "error", "cancelled"])
def test_it_leaves_no_task_behind(virtual_time: Run, ending: str) -> None:
    portal = Portal(latency=(0.1, 100.0))
    if ending == "error":
        portal.shows(1, REFUSED)
    world = World(portal, lanes=3)

    async def story() -> None:
        visiting = asyncio.create_task(world.each(links(*[2] * 9)))
        if ending == "cancelled":
            await asyncio.sleep(1.0)
            visiting.cancel()
        await asyncio.wait([visiting])
        assert visiting.cancelled() == (ending == "cancelled")
        if not visiting.cancelled():
            assert visiting.exception() is (REFUSED if ending == "error" else None)

    virtual_time(story())
    assert world.left_behind == set()
    assert portal.in_flight == 0
    assert world.shown[-1].ended


@pytest.mark.parametrize(("answer", "error"), [(DOWN, PortalUnreachable), (BUSY, OutageError)])
def test_an_outage_that_lasts_too_long_ends_it(
    virtual_time: Run, answer: Answer, error: type[Exception]
) -> None:
    portal = Portal()
    portal.works.clear()
    portal.works.append(answer)
    for at in range(1, 100):
        portal.shows(at, *[answer] * 9)
    world = World(portal, give_up_after=100.0)
    with pytest.raises(error, match="100s"):
        virtual_time(world.each(links(*[2] * 99)))
    assert world.lasted == pytest.approx(100.0, abs=1.0)
    assert len(portal.questions) > 3
    assert WINDOW <= len(portal.books) < WINDOW + 20
    assert world.progress.sent == len(portal.books) + len(portal.questions)
    assert world.told == []


def test_an_outage_that_ends_is_waited_out_and_told(virtual_time: Run) -> None:
    portal = Portal()
    portal.works.extendleft([DOWN, DOWN])
    for at in range(1, WINDOW + 1):
        portal.shows(at, DOWN)
    # Their next tries come when it is over.
    world = World(portal, lanes=WINDOW, policy=RetryPolicy(base=20.0))
    virtual_time(world.each(links(*[1] * 30)))
    assert len(world.told) == 30
    assert [later - earlier for earlier, later in pairwise(portal.questions)] == [
        pytest.approx(2.0),
        pytest.approx(4.0),
    ]
    notes = [shown.note for shown in world.shown]
    told = [note for earlier, note in pairwise(["", *notes]) if note != earlier]
    assert told == [*(f"the portal fails: asking again in {n} s" for n in (1, 2, 4)), ""]


def test_every_request_is_counted_and_teaches_the_limiter(virtual_time: Run) -> None:
    portal = Portal()
    portal.shows(1, throttled(7.0), BUSY, NOT_FOUND)
    world = World(portal, policy=RetryPolicy(base=0.0))
    virtual_time(world.each(links(1)))
    assert (world.progress.sent, world.progress.throttled) == (3, 1)
    assert world.lasted == pytest.approx(7.0 * (1 + JITTER) + 0.15, abs=0.01)


def test_what_is_looked_for_again_is_counted_and_the_last_answer_is_told(virtual_time: Run) -> None:
    portal = Portal({(5, 7): None})
    portal.shows(5, throttled(), BUSY, READ)
    world = World(portal)
    virtual_time(world.each([Linked(7, 5), Linked(8, 5)]))
    assert portal.sought == [(5, [7, 8])] * 3
    (told,) = world.told
    assert [attempt.result for attempt in told.attempts] == [
        Result.THROTTLED,
        Result.AMBIGUOUS,
        Result.OK,
    ]
    assert set(told.last.found) == {7}
    assert {sent.kind for sent in portal.books} == {Kind.LOOK}


@pytest.mark.parametrize("attempts", [1, 3])
async def test_every_verb_tries_as_often_as_the_settings_say_and_counts_the_first_questions(
    attempts: int,
) -> None:
    progress = LinkTally(total=0)
    async with SimulatedPortal(Scenario()) as portal, AsyncExitStack() as stack:
        options = {"portal": portal.url, "token": "demo-token", "max_attempts": attempts}
        site = await open_site(stack, load_settings(options), None, print, [progress.observe])
        assert site.policy.max_attempts == attempts
        # Whether the portal is there, and whether it takes batches.
        assert progress.sent == portal.books.requests == 2


def test_as_many_operations_wait_as_fill_what_is_on_its_way(virtual_time: Run) -> None:
    async def ready(lanes: int) -> int:
        site = site_of(Portal(), concurrency=lanes)
        scheduler = site.scheduler()
        looks = (look_for((link,), site, ids_only=True) for link in links(*[1] * 500))
        offering = asyncio.create_task(offer_all(looks, site, scheduler))
        await asyncio.sleep(1)
        offering.cancel()
        return len(list(scheduler.waiting))

    assert virtual_time(ready(2)) == READY
    assert virtual_time(ready(100)) == 200


def test_progress_is_shown_as_the_work_goes_on_and_at_last_as_ended(virtual_time: Run) -> None:
    world = World(Portal(latency=(0.45,)), lanes=1)
    virtual_time(world.each(links(3, 2, 1)))
    *earlier, last = world.shown
    assert [shown.done for shown in earlier] == [0, 0, 3, 3, 5, 5]
    assert [shown.sent for shown in earlier] == [0, 0, 1, 1, 2, 2]
    assert [shown.seconds for shown in earlier] == [pytest.approx(0.2 * n) for n in range(1, 7)]
    assert [shown.ended for shown in earlier] == [False] * 6
    assert (last.done, last.ended) == (6, True)


def test_a_terminal_that_is_gone_stops_nothing(virtual_time: Run) -> None:
    world = World(Portal(latency=(0.3,)), show_error=BrokenPipeError())
    virtual_time(world.each(links(*[2] * 30)))
    assert len(world.told) == 30
    assert len(world.shown) > 5
    assert world.shown[-1].ended
