"""Where messages come into queues of RabbitMQ, ours among them: each is confirmed by the broker."""

import asyncio
from collections.abc import Sequence
from functools import partial

import aio_pika
from aio_pika.abc import AbstractChannel

from worker.errors import QueueError
from worker.queues.address import QueueAddress
from worker.queues.rabbitmq.connection import Connection, UnroutableError
from worker.queues.rabbitmq.messages import new_message
from worker.queues.rabbitmq.topology import QueueDeclaration, dead_letter_queue, work_queue

_AT_ONCE = 500
# The broker writes the name of a new queue down half a second late. If it is killed before that, the queue
# never works again, and what it had confirmed is gone.
_TO_DISK_SECONDS = 1.0


class RabbitPublisher:
    """See :class:`worker.queues.base.Publisher`."""

    def __init__(self, address: QueueAddress, *, for_work: bool = True) -> None:
        self._address = address
        self._for_work = for_work
        self._sender = ConfirmedSender(address, "publish")

    async def open(self) -> None:
        """Connect, and make the queue and its dead letters if there are none.

        Raises:
            QueueError: it is a stream, on which no worker could work.
        """
        await self._sender.connection.open()
        try:
            # First the dead letters: the queue must never be without a place to put them.
            await self._sender.make(dead_letter_queue(self._address), work_queue(self._address))
            if self._for_work:
                await self._sender.connection.refuse_stream(self._address.name)
        except QueueError:
            await self.close()
            raise

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (identity, body) messages, in order; returns when the broker has confirmed every one."""
        made = [new_message(identity, body) for identity, body in messages]
        await self._sender.put(self._address.name, made)

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._sender.connection.close()


class ConfirmedSender:
    """A connection that only publishes: under an alarm the broker stops reading from those that do.

    Raises as :class:`worker.queues.base.Queue` does.
    """

    def __init__(self, address: QueueAddress, purpose: str) -> None:
        self.connection = Connection(address, purpose)
        self._making = asyncio.Lock()
        self._made: set[str] = set()

    async def make(self, *queues: QueueDeclaration) -> None:
        """Make queues unless there are some of their names, whoever made them, and of whatever kind."""
        if self._made.issuperset(queue.name for queue in queues):
            return
        async with self._making:
            missing = [queue for queue in queues if queue.name not in self._made]
            missing = [queue for queue in missing if await self.connection.message_count(queue.name) is None]
            for queue in missing:
                await self.connection.call(partial(_declare, queue))
            if missing:
                await asyncio.sleep(_TO_DISK_SECONDS)
            self._made.update(queue.name for queue in queues)

    async def put(self, name: str, messages: Sequence[aio_pika.Message]) -> None:
        """Add messages to a queue, in order; returns when each is confirmed.

        Raises:
            UnroutableError: there is no such queue.
        """
        for start in range(0, len(messages), _AT_ONCE):
            batch = messages[start : start + _AT_ONCE]
            await self.connection.call(partial(self.send, name, batch))

    @staticmethod
    async def send(name: str, messages: Sequence[aio_pika.Message], channel: AbstractChannel) -> None:
        """Add a few messages to a queue over a given channel, all at once; returns as ``put`` does."""
        publish = channel.default_exchange.publish
        results = await asyncio.gather(*(publish(m, name) for m in messages), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def put_into(self, queue: QueueDeclaration, message: aio_pika.Message) -> None:
        """Add a message to a queue of ours, which is made if it is not there."""
        await self.make(queue)
        try:
            await self.put(queue.name, [message])
        except UnroutableError:  # somebody deleted it since
            self._made.discard(queue.name)
            await self.make(queue)
            await self.put(queue.name, [message])


async def _declare(queue: QueueDeclaration, channel: AbstractChannel) -> None:
    arguments = {"x-queue-type": "quorum", **queue.arguments}
    await channel.declare_queue(queue.name, durable=True, arguments=arguments)
