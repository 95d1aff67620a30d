"""Tell the broker what became of its messages, after the outcome is durable, a batch at a time."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from worker.queues import Publisher, Queue, Why
from worker.run.broker_retry import Patience

LINGER = 0.05
"""Seconds; a worker that dies within them leaves so many more messages to be looked at again."""

_MOST_AT_ONCE = 500

MOST_WAITING = 1000
"""When so many wait for a broker that is slow or away, no more messages are to be received."""


@dataclass(frozen=True, slots=True)
class Done:
    """A message that has its outcome.

    Attributes:
        handle: of its latest delivery.
        why: it is given up, because of this; None if it is not.
        back_in: seconds after which it is to come again; None if it is not to.
        result: what is published about it: identity and body; None for nothing.
    """

    handle: str
    why: Why | None = None
    back_in: float | None = None
    result: tuple[str, bytes] | None = None


class Settling:
    """Settles messages in the background, for as long as it takes: an outcome is durable, so it can wait.

    Args:
        queue: whose messages they are.
        results: where outcomes are published before their message is settled; None if nowhere.
        patience: how to wait for a broker that is away.
    """

    def __init__(self, queue: Queue, results: Publisher | None, patience: Patience) -> None:
        self._queue = queue
        self._results = results
        self._patience = patience
        self._waiting: deque[Done] = deque()
        self._news = asyncio.Event()
        self._fewer = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, done: Done) -> None:
        """Settle this one, soon."""
        self._waiting.append(done)
        self._idle.clear()
        self._news.set()

    async def work(self) -> None:
        """Settle what comes, until cancelled; whatever happens, nothing is forgotten.

        Raises:
            QueueError: the broker refuses us for good.
        """
        while True:
            await self._news.wait()
            await asyncio.sleep(LINGER)  # the outcome is durable, so there is time to gather a batch
            self._news.clear()
            while self._waiting:
                batch = [self._waiting[at] for at in range(min(len(self._waiting), _MOST_AT_ONCE))]
                await self._settle(batch)
                for _ in batch:
                    self._waiting.popleft()
                self._fewer.set()
            self._idle.set()

    async def wait_for_room(self) -> None:
        """Wait until fewer than :data:`MOST_WAITING` are not settled yet."""
        while len(self._waiting) >= MOST_WAITING:
            self._fewer.clear()
            await self._fewer.wait()

    async def flush(self, seconds: float) -> bool:
        """Wait until all is settled; False if that takes longer."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _settle(self, batch: Sequence[Done]) -> None:
        results = [done.result for done in batch if done.result is not None]
        if results and self._results is not None:
            await self._patience.until_done(partial(self._results.publish, results))
        plain = [done.handle for done in batch if done.why is None and done.back_in is None]
        if plain:
            await self._patience.until_done(partial(self._queue.ack, plain))
        for done in batch:
            if done.why is not None:
                await self._patience.until_done(partial(self._queue.dead, done.handle, done.why))
            elif done.back_in is not None:
                await self._patience.until_done(partial(self._queue.release, done.handle, done.back_in))
