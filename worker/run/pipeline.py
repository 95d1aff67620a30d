"""What is between supply and ledger while a run sends: reading, sending, and every reason to stop.

Rows come in by a task of their own, whatever the pace of the sending. Pairs are claimed a few ahead of the
lanes, become operations, and what comes of these is durable before anybody is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from worker.dispatch import Finished
from worker.errors import PortalError, WorkerError
from worker.ledger import PairLedger
from worker.models import Outcome, Pair, PreState
from worker.operations.base import Operation
from worker.operations.compare import compare, looks
from worker.operations.exists import Entity, Existence, Exists
from worker.operations.link import Link
from worker.operations.missing import Missing
from worker.site import Site
from worker.supply.base import Supply

READY = 4
"""Pairs taken from the supply at once, for each that can be on its way: their intents share a commit, and a
crash leaves so many more to be looked for."""


class Pipeline:
    """Sends what the supply brings, until all is done or something says stop.

    Args:
        supply: is closed at the end.
        ledger: knows the pairs.
        site: where they are sent.
        look_first: what the portal holds is looked for before a pair is sent.
        grace: seconds that requests on their way get when it is stopped.

    Attributes:
        observers: are told of outcomes, those that share a commit together, once they are durable.
        side_tasks: are done until it ends; an error of one ends it.
    """

    def __init__(
        self, supply: Supply, ledger: PairLedger, site: Site, *, look_first: bool, grace: float
    ) -> None:
        self.observers: list[Callable[[Sequence[Outcome]], None]] = []
        self.side_tasks: list[Callable[[], Awaitable[None]]] = [site.watch]
        self._supply = supply
        self._ledger = ledger
        self._site = site
        self._look_first = look_first
        self._grace = grace
        self._missing = Missing()
        self._unexplained: dict[int, Outcome] = {}
        self._ended_by: Exception | None = None
        self._reading: asyncio.Task[None] | None = None
        self._scheduler = site.scheduler()
        self._dispatcher = site.dispatcher(self._scheduler, self._conclude)

    def drain(self) -> None:
        """Read no more and send no more; what is on its way is waited for."""
        self._dispatcher.stop()
        if self._reading is not None:
            self._reading.cancel()

    def end(self, error: Exception) -> None:
        """Send no more, for this reason, which is raised unless there is one already. A file is read on."""
        self._ended_by = self._ended_by or error
        self._dispatcher.stop()
        if self._supply.is_endless and self._reading is not None:
            self._reading.cancel()

    async def run(self) -> None:
        """Do it.

        Raises:
            WorkerError: what ended it before all was done, but for a drain that was asked for.
        """
        self._reading = asyncio.create_task(self._read())
        feeding = asyncio.create_task(self._end_by_error_of(self._feed))
        others = [asyncio.create_task(self._end_by_error_of(task)) for task in self.side_tasks]
        try:
            try:
                await self._dispatcher.run(self._grace)
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
            try:
                # Not for their results: what went wrong with them went wrong with the dispatcher too.
                await _cancel(self._reading, feeding)
                await self._supply.close()
            finally:
                await _cancel(*others)

    async def _end_by_error_of(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised by run(); unheard it would leave everyone held
            self.end(error)

    async def _feed(self) -> None:
        """Make operations of what the supply brings, never far ahead of what is sent."""
        # Reckoned anew each time: the portal, or SIGHUP, may change how many can be on their way.
        while pairs := await self._supply.take(READY * self._site.at_once):
            self._scheduler.offer(self._operations(pairs))
            await self._scheduler.wait_for_room(READY * self._site.at_once)
        self._scheduler.close()

    def _operations(self, pairs: Sequence[Pair]) -> Iterator[Operation[Any]]:
        policy, rng = self._site.policy, self._site.rng
        # What was seen before the first request of a pair is what counts, not what its own request left.
        not_looked = PreState.UNREAD
        unread = [pair for pair in pairs if pair.pre is not_looked]
        if not self._look_first or not unread:
            yield from (Link(pair, policy, rng) for pair in pairs)
            return
        yield from (Link(pair, policy, rng) for pair in pairs if pair.pre is not not_looked)
        yield from looks(unread, policy, rng)

    async def _conclude(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        """Make durable what became of operations; gives what follows from them."""
        outcomes: list[Outcome] = []
        absent: list[int] = []
        in_doubt: list[int] = []
        to_link: list[Pair] = []
        reasons: dict[int, str] = {}
        to_ask: list[Entity] = []
        for _, result in finished:
            if isinstance(result, Outcome):
                outcomes.append(result)
                continue
            if isinstance(result, Existence):
                found, more = self._missing.told(result)
                reasons |= found
                to_ask += more
                continue
            compared = compare(result)
            outcomes += compared.settled
            to_link += compared.to_link
            absent += compared.absent
            in_doubt += compared.in_doubt
        if to_link:
            await self._ledger.looked(absent, in_doubt)
        if outcomes:
            outcomes, more = self._missing.explain(outcomes)
            to_ask += more
            await self._record(outcomes)
        if reasons:
            await self._ledger.explain(reasons)
        if self._unexplained:
            await self._tell_explained(reasons)
        links = [Link(pair, self._site.policy, self._site.rng) for pair in to_link]
        return [*links, *map(Exists, to_ask)]

    async def _record(self, outcomes: Sequence[Outcome]) -> None:
        await self._ledger.settle(outcomes)
        for outcome in outcomes:
            if self._supply.waits_for_reasons and outcome.pair.row in self._missing.rows:
                self._unexplained[outcome.pair.row] = outcome
            else:
                await self._supply.settled(outcome)
        for observe in self.observers:
            observe(outcomes)

    async def _tell_explained(self, reasons: Mapping[int, str]) -> None:
        """Tell the supply of outcomes about whose reasons nothing more will be found out."""
        for row in self._unexplained.keys() - self._missing.rows:
            outcome = self._unexplained.pop(row)
            await self._supply.settled(replace(outcome, reason=reasons.get(row, outcome.reason)))

    async def _leave_unfinished(self) -> None:
        """Note what was sent in vain, and take back the intents of what was not sent."""
        for outcome in self._unexplained.values():
            await self._supply.settled(outcome)
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


async def _cancel(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
