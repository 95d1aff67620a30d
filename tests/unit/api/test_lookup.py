"""Answers that are iterated over: in the order of what was given, some at a time, and nothing in between."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain
from typing import Any, cast

import pytest

from worker.api.lookup import Lookup
from worker.errors import InputError, UsageError


class Portal:
    """Doubles what it is asked about; keeps what that was."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.wait: asyncio.Event | None = None

    async def ask(self, given: Sequence[int]) -> list[int]:
        self.asked.append(list(given))
        if self.wait is not None:
            await self.wait.wait()
        return [2 * one for one in given]


async def slowly(most: int, closed: list[str]) -> AsyncIterator[int]:
    try:
        for number in range(most):
            await asyncio.sleep(0)
            yield number
    finally:
        closed.append("closed")


async def all_of(lookup: Lookup[Any, Any]) -> list[Any]:
    return [one async for one in lookup]


@pytest.mark.parametrize("is_async", [False, True])
async def test_all_are_answered_in_order_so_many_at_a_time(is_async: bool) -> None:
    portal = Portal()
    given = slowly(250, []) if is_async else range(250)
    lookup = Lookup(given, portal.ask, 120)
    assert await all_of(lookup) == list(range(0, 500, 2))
    assert [len(one) for one in portal.asked] == [120, 120, 10]
    assert await all_of(lookup) == []  # and that was all


async def test_no_more_is_taken_and_asked_than_is_needed() -> None:
    portal, taken = Portal(), []

    def given() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    async for answer in Lookup(given(), portal.ask, 3):
        if answer == 6:
            break
    assert taken == [0, 1, 2, 3, 4, 5]
    assert portal.asked == [[0, 1, 2], [3, 4, 5]]


async def test_who_is_cancelled_and_goes_on_misses_nothing() -> None:
    portal = Portal()
    portal.wait = asyncio.Event()
    lookup = Lookup(range(5), portal.ask, 2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(lookup), 0.01)
    portal.wait.set()
    assert await all_of(lookup) == [0, 2, 4, 6, 8]
    assert portal.asked == [[0, 1], [0, 1], [2, 3], [4]]
    assert len(asyncio.all_tasks()) == 1


async def test_several_may_iterate_and_each_answer_is_given_once() -> None:
    lookup = Lookup(range(50), Portal().ask, 7)
    found = await asyncio.gather(*(all_of(lookup) for _ in range(4)))
    assert sorted(chain.from_iterable(found)) == list(range(0, 100, 2))


async def test_an_iterable_that_raises_ends_it_after_what_came_before() -> None:
    def given() -> Iterator[int]:
        yield from (1, 2, 3)
        raise ValueError("no more")

    lookup = Lookup(given(), Portal().ask, 2)
    assert [await anext(lookup) for _ in range(3)] == [2, 4, 6]
    with pytest.raises(InputError, match="the input broke off after 3: ValueError: no more") as raised:
        await anext(lookup)
    assert isinstance(raised.value.__cause__, ValueError)


async def test_an_error_of_the_portal_is_raised_as_it_is() -> None:
    async def ask(_: Sequence[int]) -> list[int]:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        await all_of(Lookup([1], ask, 5))


async def test_as_a_context_manager_it_closes_the_generator_that_it_reads() -> None:
    closed: list[str] = []
    async with Lookup(slowly(100, closed), Portal().ask, 5) as lookup:
        assert await anext(lookup) == 0
        assert closed == []
    assert closed == ["closed"]
    async with Lookup([1], Portal().ask, 5) as lookup:
        assert await all_of(lookup) == [2]


@pytest.mark.parametrize(
    ("given", "buffer", "says"),
    [
        ([1], 0, "buffer: 0 is not a whole number from 1 on"),
        ([1], True, "buffer: True is not a whole number from 1 on"),
        (1234, 5, "1234: give a list or another iterable, also of one"),
        ("1234", 5, "'1234': give a list or another iterable, also of one"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(given: Any, buffer: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Lookup(cast("Any", given), Portal().ask, buffer)
