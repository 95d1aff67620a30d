"""A visit to the portal after a run: to look, or to undo, opportunity by opportunity."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from worker.errors import Exit, StoppedError
from worker.limiter import Limiter
from worker.members import MOST_SOUGHT, Looker
from worker.models import Attempt, Result
from worker.portal.client import PortalClient
from worker.retry import RetryPolicy
from worker.run.access import complain, open_limiter, open_portal
from worker.run.directory import RunDirectory
from worker.run.log import open_log
from worker.run.outage import Outage
from worker.run.signals import on_signals
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

_TICK = 0.2


class Link(Protocol):
    """What a visit is about."""

    @property
    def opportunity_id(self) -> int:
        """Whose link it is."""


_L = TypeVar("_L", bound=Link)


@dataclass(slots=True)
class Progress:
    """How far a visit has come.

    Attributes:
        total: links to visit.
        done: of these.
        sent: requests.
        note: something to tell the user at once.
        ended: these are the last counts.
    """

    total: int
    done: int = 0
    sent: int = 0
    throttled: int = 0
    seconds: float = 0.0
    note: str = ""
    ended: bool = False

    def tell(self, note: str) -> None:
        """Note something for the user; nothing if it is over."""
        self.note = note

    def observe(self, attempt: Attempt) -> None:
        """Count a request."""
        self.sent += 1
        self.throttled += attempt.result is Result.THROTTLED


class Visit:
    """The portal, within the limits that the settings set, while it is at work."""

    def __init__(
        self,
        settings: Settings,
        portal: PortalClient,
        limiter: Limiter,
        *,
        log: FilteringBoundLogger,
        progress: Progress,
        show: Callable[[Progress], None],
    ) -> None:
        self.log = log
        self.portal = portal
        self.limiter = limiter
        self.policy = RetryPolicy(max_attempts=settings.max_attempts)
        self.rng = Random()  # noqa: S311 - spreads backoffs, guards nothing
        self.looker = Looker(portal, limiter, self.policy, observe=self.observe, rng=self.rng)
        self._lanes = settings.concurrency
        self._progress = progress
        self._show = show
        self._outage = Outage(limiter, portal.look, settings.give_up_after, progress.tell)

    def observe(self, attempt: Attempt) -> None:
        """Learn from a request."""
        self._progress.observe(attempt)
        self.limiter.observe(attempt)
        self._outage.observe(attempt)

    async def each(self, links: Iterator[_L], work: Callable[[list[_L]], Awaitable[None]]) -> None:
        """Work on links, several opportunities at a time.

        Args:
            links: by opportunity.
            work: is given some of one opportunity, at most :data:`worker.members.MOST_SOUGHT`.

        Raises:
            WorkerError: the first that ended the work.
        """
        groups = _groups(links)
        lanes = [asyncio.create_task(self._lane(groups, work)) for _ in range(self._lanes)]
        helpers = [asyncio.create_task(self._outage.watch()), asyncio.create_task(self._watch())]
        everyone = asyncio.create_task(_end_of(lanes))
        tasks = {everyone, *helpers}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, *lanes):
                task.cancel()
            await asyncio.gather(*tasks, *lanes, return_exceptions=True)
            self._progress.ended = True
            with suppress(OSError):  # a terminal that is gone is no reason to stop
                self._show(self._progress)

    async def _lane(self, groups: Iterator[list[_L]], work: Callable[[list[_L]], Awaitable[None]]) -> None:
        for group in groups:
            await work(group)
            self._progress.done += len(group)

    async def _watch(self) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            self._progress.seconds = time.monotonic() - started
            with suppress(OSError):
                self._show(self._progress)


async def _end_of(lanes: list["asyncio.Task[None]"]) -> None:
    for lane in asyncio.as_completed(lanes):
        await lane


def _groups(links: Iterator[_L]) -> Iterator[list[_L]]:
    for _, together in groupby(links, lambda link: link.opportunity_id):
        group: list[_L] = []
        for link in together:
            group.append(link)
            if len(group) == MOST_SOUGHT:
                yield group
                group = []
        if group:
            yield group


@dataclass(frozen=True, slots=True)
class Errand:
    """What takes us to the portal.

    Attributes:
        directory: the run that it is about; the log goes there.
        settings: all options.
        rate: shared with other processes; None for a rate of our own.
        progress: is kept up to date.
        show: called with it often.
        go_on: the command that does what is left undone if a signal ends it.
    """

    directory: RunDirectory
    settings: Settings
    rate: "RedisRate | None"
    progress: Progress
    show: Callable[[Progress], None]
    go_on: str

    def run(self, work: Callable[[Visit], Awaitable[None]]) -> None:
        """Open the portal and do ``work`` there. A signal ends it at once.

        Raises:
            StoppedError: a signal ended it.
            WorkerError: the portal refuses us, or has failed for too long.
        """
        asyncio.run(self._run(work))

    async def _run(self, work: Callable[[Visit], Awaitable[None]]) -> None:
        this = asyncio.current_task()
        seen: signal.Signals | None = None

        def stop(number: signal.Signals) -> None:
            nonlocal seen
            seen = number
            end()

        def end() -> None:
            if this is not None:
                this.cancel()

        try:
            with on_signals(stop, end, lambda: None):
                await self._visit(work)
        except asyncio.CancelledError:
            if seen is None:
                raise
            raise StoppedError(Exit(128 + seen), self.go_on) from None

    async def _visit(self, work: Callable[[Visit], Awaitable[None]]) -> None:
        settings = self.settings
        async with AsyncExitStack() as stack:
            path = settings.log_file or self.directory.log
            log = stack.enter_context(open_log(path, verbose=settings.verbose, run_id=self.directory.run_id))
            asyncio.get_running_loop().set_exception_handler(partial(complain, log))
            portal = await open_portal(stack, settings, self._tell)
            limiter = await open_limiter(stack, settings, self.rate, self._tell)
            await portal.probe()
            await work(Visit(settings, portal, limiter, log=log, progress=self.progress, show=self.show))

    def _tell(self, note: str) -> None:
        # Shown from here: until the work begins nobody else does.
        self.progress.tell(note)
        with suppress(OSError):
            self.show(self.progress)
