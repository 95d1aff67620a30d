"""A blocking call in a thread that nobody has to wait for."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from worker.supply.offload import offload


async def test_it_gives_the_result() -> None:
    assert await offload(lambda: 1 + 1) == 2
    assert await offload(dict[str, str]) == {}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
async def test_it_raises_what_the_work_raised(error: type[BaseException]) -> None:
    def work() -> None:
        raise error("why")

    with pytest.raises(error):
        await offload(work)


async def test_the_work_is_done_by_a_daemon_thread_of_its_own() -> None:
    seen = await offload(threading.current_thread)

    assert seen is not threading.main_thread()
    assert seen.daemon


async def test_the_loop_goes_on_meanwhile() -> None:
    release = threading.Event()
    working = asyncio.create_task(offload(lambda: release.wait(30)))
    await asyncio.sleep(0)
    assert not working.done()
    release.set()

    assert await working is True


async def test_a_caller_that_was_cancelled_does_not_wait_and_hears_nothing_later() -> None:
    release, ended = threading.Event(), threading.Event()
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    def work() -> None:
        release.wait(30)
        ended.set()

    working = asyncio.create_task(offload(work))
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    release.set()
    await asyncio.to_thread(ended.wait, 30)
    await asyncio.sleep(0.01)  # the late result reaches the loop, and is dropped

    assert complaints == []


def test_a_result_that_comes_after_the_loop_is_closed_is_dropped() -> None:
    release = threading.Event()
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        release.wait(30)

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(offload(work), 0.01)

    asyncio.run(leave())
    release.set()
    threads[0].join(30)  # a traceback of the thread would be a warning, and that an error

    assert not threads[0].is_alive()


STUCK = """
import asyncio, time
from worker.supply.offload import offload

async def main():
    try:
        await asyncio.wait_for(offload(lambda: time.sleep(60)), 0.05)
    except TimeoutError:
        print("left")

asyncio.run(main())
"""


def test_a_program_ends_while_a_read_is_stuck() -> None:
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, check=True, timeout=50
    )

    assert (ended.stdout, ended.stderr) == ("left\n", "")
    assert time.monotonic() - started < 40
