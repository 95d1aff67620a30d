"""A visit to the portal, opportunity by opportunity and in lanes, under a virtual clock."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import VirtualLoop
from tests.unit.dealt import now
from worker.breaker import WINDOW
from worker.errors import LedgerError, OutageError, PortalRefused, PortalUnreachable, WorkerError
from worker.limiter import Limiter
from worker.members import MOST_SOUGHT
from worker.models import Attempt, Look, Result
from worker.run import visit as module
from worker.run.visit import Progress, Visit
from worker.settings import load_settings

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Work = Callable[["list[Linked]"], Awaitable[None]]

DOWN = Attempt(1, Result.TRANSIENT, "cannot_connect")
FAILING = Attempt(1, Result.TRANSIENT, "unavailable", 503)
UP = Attempt(1, Result.PERMANENT, "not_found", 404)
DONE = Attempt(1, Result.OK, http_status=200)
BUSY = Attempt(1, Result.THROTTLED, "throttled", 429, retry_after=7.0)
REFUSED = PortalRefused("https://portal.example: HTTP 401 unauthorized")
BROKEN = LedgerError("ledger.db: damaged")


@dataclass(frozen=True)
class Linked:
    """A link, and whose."""

    number: int
    opportunity_id: int


def links(*sizes: int) -> list[Linked]:
    """Links by opportunity: so many of the first, so many of the second, and so on."""
    owners = [at for at, size in enumerate(sizes, 1) for _ in range(size)]
    return [Linked(number, at) for number, at in enumerate(owners, 1)]


class Portal:
    """Answers whoever looks at members or asks whether it is at work, and notes it."""

    def __init__(self, *answers: Attempt) -> None:
        self.answers = list(answers or [UP])
        self.looks: list[float] = []
        self.finds: list[tuple[int, list[int]]] = []

    async def find(self, opportunity_id: int, contact_ids: Collection[int], number: int) -> Look:
        self.finds.append((opportunity_id, list(contact_ids)))
        return Look(replace(BUSY if number == 1 else DONE, number=number))

    async def look(self) -> Attempt:
        self.looks.append(now())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class World:
    """A visit, what it gave to do, and what it showed."""

    def __init__(
        self,
        portal: Portal | None = None,
        *,
        lanes: int = 4,
        seconds: Sequence[float] = (0.3,),
        give_up_after: str = "15m",
        show_error: Exception | None = None,
    ) -> None:
        self.portal = portal or Portal()
        options = {"portal": "https://portal.example", "rate": "1000/s", "give_up_after": give_up_after}
        self.settings = load_settings({**options, "concurrency": lanes})
        self.seconds = seconds
        self.show_error = show_error
        self.errors: dict[int, Exception] = {}
        self.groups: list[list[Linked]] = []
        self.at_work = 0
        self.most_at_work = 0
        self.shown: list[Progress] = []
        self.progress = Progress(total=0)
        self.lasted = 0.0
        self.left_behind: set[asyncio.Task[Any]] = set()

    def open(self, total: int = 0) -> Visit:
        rng = Random(1)  # noqa: S311 - jitter
        concurrency = self.settings.concurrency
        self.limiter = Limiter(self.settings.rate, concurrency, max_pause=300.0, rng=rng)
        self.progress = Progress(total=total)
        return Visit(
            self.settings,
            cast("Any", self.portal),
            self.limiter,
            log=structlog.get_logger(),
            progress=self.progress,
            show=self.show,
        )

    async def each(self, todo: Sequence[Linked], work: Work | None = None) -> None:
        self.visit = self.open(len(todo))
        await self.go_through(iter(todo), work)

    async def go_through(self, todo: Iterator[Linked], work: Work | None = None) -> None:
        begin, before = now(), asyncio.all_tasks()
        try:
            await self.visit.each(todo, work or self.work)
        finally:
            self.lasted = now() - begin
            self.left_behind = asyncio.all_tasks() - before

    async def work(self, group: list[Linked]) -> None:
        seconds = self.seconds[len(self.groups) % len(self.seconds)]
        self.groups.append(group)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.at_work -= 1
        if error := self.errors.get(group[0].opportunity_id):
            raise error

    def show(self, progress: Progress) -> None:
        self.shown.append(replace(progress))
        if self.show_error is not None:
            raise self.show_error


@given(
    sizes=st.lists(st.sampled_from([1, 2, 99, 100, 101, 200, 250]), max_size=8),
    lanes=st.integers(1, 5),
    seconds=st.lists(st.sampled_from([0.0, 0.1, 3.0]), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_every_link_is_given_once_and_with_others_of_its_opportunity_alone(
    sizes: list[int], lanes: int, seconds: list[float]
) -> None:
    world = World(lanes=lanes, seconds=seconds)
    todo = links(*sizes)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(world.each(todo))
    assert [link for group in world.groups for link in group] == todo
    assert all(len({link.opportunity_id for link in group}) == 1 for group in world.groups)
    full = [len(group) for group in world.groups]
    assert sorted(full) == sorted(
        part
        for size in sizes
        for part in (*[MOST_SOUGHT] * (size // MOST_SOUGHT), size % MOST_SOUGHT)
        if part
    )
    assert world.progress.done == len(todo)


@pytest.mark.parametrize("lanes", [1, 3])
def test_so_many_opportunities_are_worked_on_at_once_as_may_be_in_flight(
    virtual_time: Run, lanes: int
) -> None:
    world = World(lanes=lanes, seconds=(1.0, 0.2, 3.0))
    virtual_time(world.each(links(*[2] * 20)))
    assert world.most_at_work == lanes
    assert len(world.groups) == 20


def test_a_visit_about_nothing_ends_at_once(virtual_time: Run) -> None:
    world = World()
    virtual_time(world.each([]))
    assert world.lasted == 0.0
    assert world.groups == []
    assert [(shown.total, shown.ended) for shown in world.shown] == [(0, True)]


def test_the_first_error_ends_the_work_of_all_others_and_is_raised(virtual_time: Run) -> None:
    world = World(lanes=3, seconds=(100.0, 3.0, 2.0, 100.0))
    world.errors = {1: ZeroDivisionError(), 2: BROKEN, 3: REFUSED}
    with pytest.raises(WorkerError) as raised:
        virtual_time(world.each(links(*[2] * 20)))
    assert raised.value is REFUSED
    assert world.lasted == pytest.approx(2.0)
    assert [group[0].opportunity_id for group in world.groups] == [1, 2, 3]
    assert world.at_work == 0
    assert world.progress.done == 0


def test_what_was_done_before_an_error_counts_as_done(virtual_time: Run) -> None:
    world = World(lanes=1)
    world.errors = {3: REFUSED}
    with pytest.raises(PortalRefused):
        virtual_time(world.each(links(5, 2, 4, 1)))
    assert world.progress.done == 7
    assert [(world.shown[-1].done, world.shown[-1].ended)] == [(7, True)]


def test_links_that_cannot_be_read_end_the_visit(virtual_time: Run) -> None:
    def unreadable() -> Iterator[Linked]:
        yield from links(2, 2)
        raise BROKEN

    world = World(lanes=2, seconds=(100.0, 1.0))

    async def story() -> None:
        world.visit = world.open()
        await world.go_through(unreadable())

    with pytest.raises(LedgerError) as raised:
        virtual_time(story())
    assert raised.value is BROKEN
    assert world.at_work == 0


@pytest.mark.parametrize("ending", ["done", "error", "cancelled"])
def test_a_visit_leaves_no_task_behind(virtual_time: Run, ending: str) -> None:
    world = World(lanes=3, seconds=(0.1, 100.0))
    if ending == "error":
        world.errors = {1: REFUSED}

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
    assert world.at_work == 0
    assert world.shown[-1].ended


@pytest.mark.parametrize(("answer", "error"), [(DOWN, PortalUnreachable), (FAILING, OutageError)])
def test_an_outage_that_lasts_too_long_ends_the_visit(
    virtual_time: Run, answer: Attempt, error: type[Exception]
) -> None:
    world = World(Portal(answer), give_up_after="100s")

    async def fail(group: list[Linked]) -> None:
        world.groups.append(group)
        for _ in range(1000):
            await world.limiter.turn()
            world.visit.observe(answer)

    with pytest.raises(error, match="100s"):
        virtual_time(world.each(links(*[2] * 9), fail))
    assert world.lasted == pytest.approx(100.0, abs=1.0)
    assert len(world.portal.looks) > 3
    assert WINDOW <= world.progress.sent < WINDOW + 4
    assert len(world.groups) == 4


def test_an_outage_that_ends_is_waited_out_and_told(virtual_time: Run) -> None:
    world = World(Portal(DOWN, DOWN, UP), lanes=1)

    async def fail_at_first(group: list[Linked]) -> None:
        for _ in range(WINDOW if not world.groups else 0):
            world.visit.observe(DOWN)
        world.groups.append(group)
        await world.limiter.turn()
        await asyncio.sleep(1.0)

    virtual_time(world.each(links(1, 1), fail_at_first))
    assert world.lasted == pytest.approx(1.0 + 2.0 + 4.0 + 2.0, abs=0.1)
    assert world.progress.done == 2
    notes = [shown.note for shown in world.shown]
    told = [note for earlier, note in pairwise(["", *notes]) if note != earlier]
    assert told == [*(f"the portal fails: asking again in {n} s" for n in (1, 2, 4)), ""]


def test_every_request_is_counted_and_teaches_the_limiter(virtual_time: Run) -> None:
    async def story() -> float:
        world = World()
        visit = world.open()
        for attempt in (DONE, BUSY, FAILING, UP):
            visit.observe(attempt)
        assert (world.progress.sent, world.progress.throttled) == (4, 1)
        began = now()
        await world.limiter.turn()
        return now() - began

    assert virtual_time(story()) == pytest.approx(7.0, abs=0.11)


def test_what_the_looker_of_a_visit_sends_is_counted_and_kept_within_its_limits(virtual_time: Run) -> None:
    async def story() -> float:
        world = World()
        visit = world.open()
        began = now()
        look, attempts = await visit.looker.look(5, [7, 8])
        assert look.is_told
        assert len(attempts) == world.progress.sent == 2
        assert world.progress.throttled == 1
        assert world.portal.finds == [(5, [7, 8])] * 2
        return now() - began

    assert virtual_time(story()) == pytest.approx(7.0, abs=0.11)


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_visit_tries_as_often_as_the_settings_say(virtual_time: Run, attempts: int) -> None:
    async def story() -> int:
        world = World()
        world.settings = load_settings({"portal": "https://portal.example", "max_attempts": attempts})
        return world.open().policy.max_attempts

    assert virtual_time(story()) == attempts


def test_progress_is_shown_as_the_work_goes_on_and_at_last_as_ended(
    virtual_time: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=now))
    world = World(lanes=1, seconds=(0.45,))
    virtual_time(world.each(links(3, 2, 1)))
    *earlier, last = world.shown
    assert [shown.done for shown in earlier] == [0, 0, 3, 3, 5, 5]
    assert [shown.seconds for shown in earlier] == [pytest.approx(0.2 * n) for n in range(1, 7)]
    assert [shown.ended for shown in earlier] == [False] * 6
    assert (last.total, last.done, last.ended) == (6, 6, True)


def test_a_terminal_that_is_gone_stops_nothing(virtual_time: Run) -> None:
    world = World(show_error=BrokenPipeError())
    virtual_time(world.each(links(*[2] * 30)))
    assert world.progress.done == 60
    assert len(world.shown) > 5
    assert world.shown[-1].ended
