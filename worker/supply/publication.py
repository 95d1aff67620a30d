"""Put the pairs of an input on a queue: each batch confirmed by the broker before the next is begun."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

import orjson

from worker.errors import Exit, TooFewRows, UsageError
from worker.judge import key_of
from worker.ledger import Ledger, LedgerReader
from worker.models import Pair, Row, Status
from worker.queues import Publisher
from worker.sources import Source
from worker.supply.broker_retry import BrokerRetry
from worker.supply.ingest import chunks, form_facts, go_past_read
from worker.supply.offload import offload

BATCH = 1000
"""Rows at a time; what a crash may put on the queue twice."""


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
        state: is kept up to date; names the run, the queue and the input.
        ledger: its file.
        source: the open input; read from its beginning, also by a publication that goes on.
        publisher: not open yet; closed by whoever runs the publication.
        limit: most rows to read; None for all.
        min_rows: nothing is published before so many rows were read; None to begin at once.
        fresh: the ledger is to be made.
        give_up_after: seconds to wait for a broker that is away.
        tell: told what is going on, in words for the user.
        show: called after each batch, and first when it goes on with what was begun.

    Attributes:
        is_waiting: for a broker that is away.
    """

    def __init__(
        self,
        state: Published,
        ledger: Path,
        source: Source,
        publisher: Publisher,
        *,
        limit: int | None,
        min_rows: int | None = None,
        fresh: bool,
        give_up_after: float,
        tell: Callable[[str], None],
        show: Callable[[Published], None],
    ) -> None:
        self.state = state
        self.is_waiting = False
        self._ledger = ledger
        self._source = source
        self._publisher = publisher
        self._fresh = fresh
        self._give_up_after = give_up_after
        self._show = show
        self._columns: tuple[str, ...] = ()
        self._tell = tell
        self._retry = BrokerRetry(self._told, Random())  # noqa: S311 - spreads tries
        self._limit = limit
        self._min_rows = min_rows or 0
        self._chunks = self._read(limit)

    async def run(self) -> None:
        """Publish all that is not published yet, until ``state`` says that it was stopped.

        Raises:
            WorkerError: it could not go on; another publication with the same ledger takes up from here.
        """
        async with Ledger(self._ledger, create=self._fresh) as ledger:
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
        with LedgerReader(self._ledger) as reader:
            facts, counts = reader.meta(), reader.counts()
        if facts["queue"] != state.queue:
            raise UsageError(f"run {state.run_id} is for {facts['queue']}, not for {state.queue}")
        read = await go_past_read(self._source, ledger, _read_on)
        self._chunks = self._read(self._limit and max(0, self._limit - read))
        state.rows = sum(counts.values())
        state.duplicate, state.invalid = counts[Status.DUPLICATE], counts[Status.INVALID]
        confirmed: int = facts["confirmed"]
        state.published = await ledger.count_waiting(confirmed)
        self._show(state)
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
            admitted = await ledger.admit([(row, key_of(row)) for row in chunk])
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
        self.is_waiting = bool(note)
        self._tell(note)

    async def _until_done(self, call: Callable[[], Awaitable[None]]) -> None:
        await self._retry.call(call, give_up_after=self._give_up_after)


async def _read_on(_: int) -> None:
    """At once: nothing is sent yet that the reading could slow down."""
