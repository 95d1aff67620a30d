"""Puts messages on queues of RabbitMQ, each confirmed; knows which queues we make, and of what kind."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel

from worker.queues.address import QueueAddress
from worker.queues.rabbitmq.connection import Link, UnroutableError

# The worker gives a message up long before; this stops one that kills each worker before it can.
_DELIVERY_LIMIT = 100
# To look at a dead letter counts as a delivery, and from 4.0 on a queue has a limit if it names none.
_NO_LIMIT = 2_147_483_647
_AT_ONCE = 500
# The broker writes the name of a new queue down half a second late. If it is killed before that, the queue
# never works again, and what it had confirmed is gone.
_TO_DISK_SECONDS = 1.0

_HOUR = 3_600.0
STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, _HOUR)
"""Seconds that messages wait in our delay queues; longer delays are whole hours.

A queue lets nothing out before its first message, so all in one must wait equally long.
"""


@dataclass(frozen=True, slots=True)
class NewQueue:
    """A queue as we would make it.

    Attributes:
        arguments: besides what all have in common: durable, replicated.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


def _on_to(name: str) -> dict[str, Any]:
    # at-least-once leaves a message in its queue until the next has confirmed it; it needs reject-publish,
    # which without a greatest length refuses nothing.
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def work_queue(address: QueueAddress) -> NewQueue:
    """The queue itself."""
    return NewQueue(address.name, {**_on_to(address.dead_name), "x-delivery-limit": _DELIVERY_LIMIT})


def dead_queue(address: QueueAddress) -> NewQueue:
    """Its dead letters."""
    return NewQueue(address.dead_name, {"x-delivery-limit": _NO_LIMIT})


def delay_queue(address: QueueAddress, seconds: float) -> NewQueue:
    """Where messages wait for the least step that is not shorter than ``seconds``.

    Not a classic queue: that one forgets a message as it passes it on, confirmed or not. And without an
    expiry of its own, since a replicated queue expires while it is in use, messages and all.
    """
    step = next((step for step in STEPS if step >= seconds), math.ceil(seconds / _HOUR) * _HOUR)
    milliseconds = round(step * 1_000)
    return NewQueue(
        f"{address.name}.delay.{milliseconds}", {**_on_to(address.name), "x-message-ttl": milliseconds}
    )


class Outbox:
    """A connection that only publishes: under an alarm the broker stops reading from those that do.

    Raises as :class:`worker.queues.base.Queue` does.
    """

    def __init__(self, address: QueueAddress, purpose: str) -> None:
        self.link = Link(address, purpose)
        self._making = asyncio.Lock()
        self._made: set[str] = set()

    async def make(self, *queues: NewQueue) -> None:
        """Make queues unless there are some of their names, whoever made them, and of whatever kind."""
        if self._made.issuperset(queue.name for queue in queues):
            return
        async with self._making:
            missing = [queue for queue in queues if queue.name not in self._made]
            missing = [queue for queue in missing if await self.link.waiting(queue.name) is None]
            for queue in missing:
                await self.link.call(partial(_declare, queue))
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
            await self.link.call(partial(self.send, name, batch))

    @staticmethod
    async def send(name: str, messages: Sequence[aio_pika.Message], channel: AbstractChannel) -> None:
        """Add a few messages to a queue over a given channel, all at once; returns as ``put`` does."""
        publish = channel.default_exchange.publish
        results = await asyncio.gather(*(publish(m, name) for m in messages), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def put_into(self, queue: NewQueue, message: aio_pika.Message) -> None:
        """Add a message to a queue of ours, which is made if it is not there."""
        await self.make(queue)
        try:
            await self.put(queue.name, [message])
        except UnroutableError:  # somebody deleted it since
            self._made.discard(queue.name)
            await self.make(queue)
            await self.put(queue.name, [message])


async def _declare(queue: NewQueue, channel: AbstractChannel) -> None:
    arguments = {"x-queue-type": "quorum", **queue.arguments}
    await channel.declare_queue(queue.name, durable=True, arguments=arguments)
