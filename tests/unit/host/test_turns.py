"""The book of turns in a file: who shares it, and what it survives."""

import asyncio
import os
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.unit.dealt import now
from worker.host.turns import HostTurns, _of_this_process
from worker.limits import Limiter
from worker.limits.throttler import SharedThrottler
from worker.quantities import Rate

# ruff: noqa: ASYNC240 - time is virtual, so nothing waits

Run = Callable[[Coroutine[Any, Any, Any]], Any]

STEP, LATE = 0.02, 0.006
RNG = Random(1)  # noqa: S311 - spreads pauses


async def due(book: HostTurns, pause: float = 0.0, step: float = STEP) -> float:
    """How long until the next turn."""
    return await book.book(step=step, late=LATE, pause=pause) - now()


def most_in_any_window(times: list[float], period: float) -> int:
    return max(bisect_right(times, begin + period) - i for i, begin in enumerate(times))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "turns"


def test_whoever_books_turns_are_a_step_apart(virtual_time: Run, path: Path) -> None:
    async def story() -> list[float]:
        with HostTurns(path) as one, HostTurns(path) as other:
            return [await due(book) for book in (one, other, other, one, other)]

    first, *others = virtual_time(story())
    assert -0.005 <= first <= 0.0
    assert [at - first for at in others] == [pytest.approx(n * STEP) for n in (1, 2, 3, 4)]


async def taken_by_all(
    path: Path,
    rate: Rate,
    processes: int,
    wish: Callable[[HostTurns, list[float]], list[Coroutine[Any, Any, None]]],
) -> list[float]:
    """When turns were used in some windows by those who always wish for the next one."""
    given: list[float] = []
    books = [HostTurns(path).__enter__() for _ in range(processes)]
    wishing = [asyncio.create_task(work) for book in books for work in wish(book, given)]
    await asyncio.sleep(3 * rate.period)
    for task in wishing:
        task.cancel()
    await asyncio.gather(*wishing, return_exceptions=True)
    for book in books:
        book.__exit__(None, None, None)
    return given


RATES = [Rate(50, 1.0), Rate(2000, 1.0), Rate(500, 10.0), Rate(7, 0.1)]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("processes", [1, 2, 5])
def test_together_they_use_the_rate_and_no_window_holds_more(
    virtual_time: Run, path: Path, rate: Rate, processes: int
) -> None:
    async def take(throttler: SharedThrottler, given: list[float]) -> None:
        while True:
            await throttler.acquire()
            given.append(now())

    def wish(book: HostTurns, given: list[float]) -> list[Coroutine[Any, Any, None]]:
        throttler = SharedThrottler(rate, book)
        return [take(throttler, given) for _ in range(2)]

    given = virtual_time(taken_by_all(path, rate, processes, wish))
    assert most_in_any_window(given, rate.period) <= rate.limit
    assert (len(given) - 1) / (given[-1] - given[0]) >= 0.98 * rate.per_second


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("busy", [0.0, 0.003], ids=["idle", "busy"])
def test_slots_of_several_processes_use_the_rate_and_no_window_holds_more(
    virtual_time: Run, path: Path, rate: Rate, processes: int, busy: float
) -> None:
    async def send(limiter: Limiter, given: list[float]) -> None:
        while True:
            async with limiter.slot():
                given.append(now())
                await asyncio.sleep(busy)

    def wish(book: HostTurns, given: list[float]) -> list[Coroutine[Any, Any, None]]:
        limiter = Limiter(rate, 16, max_pause=300.0, rng=RNG, turns=book)
        return [send(limiter, given) for _ in range(16)]

    given = virtual_time(taken_by_all(path, rate, processes, wish))
    assert most_in_any_window(given, rate.period) <= rate.limit
    assert (len(given) - 1) / (given[-1] - given[0]) >= 0.98 * rate.per_second


def test_what_was_booked_and_has_lapsed_makes_nobody_wait(virtual_time: Run, path: Path) -> None:
    async def story() -> list[float]:
        step = 1e-6  # so a block of turns is booked at once
        with HostTurns(path) as book:
            waited = []
            for _ in range(40):
                before = now()
                turn = await book.book(step=step, late=LATE, pause=0.0)
                waited.append(max(0.0, turn - before))
                await asyncio.sleep(0.0007)
            return waited

    assert max(virtual_time(story())) < 0.0001


def test_a_turn_at_once_is_one_that_is_due_and_counts_like_any_other(virtual_time: Run, path: Path) -> None:
    async def story() -> list[float | None]:
        with HostTurns(path) as one, HostTurns(path) as other:
            first = one.book_at_once(step=STEP, late=LATE)
            none = other.book_at_once(step=STEP, late=LATE)
            following = await other.book(step=STEP, late=LATE, pause=0.0)
            assert first is not None
            return [first - now(), none, following - first]

    first, none, following = virtual_time(story())
    assert first == pytest.approx(-0.8 * LATE)
    assert none is None
    assert following == pytest.approx(STEP)


def test_nothing_is_had_at_once_while_another_books(virtual_time: Run, path: Path) -> None:
    async def story() -> float | None:
        with HostTurns(path) as book, _of_this_process:
            return book.book_at_once(step=STEP, late=LATE)

    assert virtual_time(story()) is None


def test_a_pause_of_one_is_a_pause_of_all(virtual_time: Run, path: Path) -> None:
    async def story() -> list[float]:
        with HostTurns(path) as one, HostTurns(path) as other:
            return [await due(one, pause=3.0), await due(other), await due(one, pause=1.0)]

    assert virtual_time(story()) == [
        pytest.approx(3.0),
        pytest.approx(3.0 + STEP),
        pytest.approx(3.0 + 2 * STEP),
    ]


def test_an_urgent_question_passes_a_pause_and_keeps_to_the_rate(virtual_time: Run, path: Path) -> None:
    async def story() -> None:
        with HostTurns(path) as one, HostTurns(path) as other:
            begin = now()
            assert await due(one) <= 0.0
            assert await due(one, pause=1.0) == pytest.approx(1.0)
            assert await due(other) == pytest.approx(1.0 + STEP)
            asked = [
                await book.book(step=STEP, late=LATE, pause=0.0, urgent=True) - begin
                for book in (one, other, one)
            ]
            assert asked == [pytest.approx(n * STEP, abs=0.005) for n in (1, 2, 3)]
            assert await due(one, pause=1.0) == pytest.approx(1.0 + 2 * STEP)
            await asyncio.sleep(0.99)
            # There is no room any more before the end of the pause.
            late = await other.book(step=STEP, late=LATE, pause=0.0, urgent=True) - begin
            assert late == pytest.approx(1.0 + 3 * STEP)

    virtual_time(story())


def test_a_second_pause_leaves_room_for_questions_too(virtual_time: Run, path: Path) -> None:
    async def story() -> None:
        with HostTurns(path) as book:
            for _ in range(2):
                begin = now()
                await due(book, pause=5.0)
                await asyncio.sleep(1.0)
                asked = await book.book(step=STEP, late=LATE, pause=0.0, urgent=True)
                assert asked - begin == pytest.approx(1.0, abs=0.005)
                await asyncio.sleep(4.0)

    virtual_time(story())


def test_a_pause_that_becomes_longer_still_lets_questions_pass(virtual_time: Run, path: Path) -> None:
    async def story() -> None:
        with HostTurns(path) as book:
            begin = now()
            await due(book, pause=5.0)
            await asyncio.sleep(1.0)
            assert await due(book, pause=9.0) == pytest.approx(9.0)
            asked = await book.book(step=STEP, late=LATE, pause=0.0, urgent=True)
            assert asked - begin == pytest.approx(1.0, abs=0.005)

    virtual_time(story())


def test_who_comes_late_by_a_little_has_lost_nothing_and_by_more_only_that(
    virtual_time: Run, path: Path
) -> None:
    async def story() -> list[float]:
        with HostTurns(path) as book:
            last = now() + await due(book)
            lost = []
            for late in (0.004, 0.2):
                await asyncio.sleep(last + STEP + late - now())
                last, before = now() + await due(book), last
                lost.append(last - before - STEP)
            return lost

    little, more = virtual_time(story())
    assert little == pytest.approx(0.0, abs=1e-6)
    assert more == pytest.approx(0.2 - 0.0048, abs=1e-6)


def test_a_turn_that_is_given_back_is_the_next_one_unless_one_after_it_is_booked(
    virtual_time: Run, path: Path
) -> None:
    async def story() -> None:
        with HostTurns(path) as one, HostTurns(path) as other:
            await due(one)
            second = await one.book(step=STEP, late=LATE, pause=0.0)
            await one.give_back(second, STEP)
            assert await other.book(step=STEP, late=LATE, pause=0.0) == second
            await one.give_back(second, STEP)  # it is not the last one any more
            assert await one.book(step=STEP, late=LATE, pause=0.0) == pytest.approx(second + STEP)
            await one.give_back(12.0, STEP)  # none of ours
            assert await one.book(step=STEP, late=LATE, pause=0.0) == pytest.approx(second + 2 * STEP)

    virtual_time(story())


def test_turns_that_are_not_booked_can_be_put_off_unless_the_next_is_too_far_away(
    virtual_time: Run, path: Path
) -> None:
    async def story() -> None:
        with HostTurns(path) as one, HostTurns(path) as other:
            first = await one.book(step=STEP, late=LATE, pause=0.0)
            assert await one.postpone(0.01, first + STEP)
            second = await other.book(step=STEP, late=LATE, pause=0.0)
            assert second == pytest.approx(first + STEP + 0.01)
            assert not await one.postpone(0.01, first + STEP)
            assert await one.book(step=STEP, late=LATE, pause=0.0) == pytest.approx(second + STEP)

    virtual_time(story())


def test_at_a_high_rate_some_turns_are_booked_at_once_and_come_back_one_by_one(
    virtual_time: Run, path: Path
) -> None:
    async def story() -> None:
        step = 0.001
        with HostTurns(path) as one, HostTurns(path) as other:
            first = await one.book(step=step, late=LATE, pause=0.0)
            assert await other.book(step=step, late=LATE, pause=0.0) == pytest.approx(first + 0.005)
            second = await one.book(step=step, late=LATE, pause=0.0)
            assert second == pytest.approx(first + step)
            await one.give_back(second, step)
            assert await one.book(step=step, late=LATE, pause=0.0) == second
            # A pause and another rate are for now, not for later.
            assert await one.book(step=step, late=LATE, pause=2.0) >= first + 2.0

    virtual_time(story())


@pytest.mark.parametrize("left", [b"", b"short", b"x" * 40, b"bulklnk2" + b"\xff" * 32, b"x" * 5000])
def test_nonsense_in_the_file_costs_a_step(virtual_time: Run, path: Path, left: bytes) -> None:
    async def story() -> float:
        with HostTurns(path) as one:
            path.write_bytes(left)
            assert await due(one) == pytest.approx(STEP, abs=1e-6)
            return await due(one)

    assert virtual_time(story()) == pytest.approx(2 * STEP, abs=1e-6)


def test_a_turn_due_in_days_is_nonsense(virtual_time: Run, path: Path) -> None:
    async def story() -> float:
        with HostTurns(path) as one, HostTurns(path) as other:
            await one.book(step=STEP, late=LATE, pause=200_000.0)
            return await due(other)

    assert virtual_time(story()) == pytest.approx(STEP, abs=1e-6)


def test_what_nobody_holds_any_more_is_begun_anew_after_a_step_at_most(virtual_time: Run, path: Path) -> None:
    async def story() -> float:
        with HostTurns(path) as book:
            await due(book, pause=300.0)
            left = path.read_bytes()
        path.write_bytes(left)  # as after a kill
        with HostTurns(path) as book, HostTurns(path) as other:
            assert await due(book) == pytest.approx(STEP, abs=1e-6)
            return await due(other)

    assert virtual_time(story()) == pytest.approx(2 * STEP, abs=1e-6)


@pytest.mark.parametrize("is_killed", [False, True])
def test_from_one_process_to_the_next_turns_are_a_step_apart_and_nothing_is_left_in_the_end(
    virtual_time: Run, path: Path, *, is_killed: bool
) -> None:
    """A loop over small files, or a resume: at a slow rate each process would begin a step too early."""

    async def story() -> list[float]:
        used: list[float] = []
        for _ in range(4):
            with HostTurns(path) as book:
                await asyncio.sleep(await due(book, step=6.0))
                used.append(now())
                await asyncio.sleep(0.3)
                left = path.read_bytes()
            if is_killed:
                path.write_bytes(left)
        await asyncio.sleep(6.0)
        with HostTurns(path) as book:
            assert await due(book, step=6.0) <= 0.0
            await asyncio.sleep(6.0)
        assert not path.exists()
        return used

    times = virtual_time(story())
    assert [later - earlier for earlier, later in pairwise(times)] == [pytest.approx(6.0, abs=0.01)] * 3


def test_a_file_that_is_tidied_away_is_made_again_and_they_meet_there(virtual_time: Run, path: Path) -> None:
    async def story() -> float:
        with HostTurns(path) as one, HostTurns(path) as other:
            await due(one)
            await due(other)
            path.unlink()
            await asyncio.sleep(1.5)
            first = now() + await due(one)
            return now() + await due(other) - first

    assert virtual_time(story()) == pytest.approx(STEP, abs=1e-6)


def test_a_folder_that_is_gone_leaves_each_with_what_it_has(virtual_time: Run, tmp_path: Path) -> None:
    async def story() -> float:
        folder = tmp_path / "folder"
        folder.mkdir()
        with HostTurns(folder / "turns") as one, HostTurns(folder / "turns") as other:
            first = now() + await due(one)
            (folder / "turns").unlink()
            folder.rmdir()
            await asyncio.sleep(1.5)
            await due(one)
            first = now() + await due(one)
            return now() + await due(other) - first

    assert virtual_time(story()) == pytest.approx(STEP, abs=1e-6)


STOPPED = """
import fcntl, os, sys, time
handle = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(handle, fcntl.LOCK_EX)
print(flush=True)
time.sleep(60)
"""


def test_who_is_stopped_in_the_middle_of_a_booking_holds_the_others_up_for_a_second_at_most(
    virtual_time: Run, path: Path
) -> None:
    async def story() -> float:
        with HostTurns(path) as book:
            words = [sys.executable, "-c", STOPPED, str(path)]
            with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:  # noqa: ASYNC220 - time is virtual
                assert holder.stdout is not None
                holder.stdout.readline()
                begin = now()
                await due(book)
                waited = now() - begin
                holder.kill()
        return waited

    assert virtual_time(story()) == pytest.approx(1.0, abs=0.01)


def test_threads_of_one_process_wait_for_each_other(virtual_time: Run, path: Path) -> None:
    async def story() -> float:
        with HostTurns(path) as book:
            begin = now()
            _of_this_process.acquire()  # as a thread does that is in the middle of a booking
            asyncio.get_running_loop().call_later(0.01, _of_this_process.release)
            await due(book)
            return now() - begin

    assert virtual_time(story()) == pytest.approx(0.01, abs=0.002)


def test_a_file_that_cannot_be_begun_is_not_held(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"), HostTurns(path):
        pass
    assert not path.exists()


FREE = """
import fcntl, os, sys
fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


def test_a_booking_leaves_no_lock_behind(virtual_time: Run, path: Path) -> None:
    async def story() -> None:
        with HostTurns(path) as book:
            given = [await due(book) for _ in range(3)]
            assert all(later > earlier for earlier, later in pairwise(given))
            subprocess.run([sys.executable, "-c", FREE, str(path)], check=True)  # noqa: ASYNC221 - time is virtual

    virtual_time(story())
