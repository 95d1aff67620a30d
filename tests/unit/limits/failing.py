"""What stories about a portal that fails share, in virtual time."""

import asyncio
from collections.abc import Callable
from random import Random

from worker.limits import Limiter
from worker.limits.breaker import WINDOW
from worker.limits.outage import Outage
from worker.models import Kind, Request, Result
from worker.quantities import Rate

DOWN = Request(Kind.LINK, Result.TRANSIENT, 1, reason="cannot_connect")
FAILING = Request(Kind.PROBE, Result.TRANSIENT, reason="unavailable", http_status=503)
UP = Request(Kind.PROBE, Result.PERMANENT, reason="not_found", http_status=404)
DONE = Request(Kind.LINK, Result.OK, 1)
UNEXPLAINED = Request(Kind.LINK, Result.THROTTLED, 1, reason="maintenance", http_status=503)
AGAIN = Request(Kind.LINK, Result.TRANSIENT, 1, 1, ("server_error",))


class Portal:
    """Answers questions as told, and notes when they came."""

    def __init__(self, *answers: Request) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []

    async def question(self) -> Request:
        self.asked.append(asyncio.get_running_loop().time())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def calm(portal: Portal, give_up_after: float = 900.0) -> tuple[Outage, Limiter, list[str]]:
    """A portal of which nothing is known yet."""
    limiter = Limiter(Rate(1000, 1.0), 8, max_pause=900.0, rng=Random(1))  # noqa: S311 - jitter
    notes: list[str] = []
    return Outage(limiter, portal.question, give_up_after, notes.append), limiter, notes


def opened(portal: Portal, give_up_after: float = 900.0) -> tuple[Outage, Limiter, list[str]]:
    """An outage that has just begun."""
    outage, limiter, notes = calm(portal, give_up_after)
    for _ in range(WINDOW):
        outage.observe(DOWN)
    return outage, limiter, notes


async def sends(outage: Outage, limiter: Limiter, answer: Callable[[], Request]) -> list[float]:
    """Send one request after the other, until cancelled; when each was."""
    sent: list[float] = []
    try:
        while True:
            await limiter.turn()
            sent.append(asyncio.get_running_loop().time())
            request = answer()
            limiter.observe(request)
            outage.observe(request)
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return sent
