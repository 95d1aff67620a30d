"""A queue in memory, for tests: keeps every promise without a broker. Its clock is the event loop's."""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from types import TracebackType
from typing import Self

from worker.errors import QueueMissing, QueueUnavailable
from worker.queues.base import DeadLetter, Failure, Message


@dataclass(frozen=True, slots=True)
class _Entry:
    """A message that nobody holds; ``deliveries`` are those it has had."""

    identity: str
    body: bytes
    deliveries: int = 0
    life: str = ""


class MemoryBroker:
    """Holds one queue and its dead letters; queues, publishers and dead letters made for it share them.

    Attributes:
        name: of the queue, which exists once a publisher was opened.
        is_up: set it to False, and every call says that the broker is unavailable.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.is_up = True
        self._exists = False
        self._waiting: deque[_Entry] = deque()
        self._delayed: list[tuple[float, int, _Entry]] = []
        self._held: dict[str, tuple[object, _Entry]] = {}
        self._dead: deque[DeadLetter] = deque()
        self._numbers = count(1)
        self._changed = asyncio.Event()

    async def reached(self) -> None:
        """As long as a question takes.

        Raises:
            QueueUnavailable: the broker is down.
        """
        await asyncio.sleep(0)
        if not self.is_up:
            raise QueueUnavailable(f"memory:{self.name}: the broker is down")

    def make(self) -> None:
        """Make the queue unless it is there."""
        self._exists = True

    def refuse_missing(self) -> None:
        """Raises QueueMissing if the queue is not there."""
        if not self._exists:
            raise QueueMissing(f"memory:{self.name}", "queue", self.name)

    def put(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (identity, body) messages."""
        self._waiting.extend(_Entry(identity, body) for identity, body in messages)
        self._wake()

    def take(self, holder: object, most: int) -> list[Message]:
        """Hand out what waits."""
        now = asyncio.get_running_loop().time()
        while self._delayed and self._delayed[0][0] <= now:
            self._waiting.append(heapq.heappop(self._delayed)[2])
        messages = []
        for _ in range(min(most, len(self._waiting))):
            entry = self._waiting.popleft()
            entry = replace(entry, deliveries=entry.deliveries + 1)
            handle = str(next(self._numbers))
            self._held[handle] = holder, entry
            messages.append(Message(handle, entry.identity, entry.body, entry.deliveries, entry.life))
        return messages

    async def change(self, until: float) -> None:
        """Wait until there may be more to take, but not longer than until that time of the loop."""
        if self._delayed:
            until = min(until, self._delayed[0][0])
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._changed.wait()

    def drop(self, holder: object, handle: str) -> _Entry | None:
        """Take a message away from its holder; None if it does not hold it."""
        if handle not in self._held or self._held[handle][0] is not holder:
            return None
        return self._held.pop(handle)[1]

    def give_back(self, holder: object, handle: str, delay: float) -> None:
        """Let a message that is held be taken again after ``delay`` seconds."""
        entry = self.drop(holder, handle)
        if entry is not None:
            due = asyncio.get_running_loop().time() + delay
            heapq.heappush(self._delayed, (due, next(self._numbers), entry))
            self._wake()

    def give_all_back(self, holder: object, delay: float) -> None:
        """Let all that somebody holds be taken again after ``delay`` seconds."""
        for handle in [handle for handle, (owner, _) in self._held.items() if owner is holder]:
            self.give_back(holder, handle, delay)

    def bury(self, holder: object, handle: str, failure: Failure) -> None:
        """Move a message that is held to the dead letters."""
        if entry := self.drop(holder, handle):
            self._dead.append(DeadLetter(entry.identity, entry.body, failure, entry.deliveries, time.time()))

    def letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters."""
        return list(self._dead)[:most]

    def requeue(self, most: int) -> int:
        """Put the oldest dead letters back."""
        letters = [self._dead.popleft() for _ in range(min(most, len(self._dead)))]
        for letter in letters:
            self._waiting.append(_Entry(letter.identity, letter.body, life=str(next(self._numbers))))
        self._wake()
        return len(letters)

    @property
    def is_drained(self) -> bool:
        """Nothing waits, nothing is delayed, nothing is held."""
        return not (self._waiting or self._delayed or self._held)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class MemoryQueue:
    """See :class:`worker.queues.base.Queue`.

    Args:
        broker: that has the queue.
        lease: seconds after which a message of a dead worker is handed out again.
    """

    def __init__(self, broker: MemoryBroker, *, lease: float = 30.0) -> None:
        self._broker = broker
        self._lease = lease
        self._is_open = False
        self.warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the queue."""
        return self._broker.name

    async def open(self) -> None:
        """Make sure that the queue is there."""
        await self._broker.reached()
        self._broker.refuse_missing()
        self._is_open = True

    async def receive(self, most: int, wait: float) -> list[Message]:
        """The next messages, ``most`` at most; empty if none comes within ``wait`` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            await self._ask()
            messages = self._broker.take(self, most)
            if messages or loop.time() >= end:
                return messages
            await self._broker.change(end)

    async def ack(self, handles: Sequence[str]) -> None:
        """These are done; they will never be handed out again."""
        await self._ask()
        for handle in handles:
            self._broker.drop(self, handle)

    async def release(self, handle: str, delay: float) -> None:
        """Give it back unfinished; it is handed out again, but not before ``delay`` seconds have passed."""
        await self._ask()
        self._broker.give_back(self, handle, delay)

    async def dead(self, handle: str, failure: Failure) -> None:
        """Move it to the dead letters."""
        await self._ask()
        self._broker.bury(self, handle, failure)

    async def is_drained(self) -> bool:
        """Nothing waits, nothing is delayed, and nobody holds anything."""
        await self._ask()
        return self._broker.is_drained

    async def close(self) -> None:
        """Disconnect; what is still held is handed out again. Never raises, may be called twice."""
        self._is_open = False
        self._broker.give_all_back(self, 0.0)

    def die(self) -> None:
        """End as a worker does that is killed: what it held is handed out again after the lease."""
        self._is_open = False
        self._broker.give_all_back(self, self._lease)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self) -> None:
        await self._broker.reached()
        if not self._is_open:
            raise QueueUnavailable(f"memory:{self.name}: the connection was closed")


class MemoryPublisher:
    """See :class:`worker.queues.base.Publisher`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def open(self) -> None:
        """Make the queue if there is none."""
        await self._broker.reached()
        self._broker.make()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (identity, body) messages, in order."""
        await self._broker.reached()
        self._broker.put(messages)

    async def close(self) -> None:
        """Nothing is to be done."""


class MemoryDeadLetters:
    """See :class:`worker.queues.base.DeadLetters`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def open(self) -> None:
        """Look whether the broker is there."""
        await self._broker.reached()

    async def letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, ``most`` at most; they stay where they are."""
        await self._broker.reached()
        return self._broker.letters(most)

    async def requeue(self, most: int) -> int:
        """Put the oldest back on the queue as new messages with their old identity; gives how many."""
        await self._broker.reached()
        return self._broker.requeue(most)

    async def close(self) -> None:
        """Nothing is to be done."""
