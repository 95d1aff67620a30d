"""The two ends of a queue of RabbitMQ that no worker touches: where messages come in, and where they rest."""

from collections.abc import Sequence

import aiormq.abc
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import DeliveredMessage

from worker.errors import QueueError
from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetter
from worker.queues.rabbitmq.messages import dead_letter, fresh_copy, new_message
from worker.queues.rabbitmq.topology import Outbox, dead_queue, work_queue

_LONGEST_NAME = 255
_AT_ONCE = 100
_SECONDS_EACH = 0.05


class RabbitPublisher:
    """See :class:`worker.queues.base.Publisher`."""

    def __init__(self, address: QueueAddress, *, for_work: bool = True) -> None:
        self._address = address
        self._for_work = for_work
        self._outbox = Outbox(address, "publish")

    async def open(self) -> None:
        """Connect, and make the queue and its dead letters if there are none.

        Raises:
            QueueError: it is a stream, on which no worker could work.
        """
        await self._outbox.link.open()
        try:
            # First the dead letters: the queue must never be without a place to put them.
            await self._outbox.make(dead_queue(self._address), work_queue(self._address))
            if self._for_work:
                await self._outbox.link.refuse_stream(self._address.name)
        except QueueError:
            await self.close()
            raise

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (identity, body) messages, in order; returns when the broker has confirmed every one."""
        for identity, _ in messages:
            if len(identity.encode()) > _LONGEST_NAME:
                raise QueueError(f"{self._address.shown}: a message id is too long: {identity[:40]}...")
        made = [new_message(identity, body) for identity, body in messages]
        await self._outbox.put(self._address.name, made)

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._outbox.link.close()


class RabbitDeadLetters:
    """See :class:`worker.queues.base.DeadLetters`. If no queue was made for them yet, there are none."""

    def __init__(self, address: QueueAddress) -> None:
        self._address = address
        self._outbox = Outbox(address, "dead letters")

    async def open(self) -> None:
        """Connect."""
        await self._outbox.link.open()

    async def letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, ``most`` at most; they stay where they are."""

        async def look(channel: AbstractChannel) -> list[DeliveredMessage]:
            broker = await channel.get_underlay_channel()
            found = await self._get(broker, most)
            if found:
                last = int(found[-1].delivery_tag or 0)
                await broker.basic_nack(last, multiple=True, requeue=True, wait=False)
                await broker.flow(active=True)
            return found

        found = await self._outbox.link.aside(look, extra=most * _SECONDS_EACH)
        return [dead_letter(message, self._address.name) for message in found]

    async def requeue(self, most: int) -> int:
        """Put the oldest back on the queue as new messages with their old identity; gives how many."""
        moved = 0
        while moved < most:
            count = await self._move(min(_AT_ONCE, most - moved))
            moved += count
            if not count:
                break
        return moved

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._outbox.link.close()

    async def _move(self, most: int) -> int:
        async def move(channel: AbstractChannel) -> int:
            broker = await channel.get_underlay_channel()
            found = await self._get(broker, most)
            if found:
                await self._outbox.send(self._address.name, [fresh_copy(letter) for letter in found], channel)
                # Exact: this channel was given nothing else.
                last = int(found[-1].delivery_tag or 0)
                await broker.basic_ack(last, multiple=True, wait=False)
                await broker.flow(active=True)
            return len(found)

        return await self._outbox.link.aside(move)

    async def _get(self, broker: aiormq.abc.AbstractChannel, most: int) -> list[DeliveredMessage]:
        found: list[DeliveredMessage] = []
        try:
            while len(found) < most:
                message = await broker.basic_get(self._address.dead_name)
                if message.delivery_tag is None:
                    break
                found.append(message)
        except ChannelNotFoundEntity:
            if found:
                raise
        return found
