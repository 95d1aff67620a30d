"""Put the pairs of an input on a queue: each batch confirmed by the broker before the next is begun."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from random import Random
from typing import NoReturn

import orjson

from worker.errors import (
    Exit,
    LedgerBlocked,
    QueueError,
    QueueUnavailable,
    StoppedError,
    TooFewRows,
    UsageError,
)
from worker.ledger import Ledger, LedgerReader, run_lock
from worker.models import Pair, Row, Status
from worker.plan import judge
from worker.queues import Publisher
from worker.run.directory import RunDirectory
from worker.run.signals import StopSignals, on_signals, on_stop
from worker.sinks import replaced, write_outcomes
from worker.sources import Source
from worker.supply.broker_retry import BrokerRetry
from worker.supply.ingest import chunks, form_facts, go_past_read
from worker.supply.offload import offload

BATCH = 1000
"""Rows at a time; what a crash may put on the queue twice."""

LEDGER = "publish.db"
"""Not ``ledger.db``: its rows were never to be linked by this run."""


@dataclass(slots=True)
class Published:
    """How far a publication is. Rows sum up: published, duplicate, invalid, and those not done yet."""

    run_id: str
    queue: str
    input: str
    rows: int = 0
    published: int = 0
    duplicate: int = 0
    invalid: int = 0
    complete: bool = False
    stopped_by: int = 0

    @property
    def exit_code(self) -> Exit:
        """What the command says of it."""
        if self.stopped_by:
            return Exit(128 + self.stopped_by)
        if not self.complete:
            return Exit.RETRYABLE
        return Exit.REJECTED if self.invalid else Exit.OK


class Publication:
    """One input on its way to one queue.

    Args:
        source: the open input; read from its beginning, also by a publication that goes on.
        queue: the queue's URL without credentials.
        min_rows: nothing is published before so many rows were read; None to begin at once.
        fresh: the directory was just made.
        give_up_after: seconds to wait for a broker that is away.
        tell: told what is going on, in words for the user.
        show: called after each batch.
    """

    def __init__(
        self,
        directory: RunDirectory,
        source: Source,
        publisher: Publisher,
        queue: str,
        *,
        limit: int | None,
        min_rows: int | None = None,
        fresh: bool,
        give_up_after: float,
        tell: Callable[[str], None],
        show: Callable[[Published], None],
    ) -> None:
        self.state = Published(directory.run_id, queue, source.name)
        self._directory = directory
        self._source = source
        self._publisher = publisher
        self._fresh = fresh
        self._give_up_after = give_up_after
        self._show = show
        self._columns: tuple[str, ...] = ()
        self._tell = tell
        self._away = False
        self._stops = StopSignals()
        self._retry = BrokerRetry(self._told, Random())  # noqa: S311 - spreads tries
        self._limit = limit
        self._min_rows = min_rows or 0
        self._chunks = self._read(limit)

    def work(self) -> Published:
        """Publish all that is not published yet; on return the files say how far it came.

        Raises:
            WorkerError: it could not go on; the same call by another process takes up from here.
        """
        try:
            with run_lock(self._directory.path), on_stop(self._stops, self._end):
                try:
                    asyncio.run(self._work())
                except LedgerBlocked as error:
                    raise LedgerBlocked(error.what, self._go_on) from error
                except TooFewRows:
                    self.state.rows = 0  # nothing was sent, and nothing is to be gone on with
                    raise
                finally:
                    if self.state.rows:
                        self._write_files()
                    elif self._fresh:
                        self._directory.discard()
        finally:
            self._source.close()
        return self.state

    async def _work(self) -> None:
        this = asyncio.current_task()

        def stop(number: signal.Signals) -> None:
            self.state.stopped_by = number
            if self._away:
                end()  # there may be nothing to wait for

        def end() -> None:
            if this is not None:
                this.cancel()

        try:
            with on_signals(stop, end, lambda: None, stops=self._stops):
                await self._open_and_publish()
        except asyncio.CancelledError:
            self._end(signal.Signals(self.state.stopped_by))
        except QueueError as error:
            kind = QueueUnavailable if isinstance(error, QueueUnavailable) else QueueError
            raise kind(f"{error}; {self._so_far()}") from error
        finally:
            await self._publisher.close()

    def _end(self, number: signal.Signals) -> NoReturn:
        raise StoppedError(Exit(128 + number), self._go_on) from None

    @property
    def _go_on(self) -> str:
        return f"the same command and --resume {self._directory.run_id}"

    def _so_far(self) -> str:
        if self._fresh and not self.state.rows:
            return "nothing was published"
        return f"{self.state.published:,} published so far; go on with: {self._go_on}"

    async def _open_and_publish(self) -> None:
        async with Ledger(self._directory.path / LEDGER, create=self._fresh) as ledger:
            await ledger.begin_session()
            if self._fresh:
                await ledger.put_meta(queue=self.state.queue, confirmed=0)
                confirmed = 0
            else:
                confirmed = await self._take_up(ledger)
            await self._until_done(self._publisher.open)
            await self._publish(ledger, confirmed)

    async def _take_up(self, ledger: Ledger) -> int:
        """Count what earlier sessions did; gives the last row whose batch was confirmed.

        Raises:
            UsageError: it is for another queue.
            InputError: the input is not the one it began with.
        """
        state = self.state
        with LedgerReader(self._directory.path / LEDGER) as reader:
            facts, counts = reader.meta(), reader.counts()
        if facts["queue"] != state.queue:
            raise UsageError(f"run {state.run_id} is for {facts['queue']}, not for {state.queue}")
        read = await go_past_read(self._source, ledger)
        self._chunks = self._read(self._limit and max(0, self._limit - read))
        state.rows = sum(counts.values())
        state.duplicate, state.invalid = counts[Status.DUPLICATE], counts[Status.INVALID]
        confirmed: int = facts["confirmed"]
        state.published = await ledger.count_waiting(confirmed)
        return confirmed

    async def _publish(self, ledger: Ledger, confirmed: int) -> None:
        state = self.state
        while not state.stopped_by:
            # First what an earlier session may have sent, without hearing that it arrived.
            enough = state.rows >= self._min_rows
            waiting = await ledger.waiting(confirmed, BATCH) if enough else []
            if waiting:
                messages = [self._message(one) for one in waiting]
                await self._until_done(partial(self._publisher.publish, messages))
                state.published += len(waiting)
                confirmed = waiting[-1][0].row
                await ledger.put_meta(confirmed=confirmed)
                self._show(state)
                continue
            chunk = await offload(lambda: next(self._chunks, []))
            if not chunk and not enough:
                raise TooFewRows(state.input, state.rows, self._min_rows)
            if not chunk:
                state.complete = True
                return
            if self._source.columns != self._columns:
                self._columns = self._source.columns
                await ledger.put_meta(**form_facts(self._source))
            admitted = await ledger.admit([(row, judge(row)) for row in chunk])
            state.rows += len(chunk)
            state.duplicate += admitted.duplicates
            state.invalid += admitted.invalid

    def _read(self, limit: int | None) -> Iterator[list[Row]]:
        return chunks(islice(self._source.rows(), limit), BATCH)

    def _message(self, waiting: tuple[Pair, tuple[str, ...]]) -> tuple[str, bytes]:
        pair, cells = waiting
        body: dict[str, object] = {"opportunity_id": pair.opportunity_id, "contact_id": pair.contact_id}
        named = dict(zip(self._source.columns, cells, strict=False)).get("id")
        if named:
            body["id"] = named
        return f"{self.state.run_id}-{pair.row}", orjson.dumps(body)

    def _told(self, note: str) -> None:
        self._away = bool(note)
        self._tell(note)

    async def _until_done(self, call: Callable[[], Awaitable[None]]) -> None:
        await self._retry.call(call, give_up_after=self._give_up_after)

    def _write_files(self) -> None:
        folder = self._directory.path
        with LedgerReader(folder / LEDGER) as reader:
            write_outcomes(reader, folder / "rejected.csv")
        with replaced(folder / "publish.json") as file:
            file.write(json.dumps({**asdict(self.state), "exit_code": self.state.exit_code}, indent=2) + "\n")
