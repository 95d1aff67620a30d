"""Links that a program has looked for, in virtual time: what each answer says, and that nothing is left."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import pytest

from tests.unit.api.test_run import Quit, nothing_left, opened
from tests.unit.lanes import BUSY, DOWN, FORBIDDEN, LOST, Portal
from worker.api import Lookup, Presence, Verified
from worker.api import Portal as OpenPortal
from worker.errors import PortalError, PortalRefused, UsageError
from worker.models import Kind

Run = Callable[[Coroutine[Any, Any, Any]], Any]

REFUSED = PortalRefused("portal.example.com: HTTP 401 unauthorized")


async def all_of(lookup: Lookup[Any, Any], seen: list[Any]) -> None:
    async for one in lookup:
        seen.append(one)  # noqa: PERF401 - it may be raised in the middle


def test_each_pair_and_what_is_none_has_one_answer_in_the_order_of_what_was_given(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(members={(1, 5): None, (2, 7): None}, missing={4})
        portal.shows(2, BUSY, LOST, None)
        portal.shows(3, FORBIDDEN)
        given = [(1, 5), ("x", 7), (2, 7), (1, 6), (3, 1), {"deal": "4", "contact": 8}, (1, 5)]
        seen: list[Verified[Any]] = []
        await all_of(opened(portal).verify(given), seen)

        assert [one.item for one in seen] == given
        assert [(one.presence, one.reason) for one in seen] == [
            (Presence.THERE, ""),
            (Presence.INVALID, "opportunity_id is not a whole number"),
            (Presence.THERE, ""),
            (Presence.MISSING, ""),
            (Presence.UNREAD, "forbidden"),
            (Presence.MISSING, "opportunity_missing"),
            (Presence.THERE, ""),
        ]
        assert [one.is_there for one in seen] == [True, False, True, False, False, False, True]
        assert (seen[1].opportunity_id, seen[1].contact_id, seen[1].http_status) == (None, None, None)
        assert (seen[5].opportunity_id, seen[5].contact_id, seen[5].http_status) == (4, 8, 404)
        assert set(portal.kinds) == {Kind.LOOK}
        # Those of an opportunity together, and the same pair once.
        assert sorted(portal.sought) == [(1, [5, 6]), *[(2, [7])] * 3, (3, [1]), (4, [8])]
        await nothing_left(portal)

    virtual_time(story())


def test_a_portal_that_does_not_tell_leaves_a_pair_unread_and_the_others_go_on(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(members={(1, 5): None, (2, 6): None})
        portal.shows(1, *[LOST] * 3)
        seen: list[Verified[Any]] = []
        await all_of(opened(portal).verify([(1, 5), (2, 6)]), seen)
        assert [(one.presence, one.reason) for one in seen] == [("unread", "timeout"), ("there", "")]

    virtual_time(story())


def test_no_more_than_a_hundred_are_looked_for_in_one_request(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(members={(1, 150): None})
        seen: list[Verified[Any]] = []
        await all_of(opened(portal).verify((1, n) for n in range(1, 251)), seen)
        assert sorted(len(contacts) for _, contacts in portal.sought) == [50, 100, 100]
        assert [one.contact_id for one in seen if one.is_there] == [150]

    virtual_time(story())


def test_what_is_no_pair_is_asked_about_nowhere(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal()
        seen: list[Verified[Any]] = []
        await all_of(opened(portal).verify([(0, 1)]), seen)
        assert [(one.presence, one.reason) for one in seen] == [("invalid", "opportunity_id is 0")]
        assert portal.books == []

    virtual_time(story())


@pytest.mark.parametrize("way", ["break", "raise", "cancel"])
def test_whoever_leaves_at_any_moment_leaves_nothing_behind(
    virtual_time: Run, way: Literal["break", "raise", "cancel"]
) -> None:
    async def leave(lookup: Lookup[Any, Any], after: int) -> None:
        async for _ in lookup:
            after -= 1
            if after <= 0 and way == "break":
                break
            if after <= 0 and way == "raise":
                raise Quit

    async def story() -> None:
        for point in range(40):
            portal = Portal(members={(1, 5): None}, latency=(0.05, 0.03))
            lookup = opened(portal).verify(((n, 5) for n in range(1, 31)), buffer=10)
            task = asyncio.create_task(leave(lookup, point if way != "cancel" else 1000))
            if way == "cancel":
                await asyncio.sleep(point * 0.01)
                task.cancel()
            await asyncio.wait({task})
            await nothing_left(portal)

    virtual_time(story())


def test_errors_of_the_portal_end_the_iteration_and_leave_nothing(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal()
        portal.shows(15, REFUSED)
        seen: list[Verified[Any]] = []
        with pytest.raises(PortalRefused, match="unauthorized"):
            await all_of(opened(portal).verify(((n, 5) for n in range(1, 31)), buffer=10), seen)
        assert [one.opportunity_id for one in seen] == list(range(1, 11))
        await nothing_left(portal)

        gone = Portal()
        gone.works.extend([DOWN] * 1000)
        gone.works.popleft()
        for opportunity in range(1, 200):
            gone.shows(opportunity, *[DOWN] * 50)
        with pytest.raises(PortalError, match="not been reachable"):
            await all_of(opened(gone, give_up_after=60.0).verify((n, 5) for n in range(1, 200)), [])
        await nothing_left(gone)

    virtual_time(story())


def test_a_portal_that_is_not_open_says_so_on_iterating() -> None:
    portal = OpenPortal("http://127.0.0.1:9", token="demo-token")
    with pytest.raises(UsageError, match="open the portal first"):
        asyncio.run(all_of(portal.verify([(1, 2)]), []))
    with pytest.raises(UsageError, match="open the portal first"):
        asyncio.run(all_of(portal.members([1]), []))
    with pytest.raises(UsageError, match="1234: give a list"):
        portal.members(1234)  # type: ignore[arg-type]  # as a program without types may do
