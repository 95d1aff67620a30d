"""Where the messages of a queue of RabbitMQ rest that were given up."""

import aiormq.abc
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import DeliveredMessage

from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetter
from worker.queues.rabbitmq.messages import dead_letter_of, requeued_copy
from worker.queues.rabbitmq.publisher import ConfirmedSender
from worker.queues.rabbitmq.topology import SETTLED_AT_ONCE

_SECONDS_EACH = 0.05


class RabbitDeadLetters:
    """See :class:`worker.queues.base.DeadLetters`. If no queue was made for them yet, there are none."""

    def __init__(self, address: QueueAddress) -> None:
        self._address = address
        self._sender = ConfirmedSender(address, "dead letters")

    async def open(self) -> None:
        """Connect."""
        await self._sender.connection.open()

    async def letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, ``most`` at most; they stay where they are."""

        async def read(channel: AbstractChannel) -> list[DeliveredMessage]:
            broker = await channel.get_underlay_channel()
            found = await self._get(broker, most)
            if found:
                last = int(found[-1].delivery_tag or 0)
                await broker.basic_nack(last, multiple=True, requeue=True, wait=False)
                await broker.flow(active=True)
            return found

        found = await self._sender.connection.on_own_channel(read, extra=most * _SECONDS_EACH)
        return [dead_letter_of(message, self._address.name) for message in found]

    async def requeue(self, most: int) -> int:
        """Put the oldest back on the queue as new messages with their old identity; gives how many."""
        moved = 0
        while moved < most:
            count = await self._move(min(SETTLED_AT_ONCE, most - moved))
            moved += count
            if not count:
                break
        return moved

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._sender.connection.close()

    async def _move(self, most: int) -> int:
        async def move(channel: AbstractChannel) -> int:
            broker = await channel.get_underlay_channel()
            found = await self._get(broker, most)
            if found:
                name = self._address.name
                await self._sender.send(name, [requeued_copy(letter, name) for letter in found], channel)
                # Exact: this channel was given nothing else.
                last = int(found[-1].delivery_tag or 0)
                await broker.basic_ack(last, multiple=True, wait=False)
                await broker.flow(active=True)
            return len(found)

        return await self._sender.connection.on_own_channel(move)

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
