"""RabbitMQ: queues that give a message back as soon as the connection of its holder is gone."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self
from uuid import uuid4

from aio_pika.abc import AbstractChannel
from aiormq.abc import DeliveredMessage

from worker.errors import QueueError, QueueMissing
from worker.queues.address import QueueAddress
from worker.queues.base import Failure, Message
from worker.queues.rabbitmq.connection import Connection
from worker.queues.rabbitmq.messages import dead_copy, delayed_copy, deliveries_of, life_of
from worker.queues.rabbitmq.names import GivenNames
from worker.queues.rabbitmq.publisher import ConfirmedSender
from worker.queues.rabbitmq.settled_tags import SettledTags
from worker.queues.rabbitmq.topology import DELAY_STEPS, SETTLED_AT_ONCE, dead_letter_queue, delay_queue

_MOST = 1_000
# A queue that is asked, and at once asked to stop, may not have come to deliver what waits.
_LEAST_WAIT = 0.2
# Between two looks: as long as a message may be on its way from one queue to the next, and in neither.
_IN_TRANSIT = 0.1
# As long as a channel may need to send on what it has kept back, see SETTLED_AT_ONCE.
_TO_SEND_ON = 1.0


class RabbitQueue:
    """A queue of RabbitMQ, see :class:`worker.queues.base.Queue`.

    Each ``receive`` consumes for itself, with as much prefetch as was asked for, and stops: nothing is held
    that nobody works on, so it stays with the other workers and is not counted as handed out.

    Two connections: one holds messages, and the other, made when it is first needed, publishes copies. So
    an alarm of the broker, which stops all publishers, leaves ours free to acknowledge.
    """

    def __init__(self, address: QueueAddress) -> None:
        self._address = address
        self._connection = Connection(address, "work", self._forget)
        self._sender = ConfirmedSender(address, "copies")
        self._held: dict[str, tuple[DeliveredMessage, str]] = {}
        self._tags = SettledTags()
        self._settling = asyncio.Lock()
        self._sent_on_by = float("-inf")
        self._names = GivenNames()
        self._fetched: deque[Message] = deque()
        self._fetching: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._delays = {delay_queue(address, step).name for step in DELAY_STEPS}

    @property
    def name(self) -> str:
        """Name of the queue."""
        return self._address.name

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: what the broker gives up goes to the dead letters."""
        return ()

    async def open(self) -> None:
        """Connect, and make sure that the queue is there."""
        await self._connection.open()
        try:
            await self._count_waiting()
            await self._connection.refuse_stream(self.name)
        except QueueError:
            await self._connection.close()
            raise

    async def receive(self, most: int, wait: float) -> list[Message]:
        """The next messages, ``most`` at most; empty if none comes within ``wait`` seconds."""
        if self._fetching is not None:
            # What it fetches for a caller who is gone is for this one.
            await self._end_of_fetching()
        if not self._fetched:
            self._enough.clear()
            self._fetching = asyncio.create_task(self._fetch(min(most, _MOST), wait))
            await self._end_of_fetching()
        return [self._fetched.popleft() for _ in range(min(most, len(self._fetched)))]

    async def ack(self, handles: Sequence[str]) -> None:
        """These are done; they will never be handed out again."""
        await self._settle(handles)

    async def release(self, handle: str, delay: float) -> None:
        """Give it back unfinished, to be handed out again after ``delay`` seconds, rounded up to a step."""
        if handle not in self._held:
            return
        if delay > 0:
            message, identity = self._held[handle]
            queue = delay_queue(self._address, delay)
            self._delays.add(queue.name)
            await self._sender.put_into(queue, delayed_copy(message, identity))
            await self.ack([handle])
            return
        self._names.given_back([self._held[handle]])
        await self._settle([handle], back=True)

    async def dead(self, handle: str, failure: Failure) -> None:
        """Move it to the dead letters, and then acknowledge it: a crash in between may leave it in both."""
        if handle not in self._held:
            return
        message, identity = self._held[handle]
        await self._sender.put_into(dead_letter_queue(self._address), dead_copy(message, identity, failure))
        await self.ack([handle])

    async def is_drained(self) -> bool:
        """Nothing waits, nothing is delayed, and we hold nothing.

        The broker does not tell what others hold, so whoever asks must let some time pass without any
        message before it is believed. What a silent connection of our own held may come back as late as the
        broker gives that connection up.
        """
        if self._held or self._connection.may_live_on or await self._count_waiting():
            return False
        for name in self._delays:
            if await self._connection.message_count(name):
                return False
        await asyncio.sleep(_IN_TRANSIT)
        return not await self._count_waiting() and not self._held

    async def close(self) -> None:
        """Disconnect; what is still held is handed out again. Never raises, may be called twice."""
        await asyncio.sleep(self._sent_on_by - asyncio.get_running_loop().time())
        await self._sender.connection.close()
        await self._connection.close()
        if self._fetching is not None:
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _end_of_fetching(self) -> None:
        fetching = self._fetching
        if fetching is None:
            return
        try:
            # To interrupt a call of the library would cost the channel, and all that is held with it.
            await asyncio.shield(fetching)
        except asyncio.CancelledError:
            self._enough.set()
            raise
        finally:
            if fetching.done():
                self._fetching = None

    async def _fetch(self, most: int, wait: float) -> None:
        # A name of its own each time: the broker confuses consumers that bear the same.
        tag = uuid4().hex
        generation = 0

        async def take(message: DeliveredMessage) -> None:
            # Of a channel that is gone: the broker hands it out again.
            if not self._connection.is_up(generation):
                return
            handle, identity = f"{tag}.{message.delivery_tag}", self._names.of(message)
            self._held[handle] = message, identity
            deliveries, life = deliveries_of(message), life_of(message)
            self._fetched.append(Message(handle, identity, message.body, deliveries, life))
            self._enough.set()

        async def begin(channel: AbstractChannel) -> None:
            nonlocal generation
            generation = self._connection.generation
            broker = await channel.get_underlay_channel()
            await broker.basic_qos(prefetch_count=most)
            await broker.basic_consume(self.name, take, consumer_tag=tag)

        async def end(channel: AbstractChannel) -> None:
            await (await channel.get_underlay_channel()).basic_cancel(tag)

        await self._connection.call(begin)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(wait, _LEAST_WAIT)):
                await self._enough.wait()
        if not self._fetched:
            self._names.nothing_came()
        if self._connection.is_up(generation):
            await self._connection.call(end)
        if not self._connection.is_up(generation):
            raise self._connection.fault

    async def _settle(self, handles: Sequence[str], *, back: bool = False) -> None:
        if not any(handle in self._held for handle in handles):
            return

        async def settle(channel: AbstractChannel) -> None:
            broker = await channel.get_underlay_channel()
            async with self._settling:  # what stands for others must not be written before them
                # Looked up here: what is still held now was given by the very channel we write to.
                tags = {
                    handle: int(self._held[handle][0].delivery_tag or 0)
                    for handle in handles
                    if handle in self._held
                }
                last, rest = self._tags.settle(tags.values())
                if back:
                    for tag in tags.values():
                        await broker.basic_nack(tag, requeue=True, wait=False)
                else:
                    if last is not None:
                        await broker.basic_ack(last, multiple=True, wait=False)
                    for tag in rest:
                        await broker.basic_ack(tag, wait=False)
                    if len(rest) > SETTLED_AT_ONCE:
                        self._sent_on_by = asyncio.get_running_loop().time() + _TO_SEND_ON
                for handle in tags:
                    self._held.pop(handle, None)
            # Settling has no answer. This has, so what was written before it has arrived.
            await broker.flow(active=True)

        await self._connection.call(settle)

    async def _count_waiting(self) -> int:
        waiting = await self._connection.message_count(self.name)
        if waiting is None:
            raise QueueMissing(self._address.shown, "queue", self.name)
        return waiting

    def _forget(self) -> None:
        self._names.given_back(self._held.values())
        self._held.clear()
        self._tags, self._settling = SettledTags(), asyncio.Lock()  # who holds the old one may never end
        self._fetched.clear()
        self._enough.set()
