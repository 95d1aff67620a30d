"""The limits, lanes and scheduler of the product before a model of a portal, for some virtual time."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice
from random import Random
from typing import Any

from worker.bench.portal_model import PortalModel, Said
from worker.bench.virtual_time import run_in_virtual_time
from worker.dispatch import Dispatcher, Finished
from worker.errors import WorkerError
from worker.limits import Limiter
from worker.limits.change import Change, Knob
from worker.limits.outage import Outage
from worker.models import Ask, Attempt, Exchange, Kind, Pair, Request, Result
from worker.operations.base import Operation
from worker.operations.link import Link
from worker.operations.policy import RetryPolicy
from worker.quantities import Rate
from worker.scheduler import Scheduler

DOCUMENTED = Rate(500, 10.0)

MAX_PAUSE = 300.0
_GIVE_UP = 3600.0
_AHEAD = 64

_RESULTS = {
    "ok": (Result.OK, 201, ""),
    "throttled": (Result.THROTTLED, 503, "throttled"),
    "failed": (Result.TRANSIENT, 503, "unavailable"),
    "timeout": (Result.AMBIGUOUS, None, "timeout"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """How a client is set.

    Attributes:
        concurrency: requests in flight, or at most so many if that is learned.
        adapts: concurrency and rate are learned.
    """

    concurrency: int = 16
    adapts: bool = True
    rate: Rate = DOCUMENTED


@dataclass(slots=True)
class Books:
    """What a client was told, and when; what the portal did is in the model.

    Attributes:
        answers: of each request about a pair: when sent, when told, what.
        limits: in flight that were allowed, from a time on.
        changes: of all limits.
    """

    answers: list[tuple[float, float, str]] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


class _Client:
    """Sends to a model; what a dispatcher sends by, and what an outage asks."""

    size = 1

    def __init__(self, portal: PortalModel, setting: Setting, seed: int) -> None:
        self.books = Books()
        self._portal = portal
        self._rng = Random(seed)  # noqa: S311 - spreads pauses and backoffs
        self.limiter = Limiter(
            setting.rate, setting.concurrency, max_pause=MAX_PAUSE, rng=self._rng, adapts_rate=setting.adapts
        )
        self.limiter.resize(setting.concurrency, adapts=setting.adapts)
        self.books.limits.append((0.0, self.limiter.permits.limit))
        self.limiter.tell_change.append(self._changed)
        outage = Outage(self.limiter, self._question, _GIVE_UP, lambda _: None)
        self.limiter.observers.append(outage.observe)
        self._watch = outage.watch
        self.scheduler: Scheduler[Operation[Any]] = Scheduler(self.limiter.budget)

    def _changed(self, change: Change) -> None:
        self.books.changes.append(change)
        if change.knob is Knob.CONCURRENCY and change.was != change.now:
            self.books.limits.append((change.at, int(change.now)))

    @asynccontextmanager
    async def ready(self, asks: Sequence[Ask]) -> AsyncIterator[None]:
        """There is a token."""
        assert len(asks) == self.size  # noqa: S101 - of the dispatcher, which is told how many
        yield

    async def send(self, asks: Sequence[Ask]) -> Exchange:
        """Send one request."""
        (ask,) = asks
        sent_at, said = await self._say()
        result, status, reason = _RESULTS[said.says]
        self.books.answers.append((sent_at, asyncio.get_running_loop().time(), said.says))
        body = b"{}" if result is Result.OK else b""
        request = Request(
            ask.kind,
            result,
            items=1,
            again=int(bool(ask.because)),
            reason=reason,
            http_status=status,
            retry_after=said.retry_after,
            seconds=said.seconds,
        )
        found = {ask.contact_ids[0]: b"{}"} if ask.kind is Kind.LOOK else {}
        return Exchange(request, (Attempt(result, reason, status, said.seconds, body=body, found=found),))

    async def _question(self) -> Request:
        async with self.limiter.slot(past_hold=True) as slot:
            _, said = await self._say()
            result, status, reason = _RESULTS[said.says]
            request = Request(
                Kind.PROBE,
                result,
                reason=reason,
                http_status=status,
                retry_after=said.retry_after,
                seconds=said.seconds,
            )
            slot.observe(request)
        return request

    async def _say(self) -> tuple[float, Said]:
        at = asyncio.get_running_loop().time()
        said = self._portal.answer(at)
        await asyncio.sleep(said.seconds)
        return at, said

    async def work(self, seconds: float) -> None:
        """Link pairs for so long."""
        pairs = self._pairs()

        async def conclude(_: Sequence[Finished]) -> Sequence[Operation[Any]]:
            return ()

        ends_at = asyncio.get_running_loop().time() + seconds

        async def feed() -> None:
            while asyncio.get_running_loop().time() < ends_at:
                self.scheduler.offer(islice(pairs, _AHEAD))
                await self.scheduler.wait_for_room(_AHEAD)

        dispatcher = Dispatcher(self, self.limiter, self.scheduler, conclude=conclude)
        asyncio.get_running_loop().call_later(seconds, dispatcher.stop)
        others = [asyncio.create_task(feed()), asyncio.create_task(self._watch())]
        try:
            await dispatcher.run(grace=0.0)
        finally:
            for task in others:
                task.cancel()
            for task in others:
                with suppress(asyncio.CancelledError, WorkerError):
                    await task

    def _pairs(self) -> Iterator[Operation[Any]]:
        policy = RetryPolicy()
        for number in count(1):
            yield Link(Pair(row=number, line=number, opportunity_id=1, contact_id=number), policy, self._rng)


def try_out(portal: PortalModel, settings: Sequence[Setting], seconds: float, seed: int) -> list[Books]:
    """Let clients work at a portal at the same time; gives the books of each."""

    async def work() -> list[Books]:
        clients = [_Client(portal, setting, seed + number) for number, setting in enumerate(settings)]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.work(seconds))
        return [client.books for client in clients]

    return run_in_virtual_time(work())
