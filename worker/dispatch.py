"""Take pairs to their outcomes: permit, then turn, then send, and retry around all of it.

Lanes are coroutines, more of them than permits, since a lane that backs off holds nothing. A permit is kept
until the outcome is durable, so that never more links than permits are stored at the portal and not yet in
the ledger: that bounds what a crash makes us repeat.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Protocol

from worker.errors import WorkerError
from worker.limiter import Limiter
from worker.models import Attempt, Outcome, Pair, Result
from worker.retry import Reread, RetryIn, RetryPolicy, Settle, Step

LANES_PER_PERMIT = 4


class Transport(Protocol):
    """What dispatch needs of a portal. Expected failures are values; a PortalError ends the run."""

    async def link(self, pair: Pair, number: int) -> Attempt:
        """Ask the portal once to store the link."""

    async def reread(self, pair: Pair, number: int) -> Attempt:
        """Look for the link: ok if stored, transient if certainly not, ambiguous if it cannot be told."""


class Dispatcher:
    """Runs the lanes and accounts for every pair it took.

    Args:
        take: gives the next pair, or None when there are no more.
        record: makes an outcome durable; awaited before the permit is given back.
        observe: told of each attempt as soon as it is known.
    """

    def __init__(
        self,
        transport: Transport,
        limiter: Limiter,
        policy: RetryPolicy,
        *,
        take: Callable[[], Awaitable[Pair | None]],
        record: Callable[[Outcome], Awaitable[None]],
        observe: Callable[[Attempt], None],
        rng: Random,
    ) -> None:
        self._transport = transport
        self._limiter = limiter
        self._policy = policy
        self._take = take
        self._record = record
        self._observe = observe
        self._rng = rng
        self._stop = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None
        self._in_doubt: dict[int, bool] = {}
        self._tried: dict[int, tuple[Attempt, ...]] = {}

    def stop(self) -> None:
        """Take no more pairs and send no more; what is on its way is waited for."""
        self._stop.set()

    @property
    def in_doubt(self) -> list[int]:
        """Rows without an outcome whose link the portal may hold all the same."""
        return [row for row, doubt in self._in_doubt.items() if doubt]

    @property
    def unsettled(self) -> dict[int, tuple[Attempt, ...]]:
        """What was sent in vain for rows without an outcome."""
        return {row: attempts for row, attempts in self._tried.items() if attempts}

    async def run(self, concurrency: int, grace: float) -> None:
        """Work until there are no more pairs, or until stopped and drained.

        Args:
            concurrency: permits of the limiter; sets the number of lanes.
            grace: seconds that requests on their way get after a stop; then they are cancelled, and their
                pairs stay without an outcome.

        Raises:
            WorkerError: the first error that ended a lane, after the others were drained.
        """
        lanes = [asyncio.create_task(self._lane()) for _ in range(concurrency * LANES_PER_PERMIT)]
        stopped = asyncio.create_task(self._stop.wait())
        everyone = asyncio.create_task(_all_done(lanes))
        try:
            await asyncio.wait({everyone, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for lane in lanes:
                if lane not in self._sending:
                    lane.cancel()
            await asyncio.wait(lanes, timeout=grace)
        finally:
            stopped.cancel()
            for lane in lanes:
                lane.cancel()
            await asyncio.wait({everyone, stopped})
        if self._failure is not None:
            raise self._failure

    async def _lane(self) -> None:
        try:
            while not self._stop.is_set() and (pair := await self._take()) is not None:
                await self._settle(pair)
        except Exception as error:  # noqa: BLE001 - whatever ends a lane ends the run, by run()'s raise
            self._failure = self._failure or error
            self._stop.set()

    async def _settle(self, pair: Pair) -> None:
        walk = _Walk(looking=pair.in_doubt)
        self._in_doubt[pair.row] = pair.in_doubt
        self._tried[pair.row] = ()
        self._limiter.first_try()
        while True:
            async with self._limiter.permit():  # a retry queues like a first try
                await self._limiter.turn()
                if self._stop.is_set():
                    # Between the stop and run() cancelling us, a permit given back may have let us through.
                    return
                call = self._transport.reread if walk.looking else self._transport.link
                attempt = await self._send(pair, call, len(walk.all) + 1)
                step = walk.step(attempt, self._policy, self._rng)
                self._tried[pair.row] = walk.all
                if isinstance(step, Settle):
                    await self._close(pair, step, walk.all)
                    return
            if self._stop.is_set():
                return
            await asyncio.sleep(step.seconds)  # no permit is held while we wait
            if walk.is_retry:
                await self._limiter.retry()

    async def _send(
        self, pair: Pair, call: Callable[[Pair, int], Awaitable[Attempt]], number: int
    ) -> Attempt:
        before = self._in_doubt[pair.row]
        # In doubt while the request is on its way: if it is cancelled, or we crash, nobody knows.
        self._in_doubt[pair.row] = True
        try:
            with self._uncancelled():
                attempt = await call(pair, number)
        except WorkerError:
            # The portal refused us before looking at the pair.
            self._in_doubt[pair.row] = before
            raise
        self._in_doubt[pair.row] = before or attempt.result in (Result.AMBIGUOUS, Result.OK)
        self._observe(attempt)
        return attempt

    async def _close(self, pair: Pair, step: Settle, attempts: tuple[Attempt, ...]) -> None:
        # Before it is awaited: what was handed over is written with it, also if we are cancelled meanwhile.
        del self._tried[pair.row]
        with self._uncancelled():
            await self._record(Outcome(pair, step.status, attempts, step.reason, step.http_status))
        del self._in_doubt[pair.row]

    @contextmanager
    def _uncancelled(self) -> Iterator[None]:
        """Within the block a stop waits for this lane, as long as the grace lasts."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a lane is a task")
        self._sending.add(task)
        try:
            yield
        finally:
            self._sending.discard(task)


class _Walk:
    """What was sent for one pair in this session, and what comes next.

    Attributes:
        looking: the next request asks for the members instead of for the link.
        all: every request so far.
    """

    def __init__(self, *, looking: bool) -> None:
        self.looking = looking
        self.all: tuple[Attempt, ...] = ()
        self._attempts: tuple[Attempt, ...] = ()
        self._looks: tuple[Attempt, ...] = ()
        self._spent = 0.0

    @property
    def is_retry(self) -> bool:
        """Whether the next request adds to the load; one after a throttled one only replaces it."""
        return self.all[-1].result is not Result.THROTTLED and bool(self._attempts)

    def step(self, attempt: Attempt, policy: RetryPolicy, rng: Random) -> Step:
        """Take the answer to the last request into account."""
        self.all += (attempt,)
        self._spent += attempt.seconds
        step: Step
        if not self.looking:
            self._attempts += (attempt,)
            step = policy.after(self._attempts, self._spent, rng)
        else:
            self._looks += (attempt,)
            if self._attempts:
                step = policy.after_reread(self._attempts, self._looks, rng)
            else:
                step = policy.after_look(self._looks, rng)
        self.looking = isinstance(step, Reread)
        if isinstance(step, RetryIn):
            self._looks = ()
            self._spent += step.seconds
        return step


async def _all_done(lanes: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(lanes)
