"""Work that is asked to stop, or cancelled: by anybody in any event loop, and by signals in a verb."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.unit.lanes import Run
from worker.errors import Exit, StoppedError
from worker.run.lifetime import Lifetime, Stop


def go_on() -> str:
    return "bulklink resume x"


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.run.signals.TOGETHER", 0.0)


def guarded(work: Callable[[Stop], None], *, drains: bool = False, over: bool = False) -> list[str]:
    """What happens to work that waits, when ``work`` is done with its stop."""

    async def story() -> list[str]:
        stop = Stop()
        happened: list[str] = []
        drained = asyncio.Event()

        def drain() -> None:
            happened.append(f"drain for {stop.why}")
            drained.set()

        if drains:
            stop.drain_by(drain)
        if over:
            stop.over()

        async def waits() -> None:
            await asyncio.wait_for(drained.wait(), 5.0)
            happened.append("done")

        task = asyncio.create_task(stop.guard(waits(), go_on))
        await asyncio.sleep(0.0)
        work(stop)
        if over:
            drained.set()
        try:
            await task
        except StoppedError as error:
            happened.append(f"{error.exit_code}: {error}")
        return happened

    return asyncio.run(story())


def test_work_that_has_nothing_on_its_way_is_cancelled_and_says_how_to_go_on() -> None:
    assert guarded(lambda stop: stop.ask("SIGTERM", Exit.SIGTERM)) == [
        "143: stopped at once; nothing is lost, go on with: bulklink resume x"
    ]


def test_work_that_can_finish_what_is_on_its_way_does() -> None:
    assert guarded(lambda stop: stop.ask("the caller", Exit.SIGINT), drains=True) == [
        "drain for the caller",
        "done",
    ]


def test_work_that_is_as_good_as_over_is_not_cancelled() -> None:
    def ask_and_cancel(stop: Stop) -> None:
        stop.ask("SIGINT", Exit.SIGINT)
        stop.cancel()

    assert guarded(ask_and_cancel, over=True) == ["done"]


def test_a_cancellation_that_nobody_asked_us_for_stays_one(virtual_time: Run) -> None:
    async def story() -> None:
        task = asyncio.create_task(Stop().guard(forever(), go_on))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    virtual_time(story())


def test_the_first_signal_asks_and_the_second_cancels() -> None:
    heard: list[str] = []

    async def work(stop: Stop) -> None:
        stop.drain_by(lambda: heard.append(stop.why))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        await forever()

    with pytest.raises(StoppedError) as caught:
        Lifetime().run(work, go_on)
    assert caught.value.exit_code is Exit.SIGTERM
    assert heard == ["SIGTERM"]


def test_a_hangup_reloads_beside_the_work_and_ends_nothing() -> None:
    reloaded = 0

    async def reload() -> None:
        nonlocal reloaded
        reloaded += 1

    async def work(_stop: Stop) -> str:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.01)
        return "done"

    assert Lifetime().run(work, go_on, reload) == "done"
    assert reloaded == 2


def test_a_signal_in_the_loop_is_the_first_of_those_beyond_it() -> None:
    async def work(stop: Stop) -> None:
        stop.drain_by(lambda: None)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.01)

    def write_files() -> None:
        lifetime = Lifetime()
        with lifetime.beyond_the_loop(lambda: "bulklink report x"):
            lifetime.run(work, go_on)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError) as caught:
        write_files()
    assert caught.value.exit_code is Exit.SIGTERM
    assert "bulklink report x" in str(caught.value)
