"""Waiting out a failing portal, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from worker.breaker import WINDOW
from worker.errors import OutageError, PortalClosed, PortalUnreachable
from worker.limiter import Limiter
from worker.models import Attempt, Result
from worker.quantities import Rate
from worker.run.outage import LONGEST_WAIT, Outage

Run = Callable[[Coroutine[Any, Any, Any]], Any]

DOWN = Attempt(1, Result.TRANSIENT, "cannot_connect")
FAILING = Attempt(1, Result.TRANSIENT, "unavailable", 503)
UP = Attempt(1, Result.PERMANENT, "not_found", 404)
DONE = Attempt(1, Result.OK)


class Portal:
    """Answers looks as told, and notes when they came."""

    def __init__(self, *answers: Attempt) -> None:
        self.answers = list(answers)
        self.looks: list[float] = []

    async def look(self) -> Attempt:
        self.looks.append(asyncio.get_running_loop().time())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def opened(portal: Portal, give_up_after: float = 900.0) -> tuple[Outage, Limiter, list[str]]:
    """An outage that has just begun."""
    limiter = Limiter(Rate(1000, 1.0), 8, max_pause=300.0, rng=Random(1))  # noqa: S311 - jitter
    notes: list[str] = []
    outage = Outage(limiter, portal.look, give_up_after, notes.append)
    for _ in range(WINDOW):
        outage.observe(DOWN)
    return outage, limiter, notes


def test_nobody_sends_until_the_portal_answers_and_it_is_asked_ever_less_often(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(DOWN, DOWN, DOWN, UP)
        outage, limiter, notes = opened(portal)
        began = asyncio.get_running_loop().time()
        watching = asyncio.create_task(outage.watch())

        await limiter.turn()

        waited = asyncio.get_running_loop().time() - began
        assert [at - began for at in portal.looks] == [1.0, 3.0, 7.0, 15.0]
        assert 15.0 <= waited < 15.1
        assert notes == [*(f"the portal fails: asking again in {n} s" for n in (1, 2, 4, 8)), ""]
        watching.cancel()

    virtual_time(story())


def test_the_wait_has_a_bound(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(*[DOWN] * 12, UP)
        outage, limiter, _ = opened(portal)
        watching = asyncio.create_task(outage.watch())
        await limiter.turn()
        gaps = [later - earlier for earlier, later in zip(portal.looks, portal.looks[1:], strict=False)]
        assert max(gaps) == LONGEST_WAIT
        watching.cancel()

    virtual_time(story())


def test_a_portal_that_answers_but_goes_on_failing_pairs_is_asked_less_and_less(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(UP)
        outage, limiter, _ = opened(portal)
        watching = asyncio.create_task(outage.watch())
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            await limiter.turn()
            for _ in range(WINDOW):
                outage.observe(DOWN)
        await limiter.turn()
        assert [round(at - began) for at in portal.looks] == [1, 3, 7, 15]
        # A pair that is done says that all is well again.
        outage.observe(DONE)
        for _ in range(WINDOW):
            outage.observe(DOWN)
        await limiter.turn()
        assert portal.looks[-1] - portal.looks[-2] == pytest.approx(1.0, abs=0.1)
        watching.cancel()

    virtual_time(story())


def test_it_gives_up_after_the_time_allowed_without_a_pair_done(virtual_time: Run) -> None:
    async def story() -> None:
        for answer, error in ((FAILING, OutageError), (DOWN, PortalUnreachable)):
            outage, _, _ = opened(Portal(answer), give_up_after=100.0)
            began = asyncio.get_running_loop().time()
            with pytest.raises(error, match="100s"):
                await outage.watch()
            assert asyncio.get_running_loop().time() - began == pytest.approx(100.0, abs=0.01)

    virtual_time(story())


def test_a_portal_that_answers_with_a_refusal_of_us_ends_the_run(virtual_time: Run) -> None:
    async def refuse() -> Attempt:
        raise PortalClosed("portal_gone")

    async def story() -> None:
        outage, _, _ = opened(Portal(DOWN))
        outage._look = refuse
        with pytest.raises(PortalClosed):
            await outage.watch()

    virtual_time(story())


def test_a_throttled_look_is_an_answer(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(Attempt(1, Result.THROTTLED, "throttled", 429, retry_after=5.0))
        outage, limiter, _ = opened(portal)
        watching = asyncio.create_task(outage.watch())
        began = asyncio.get_running_loop().time()
        await limiter.turn()
        assert len(portal.looks) == 1
        assert asyncio.get_running_loop().time() - began >= 6.0  # one second to the look, five as it asks
        watching.cancel()

    virtual_time(story())
