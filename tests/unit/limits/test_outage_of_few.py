"""Waiting out a portal that fails while little is sent, or is not to be sent, in virtual time."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from tests.unit import lanes
from tests.unit.dealt import now
from tests.unit.lanes import send_all, site_of
from tests.unit.limits.failing import DOWN, UP, Portal, calm, opened, sends
from worker.errors import OutageError
from worker.limits.breaker import WINDOW
from worker.models import Ask, Outcome, Pair, Request, Result, Status
from worker.operations.link import Link
from worker.site import Site

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def link(site: Site, count: int) -> list[Outcome]:
    """Link so many pairs, while somebody watches the portal; what became of them."""
    watching = asyncio.create_task(site.watch())
    over = await send_all(site, [Link(Pair(row, row, row, 7), site.policy, site.rng) for row in range(count)])
    watching.cancel()
    await asyncio.wait({watching})
    return [outcome for _, outcome in over]


class Away(lanes.Portal):
    """A portal of which all that comes is the same answer, until a time."""

    def __init__(self, until: float, answer: lanes.Answer) -> None:
        super().__init__()
        self.until = until
        self.answer = answer

    def _say(self, ask: Ask) -> lanes.Said:
        return self.answer if now() < self.until else super()._say(ask)

    async def question(self) -> Request:
        self.works = deque([self.answer if now() < self.until else lanes.NOT_FOUND])
        return await super().question()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 3, 10, 40])
@pytest.mark.parametrize(
    "answer", [lanes.DOWN, lanes.LOST, lanes.Answer(Result.AMBIGUOUS, "gateway_error", 502)], ids=str
)
def test_however_few_pairs_there_are_they_outlast_an_outage(
    virtual_time: Run, answer: lanes.Answer, count: int, seed: int
) -> None:
    """A run of three rows, the last rows of a long one, a queue in which a message comes now and then."""

    async def story() -> None:
        portal = Away(60.0, answer)
        site = site_of(portal, concurrency=16, give_up_after=900.0)
        site.rng = Random(seed)  # noqa: S311 - backoffs
        outcomes = await link(site, count)
        assert [outcome.status for outcome in outcomes] == [Status.LINKED] * count
        assert len(portal.books) < 4 * count + WINDOW

    virtual_time(story())


def test_a_pair_that_alone_fails_costs_a_question_or_two_and_no_time(virtual_time: Run) -> None:
    async def story(*, asked: bool) -> float:
        portal = lanes.Portal()
        portal.answers(0, 7, *[lanes.DOWN] * 5)
        site = site_of(portal, give_up_after=900.0)
        if not asked:
            site.limiter.observers.clear()
        (outcome,) = await link(site, 1)
        assert outcome.status is Status.RETRYABLE
        assert len(portal.questions) == asked
        return now()

    assert virtual_time(story(asked=True)) - virtual_time(story(asked=False)) < 0.2


def test_a_portal_that_works_on_nothing_but_questions_is_held_all_the_same(virtual_time: Run) -> None:
    """That it answers those excuses a few pairs that fail, and not all of them."""

    async def story() -> None:
        outage, limiter, notes = calm(Portal(UP), give_up_after=100.0)
        sending = asyncio.create_task(sends(outage, limiter, lambda: DOWN))
        with pytest.raises(OutageError, match="100s"):
            await asyncio.wait_for(outage.watch(), 200.0)
        sending.cancel()
        assert len(await sending) < 9 * WINDOW
        assert "the portal fails: asking again in 16 s" in notes

    virtual_time(story())


def test_failures_before_and_after_hours_without_work_are_not_one_that_lasted_for_hours(
    virtual_time: Run,
) -> None:
    """A worker whose last message failed for good, and whose portal is away when the next ones come."""

    async def story() -> None:
        portal = Portal(DOWN, UP)
        outage, limiter, _ = calm(portal, give_up_after=900.0)
        watching = asyncio.create_task(outage.watch())
        outage.observe(DOWN)
        await asyncio.sleep(10_000.0)
        for _ in range(WINDOW):
            outage.observe(DOWN)
        await limiter.turn()
        assert not watching.done()
        assert len(portal.asked) == 2
        watching.cancel()

    virtual_time(story())


def test_while_the_user_wants_nothing_sent_a_portal_that_fails_is_neither_asked_nor_given_up(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        portal = Portal(DOWN, DOWN, UP)
        outage, limiter, _ = opened(portal, give_up_after=100.0)
        watching = asyncio.create_task(outage.watch())
        await asyncio.sleep(5.0)
        assert len(portal.asked) == 2
        outage.pause()
        await asyncio.sleep(10_000.0)
        assert not watching.done()
        assert len(portal.asked) == 2

        outage.resume()
        await limiter.turn()

        assert len(portal.asked) == 3
        watching.cancel()

    virtual_time(story())
