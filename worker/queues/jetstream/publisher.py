"""Where messages come into a stream of NATS: many at once, each of them confirmed."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nats.js import JetStreamContext
from nats.js import errors as js_faults

from worker.errors import QueueError
from worker.queues.address import QueueAddress
from worker.queues.jetstream.connection import Connection
from worker.queues.jetstream.messages import message_headers, size_of
from worker.queues.jetstream.topology import work_stream

if TYPE_CHECKING:
    from nats.js.api import PubAck

_MESSAGES_AT_ONCE = 500
_BYTES_AT_ONCE = 4_000_000

Outgoing = tuple[dict[str, str], bytes]
"""Headers and body of a message."""


class JetStreamPublisher:
    """See :class:`worker.queues.base.Publisher`. The same message again, soon, is swallowed by the server."""

    def __init__(self, address: QueueAddress) -> None:
        self._connection = Connection(address)
        self._subject = ""

    async def open(self) -> None:
        """Connect, and make the stream if there is none; one that is there is taken as it is."""
        await self._connection.open()
        try:
            await self._connection.make_stream(work_stream(self._connection.address))
            self._subject = await self._connection.subject()
        except BaseException:
            await self._connection.close()
            raise

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (identity, body) messages, in order; returns when the server has confirmed every one."""
        outgoing = [(message_headers(identity, body), body) for identity, body in messages]
        await publish_all(self._connection, self._subject, outgoing)

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._connection.close()


async def publish_all(connection: Connection, subject: str, messages: Sequence[Outgoing]) -> None:
    """Publish messages in order; returns when the server has confirmed every one.

    Raises:
        QueueError: one is too large, and then none is published; or no stream takes them.
        QueueUnavailable: not all are confirmed; a second time, the server swallows those that are there.
    """
    if not messages:
        return
    most = await connection.most_bytes()
    for headers, body in messages:
        if (size := size_of(headers, body)) > most:
            raise QueueError(
                f"{connection.address.shown}: a message of {size} bytes; the server takes {most} at most"
            )
    some: list[Outgoing] = []
    size = 0
    for headers, body in messages:
        some.append((headers, body))
        size += len(body)
        if len(some) == _MESSAGES_AT_ONCE or size >= _BYTES_AT_ONCE:
            await _publish_some(connection, subject, some)
            some, size = [], 0
    if some:
        await _publish_some(connection, subject, some)


async def _publish_some(connection: Connection, subject: str, messages: Sequence[Outgoing]) -> None:
    async def publish(js: JetStreamContext) -> None:
        confirmations: list[asyncio.Future[PubAck]] = []
        try:
            for headers, body in messages:
                # None at all: the library would send a line even for an empty collection of them.
                beside = dict(headers) or None
                confirmations.append(await js.publish_async(subject, body, headers=beside))
            answers = await asyncio.gather(*confirmations, return_exceptions=True)
        finally:
            for confirmation in confirmations:
                confirmation.cancel()
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    try:
        await connection.ask(publish)
    except QueueError as error:
        if isinstance(error.__cause__, js_faults.NoStreamResponseError):
            await connection.subject()
        raise
