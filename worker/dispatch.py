"""The lanes: take what is to be sent, wait for a slot, send it, make durable what came of it.

One loop for everything: links, looks and removals, alone or many in one request. There are as many lanes as
permits, and nothing waits in a lane for its next try. A permit is kept until what the answer means is
durable: that bounds what a crash leaves in doubt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from worker.errors import WorkerError
from worker.limits import Limiter
from worker.models import READS, Ask, Exchange, Result
from worker.operations.base import Again, Operation
from worker.reasons import BUSY_OR_CLOSED
from worker.scheduler import Scheduler

Finished = tuple[Operation[Any], Any]
"""An operation that is over, and what it gave."""


class Transport(Protocol):
    """How operations get to a portal. Expected failures are values; a PortalError ends the run."""

    @property
    def size(self) -> int:
        """Most operations that one request carries."""

    def ready(self, asks: Sequence[Ask]) -> AbstractAsyncContextManager[None]:
        """Wait until these may be sent; may log in. Entered before their slot is taken."""

    async def send(self, asks: Sequence[Ask]) -> Exchange:
        """Send one request."""


class Dispatcher:
    """Runs the lanes.

    Args:
        transport: sends.
        limiter: gives slots.
        scheduler: gives operations.
        conclude: makes durable what operations gave that are over; awaited before the permit is given back.
            What it gives back follows from them, and is sent next.
    """

    def __init__(
        self,
        transport: Transport,
        limiter: Limiter,
        scheduler: Scheduler[Operation[Any]],
        *,
        conclude: Callable[[Sequence[Finished]], Awaitable[Sequence[Operation[Any]]]],
    ) -> None:
        self._transport = transport
        self._limiter = limiter
        self._scheduler = scheduler
        self._conclude = conclude
        self._stop = asyncio.Event()
        self._lanes: set[asyncio.Task[bool]] = set()
        self._busy: set[asyncio.Task[Any]] = set()
        self._in_hand: dict[asyncio.Task[Any], Sequence[Operation[Any]]] = {}
        self._concluding: dict[asyncio.Task[Any], Sequence[Operation[Any]]] = {}
        self._failure: Exception | None = None

    def stop(self) -> None:
        """Send no more; what is on its way is waited for."""
        self._stop.set()
        self._scheduler.stop()

    @property
    def unfinished(self) -> Iterator[Operation[Any]]:
        """All operations that were taken in and are not over."""
        yield from self._scheduler.waiting
        for group in self._in_hand.values():
            yield from group

    @property
    def concluding(self) -> Iterator[Operation[Any]]:
        """Operations that are over, but it is not known whether that is durable."""
        for group in self._concluding.values():
            yield from group

    async def run(self, grace: float) -> None:
        """Work until there is nothing more to send, or until stopped and drained.

        Args:
            grace: seconds that requests on their way get after a stop; then they are cancelled, and what they
                carried is not over.

        Raises:
            WorkerError: the first error that ended a lane, after the others were drained.
        """
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await self._keep_lanes(stopped)
            for lane in self._lanes - self._busy:
                lane.cancel()
            if self._lanes:
                await asyncio.wait(self._lanes, timeout=grace)
        finally:
            stopped.cancel()
            for lane in self._lanes:
                lane.cancel()
            await asyncio.wait({stopped, *self._lanes})
        if self._failure is not None:
            raise self._failure

    async def _keep_lanes(self, stopped: "asyncio.Task[bool]") -> None:
        """Keep as many lanes as there are permits, until one finds that all is done, or until stopped."""
        while not stopped.done():
            missing = self._limiter.permits.limit - len(self._lanes)
            self._lanes |= {asyncio.create_task(self._lane()) for _ in range(missing)}
            resized = asyncio.create_task(self._limiter.resized())
            try:
                await asyncio.wait({*self._lanes, stopped, resized}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                resized.cancel()
            ended = {lane for lane in self._lanes if lane.done()}
            self._lanes -= ended
            if any(not lane.result() for lane in ended if not lane.cancelled()):
                break

    async def _lane(self) -> bool:
        """Send one request after the other. False if it ended because nothing is left to send."""
        lane = asyncio.current_task()
        assert lane is not None  # noqa: S101 - a lane is a task
        try:
            while not self._stop.is_set():
                if len(self._lanes) > self._limiter.permits.limit:
                    self._lanes.discard(lane)
                    return True
                group = await self._scheduler.next(self._transport.size, self._limiter.most_links)
                if not group:
                    return False
                self._in_hand[lane] = group
                await self._exchange(lane, group)
        except Exception as error:  # noqa: BLE001 - whatever ends a lane ends the run, by run()'s raise
            self._failure = self._failure or error
            self.stop()
        return False

    async def _exchange(self, lane: "asyncio.Task[Any]", group: Sequence[Operation[Any]]) -> None:
        asks = [operation.ask() for operation in group]
        links = sum(ask.kind not in READS for ask in asks)
        # What has to be waited for comes before the slot: its turn would go stale meanwhile.
        async with self._transport.ready(asks), self._limiter.slot(links=links) as slot:
            if self._stop.is_set():
                return  # a permit given back let us through before run() could cancel us
            self._busy.add(lane)  # within it a stop waits for this lane, as long as the grace lasts
            try:
                exchange = await self._send(group, asks)
                slot.observe(exchange.request)
                again: list[tuple[Operation[Any], Again]] = []
                doubtful: set[Operation[Any]] = set()
                finished: list[Finished] = []
                for operation, attempt in zip(group, exchange.attempts, strict=True):
                    step = operation.take(attempt)
                    if isinstance(step, Again):
                        again.append((operation, step))
                        if attempt.result is Result.THROTTLED and attempt.reason in BUSY_OR_CLOSED:
                            doubtful.add(operation)
                    else:
                        finished.append((operation, step))
                # Before it is awaited: what was handed over is written with it, also if we are cancelled.
                self._in_hand[lane] = [operation for operation, _ in again]
                self._concluding[lane] = [operation for operation, _ in finished]
                following = await self._conclude(finished) if finished else ()
                del self._concluding[lane], self._in_hand[lane]
            finally:
                self._busy.discard(lane)
        self._scheduler.follow(following)
        breaks_off = next((operation for operation, step in again if step.absent), None)
        for operation, step in again:
            if operation is breaks_off:
                self._scheduler.alone(operation)
            elif operation in doubtful:
                # Is it the portal, or this one? What others are told, that come before it now, will show.
                self._scheduler.behind(operation)
            else:
                self._scheduler.again(operation, step.seconds, is_retry=step.is_retry)
        self._scheduler.done(len(group))

    async def _send(self, group: Sequence[Operation[Any]], asks: Sequence[Ask]) -> Exchange:
        for operation in group:
            operation.leaves()
        try:
            return await self._transport.send(asks)
        except WorkerError:
            for operation in group:
                operation.returns()
            raise
