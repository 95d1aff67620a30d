"""One run, from an open input to a closed ledger. What opens first closes last: ledger, portal, lanes."""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

import worker
from worker.errors import Exit, LedgerBlocked, LedgerError, StoppedError, WorkerError
from worker.ledger import Ledger, RunLock
from worker.report.build import Report
from worker.run.access import complain, credentials_of, open_site
from worker.run.advice import go_on, named
from worker.run.directory import RunDirectory
from worker.run.finish import write_files
from worker.run.linking import Linking
from worker.run.log import open_log
from worker.run.signals import StopSignals, on_signals, on_stop
from worker.settings import Settings
from worker.supply.base import Input
from worker.tally import Tally

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

_AGAIN = "the same command"


class Job:
    """A run that is about to begin or go on.

    Args:
        directory: where it keeps its files.
        lock: the run's, held; let go when the work is done.
        settings: all options, the portal among them.
        input_: where the rows come from.
        rate: shared with other processes, not connected yet; None for a rate of its own.
        fresh: the run directory was just made.
        reload: gives the settings as they stand now, for SIGHUP.
    """

    def __init__(
        self,
        directory: RunDirectory,
        lock: RunLock,
        settings: Settings,
        input_: Input,
        *,
        rate: "RedisRate | None",
        fresh: bool,
        reload: Callable[[], Settings],
    ) -> None:
        self.directory = directory
        self.tally = Tally()
        self._lock = lock
        self._settings = settings
        self._input = input_
        self._rate = rate
        self._fresh = fresh
        self._reload = reload
        self._reading_again: set[asyncio.Task[None]] = set()
        self._stops = StopSignals()
        self._signal: signal.Signals | None = None
        self._linking: Linking | None = None
        self._sent = False

    @property
    def nothing_left(self) -> bool:
        """Every row that will ever be read has its outcome."""
        return self.tally.complete and self.tally.done == self.tally.rows

    def work(self, show: Callable[[Tally], None]) -> Report:
        """Do what is left to do and write all files, all under the run's lock. ``show`` is called often.

        A signal to stop lets requests on their way have their answers; a second one does not wait for them,
        and the files are written all the same. Only one that comes while they are, and is not the first, ends
        that too.

        Raises:
            WorkerError: it could not begin, was stopped before it had or without its files, or the ledger
                gave up; a portal that refuses us in the middle is no exception but an end, written to the
                ledger.
        """
        try:
            with self._lock, on_stop(self._stops, self._end_without_files):
                try:
                    if not self.nothing_left:
                        asyncio.run(self._work(show))
                    return write_files(self.directory)
                except WorkerError as error:
                    what = go_on(self.directory, self._settings, self._input.facts)
                    if self._fresh and not (self.tally.rows and self.tally.begun):
                        self.directory.discard()
                        what = _AGAIN
                    if isinstance(error, StoppedError) and what == _AGAIN:
                        raise StoppedError(error.exit_code, what) from None
                    if isinstance(error, LedgerBlocked):
                        raise LedgerBlocked(error.what, what) from error
                    raise
        finally:
            self._input.close()

    def _end_without_files(self, number: signal.Signals) -> None:
        raise StoppedError(
            Exit(128 + number), self._settings.command("report", named(self.directory, self._settings))
        )

    async def _work(self, show: Callable[[Tally], None]) -> None:
        this = asyncio.current_task()

        def stop(number: signal.Signals) -> None:
            self._signal = number
            self.tally.note = f"{number.name}: finishing what is on its way"
            if self._linking is not None:
                self._linking.drain()
            else:
                end()  # nothing is on its way yet

        def end() -> None:
            if this is not None and not self._sent:  # what is left then takes no time
                this.cancel()

        def read_again() -> None:
            task = asyncio.create_task(self._read_again())
            self._reading_again.add(task)  # the loop itself would not keep it
            task.add_done_callback(self._reading_again.discard)

        try:
            with on_signals(stop, end, read_again, stops=self._stops):
                await self._open_and_link(show)
        except asyncio.CancelledError:
            if self._signal is None:
                raise
            what = go_on(self.directory, self._settings, self._input.facts)
            raise StoppedError(Exit(128 + self._signal), what) from None

    async def _read_again(self) -> None:
        if self._linking is None:
            return
        try:
            settings = self._reload()
            await self._linking.change(settings, credentials_of(settings))
        except WorkerError as error:
            self.tally.note = f"SIGHUP: {error}; going on as before"

    async def _open_and_link(self, show: Callable[[Tally], None]) -> None:
        settings = self._settings
        async with AsyncExitStack() as stack:
            log_path = settings.log_file or self.directory.log
            run_id = self.directory.run_id
            log = stack.enter_context(open_log(log_path, verbose=settings.verbose, run_id=run_id))
            asyncio.get_running_loop().set_exception_handler(partial(complain, log))
            tell = partial(self._tell, log, show)
            ledger = Ledger(self.directory.ledger, create=self._fresh, tell=tell)
            await stack.enter_async_context(ledger)
            if self._fresh:
                # Before the probe, which may take minutes: killed in it, the run can still be gone on with.
                await self._introduce(ledger)
            observers = [self.tally.observe, ledger.note]
            site = await open_site(stack, settings, self._rate, tell, observers)
            supply = await self._input.open(ledger, self.tally, tell)
            await ledger.begin_session()
            self.tally.begun = True
            # The end that an earlier session wrote is no longer one.
            await ledger.forget("end_code", "end_message")
            log.info("run.started", version=worker.__version__, **settings.to_save())
            started = time.monotonic()
            code, message, at_once = Exit.OK, "", ""
            try:
                self._linking = Linking(
                    settings,
                    self.tally,
                    supply=supply,
                    ledger=ledger,
                    site=site,
                    log=log,
                    tell=tell,
                )
                await self._linking.run(show)
            except LedgerError:
                raise
            except WorkerError as error:
                code, message = error.exit_code, str(error)
            except asyncio.CancelledError:
                if self._signal is None:
                    raise
                at_once = " at once: what was on its way was not waited for"
            except Exception:
                log.exception("run.crashed")
                raise
            self._sent = True
            if self._signal is not None:
                code, message = Exit(128 + self._signal), f"stopped by {self._signal.name}{at_once}"
            elif code is Exit.OK and self._input.lost:
                code, message = Exit.RETRYABLE, self._input.lost
            await ledger.beat(time.monotonic() - started, site.limiter.paused_seconds)
            await ledger.put_meta(end_code=code, end_message=message)
            log.info("run.ended", code=code, message=message, rows=self.tally.rows, done=self.tally.done)

    def _tell(self, log: FilteringBoundLogger, show: Callable[[Tally], None], note: str) -> None:
        self.tally.note = note
        with suppress(OSError):  # a terminal that is gone is no reason to stop
            show(self.tally)
        if note:
            log.warning("run.note", note=note)

    async def _introduce(self, ledger: Ledger) -> None:
        await ledger.put_facts(
            {
                "run_id": self.directory.run_id,
                "version": worker.__version__,
                "portal": self._settings.portal,
                **self._input.facts,
                "settings": self._settings.to_save(),
                "shared_rate": self._rate and self._rate.shown,
            }
        )
