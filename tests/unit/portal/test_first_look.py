"""Who may look beside others (contract 10.5), in virtual time and with a real limiter."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.unit.dealt import now
from worker.errors import PortalRefused
from worker.limits import Limiter
from worker.models import Ask, Attempt, Kind, Result
from worker.portal.first_look import FirstLook
from worker.portal.single import Single
from worker.quantities import Rate

Run = Callable[[Coroutine[Any, Any, Any]], Any]

LOOK = Ask(Kind.LOOK, 1, (7, 8))
LINK = Ask(Kind.LINK, 1, (7,))
TOLD = Attempt(Result.OK, "", 200)
GONE = Attempt(Result.PERMANENT, "not_found", 404)
FAILED = Attempt(Result.AMBIGUOUS, "server_error", 500)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429)


class World:
    """Asks as the dispatcher does: first its turn among looks, then a slot, then the request.

    Attributes:
        sent: when each request was sent, and when it was answered.
    """

    def __init__(self, *answers: Attempt | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[float, float]] = []
        self.limiter = Limiter(Rate(10, 1.0), 4, max_pause=300.0, rng=Random(0))  # noqa: S311 - jitter
        self._first_look = FirstLook()

    async def ask(self, ask: Ask = LOOK, seconds: float = 1.0) -> None:
        async with self._first_look.turn([ask]), self.limiter.slot():
            began = now()
            await asyncio.sleep(seconds)
            self.sent.append((began, now()))
            answer = self.answers.pop(0) if self.answers else TOLD
            if isinstance(answer, Exception):
                raise answer
            self._first_look.learn([ask], [answer])

    async def together(self, *asks: Coroutine[Any, Any, None]) -> None:
        await asyncio.gather(*asks, return_exceptions=True)


def test_the_first_look_goes_alone_and_those_that_waited_keep_to_the_rate(virtual_time: Run) -> None:
    world = World()
    virtual_time(world.together(world.ask(seconds=5.0), *(world.ask() for _ in range(19))))
    (_, answered), *others = sorted(world.sent)
    times = [began for began, _ in others]
    assert min(times) >= answered
    assert min(later - earlier for earlier, later in pairwise(times)) > 0.09
    assert times[3] < others[0][1]  # as many beside each other as there are permits


def test_links_wait_for_no_look(virtual_time: Run) -> None:
    world = World()
    virtual_time(world.together(world.ask(seconds=60.0), world.ask(LINK), world.ask(LINK)))
    assert [round(answered - began) for began, answered in world.sent] == [1, 1, 60]


@pytest.mark.parametrize("first", [FAILED, THROTTLED, PortalRefused("no")])
def test_a_look_that_tells_nothing_lets_none_go_beside_the_next_one(
    virtual_time: Run, first: Attempt | Exception
) -> None:
    world = World(first)
    virtual_time(world.together(*(world.ask() for _ in range(4))))
    (_, first_answered), (second, second_answered), *others = sorted(world.sent)
    assert second >= first_answered
    assert min(began for began, _ in others) >= second_answered


@pytest.mark.parametrize(("then", "alone"), [(FAILED, True), (THROTTLED, False), (GONE, False)])
def test_after_a_look_that_failed_the_next_one_goes_alone_again(
    virtual_time: Run, then: Attempt, alone: bool
) -> None:
    """Perhaps the portal was started again; one that is busy, or has no such opportunity, was not."""
    world = World(TOLD, then)

    async def story() -> None:
        await world.ask()
        await world.ask()
        await world.together(*(world.ask() for _ in range(4)))

    virtual_time(story())
    _, _, (_, answered), *others = sorted(world.sent)
    assert (min(began for began, _ in others) >= answered) == alone


def test_a_look_that_gets_no_token_lets_the_next_one_look(virtual_time: Run) -> None:
    class Client:
        async def ready(self) -> None:
            raise PortalRefused("no")

    async def work() -> None:
        single = Single(Client())  # type: ignore[arg-type]  # no more of a client is needed
        for _ in range(2):
            with pytest.raises(PortalRefused):
                async with asyncio.timeout(1.0), single.ready([LOOK]):
                    pass

    virtual_time(work())
