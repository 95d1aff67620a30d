"""NATS JetStream as a queue: a durable pull consumer, whose acknowledgements remove messages for good."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js import errors as js_faults
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, RetentionPolicy

from worker.errors import QueueError, QueueUnavailable
from worker.queues.address import QueueAddress
from worker.queues.base import Failure, Message
from worker.queues.jetstream.connection import CALL_SECONDS, Connection
from worker.queues.jetstream.messages import dead_letter_headers, identity_of, life_of
from worker.queues.jetstream.publisher import publish_all
from worker.queues.jetstream.pull import ENDED, LOST, PullSubscription
from worker.queues.jetstream.topology import dead_letter_stream

if TYPE_CHECKING:
    from datetime import datetime

# Delayed messages count as handed out: with too few, they would keep all others waiting.
_MOST_HANDED_OUT = 100_000
_LONGEST_WAIT = 5.0
# Of a lease. The server's clock began when it sent the message, and ours when we saw it.
_CERTAIN = 0.8
_PAUSE = 0.1

_ACK = b""
_IN_PROGRESS = b"+WPI"


@dataclass(slots=True)
class _Held:
    message: Message
    sequence: int
    reply: str
    until: float
    is_leaving: bool = False


class JetStreamQueue:
    """A stream of NATS, see :class:`worker.queues.base.Queue`.

    The server takes an acknowledgement for good whoever sends it, even if it has handed the message to
    somebody else meanwhile. So we count for ourselves how long a message is certainly ours.
    """

    def __init__(self, address: QueueAddress, lease: float) -> None:
        self._connection = Connection(address, self._subscribe, self._lose)
        self._wanted_lease = self._lease = lease
        self._consumer = f"{address.name}.{address.group}"
        self._made_at: datetime | None = None
        self._held: dict[str, _Held] = {}
        self._handles: dict[int, str] = {}
        self._numbers = count(1)
        # Part of each handle: one of another worker, or of an earlier life, is none of ours.
        self._session = uuid4().hex
        self._fetched: deque[Message] = deque()
        self._at_once = PullSubscription(self._take)
        self._one_by_one = PullSubscription(self._take)
        self._renewing: asyncio.Task[None] | None = None
        self._is_open = False

    @property
    def name(self) -> str:
        """Name of the stream."""
        return self._connection.address.name

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: where a consumer begins is its maker's choice, and others may have the rest."""
        return ()

    async def open(self) -> None:
        """Connect, and make sure that the stream is there; its consumer is made if it is not."""
        await self._connection.open()
        try:
            await self._find_consumer()
            await self._connection.make_stream(dead_letter_stream(self._connection.address))
        except BaseException:
            await self._connection.close()
            raise
        if not self._is_open:
            self._renewing = asyncio.create_task(self._renew())
            self._is_open = True

    async def receive(self, most: int, wait: float) -> list[Message]:
        """The next messages, ``most`` at most; empty if none comes within ``wait`` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        if most < 1:
            return []
        while not (messages := self._next(most)):
            await self._fetch(self._at_once, most, 0.0)
            if not self._fetched and (left := end - loop.time()) > 0:
                # One, then all that came with it: a larger request might later take what we have no room for.
                await self._fetch(self._one_by_one, 1, min(left, _LONGEST_WAIT))
                if self._fetched and most > len(self._fetched):
                    await self._fetch(self._at_once, most - len(self._fetched), 0.0)
            if loop.time() >= end:
                return self._next(most)
        return messages

    async def ack(self, handles: Sequence[str]) -> None:
        """These are done; they will never be handed out again."""
        ours = [handle for handle in handles if self._is_held(handle)]
        if ours:
            await self._settle(ours, _ACK)

    async def release(self, handle: str, delay: float) -> None:
        """Give it back unfinished; it is handed out again, but not before ``delay`` seconds have passed."""
        if self._is_held(handle):
            await self._settle([handle], _nak(delay))

    async def dead(self, handle: str, failure: Failure) -> None:
        """Move it to the dead letters, and then acknowledge it: a crash in between may leave it in both."""
        if self._is_held(handle):
            message = self._held[handle].message
            room = await self._connection.most_bytes()
            letter = dead_letter_headers(message, failure, handle, room), message.body
            dead_name = self._connection.address.dead_name
            try:
                await publish_all(self._connection, dead_name, [letter])
            except QueueError as error:
                if not isinstance(error.__cause__, js_faults.NoStreamResponseError):
                    raise
                await self._connection.make_stream(dead_letter_stream(self._connection.address))
                await publish_all(self._connection, dead_name, [letter])
            await self.ack([handle])

    async def is_drained(self) -> bool:
        """Nothing waits, nothing is delayed, and nobody holds anything."""
        if self._held:
            return False
        stream = await self._connection.stream(self.name)
        if stream is None:
            raise self._connection.no_stream()
        info = await self._find_consumer()
        if info.num_pending or info.num_ack_pending:
            return False
        # The consumer may not have heard yet of what the stream has just confirmed.
        is_whole = stream.config.retention == RetentionPolicy.WORK_QUEUE and not info.config.filter_subject
        return not (is_whole and stream.state.messages)

    async def close(self) -> None:
        """Disconnect; what is still held is handed out again. Never raises, may be called twice."""
        was_open, self._is_open = self._is_open, False
        renewing, self._renewing = self._renewing, None
        try:
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
            if was_open:
                with suppress(QueueError, NatsError, TimeoutError):
                    await self._at_once.drain()
                    await self._one_by_one.drain()
                    if ours := self._all_held():
                        await self._tell(ours, _nak(0.0))
        finally:
            self._forget()
            await self._connection.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _subscribe(self, client: Client) -> None:
        await self._at_once.subscribe(client)
        await self._one_by_one.subscribe(client)

    def _lose(self) -> None:
        self._at_once.lose()
        self._one_by_one.lose()

    async def _fetch(self, pull: PullSubscription, most: int, wait: float) -> None:
        end = await pull.fetch(self._connection, self._consumer, most, wait)
        if not end or end.startswith(ENDED) or self._fetched:
            return
        if end == LOST:
            raise QueueUnavailable(f"{self._connection.address.shown}: the connection was lost")
        if "MaxRequest" in end:
            raise QueueError(f"{self._connection.address.shown}: the consumer refuses to be asked: {end}")
        # A request to a consumer that is not there is never answered.
        await self._find_consumer()
        await asyncio.sleep(_PAUSE)

    def _take(self, it: Msg) -> None:
        sequence = it.metadata.sequence.stream
        earlier = self._handles.get(sequence, "")
        if self._is_held(earlier) and not self._held[earlier].is_leaving:
            # It is ours already. Some servers send it twice, if a request runs out just when a lease does.
            return
        handle = self._handles[sequence] = f"{self._session}.{next(self._numbers)}"
        identity = identity_of(it.headers, f"{self.name}.{sequence}")
        message = Message(handle, identity, it.data, it.metadata.num_delivered, life_of(it.headers))
        until = asyncio.get_running_loop().time() + _CERTAIN * self._lease
        self._held[handle] = _Held(message, sequence, it.reply, until)
        self._fetched.append(message)

    def _next(self, most: int) -> list[Message]:
        messages: list[Message] = []
        while self._fetched and len(messages) < most:
            message = self._fetched.popleft()
            if self._is_held(message.handle):
                messages.append(message)
        return messages

    async def _settle(self, handles: Sequence[str], word: bytes) -> None:
        for handle in handles:
            # From now on it may come again.
            self._held[handle].is_leaving = True
        await self._tell(handles, word)
        self._drop(handles)

    async def _tell(self, handles: Sequence[str], word: bytes) -> None:
        if not handles:
            return
        *others, last = (self._held[handle].reply for handle in handles)

        async def send(client: Client) -> None:
            for reply in others:
                await client.publish(reply, word)
            # Answered by the server after those before it; a flush may be answered before they are read.
            await client.request(last, word, timeout=CALL_SECONDS)

        await self._connection.run(send)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            # Whoever makes the next call is told of an error. Until the lease is over nothing is lost.
            with suppress(QueueError):
                await self._renew_once()

    async def _renew_once(self) -> None:
        if held := self._all_held():
            until = asyncio.get_running_loop().time() + self._lease
            await self._tell(held, _IN_PROGRESS)
            for handle in held:
                if handle in self._held:
                    self._held[handle].until = until
        await self._find_consumer()

    async def _find_consumer(self) -> ConsumerInfo:
        """The consumer, made again if it is gone; then all that we held is handed out again."""
        stream, name = self._connection.address.name, self._connection.address.group

        async def read(js: JetStreamContext) -> ConsumerInfo | None:
            try:
                found: ConsumerInfo = await js.consumer_info(stream, name)
            except (js_faults.NotFoundError, TypeError):
                # Of one that is just being removed the server tells nothing, and nats-py fails to read that.
                return None
            return found

        info = await self._connection.ask(read)
        if info is None:
            if await self._connection.stream(stream) is None:
                raise self._connection.no_stream()
            config = ConsumerConfig(
                durable_name=name,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._wanted_lease,
                max_deliver=-1,
                max_ack_pending=_MOST_HANDED_OUT,
            )
            info = await self._connection.ask(lambda js: js.add_consumer(stream, config))
            self._forget()
        config = info.config
        if (config.max_deliver or 0) > 0:
            bound = f"the consumer {name} gives a message up unseen after {config.max_deliver} deliveries"
            raise QueueError(f"{self._connection.address.shown}: {bound}; make it without max_deliver")
        if config.deliver_subject or config.ack_policy != AckPolicy.EXPLICIT:
            raise QueueError(
                f"{self._connection.address.shown}: the consumer {name} is none to pull from"
                " with explicit acknowledgements"
            )
        self._lease = min([config.ack_wait or self._wanted_lease, *(config.backoff or ())])
        made_at = getattr(info, "created", None)  # which older versions of the library do not tell
        if self._made_at not in {None, made_at}:
            self._forget()
        self._made_at = made_at
        return info

    def _is_held(self, handle: str) -> bool:
        it = self._held.get(handle)
        if it is not None and it.until <= asyncio.get_running_loop().time():
            self._drop([handle])
            return False
        return it is not None

    def _all_held(self) -> list[str]:
        return [handle for handle in list(self._held) if self._is_held(handle)]

    def _drop(self, handles: Sequence[str]) -> None:
        for handle in handles:
            it = self._held.pop(handle, None)
            if it is not None and self._handles.get(it.sequence) == handle:
                del self._handles[it.sequence]

    def _forget(self) -> None:
        self._held.clear()
        self._handles.clear()
        self._fetched.clear()


def _nak(delay: float) -> bytes:
    return b"-NAK" if delay <= 0 else b'-NAK {"delay": %d}' % (delay * 1_000_000_000)
