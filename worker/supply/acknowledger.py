"""Tell the broker what became of its messages, after the outcome is durable, a batch at a time."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from worker.queues import Failure, Publisher, Queue
from worker.supply.broker_retry import BrokerRetry

LINGER = 0.05
"""Seconds; a worker that dies within them leaves so many more messages to be looked at again."""

_MOST_AT_ONCE = 500

MOST_WAITING = 1000
"""When so many wait for a broker that is slow or away, no more messages are to be received."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A message that has its outcome.

    Attributes:
        handle: of its latest delivery.
        failure: why it is given up; None if it is not.
        release_after: seconds after which it is to come again; None if it is not to.
        result: what is published about it: identity and body; None for nothing.
    """

    handle: str
    failure: Failure | None = None
    release_after: float | None = None
    result: tuple[str, bytes] | None = None


class Acknowledger:
    """Tells the broker in the background, for as long as it takes: an outcome is durable, so it can wait.

    Args:
        queue: whose messages they are.
        results: where outcomes are published before the broker is told of their message; None if nowhere.
        retry: how to wait for a broker that is away.
    """

    def __init__(self, queue: Queue, results: Publisher | None, retry: BrokerRetry) -> None:
        self._queue = queue
        self._results = results
        self._retry = retry
        self._waiting: deque[Acknowledgement] = deque()
        self._news = asyncio.Event()
        self._fewer = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, done: Acknowledgement) -> None:
        """Tell the broker of this one, soon."""
        self._waiting.append(done)
        self._idle.clear()
        self._news.set()

    async def work(self) -> None:
        """Tell the broker of what comes, until cancelled; whatever happens, nothing is forgotten.

        Raises:
            QueueError: the broker refuses us for good.
        """
        while True:
            await self._news.wait()
            await asyncio.sleep(LINGER)  # the outcome is durable, so there is time to gather a batch
            self._news.clear()
            while self._waiting:
                batch = [self._waiting[at] for at in range(min(len(self._waiting), _MOST_AT_ONCE))]
                await self._tell(batch)
                for _ in batch:
                    self._waiting.popleft()
                self._fewer.set()
            self._idle.set()

    async def wait_for_room(self) -> None:
        """Wait until fewer than :data:`MOST_WAITING` are not told of yet."""
        while len(self._waiting) >= MOST_WAITING:
            self._fewer.clear()
            await self._fewer.wait()

    async def flush(self, seconds: float) -> bool:
        """Wait until the broker was told of all; False if that takes longer."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _tell(self, batch: Sequence[Acknowledgement]) -> None:
        results = [done.result for done in batch if done.result is not None]
        if results and self._results is not None:
            await self._retry.call(partial(self._results.publish, results))
        plain = [done.handle for done in batch if done.failure is None and done.release_after is None]
        if plain:
            await self._retry.call(partial(self._queue.ack, plain))
        for done in batch:
            if done.failure is not None:
                await self._retry.call(partial(self._queue.dead, done.handle, done.failure))
            elif done.release_after is not None:
                await self._retry.call(partial(self._queue.release, done.handle, done.release_after))
