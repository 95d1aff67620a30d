"""First come, first served, in as few rounds of the event loop as can be."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from worker.limits.line import Line

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Gate:
    """Lets so many through; whoever waits brings as many more as ``brings``."""

    def __init__(self, room: int, brings: int = 1) -> None:
        self.room = room
        self.brings = brings
        self.passed: list[int] = []
        self.given_back: list[int] = []
        self.opens = asyncio.Event()
        self.line: Line[int] = Line(self.given_back.append)

    async def go(self, who: int) -> int:
        def at_once() -> int | None:
            if not self.room:
                return None
            self.room -= 1
            self.passed.append(who)
            return who

        async def wait() -> int:
            await self.opens.wait()
            self.room += self.brings
            passed = at_once()
            assert passed is not None
            return passed

        return await self.line.go(at_once, wait)


async def rounds(count: int = 3) -> None:
    """So many rounds of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def those(gate: Gate, count: int) -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(gate.go(who)) for who in range(count)]
    await rounds()
    return tasks


def test_who_can_pass_at_once_lets_no_round_go_by(virtual_time: Run) -> None:
    async def story() -> list[int]:
        gate = Gate(room=5)
        going = [gate.go(who) for who in range(5)]
        for coroutine in going:
            with pytest.raises(StopIteration):
                coroutine.send(None)
        return gate.passed

    assert virtual_time(story()) == [0, 1, 2, 3, 4]


def test_all_who_stand_in_line_pass_in_the_same_round_when_there_is_room(virtual_time: Run) -> None:
    async def story() -> tuple[list[int], list[bool]]:
        gate = Gate(room=0, brings=100)
        tasks = await those(gate, 50)
        gate.opens.set()
        await rounds()
        return gate.passed, [task.done() for task in tasks]

    passed, done = virtual_time(story())
    assert passed == list(range(50))
    assert all(done)


def test_nobody_overtakes_even_if_there_is_room_behind_the_first(virtual_time: Run) -> None:
    async def story() -> list[int]:
        gate = Gate(room=0, brings=10)
        await those(gate, 3)
        gate.room = 5  # but the first one has not looked again
        late = asyncio.create_task(gate.go(9))
        await rounds()
        before = list(gate.passed)
        gate.opens.set()
        await late
        return [len(before), *gate.passed]

    assert virtual_time(story()) == [0, 0, 1, 2, 9]


def test_each_waits_for_itself_when_each_brings_room_for_one(virtual_time: Run) -> None:
    async def story() -> list[int]:
        gate = Gate(room=0)
        tasks = await those(gate, 4)
        gate.opens.set()
        await asyncio.gather(*tasks)
        return gate.passed

    assert virtual_time(story()) == [0, 1, 2, 3]


@pytest.mark.parametrize("who", range(4))
def test_who_is_cancelled_holds_up_nobody(virtual_time: Run, who: int) -> None:
    async def story() -> list[int]:
        gate = Gate(room=0)
        tasks = await those(gate, 4)
        tasks[who].cancel()
        await rounds()
        gate.opens.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return gate.passed

    assert virtual_time(story()) == [one for one in range(4) if one != who]


def test_what_was_given_in_the_moment_of_being_cancelled_is_given_back(virtual_time: Run) -> None:
    async def story() -> tuple[list[int], list[int]]:
        gate = Gate(room=0, brings=10)
        tasks = await those(gate, 3)
        gate.opens.set()
        await asyncio.sleep(0)  # the first has passed, and let the others through: they have not heard yet
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return gate.passed, gate.given_back

    passed, given_back = virtual_time(story())
    assert passed == [0, 1, 2]
    assert given_back == [2]


def test_who_became_first_in_the_moment_of_being_cancelled_hands_that_on(virtual_time: Run) -> None:
    async def story() -> list[int]:
        gate = Gate(room=0)
        tasks = await those(gate, 3)
        gate.opens.set()
        await asyncio.sleep(0)  # the first has passed; the second is the first now, and has not heard yet
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return gate.passed

    assert virtual_time(story()) == [0, 2]


def test_an_error_of_the_first_is_its_own(virtual_time: Run) -> None:
    async def story() -> list[object]:
        gate = Gate(room=0)

        async def fail() -> int:
            await gate.opens.wait()
            raise OSError

        failing = asyncio.create_task(gate.line.go(lambda: None, fail))
        await rounds()
        others = [asyncio.create_task(gate.go(who)) for who in range(2)]
        await rounds()
        gate.opens.set()
        return await asyncio.gather(failing, *others, return_exceptions=True)

    error, *others = virtual_time(story())
    assert isinstance(error, OSError)
    assert others == [0, 1]
