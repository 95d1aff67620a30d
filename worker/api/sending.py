"""How the pairs of a program are sent: through the pipeline of all runs, with or without a run directory."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic

from worker.api.channel import Channel
from worker.api.outcome import ItemT
from worker.api.supply import PairSupply
from worker.errors import WorkerError
from worker.ledger import Ledger, MemoryLedger, PairLedger, RunLock
from worker.models import Request
from worker.run import advice
from worker.run.access import Access, credentials_of, rates_of
from worker.run.directory import RunDirectory, new_run
from worker.run.files import write_files
from worker.run.lifetime import Stop
from worker.run.pipeline import Pipeline
from worker.run.session import RunPlan, Session
from worker.settings import Settings
from worker.site import Site
from worker.sources.columns import ID_NAMES
from worker.tally import RunTally

NAME = "a Python program"
"""What stands for the name of an input."""


class Leave(Stop):
    """The wish that the sending ends.

    Attributes:
        begun: there is something that can be drained; or nothing will be, any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    def drain_by(self, drain: Callable[[], None]) -> None:
        """From now on there may be something on its way."""
        super().drain_by(drain)
        self.begun.set()


@dataclass
class Sending(Generic[ItemT]):
    """Pairs that are sent to a portal.

    Attributes:
        pairs: what the program gave.
        outcomes: where outcomes go.
        site: the portal.
        settings: all options.
        buffer: pairs that may be taken beyond those on their way before their outcomes are.
        leave: asked, requests on their way get the grace.
    """

    pairs: Iterable[ItemT] | AsyncIterable[ItemT]
    outcomes: Channel[ItemT]
    site: Site
    settings: Settings
    buffer: int
    leave: Leave

    def __post_init__(self) -> None:
        self._supply: PairSupply[ItemT] | None = None

    @property
    def taken(self) -> int:
        """Pairs taken so far."""
        return self._supply.taken if self._supply is not None else 0

    @property
    def _look_first(self) -> bool:
        return self.settings.existing == "check"

    async def run(self) -> None:
        """Send them, and write no file.

        Raises:
            WorkerError: what ended it before all was done.
        """
        ledger = MemoryLedger()
        supply = self._open(ledger, RunTally(), _nothing)
        pipeline = Pipeline(supply, ledger, self.site, look_first=self._look_first, grace=self.settings.grace)
        self.leave.drain_by(pipeline.drain)
        await pipeline.run()

    async def run_recorded(self, path: Path) -> None:
        """Send them, and keep a run directory as the command does.

        Raises:
            WorkerError: what ended it before all was done, or the directory cannot be made or written.
        """
        directory, lock = new_run(path.parent, path.name)
        with lock:
            session = self._session(directory, lock)
            try:
                await session.run(self.leave, lambda _: None)
                await _to_its_end(partial(write_files, directory))
            except WorkerError:
                if session.leaves_nothing:
                    directory.discard()
                raise
        if session.ended_by is not None:
            raise session.ended_by

    def _session(self, directory: RunDirectory, lock: RunLock) -> Session:
        settings, input_ = self.settings, _Input(self)
        saved = settings.to_save()
        plan = RunPlan(
            facts={
                "portal": settings.portal,
                "settings": saved,
                "shared_rate": None,
                "runs_dir": str(directory.path.parent),
            },
            saved=saved,
            look_first=self._look_first,
            grace=settings.grace,
            max_duration=None,
            max_errors=None,
            go_on=advice.go_on(directory, settings, input_.facts),
            report=settings.command("report", advice.named(directory, settings)),
        )
        access = Access(
            directory.run_id,
            directory.log,
            is_own_log=True,
            verbose=False,
            open_site=self._meet,
            complaints=False,
        )
        return Session(
            directory,
            lock,
            plan,
            input_,
            access,
            fresh=True,
            reload=lambda: (rates_of(settings), settings.concurrency, credentials_of(settings)),
        )

    async def _meet(
        self,
        stack: AsyncExitStack,
        _: Callable[[str], None],
        observers: Sequence[Callable[[Request], None]],
    ) -> Site:
        """The portal, which is open; it is observed until the session is over."""
        for observer in observers:
            self.site.limiter.observers.append(observer)
            stack.callback(self.site.limiter.observers.remove, observer)
        return self.site

    def _open(
        self, ledger: PairLedger, tally: RunTally, complete: Callable[[], Awaitable[None]]
    ) -> PairSupply[ItemT]:
        self._supply = PairSupply(
            self.pairs,
            self.outcomes,
            ledger,
            tally,
            look_first=self._look_first,
            window=lambda: self.site.at_once + self.buffer,
            complete=complete,
        )
        return self._supply


class _Input(Generic[ItemT]):
    """Pairs of a program, as what a session reads. Nobody can read them again, as with standard input."""

    def __init__(self, sending: Sending[ItemT]) -> None:
        self.facts = {"input_path": "-", "input_name": NAME}
        self.lost = ""
        self._sending = sending

    async def open(self, ledger: Ledger, tally: RunTally, tell: Callable[[str], None]) -> PairSupply[ItemT]:  # noqa: ARG002 - there is no trouble that passes
        await ledger.put_meta(columns=ID_NAMES)
        return self._sending._open(  # noqa: SLF001 - a part of it
            ledger, tally, partial(ledger.put_meta, input_complete=True, input_sha256=None, input_blank=0)
        )

    def close(self) -> None:
        """The iterable is the program's."""


async def _nothing() -> None:
    """Nobody is told."""


async def _to_its_end(work: Callable[[], object]) -> None:
    """Do it in a thread; cancelled, it is over all the same when this is."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(doing)
    finally:
        await asyncio.wait({doing})
