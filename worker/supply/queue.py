"""A queue as the supply of a run: its messages are leased, worked on, and settled after their outcome."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from random import Random
from typing import Any

from worker.judge import judge
from worker.ledger import Arrival, Delivery, Ledger
from worker.models import Outcome, Pair, Status
from worker.queues import Message, Publisher, Queue
from worker.sources import MESSAGE_COLUMNS, read_message
from worker.supply.acknowledger import Acknowledgement, Acknowledger
from worker.supply.broker_retry import BrokerRetry
from worker.supply.message_result import MessageResult
from worker.tally import RunTally

WAIT = 1.0
"""Seconds that one call waits for messages."""

LONGEST_DELAY = 900.0
FLUSH_SECONDS = 5.0
"""How long the end of a run waits for a broker that is away; what it is not told then comes again."""

_AGAIN = {Status.RETRYABLE, Status.UNKNOWN}
_GIVEN_UP = {Status.INVALID, Status.REJECTED}


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """How a queue is worked on.

    Attributes:
        prefetch: most messages held at once.
        drain: end when the queue is empty.
        idle: seconds for which it must be seen empty, with a broker that does not know what others hold.
        limit: end after that many messages; None for no limit.
        max_deliveries: a message handed out more often is given up.
        retry_delay: seconds before a message worth another try comes again; doubles with each delivery.
        look_first: what the portal holds is looked for before a pair is noted as about to be sent.
    """

    prefetch: int
    drain: bool
    idle: float
    limit: int | None
    max_deliveries: int
    retry_delay: float
    look_first: bool = False


class QueueSupply:
    """Messages as pairs.

    A message is settled with the broker only after its outcome is durable. One that comes again, because its
    lease ran out or the connection was lost, is the row that it was, however often it comes.
    """

    is_endless = True
    waits_for_reasons = False  # the lease of a message goes on until it is settled

    def __init__(
        self,
        queue: Queue,
        results: Publisher | None,
        ledger: Ledger,
        tally: RunTally,
        *,
        plan: QueuePlan,
        tell: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._results = results
        self._ledger = ledger
        self._tally = tally
        self._plan = plan
        self._retry = BrokerRetry(tell, Random())  # noqa: S311 - spreads tries
        self._acknowledger = Acknowledger(queue, results, self._retry)
        self._acknowledging: asyncio.Task[None] | None = None
        # By row, for each time that it is sent: a message may come anew before we are told of its outcome.
        self._open: dict[int, deque[list[Message]]] = {}
        self._ready: deque[Pair] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._tell = tell
        self._told: tuple[str, ...] = ()
        self._empty_since: float | None = None
        self._complete = False

    async def read(self) -> None:
        """Receive messages until the queue is drained or the limit is reached; else until cancelled.

        Raises:
            QueueError: the broker refuses us.
        """
        await self._ledger.put_meta(columns=MESSAGE_COLUMNS, input_complete=True)
        self._tell_warnings()
        self._acknowledging = asyncio.create_task(self._acknowledger.work())
        receiving = asyncio.create_task(self._receive())
        try:
            await asyncio.wait({self._acknowledging, receiving}, return_when=asyncio.FIRST_COMPLETED)
            for task in (self._acknowledging, receiving):
                if task.done():
                    task.result()
        finally:
            await _cancel(receiving)
            self._complete = True
            self._news.set()

    async def take(self, most: int) -> Sequence[Pair]:
        """The next pairs, about so many, their intents durable; none when there are no more."""
        while not self._ready:
            if self._complete:
                return ()
            self._news.clear()
            await self._news.wait()
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    async def settled(self, outcome: Outcome) -> None:
        """Hand the message of this outcome over to be settled."""
        tries = self._open[outcome.pair.row]
        messages = tries.popleft()
        if not tries:
            del self._open[outcome.pair.row]
        self._room.set()
        result = MessageResult(
            outcome.pair,
            outcome.status,
            outcome.reason,
            outcome.http_status,
            len(outcome.attempts),
            outcome.body,
        )
        self._acknowledge(messages, result)

    async def close(self) -> None:
        """Settle what has an outcome, give back the rest, as far as the broker can be reached."""
        if self._acknowledging is not None:
            for tries in self._open.values():
                for message in chain.from_iterable(tries):
                    self._acknowledger.add(Acknowledgement(message.handle, release_after=0.0))
            flushed = asyncio.create_task(self._acknowledger.flush(FLUSH_SECONDS))
            await asyncio.wait({self._acknowledging, flushed}, return_when=asyncio.FIRST_COMPLETED)
            await _cancel(flushed)
            await _cancel(self._acknowledging)
        if self._results is not None:
            await self._results.close()
        await self._queue.close()

    async def _receive(self) -> None:
        limit = self._plan.limit
        while limit is None or self._tally.rows < limit:
            room = await self._wait_for_room()
            if limit is not None:
                room = min(room, limit - self._tally.rows)
            messages = await self._retry.call(partial(self._queue.receive, room, WAIT))
            self._tell_warnings()
            if messages:
                await self._take_in(messages)
            elif self._plan.drain and await self._is_drained():
                self._tell_warnings()
                return

    def _tell_warnings(self) -> None:
        if self._queue.warnings != self._told:
            self._told = self._queue.warnings
            self._tell("; ".join(self._told))

    async def _wait_for_room(self) -> int:
        """Room for so many messages; not for each single one, or each would cost a call."""
        await self._acknowledger.wait_for_room()
        enough = max(1, self._plan.prefetch // 2)
        while (room := self._plan.prefetch - len(self._open)) < enough:
            self._room.clear()
            await self._room.wait()
        return room

    async def _is_drained(self) -> bool:
        now = asyncio.get_running_loop().time()
        empty = (
            not self._open
            and await self._acknowledger.flush(WAIT)
            and await self._retry.call(self._queue.is_drained)
        )
        if not empty:
            self._empty_since = None
            return False
        if self._empty_since is None:
            self._empty_since = now
        return now - self._empty_since >= self._plan.idle

    async def _take_in(self, messages: Sequence[Message]) -> None:
        self._empty_since = None
        deliveries = []
        for message in messages:
            row = read_message(message.body)
            deliveries.append(
                Delivery(
                    message.identity,
                    row,
                    judge(row),
                    again=message.deliveries > 1,
                    worn_out=message.deliveries > self._plan.max_deliveries,
                    life=message.life,
                )
            )
        arrivals = await self._ledger.take_in(deliveries, look_first=self._plan.look_first)
        for message, delivery, arrival in zip(messages, deliveries, arrivals, strict=True):
            self._arrived(message, delivery, arrival)
        self._news.set()

    def _arrived(self, message: Message, delivery: Delivery, arrival: Arrival) -> None:
        self._count(arrival)
        if arrival.pair is not None:
            self._open.setdefault(arrival.row, deque()).append([message])
            self._ready.append(arrival.pair)
        elif arrival.status is not None:
            asked = delivery.verdict if isinstance(delivery.verdict, Pair) else None
            # Of one that is settled here, all was published: a copy without its Contact would hide that.
            news = arrival.fresh or arrival.instead_of is not None or arrival.status in _AGAIN
            self._acknowledge([message], MessageResult(asked, arrival.status, arrival.reason), publish=news)
        elif arrival.row in self._open:
            # Handed out again while we work on it, or published twice: whatever its outcome, all handles go.
            self._open[arrival.row][-1].append(message)
        else:
            # Its outcome came between the ledger's answer and now: the next time it will be found.
            self._acknowledger.add(Acknowledgement(message.handle, release_after=0.0))

    def _count(self, arrival: Arrival) -> None:
        tally = self._tally
        tally.rows += arrival.fresh
        if arrival.pair is not None and arrival.status is not None:
            tally.settled[arrival.status] -= 1
        elif arrival.status is not None and (arrival.fresh or arrival.instead_of is not None):
            tally.settled[arrival.status] += 1
            if arrival.instead_of is not None:
                tally.settled[arrival.instead_of] -= 1

    def _acknowledge(
        self, messages: Sequence[Message], result: MessageResult, *, publish: bool = True
    ) -> None:
        *others, message = messages
        deliveries = max(one.deliveries for one in messages)
        release_after: float | None = None
        if result.status in _AGAIN and deliveries < self._plan.max_deliveries:
            release_after = min(self._plan.retry_delay * 2.0 ** (deliveries - 1), LONGEST_DELAY)
        is_final = release_after is None
        published = None
        if publish and is_final and self._results is not None:
            published = (message.identity, result.to_json(message))
        failure = result.failure if is_final and result.status in _AGAIN | _GIVEN_UP else None
        self._acknowledger.add(Acknowledgement(message.handle, failure, release_after, published))
        for other in others:
            self._acknowledger.add(Acknowledgement(other.handle))


async def _cancel(task: asyncio.Task[Any]) -> None:
    """End a task, whatever becomes of it."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # looked at, so that nobody calls it forgotten
