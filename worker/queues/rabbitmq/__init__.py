"""RabbitMQ: queues that give a message back as soon as the connection of its holder is gone."""

from worker.queues.address import QueueAddress
from worker.queues.rabbitmq.dead_letters import RabbitDeadLetters
from worker.queues.rabbitmq.publisher import RabbitPublisher
from worker.queues.rabbitmq.queue import RabbitQueue

__all__ = ["open_dead_letters", "open_publisher", "open_queue"]


def open_queue(address: QueueAddress, *, lease: float) -> RabbitQueue:
    """A queue to work on, not connected yet.

    Args:
        address: where it is.
        lease: means nothing here: a message is ours for as long as the connection lives, and a dead peer is
            noticed within about a minute. (The broker ends a connection that holds one for half an hour,
            unless its consumer_timeout says otherwise.)
    """
    del lease
    return RabbitQueue(address)


def open_publisher(address: QueueAddress, *, for_work: bool) -> RabbitPublisher:
    """A queue to put messages on, not connected yet.

    Args:
        address: where it is.
        for_work: what is put there is for workers; where they could not work, it is not opened.
    """
    return RabbitPublisher(address, for_work=for_work)


def open_dead_letters(address: QueueAddress) -> RabbitDeadLetters:
    """The dead letters of a queue, not connected yet."""
    return RabbitDeadLetters(address)
