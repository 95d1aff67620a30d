"""Where messages come into a stream of Redis: many at once, each of them confirmed."""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.errors import QueueError
from worker.queues.address import QueueAddress
from worker.queues.redis.connection import Connection

_MESSAGES_AT_ONCE = 500
_BYTES_AT_ONCE = 4_000_000


class RedisPublisher:
    """See :class:`worker.queues.base.Publisher`."""

    def __init__(self, address: QueueAddress, *, for_work: bool = True) -> None:
        self._connection = Connection(address)
        self._for_work = for_work

    async def open(self) -> None:
        """Connect, and make the stream and its group if there are none.

        Raises:
            QueueError: no worker could work on such a stream here.
        """
        await self._connection.open()
        try:
            await self._connection.make_group(with_stream=True)
            if self._for_work:
                await self._connection.check_scripts()
        except QueueError:
            await self._connection.close()
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
        await self._connection.close()

    async def _add(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if not messages:
            return

        async def add(client: Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for identity, body in messages:
                pipeline.execute_command(
                    "XADD", self._connection.address.name, "*", "id", identity, "body", body
                )
            # The library puts the whole command, body and all, into an error that it raises itself.
            for answer in await pipeline.execute(raise_on_error=False):
                if isinstance(answer, RedisError):
                    raise answer

        await self._connection.call(add)
