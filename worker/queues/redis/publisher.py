"""The two ends of a stream of Redis that no worker touches: where messages come in, and where they rest."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.errors import QueueError
from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetter
from worker.queues.redis.connection import REQUEUE, Server, letter_of, text_of

_MESSAGES_AT_ONCE = 500
_BYTES_AT_ONCE = 4_000_000
_LETTERS_AT_ONCE = 100


class RedisPublisher:
    """See :class:`worker.queues.base.Publisher`."""

    def __init__(self, address: QueueAddress, *, for_work: bool = True) -> None:
        self._server = Server(address)
        self._for_work = for_work

    async def open(self) -> None:
        """Connect, and make the stream and its group if there are none.

        Raises:
            QueueError: no worker could work on such a stream here.
        """
        await self._server.open()
        try:
            await self._server.make_group(with_stream=True)
            if self._for_work:
                await self._server.check_scripts()
        except QueueError:
            await self._server.close()
            raise

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (identity, body) messages, in order; returns when the server has confirmed every one."""
        some: list[tuple[str, bytes]] = []
        size = 0
        for identity, body in messages:
            some.append((identity, body))
            size += len(body)
            if len(some) == _MESSAGES_AT_ONCE or size >= _BYTES_AT_ONCE:
                await self._add(some)
                some, size = [], 0
        await self._add(some)

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._server.close()

    async def _add(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if not messages:
            return

        async def add(client: Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for identity, body in messages:
                pipeline.execute_command("XADD", self._server.address.name, "*", "id", identity, "body", body)
            # The library puts the whole command, body and all, into an error that it raises itself.
            for answer in await pipeline.execute(raise_on_error=False):
                if isinstance(answer, RedisError):
                    raise answer

        await self._server.call(add)


class RedisDeadLetters:
    """See :class:`worker.queues.base.DeadLetters`. Requeued letters are moved at once, some at a time."""

    def __init__(self, address: QueueAddress) -> None:
        self._server = Server(address)

    async def open(self) -> None:
        """Connect."""
        await self._server.open()

    async def letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, ``most`` at most; they stay where they are."""
        letters: list[DeadLetter] = []
        after = "-"
        while len(letters) < most:
            at_once = min(_LETTERS_AT_ONCE, most - len(letters))
            page = await self._server.call(partial(self._page, after, at_once))
            for entry, fields in page:
                letters.append(letter_of(text_of(entry), fields))
                after = f"({text_of(entry)}"
            if len(page) < at_once:
                break
        return letters

    async def requeue(self, most: int) -> int:
        """Put the oldest back on the queue as new messages with their old identity; gives how many."""
        moved = 0
        while moved < most:
            some = await self._server.run(REQUEUE, min(_LETTERS_AT_ONCE, most - moved))
            moved += some
            if not some:
                break
        return moved

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._server.close()

    async def _page(self, after: str, most: int, client: Redis) -> Any:
        return await client.xrange(self._server.keys.dead, min=after, count=most)
