"""A visit to the portal after a run: to look, or to undo, opportunity by opportunity."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from worker.dispatch import Finished
from worker.errors import Exit, StoppedError
from worker.models import Request, Result
from worker.operations.base import Operation
from worker.operations.look import MOST_SOUGHT, Look
from worker.run.access import complain, open_site
from worker.run.directory import RunDirectory
from worker.run.log import open_log
from worker.run.signals import on_signals
from worker.scheduler import Scheduler
from worker.settings import Settings
from worker.site import Site

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

READY = 20
"""Looks that wait ready to be sent."""

_TICK = 0.2


class Link(Protocol):
    """What a visit is about."""

    @property
    def opportunity_id(self) -> int:
        """Whose link it is."""

    @property
    def contact_id(self) -> int:
        """Which contact it links."""


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

    def observe(self, request: Request) -> None:
        """Count a request."""
        self.sent += 1
        self.throttled += request.result is Result.THROTTLED


class Visit:
    """The portal while a verb is at work there, opportunity by opportunity.

    Args:
        site: where.
        log: for what goes wrong.
        progress: is kept up to date.
        show: called with it often.
    """

    def __init__(
        self,
        site: Site,
        *,
        log: FilteringBoundLogger,
        progress: Progress,
        show: Callable[[Progress], None],
    ) -> None:
        self.site = site
        self.log = log
        self.progress = progress
        self._show = show

    def look(self, about: tuple[_L, ...]) -> Look[tuple[_L, ...]]:
        """A look for links of one opportunity, at most :data:`worker.operations.look.MOST_SOUGHT`."""
        contact_ids = tuple(link.contact_id for link in about)
        return Look(about, about[0].opportunity_id, contact_ids, self.site.policy, self.site.rng)

    async def each(
        self,
        links: Iterator[_L],
        conclude: Callable[[Sequence[Finished]], Awaitable[Sequence[Operation[Any]]]],
    ) -> None:
        """Look for all links, and do whatever follows.

        Args:
            links: by opportunity.
            conclude: as of :class:`worker.dispatch.Dispatcher`.

        Raises:
            WorkerError: the first that ended the work.
        """
        scheduler = self.site.scheduler()
        dispatcher = self.site.dispatcher(scheduler, conclude)
        sending = asyncio.create_task(dispatcher.run(grace=0.0))
        feeding = asyncio.create_task(self._feed(links, scheduler))
        helpers = [asyncio.create_task(self.site.watch()), asyncio.create_task(self._watch())]
        tasks = {sending, feeding, *helpers}
        try:
            while not sending.done():
                running = {task for task in tasks if not task.done()}
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.progress.ended = True
            with suppress(OSError):  # a terminal that is gone is no reason to stop
                self._show(self.progress)

    async def _feed(self, links: Iterator[_L], scheduler: Scheduler[Operation[Any]]) -> None:
        for group in _groups(links):
            scheduler.offer([self.look(group)])
            await scheduler.wait_for_room(READY)
        scheduler.close()

    async def _watch(self) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            self.progress.seconds = time.monotonic() - started
            with suppress(OSError):
                self._show(self.progress)


def _groups(links: Iterator[_L]) -> Iterator[tuple[_L, ...]]:
    for _, together in groupby(links, lambda link: link.opportunity_id):
        while group := tuple(islice(together, MOST_SOUGHT)):
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
            site = await open_site(stack, settings, self.rate, self._tell, [self.progress.observe])
            await work(Visit(site, log=log, progress=self.progress, show=self.show))

    def _tell(self, note: str) -> None:
        # Shown from here: until the work begins nobody else does.
        self.progress.tell(note)
        with suppress(OSError):
            self.show(self.progress)
