"""How much may be on its way to a portal at once, by the way that operations go there."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from tests.unit.dealt import Highest
from tests.unit.lanes import FAST, always
from worker.errors import OutageError
from worker.limits import Limiter
from worker.limits.hours import Hours
from worker.limits.limiter import USER
from worker.models import Attempt, Pair, Request, Result
from worker.operations.base import MOST_LOST, Operation
from worker.operations.link import Link
from worker.operations.look import Look
from worker.operations.members import PAGE, ReadMembers
from worker.operations.policy import RetryPolicy
from worker.operations.unlink import Unlink
from worker.portal.auth import Credentials
from worker.portal.http import MAX_BODY
from worker.portal.transport import Route
from worker.quantities import Rate
from worker.removals import Made
from worker.site import AT_ONCE, BATCHES_AT_ONCE, GATHER, IDS_IN_A_CONTACT, MOST_CONTACTS, Site

Run = Callable[[Coroutine[Any, Any, Any]], Any]

NOBODY = cast("Credentials", None)


class Way:
    """A transport that sends nothing."""

    def __init__(self, size: int) -> None:
        self.size = size


class Client:
    """Knows by whom it goes on."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def change(self, _: Credentials) -> None:
        if self.error is not None:
            raise self.error

    async def question(self) -> Request:
        raise AssertionError("nobody asks")


def site_by(way: Way, concurrency: int | None, error: Exception | None = None) -> Site:
    limiter = Limiter(FAST, 1, max_pause=300.0, rng=Highest(0))
    return Site(
        cast("Any", Client(error)),
        limiter,
        Route(cast("Any", way), "batch" if way.size > 1 else "single"),
        RetryPolicy(),
        hours=Hours(always(FAST), limiter, lambda _: None),
        concurrency=concurrency,
        give_up_after=900.0,
        tell=lambda _: None,
    )


@pytest.mark.parametrize(
    ("size", "concurrency", "permits", "at_once"),
    [(1, 8, 8, 8), (1, 1, 1, 1), (20, 8, BATCHES_AT_ONCE, 80), (20, 1, 1, 20), (2, 2, 2, 4)],
)
def test_few_batches_are_in_flight_and_as_many_single_requests_as_the_user_allows(
    virtual_time: Run, size: int, concurrency: int, permits: int, at_once: int
) -> None:
    async def story() -> None:
        site = site_by(Way(size), concurrency)
        assert site.limiter.permits.limit == permits
        assert site.at_once == at_once
        assert site.takes_many is (size > 1)

    virtual_time(story())


@pytest.mark.parametrize(("size", "permits"), [(1, [16, 3, 1]), (20, [4, 3, 1])])
def test_a_change_of_concurrency_keeps_few_batches_in_flight(
    virtual_time: Run, size: int, permits: list[int]
) -> None:
    async def story() -> list[int]:
        site = site_by(Way(size), 8)
        told = []
        for concurrency in (16, 3, 1):
            await site.change(always(Rate(5, 1.0)), concurrency, NOBODY)
            told.append(site.limiter.permits.limit)
        return told

    assert virtual_time(story()) == permits


@pytest.mark.parametrize(("size", "most"), [(1, AT_ONCE), (20, BATCHES_AT_ONCE)])
def test_if_it_is_left_to_us_how_many_it_begins_with_two_and_may_be_more(
    virtual_time: Run, size: int, most: int
) -> None:
    async def story() -> tuple[int, int]:
        limiter = site_by(Way(size), None).limiter
        assert limiter.controller.concurrency is not None
        return limiter.permits.limit, limiter.controller.concurrency.ceiling

    assert virtual_time(story()) == (2, most)


def test_a_stated_number_takes_the_place_of_a_learned_one_and_the_other_way_round(virtual_time: Run) -> None:
    async def story() -> list[bool]:
        site = site_by(Way(1), None)
        learned = []
        for concurrency in (5, None):
            await site.change(always(FAST), concurrency, NOBODY)
            learned.append(site.limiter.controller.concurrency is not None)
        return learned

    assert virtual_time(story()) == [False, True]


def test_once_no_more_batches_are_taken_more_may_be_in_flight(virtual_time: Run) -> None:
    async def story() -> tuple[int, int]:
        site = site_by(Way(20), None)
        site.take_no_more_batches("")
        assert site.limiter.controller.concurrency is not None
        return site.limiter.permits.limit, site.limiter.controller.concurrency.ceiling

    assert virtual_time(story()) == (2, AT_ONCE)


def test_a_change_while_one_goes_alone_for_once_keeps_few_batches_in_flight(virtual_time: Run) -> None:
    async def story() -> int:
        way = Way(20)
        site = site_by(way, 8)
        way.size = 1
        await site.change(always(FAST), 16, NOBODY)
        return site.limiter.permits.limit

    assert virtual_time(story()) == BATCHES_AT_ONCE


def test_once_no_more_batches_are_taken_the_concurrency_is_what_the_user_allows_by_now(
    virtual_time: Run,
) -> None:
    async def story() -> list[int]:
        site = site_by(Way(20), 8)
        await site.change(always(FAST), 5, NOBODY)
        site.take_no_more_batches("")
        told = [site.limiter.permits.limit]
        await site.change(always(FAST), 6, NOBODY)
        assert not site.takes_many
        return [*told, site.limiter.permits.limit]

    assert virtual_time(story()) == [5, 6]


def test_credentials_that_cannot_be_used_change_nothing_else(virtual_time: Run) -> None:
    async def story() -> int:
        site = site_by(Way(1), 8, ValueError("no token"))
        with pytest.raises(ValueError, match="no token"):
            await site.change(always(FAST), 16, NOBODY)
        return site.limiter.permits.limit

    assert virtual_time(story()) == 8


@pytest.mark.parametrize(("size", "waits"), [(1, 0.0), (20, GATHER)])
def test_operations_wait_for_others_only_if_they_can_share_a_request(
    virtual_time: Run, size: int, waits: float
) -> None:
    async def story() -> float:
        scheduler = site_by(Way(size), 8).scheduler()
        one = Link(Pair(1, 2, 3, 4), RetryPolicy(), Highest(0))
        begin = asyncio.get_running_loop().time()
        scheduler.offer([one])
        assert len(await scheduler.next(20)) == 1
        return asyncio.get_running_loop().time() - begin

    assert virtual_time(story()) == pytest.approx(waits)


def test_no_more_contacts_come_back_in_one_answer_than_are_read_of_one(virtual_time: Run) -> None:
    """Looks bring back as many contacts as they seek: two hundred of them would be twenty thousand."""

    async def story() -> list[int]:
        scheduler = site_by(Way(200), 8).scheduler()
        looks = [Look(None, 1, tuple(range(1, 101)), RetryPolicy(), Highest(0)) for _ in range(25)]
        links = [Link(Pair(n, n, 1, n), RetryPolicy(), Highest(0)) for n in range(1, 301)]
        scheduler.offer([*looks, *links])
        scheduler.close()
        sizes = []
        while group := await scheduler.next(200):
            sizes.append(len(group))
            assert sum(len(one.ask().contact_ids) for one in group) <= MOST_CONTACTS
            scheduler.done(len(group))
        return sizes

    assert virtual_time(story()) == [10, 10, 200, 105]


def test_looks_for_ids_alone_share_a_request_with_many_more(virtual_time: Run) -> None:
    async def story() -> list[int]:
        scheduler = site_by(Way(200), 8).scheduler()
        sought = tuple(range(1, 101))
        scheduler.offer(Look(None, 1, sought, RetryPolicy(), Highest(0), ids_only=True) for _ in range(210))
        scheduler.close()
        return [len(await scheduler.next(250)), len(await scheduler.next(250))]

    assert virtual_time(story()) == [MOST_CONTACTS * IDS_IN_A_CONTACT // 100, 10]


def test_what_was_lost_with_others_ten_times_goes_alone_and_its_next_answer_is_its_own(
    virtual_time: Run,
) -> None:
    lost = Attempt(Result.TRANSIENT, "bad_request", 400, shared=True)

    async def story() -> list[list[tuple[int, ...]]]:
        scheduler = site_by(Way(200), 8).scheduler()
        links = [Link(Pair(n, n, 1, n), RetryPolicy(), Highest(0)) for n in range(1, 6)]
        looks = [Look(None, 9, (n,), RetryPolicy(), Highest(0)) for n in range(6, 9)]
        members = [ReadMembers(1, RetryPolicy(), Highest(0))]
        removal = [Unlink(Made(1, 2, 30), RetryPolicy(), Highest(0))]
        unlucky_ones: list[Operation[Any]] = [links[2], looks[1], *members, *removal]
        for unlucky in unlucky_ones:
            for _ in range(MOST_LOST):
                assert not unlucky.goes_alone
                unlucky.take(lost)
        scheduler.offer([*links, *looks, *members, *removal])
        scheduler.close()
        groups = []
        while group := await scheduler.next(200):
            groups.append([one.ask().contact_ids for one in group])
            scheduler.done(len(group))
        return groups

    assert virtual_time(story()) == [[(1,), (2,)], [(3,)], [(4,), (5,), (6,)], [(7,)], [(8,)], [()], [(30,)]]


def test_full_pages_of_members_share_a_request_as_long_as_their_answers_fit_into_one(
    virtual_time: Run,
) -> None:
    async def story() -> list[int]:
        scheduler = site_by(Way(200), 8).scheduler()
        scheduler.offer(ReadMembers(one, RetryPolicy(), Highest(0)) for one in range(1, 51))
        scheduler.close()
        return [len(await scheduler.next(200)), len(await scheduler.next(200))]

    sizes = virtual_time(story())
    assert sizes == [40, 10]
    of_each = len(r"{\"canEdit\":true,\"created\":\"2023-05-12T17:28:00.0000000+03:00\",\"id\":2147483647},")
    assert sizes[0] * PAGE * of_each < MAX_BODY


def test_when_batches_are_no_longer_taken_nothing_waits_for_others_to_share_its_request(
    virtual_time: Run,
) -> None:
    async def story() -> float:
        site = site_by(Way(20), 8)
        scheduler = site.scheduler()
        site.take_no_more_batches("")
        begin = asyncio.get_running_loop().time()
        scheduler.offer([Link(Pair(1, 2, 3, 4), RetryPolicy(), Highest(0))])
        await scheduler.next(20)
        return asyncio.get_running_loop().time() - begin

    assert virtual_time(story()) == 0


class Watch:
    """An outage that is told when to give up."""

    def __init__(self) -> None:
        self.at_work = self.begun = 0
        self.over = asyncio.Event()

    async def watch(self) -> None:
        self.at_work += 1
        self.begun += 1
        try:
            await self.over.wait()
            raise OutageError("the portal has failed for too long")
        finally:
            self.at_work -= 1


def test_however_many_work_at_a_portal_its_outages_are_waited_out_by_one(virtual_time: Run) -> None:
    async def story() -> None:
        site, watch = site_by(Way(1), 4), Watch()
        site._outage = cast("Any", watch)
        first, second = asyncio.create_task(site.watch()), asyncio.create_task(site.watch())
        await asyncio.sleep(1)
        assert watch.at_work == 1
        first.cancel()
        await asyncio.wait({first})
        assert watch.at_work == 1  # the other one still needs it
        second.cancel()
        await asyncio.wait({second})
        assert watch.at_work == 0

    virtual_time(story())


def test_a_portal_that_is_given_up_is_given_up_by_all_who_work_there_and_may_be_tried_anew(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        site, watch = site_by(Way(1), 4), Watch()
        site._outage = cast("Any", watch)
        watch.over.set()
        for begun in (1, 2):
            ends = await asyncio.gather(site.watch(), site.watch(), return_exceptions=True)
            assert [type(end) for end in ends] == [OutageError, OutageError]
            assert (watch.at_work, watch.begun) == (0, begun)

    virtual_time(story())


def test_the_user_may_pause_and_slow_down_what_is_done_there(virtual_time: Run) -> None:
    async def story() -> None:
        site = site_by(Way(1), 8)
        site.pause()
        assert site.limiter.is_held(USER)
        site.resume()
        assert not site.limiter.is_held(USER)
        site.slow_to(Rate(3, 1.0))
        assert site.limiter.per_second == 3.0
        assert site.stated_rate == FAST

    virtual_time(story())
