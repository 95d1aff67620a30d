"""What of a portal is kept for the next one who works there."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from worker.limits.adaptive_rate import AdaptiveRate
from worker.limits.change import Learned
from worker.limits.controller import Controller
from worker.quantities import parse_rate
from worker.run.access import REMEMBER_EVERY, remembered, told_if_slow, worth_keeping
from worker.run.memory import Memory

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.mark.parametrize(
    ("ceiling", "now", "before", "kept"),
    [
        (50.0, 35.0, None, 35.0),
        (50.0, 35.0, 20.0, 35.0),
        # Never throttled: nothing is known of the portal, or what was known is too low.
        (50.0, 50.0, None, None),
        (50.0, 50.0, 35.0, 50.0),
        # The user wanted it that slow; what the portal takes is as it was.
        (5.0, 5.0, 35.0, None),
        (5.0, 3.0, 35.0, 3.0),
    ],
)
def test_a_rate_is_kept_if_the_portal_taught_it(
    ceiling: float, now: float, before: float | None, kept: float | None
) -> None:
    controller = Controller(AdaptiveRate(ceiling, now))
    assert worth_keeping(controller, Learned(rate=before)) == Learned(rate=kept)


def test_a_rate_that_is_not_learned_is_not_kept() -> None:
    assert worth_keeping(Controller(), Learned(rate=5.0)) == Learned()


@pytest.mark.parametrize(
    ("rate", "seconds", "said"),
    [
        ("10/h", 400.0, ["at 10/h there is a turn every 360 s: waiting for one", ""]),
        ("50/m", 6.0, ["at 50/m there is a turn every 1.2 s: waiting for one", ""]),
        ("10/h", 4.0, []),  # nobody else had a turn before
        ("2/s", 400.0, []),  # it is not the rate that is waited for
    ],
)
def test_who_waits_for_the_first_turns_of_a_slow_rate_is_told(
    virtual_time: Run, rate: str, seconds: float, said: list[str]
) -> None:
    """Until the portal was asked who we are nothing else is to be seen."""
    told: list[str] = []

    async def story() -> None:
        async with told_if_slow(parse_rate(rate), told.append):
            await asyncio.sleep(seconds)

    virtual_time(story())
    assert told == said


def test_it_is_kept_now_and_then_and_at_the_end_however_that_comes(virtual_time: Run, tmp_path: Path) -> None:
    memory = Memory(tmp_path, "https://crm.example.com")

    async def story() -> None:
        concurrency = 3

        async def work() -> None:
            nonlocal concurrency
            async with remembered(memory, lambda: Learned(concurrency=concurrency)):
                await asyncio.sleep(REMEMBER_EVERY + 1.0)
                assert '"value": 3' in memory.path.read_text()
                concurrency = 5
                raise ValueError("the end")

        with pytest.raises(ValueError, match="the end"):
            await work()
        assert '"value": 5' in memory.path.read_text()

    virtual_time(story())
