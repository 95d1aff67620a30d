"""Where the messages of a stream of Redis rest that were given up."""

from functools import partial
from typing import Any

from redis.asyncio import Redis

from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetter
from worker.queues.redis.connection import Connection
from worker.queues.redis.messages import dead_letter_of, text_of
from worker.queues.redis.scripts import REQUEUE

_LETTERS_AT_ONCE = 100


class RedisDeadLetters:
    """See :class:`worker.queues.base.DeadLetters`. Requeued letters are moved at once, some at a time."""

    def __init__(self, address: QueueAddress) -> None:
        self._connection = Connection(address)

    async def open(self) -> None:
        """Connect."""
        await self._connection.open()

    async def letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, ``most`` at most; they stay where they are."""
        letters: list[DeadLetter] = []
        after = "-"
        while len(letters) < most:
            at_once = min(_LETTERS_AT_ONCE, most - len(letters))
            page = await self._connection.call(partial(self._page, after, at_once))
            for entry, fields in page:
                letters.append(dead_letter_of(text_of(entry), fields))
                after = f"({text_of(entry)}"
            if len(page) < at_once:
                break
        return letters

    async def requeue(self, most: int) -> int:
        """Put the oldest back on the queue as new messages with their old identity; gives how many."""
        moved = 0
        while moved < most:
            some = await self._connection.run(REQUEUE, min(_LETTERS_AT_ONCE, most - moved))
            moved += some
            if not some:
                break
        return moved

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._connection.close()

    async def _page(self, after: str, most: int, client: Redis) -> Any:
        return await client.xrange(self._connection.keys.dead, min=after, count=most)
