"""The stretch of a run in which pairs are sent: reading, sending, watching, and every reason to stop."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any

from structlog.typing import FilteringBoundLogger

from worker.dispatch import Finished
from worker.errors import DurationReached, PortalError, TooManyErrors, WorkerError
from worker.ledger import Ledger
from worker.models import Outcome, Pair, PreState
from worker.operations.base import Operation
from worker.operations.compare import compare, looks
from worker.operations.link import Link
from worker.portal.auth import Credentials
from worker.run.log import log_outcome
from worker.settings import Settings
from worker.site import Site
from worker.supply.base import Supply
from worker.tally import Tally

READY = 4
"""Pairs taken from the supply at once, for each that can be on its way: their intents share a commit, and a
crash leaves so many more to be looked for."""

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
        site: Site,
        log: FilteringBoundLogger,
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._supply = supply
        self._ledger = ledger
        self._site = site
        self._log = log
        self._tell = tell
        self._ended_by: Exception | None = None
        self._reading: asyncio.Task[None] | None = None
        self._scheduler = site.scheduler()
        self._dispatcher = site.dispatcher(self._scheduler, self._conclude)

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
        await self._site.change(settings.rate, settings.concurrency, credentials)
        self._tell(f"SIGHUP: now {settings.rate}, {settings.concurrency} in flight; credentials read again")

    async def run(self, show: Callable[[Tally], None]) -> None:
        """Do it; ``show`` is called often with the counts so far.

        Raises:
            WorkerError: what ended it before all was done, but for a drain that was asked for.
        """
        settings = self._settings
        self._reading = asyncio.create_task(self._read())
        helpers = [
            asyncio.create_task(self._watch(show)),
            asyncio.create_task(self._end_by_error_of(self._site.watch())),
        ]
        feeding = asyncio.create_task(self._end_by_error_of(self._feed()))
        if settings.max_duration is not None:
            asyncio.get_running_loop().call_later(settings.max_duration, self._reach_duration)
        try:
            try:
                await self._dispatcher.run(settings.grace)
            except PortalError as error:
                self._ended_by = self._ended_by or error
            finally:
                if self._supply.is_endless:
                    self._reading.cancel()  # what it would still bring would only have to be given back
                    await asyncio.wait({self._reading})
                feeding.cancel()  # what it claims from now on would be taken back at once
                await asyncio.wait({feeding})
                await self._leave_unfinished()
            # Whatever ended the sending, the rest of a file is read: its rows belong in retry.csv.
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.result()
            if self._ended_by is not None:
                raise self._ended_by
        finally:
            for task in (self._reading, feeding, *helpers):
                task.cancel()
            # Not for their results: what went wrong with them went wrong with the dispatcher too.
            await asyncio.gather(self._reading, feeding, *helpers, return_exceptions=True)
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

    async def _feed(self) -> None:
        """Make operations of what the supply brings, never far ahead of what is sent."""
        ready = READY * self._site.at_once
        while pairs := await self._supply.take(ready):
            self._scheduler.offer(self._operations(pairs))
            await self._scheduler.wait_for_room(ready)
        self._scheduler.close()

    def _operations(self, pairs: Sequence[Pair]) -> Iterator[Operation[Any]]:
        policy, rng = self._site.policy, self._site.rng
        # What was seen before the first request of a pair is what counts, not what its own request left.
        unread = [pair for pair in pairs if pair.pre is PreState.UNREAD]
        if self._settings.existing != "check" or not unread:
            yield from (Link(pair, policy, rng) for pair in pairs)
            return
        yield from (Link(pair, policy, rng) for pair in pairs if pair.pre is not PreState.UNREAD)
        yield from looks(unread, policy, rng)

    async def _conclude(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        """Make durable what became of operations; gives what follows from them."""
        outcomes: list[Outcome] = []
        absent: list[int] = []
        in_doubt: list[int] = []
        to_link: list[Pair] = []
        for _, result in finished:
            if isinstance(result, Outcome):
                outcomes.append(result)
                continue
            compared = compare(result)
            outcomes += compared.settled
            to_link += compared.to_link
            absent += compared.absent
            in_doubt += compared.in_doubt
        if to_link:
            await self._ledger.looked(absent, in_doubt)
        if outcomes:
            await self._record(outcomes)
        return [Link(pair, self._site.policy, self._site.rng) for pair in to_link]

    async def _record(self, outcomes: Sequence[Outcome]) -> None:
        await self._ledger.settle(outcomes)
        tally, limit = self._tally, self._settings.max_errors
        for outcome in outcomes:
            tally.recorded(outcome)
            log_outcome(self._log, outcome)
            await self._supply.settled(outcome)
        if limit is not None and limit.passed(tally.failed_pairs, tally.settled_pairs):
            self._end_by(TooManyErrors(f"stopped: {tally.failed_pairs:,} pairs failed, allowed are {limit}"))

    async def _leave_unfinished(self) -> None:
        """Note what was sent in vain, and take back the intents of what was not sent."""
        unfinished = [one for one in self._dispatcher.unfinished if isinstance(one, Link)]
        concluding = [one for one in self._dispatcher.concluding if isinstance(one, Link)]
        await self._ledger.count({one.pair.row: one.attempts for one in unfinished if one.attempts})
        await self._ledger.release([one.pair.row for one in (*unfinished, *concluding) if one.in_doubt])

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
            tally.seconds, tally.paused_seconds = now - started, self._site.limiter.paused_seconds
            with suppress(OSError):  # a terminal that is gone is no reason to stop
                show(tally)
            if now - beaten >= BEAT:
                beaten = now
                await self._ledger.beat(tally.seconds, tally.paused_seconds)
                self._log.info("run.progress", rows=tally.rows, sent=tally.sent, **tally.by_state())
