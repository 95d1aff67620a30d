"""Where messages come into a stream of NATS: many at once, each of them confirmed."""

import asyncio
from collections.abc import Sequence

from nats.js import JetStreamContext
from nats.js import errors as js_faults
from nats.js.api import DiscardPolicy, PubAck, RetentionPolicy, StorageType, StreamConfig

from worker.errors import QueueError
from worker.queues.address import QueueAddress
from worker.queues.jetstream.connection import Server
from worker.queues.jetstream.messages import message_headers, size_of

_MESSAGES_AT_ONCE = 500
_BYTES_AT_ONCE = 4_000_000
_DUPLICATE_SECONDS = 120.0

Outgoing = tuple[dict[str, str], bytes]
"""Headers and body of a message."""


class JetStreamPublisher:
    """See :class:`worker.queues.base.Publisher`. The same message again, soon, is swallowed by the server."""

    def __init__(self, address: QueueAddress) -> None:
        self._server = Server(address)
        self._subject = ""

    async def open(self) -> None:
        """Connect, and make the stream if there is none; one that is there is taken as it is."""
        await self._server.open()
        name = self._server.address.name
        try:
            await self._server.make_stream(
                StreamConfig(
                    name=name,
                    subjects=[name],
                    retention=RetentionPolicy.WORK_QUEUE,
                    storage=StorageType.FILE,
                    discard=DiscardPolicy.NEW,
                    duplicate_window=_DUPLICATE_SECONDS,
                )
            )
            self._subject = await self._server.subject()
        except BaseException:
            await self._server.close()
            raise

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (identity, body) messages, in order; returns when the server has confirmed every one."""
        outgoing = [(message_headers(identity, body), body) for identity, body in messages]
        await publish_all(self._server, self._subject, outgoing)

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._server.close()


async def publish_all(server: Server, subject: str, messages: Sequence[Outgoing]) -> None:
    """Publish messages in order; returns when the server has confirmed every one.

    Raises:
        QueueError: one is too large, and then none is published; or no stream takes them.
        QueueUnavailable: not all are confirmed; a second time, the server swallows those that are there.
    """
    if not messages:
        return
    most = await server.most_bytes()
    for headers, body in messages:
        if (size := size_of(headers, body)) > most:
            raise QueueError(
                f"{server.address.shown}: a message of {size} bytes; the server takes {most} at most"
            )
    some: list[Outgoing] = []
    size = 0
    for headers, body in messages:
        some.append((headers, body))
        size += len(body)
        if len(some) == _MESSAGES_AT_ONCE or size >= _BYTES_AT_ONCE:
            await _publish_some(server, subject, some)
            some, size = [], 0
    if some:
        await _publish_some(server, subject, some)


async def _publish_some(server: Server, subject: str, messages: Sequence[Outgoing]) -> None:
    async def publish(js: JetStreamContext) -> None:
        confirmations: list[asyncio.Future[PubAck]] = []
        try:
            for headers, body in messages:
                confirmations.append(await js.publish_async(subject, body, headers=dict(headers)))
            answers = await asyncio.gather(*confirmations, return_exceptions=True)
        finally:
            for confirmation in confirmations:
                confirmation.cancel()
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    try:
        await server.ask(publish)
    except QueueError as error:
        if isinstance(error.__cause__, js_faults.NoStreamResponseError):
            await server.subject()
        raise
