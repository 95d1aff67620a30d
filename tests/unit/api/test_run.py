"""Pairs of a program from beginning to end, in virtual time: nothing is lost, whenever the program leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from itertools import count
from typing import Any, Literal, cast

import pytest

from tests.unit.lanes import BUSY, FORBIDDEN, LOST, Portal, site_of
from worker.api import Counts, LinkRun, link_pairs
from worker.api import Portal as OpenPortal
from worker.errors import InputError, OutageError, PortalRefused, UsageError
from worker.models import Kind

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Way = Literal["break", "raise", "cancel"]

CONCURRENCY = 4
REFUSED = PortalRefused("portal.example.com: HTTP 401 unauthorized")


class Quit(Exception):  # noqa: N818 - no error
    """The program has had enough."""


def opened(portal: Portal, give_up_after: float | None = None) -> OpenPortal:
    """A portal of stories, as one that a program has opened."""
    shown = OpenPortal("http://127.0.0.1:9", token="demo-token", grace=25)
    shown._site = site_of(portal, concurrency=CONCURRENCY, give_up_after=give_up_after)
    return shown


def pairs(most: int | None = None) -> Iterator[tuple[int, int]]:
    """Two of an opportunity."""
    for number in count(1) if most is None else range(1, most + 1):
        yield (number + 1) // 2, number


async def all_of(run: LinkRun[Any], seen: list[Any]) -> None:
    """Iterate over everything."""
    async with run:
        async for outcome in run:
            seen.append(outcome)  # noqa: PERF401 - it may be raised in the middle


async def nothing_left(portal: Portal) -> None:
    """Nobody works any more, and nothing is sent later."""
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert portal.in_flight == 0
    sent = len(portal.books)
    await asyncio.sleep(3600)
    assert len(portal.books) == sent


def equals_the_books(run: LinkRun[Any], seen: list[Any], portal: Portal) -> None:
    """Each pair that was taken has one outcome, and what is called linked is what the portal holds."""
    told = [*seen, *run.remaining]
    assert len({one.item for one in told}) == len(told) == run.counts.rows
    linked = {one.item for one in told if one.is_linked}
    unknown = {one.item for one in told if one.status == "unknown"}
    assert linked <= portal.members.keys() <= linked | unknown
    assert run.counts.linked + run.counts.already_linked == len(linked)
    counts = run.counts.as_dict()
    assert counts.pop("rows") == sum(counts.values())


@pytest.mark.parametrize("existing", ["check", "post"])
def test_each_pair_has_one_outcome_and_the_portal_holds_what_is_called_linked(
    virtual_time: Run, existing: Literal["check", "post"]
) -> None:
    async def story() -> None:
        portal = Portal(members={(1, 1): None})
        portal.answers(2, 3, BUSY, LOST.but_done())
        portal.answers(3, 5, FORBIDDEN)
        seen = []
        async with link_pairs(pairs(20), portal=opened(portal), existing=existing) as run:
            seen = [outcome async for outcome in run]

        already = int(existing == "check")
        assert run.counts == Counts(rows=20, linked=19 - already, already_linked=already, rejected=1)
        assert not run.remaining
        assert {one.item: one.reason for one in seen if one.status == "rejected"} == {(3, 5): "forbidden"}
        equals_the_books(run, seen, portal)
        await nothing_left(portal)

    virtual_time(story())


def test_a_pair_is_told_of_when_it_is_known_which_side_is_missing(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(missing={4}, missing_contacts={5, 6})
        asked = [(4, 7), (5, 5), (6, 6), (7, 6), (8, 8)]
        seen: list[Any] = []
        await all_of(link_pairs(asked, portal=opened(portal), existing="post"), seen)

        assert {one.item: one.reason for one in seen} == {
            (4, 7): "opportunity_missing",
            (5, 5): "contact_missing",
            (6, 6): "contact_missing",
            (7, 6): "contact_missing",
            (8, 8): "",
        }

    virtual_time(story())


def test_who_leaves_before_that_is_known_is_told_what_is(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(missing_contacts={5})
        portal.leaves = lambda ask: portal.seconds.update({ask.opportunity_id: 60.0 * (ask.kind == "exists")})
        async with link_pairs([(5, 5)], portal=opened(portal), existing="post") as run:
            await asyncio.sleep(1)
        assert [(one.status, one.reason) for one in run.remaining] == [("rejected", "not_found")]
        await nothing_left(portal)

    virtual_time(story())


def test_who_stops_iterating_causes_no_more_than_what_is_on_its_way_and_the_buffer(virtual_time: Run) -> None:
    async def story() -> None:
        portal, buffer = Portal(), 10
        async with link_pairs(pairs(), portal=opened(portal), existing="post", buffer=buffer) as run:
            for _ in range(30):
                await anext(run)
            before = len(portal.books)
            await asyncio.sleep(3600)
            assert len(portal.books) - before <= CONCURRENCY + buffer
            assert run.counts.rows == 30 + CONCURRENCY + buffer
            for _ in range(30):  # and goes on as if nothing had been
                await anext(run)

    virtual_time(story())


def test_who_looks_first_and_stops_iterating_causes_a_look_and_a_link_for_each_of_these(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        portal, buffer = Portal(), 10
        async with link_pairs(pairs(), portal=opened(portal), buffer=buffer) as run:
            for _ in range(30):
                await anext(run)
            links, looks = len(portal.sent(Kind.LINK)), len(portal.sent(Kind.LOOK))
            await asyncio.sleep(3600)
            assert len(portal.sent(Kind.LINK)) - links <= CONCURRENCY + buffer
            assert len(portal.sent(Kind.LOOK)) - looks <= CONCURRENCY + buffer

    virtual_time(story())


async def left(way: Way, point: int) -> None:
    """Leave at a point: after some outcomes, or some time, and then some steps of the loop."""
    portal = Portal(latency=(0.05, 0.02, 0.11))
    portal.answers(3, 5, LOST.but_done(), BUSY)
    seen: list[Any] = []
    run = link_pairs(pairs(), portal=opened(portal), existing="post" if point % 2 else "check", buffer=8)

    async def program() -> None:
        async with run:
            async for outcome in run:
                seen.append(outcome)
                if len(seen) <= point // 16 or way == "cancel":
                    continue
                for _ in range(point % 16):
                    await asyncio.sleep(0)
                if way == "raise":
                    raise Quit
                break

    async def cancelled() -> None:
        task = asyncio.create_task(program())
        await asyncio.sleep(point // 8 * 0.013)
        for _ in range(point % 8):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    if way == "cancel":
        await cancelled()
    elif way == "raise":
        with pytest.raises(Quit):
            await program()
    else:
        await program()
    equals_the_books(run, seen, portal)
    await nothing_left(portal)


@pytest.mark.parametrize(("way", "points"), [("break", 200), ("raise", 200), ("cancel", 200)])
def test_whenever_a_program_leaves_nothing_is_left_behind_and_the_books_equal_the_outcomes(
    virtual_time: Run, way: Way, points: int
) -> None:
    for point in range(points):
        virtual_time(left(way, point))


def test_who_leaves_gives_requests_on_their_way_their_answers_and_sends_no_others(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(latency=(5.0,))
        async with link_pairs(pairs(), portal=opened(portal), existing="post", buffer=8) as run:
            await asyncio.sleep(1)
        assert len(portal.books) == run.counts.linked == CONCURRENCY
        assert run.counts.not_attempted == 8
        assert sum(one.is_linked for one in run.remaining) == CONCURRENCY

    virtual_time(story())


def test_a_second_cancellation_does_not_wait_and_what_was_sent_is_unknown(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(latency=(20.0,))
        loop = asyncio.get_running_loop()
        run = link_pairs(pairs(), portal=opened(portal), existing="post", buffer=8)

        async def program() -> None:
            async with run:
                async for _ in run:
                    raise AssertionError("nothing is answered yet")

        task, began = asyncio.create_task(program()), loop.time()
        for _ in range(2):
            await asyncio.sleep(1)
            task.cancel()
        await asyncio.wait({task})

        assert task.cancelled()
        assert loop.time() - began == pytest.approx(2.0)
        assert run.counts == Counts(rows=12, unknown=CONCURRENCY, not_attempted=8)
        await nothing_left(portal)

    virtual_time(story())


def test_a_portal_that_refuses_us_is_raised_after_the_outcomes_there_are(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal()
        portal.answers(4, 8, REFUSED)
        seen: list[Any] = []
        run = link_pairs(pairs(), portal=opened(portal), existing="post", buffer=8)
        with pytest.raises(PortalRefused):
            await all_of(run, seen)
        assert {one.status for one in seen} == {"linked", "not_attempted"}
        equals_the_books(run, seen, portal)
        await nothing_left(portal)

    virtual_time(story())


def test_who_did_not_iterate_is_told_of_the_end_when_the_block_is_left(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal()
        portal.answers(1, 1, REFUSED)
        run = link_pairs(pairs(2), portal=opened(portal), existing="post")

        async def rest(end: Exception | None = None) -> None:
            async with run:
                await asyncio.sleep(1)
                if end is not None:
                    raise end

        with pytest.raises(PortalRefused):
            await rest()
        assert run.counts.rows == 2
        portal.answers(1, 1, REFUSED)
        run = link_pairs(pairs(2), portal=opened(portal), existing="post")
        with pytest.raises(Quit):  # and not instead of an error of the program
            await rest(Quit())

    virtual_time(story())


def test_an_end_that_the_program_has_heard_of_is_not_raised_once_more(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal()
        portal.answers(1, 1, REFUSED)
        async with link_pairs(pairs(2), portal=opened(portal), existing="post") as run:
            with pytest.raises(PortalRefused):
                _ = [one async for one in run]
            with pytest.raises(StopAsyncIteration):
                await anext(run)

    virtual_time(story())


def test_a_portal_that_fails_for_too_long_ends_the_iteration(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal()
        portal.works.clear()
        portal.works.append(BUSY)
        portal.leaves = lambda ask: portal.answers(ask.opportunity_id, ask.contact_ids[0], BUSY)
        shared = opened(portal, give_up_after=60.0)
        run = link_pairs(pairs(), portal=shared, existing="post", buffer=8)
        with pytest.raises(OutageError, match="has failed for"):
            await all_of(run, [])
        assert run.counts.linked == 0
        await nothing_left(portal)

    virtual_time(story())


def test_an_input_that_breaks_off_is_raised_when_what_came_before_has_its_outcome(virtual_time: Run) -> None:
    async def story() -> None:
        async def broken() -> AsyncIterator[tuple[int, int]]:
            for item in pairs(3):
                yield item
            await asyncio.sleep(10)
            raise ZeroDivisionError("of the program")

        portal = Portal()
        seen: list[Any] = []
        run = link_pairs(broken(), portal=opened(portal))
        with pytest.raises(InputError) as caught:
            await all_of(run, seen)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert sorted(one.item for one in seen) == list(pairs(3))
        assert run.counts.linked == 3
        await nothing_left(portal)

    virtual_time(story())


def test_runs_at_one_portal_share_its_limits_and_one_that_rests_holds_up_no_other(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal()
        shared = opened(portal)
        async with link_pairs(pairs(), portal=shared, existing="post", buffer=8) as first:
            await anext(first)
            # Nobody iterates over the first one meanwhile.
            async with link_pairs([(900, 1), (900, 2)], portal=shared) as second:
                assert sorted([one.item async for one in second]) == [(900, 1), (900, 2)]
        assert portal.most_in_flight == CONCURRENCY
        assert shared.is_open
        await nothing_left(portal)

    virtual_time(story())


def test_it_is_used_once_and_as_a_context_manager(virtual_time: Run) -> None:
    async def story() -> None:
        run = link_pairs(pairs(2), portal=opened(Portal()))
        with pytest.raises(UsageError, match="async with link_pairs"):
            await anext(run)
        assert run.counts == Counts()
        async with run:
            assert len([one async for one in run]) == 2
        with pytest.raises(UsageError, match="call link_pairs again"):
            async with run:
                raise AssertionError("entered twice")

    virtual_time(story())


def test_what_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="timeout: is told to Portal"):
        link_pairs(pairs(1), portal=OpenPortal("http://127.0.0.1:9"), timeout=3)
    for buffer in (0, True, 2.0):
        with pytest.raises(UsageError, match=f"buffer: {buffer} is not a whole number from 1 on"):
            link_pairs(pairs(1), portal="http://127.0.0.1:9", token="demo-token", buffer=cast("int", buffer))
