"""The stretch of a run in which pairs are sent: reading, sending, watching, and every reason to stop."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any

from structlog.typing import FilteringBoundLogger

from worker.dispatch import LANES_PER_PERMIT, Dispatcher
from worker.errors import DurationReached, PortalError, TooManyErrors, WorkerError
from worker.existing import Scout
from worker.ledger import Ledger
from worker.limiter import Limiter
from worker.members import Looker
from worker.models import Attempt, Outcome
from worker.portal.auth import Credentials
from worker.portal.client import PortalClient
from worker.retry import RetryPolicy
from worker.run.log import log_outcome
from worker.run.outage import Outage
from worker.run.supply import Supply
from worker.run.tally import Tally
from worker.settings import Settings

BEAT = 5.0
"""Seconds between two notes of how a run goes, in the ledger and the log."""

_TICK = 0.2


class Linking:
    """Sends what the supply brings, until all is done or something says stop."""

    def __init__(
        self,
        settings: Settings,
        tally: Tally,
        *,
        supply: Supply,
        ledger: Ledger,
        portal: PortalClient,
        limiter: Limiter,
        log: FilteringBoundLogger,
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._supply = supply
        self._ledger = ledger
        self._portal = portal
        self._limiter = limiter
        self._log = log
        self._tell = tell
        self._ended_by: Exception | None = None
        self._reading: asyncio.Task[None] | None = None
        self._outage = Outage(limiter, portal.look, settings.give_up_after, tell)
        policy = RetryPolicy(max_attempts=settings.max_attempts)
        self._scout: Scout | None = None
        if settings.existing == "check":
            looker = Looker(portal, limiter, policy, observe=self._observe, rng=Random())  # noqa: S311 - same
            self._scout = Scout(
                looker,
                take=supply.take,
                at_hand=supply.at_hand,
                note=ledger.looked,
                record=self._record,
            )
        self._dispatcher = Dispatcher(
            portal,
            limiter,
            policy,
            take=supply.take if self._scout is None else self._scout.take,
            record=self._record,
            observe=self._observe,
            rng=Random(),  # noqa: S311 - spreads backoffs, guards nothing
        )

    def drain(self) -> None:
        """Read no more and send no more; what is on its way is waited for."""
        self._dispatcher.stop()
        if self._reading is not None:
            self._reading.cancel()

    async def change(self, settings: Settings, credentials: Credentials) -> None:
        """Go on under other limits and with other credentials; all other settings stay as they were.

        Raises:
            UsageError: there is no token to be read; nothing has changed.
        """
        await self._portal.change(credentials)
        # Lanes cannot be added to; a few of them per permit back off at any time, so this is still enough.
        concurrency = min(settings.concurrency, self._settings.concurrency * LANES_PER_PERMIT)
        await self._limiter.change(settings.rate, concurrency)
        self._tell(f"SIGHUP: now {settings.rate}, {concurrency} in flight; credentials read again")

    async def run(self, show: Callable[[Tally], None]) -> None:
        """Do it; ``show`` is called often with the counts so far.

        Raises:
            WorkerError: what ended it before all was done, but for a drain that was asked for.
        """
        settings = self._settings
        self._reading = asyncio.create_task(self._read())
        helpers = [
            asyncio.create_task(self._watch(show)),
            asyncio.create_task(self._end_by_error_of(self._outage.watch())),
        ]
        if settings.max_duration is not None:
            asyncio.get_running_loop().call_later(settings.max_duration, self._reach_duration)
        try:
            try:
                await self._dispatcher.run(settings.concurrency, settings.grace)
            except PortalError as error:
                self._ended_by = self._ended_by or error
            finally:
                if self._supply.is_endless:
                    self._reading.cancel()  # what it would still bring would only have to be given back
                    await asyncio.wait({self._reading})
                await self._ledger.count(self._dispatcher.unsettled)
                await self._ledger.release(self._dispatcher.in_doubt)
            # Whatever ended the sending, the rest of a file is read: its rows belong in retry.csv.
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.result()
            if self._ended_by is not None:
                raise self._ended_by
        finally:
            for task in (self._reading, *helpers):
                task.cancel()
            # Not for their results: what went wrong with them went wrong with the dispatcher too.
            await asyncio.gather(self._reading, *helpers, return_exceptions=True)
            if self._scout is not None:
                await self._scout.close()
            await self._supply.close()
            self._tally.ended = True
            with suppress(OSError):
                show(self._tally)

    def _end_by(self, error: Exception) -> None:
        self._ended_by = self._ended_by or error
        self._dispatcher.stop()
        if self._supply.is_endless and self._reading is not None:
            self._reading.cancel()

    async def _end_by_error_of(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - raised by run(); unheard it would leave everyone held
            self._end_by(error)

    def _reach_duration(self) -> None:
        self._end_by(DurationReached("stopped: the maximum duration is reached"))
        self.drain()

    def _observe(self, attempt: Attempt) -> None:
        self._tally.attempted(attempt)
        self._limiter.observe(attempt)
        self._outage.observe(attempt)

    async def _record(self, outcome: Outcome) -> None:
        await self._ledger.settle(outcome)
        tally, limit = self._tally, self._settings.max_errors
        tally.recorded(outcome)
        log_outcome(self._log, outcome)
        await self._supply.settled(outcome)
        if limit is not None and limit.passed(tally.failed_pairs, tally.settled_pairs):
            self._end_by(TooManyErrors(f"stopped: {tally.failed_pairs:,} pairs failed, allowed are {limit}"))

    async def _read(self) -> None:
        try:
            await self._supply.read()
        except WorkerError:
            self._dispatcher.stop()
            raise

    async def _watch(self, show: Callable[[Tally], None]) -> None:
        tally = self._tally
        started = beaten = time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            tally.seconds, tally.paused_seconds = now - started, self._limiter.paused_seconds
            with suppress(OSError):  # a terminal that is gone is no reason to stop
                show(tally)
            if now - beaten >= BEAT:
                beaten = now
                await self._ledger.beat(tally.seconds, tally.paused_seconds)
                self._log.info("run.progress", rows=tally.rows, sent=tally.sent, **tally.by_state())
