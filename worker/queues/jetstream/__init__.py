"""NATS JetStream as a queue: a durable pull consumer, whose acknowledgements remove messages for good."""

from worker.queues.address import QueueAddress
from worker.queues.jetstream.dead_letters import JetStreamDeadLetters
from worker.queues.jetstream.publisher import JetStreamPublisher
from worker.queues.jetstream.queue import JetStreamQueue
from worker.queues.jetstream.topology import check_names

__all__ = ["open_dead_letters", "open_publisher", "open_queue"]


def open_queue(address: QueueAddress, *, lease: float) -> JetStreamQueue:
    """A queue to work on, not connected yet.

    Args:
        address: where it is.
        lease: seconds after which a message of a dead worker is handed out again.

    Raises:
        UsageError: NATS cannot bear such a name.
    """
    check_names(address)
    return JetStreamQueue(address, lease)


def open_publisher(address: QueueAddress, *, for_work: bool) -> JetStreamPublisher:
    """A queue to put messages on, not connected yet; any stream does, whatever for.

    Raises:
        UsageError: NATS cannot bear such a name.
    """
    del for_work
    check_names(address)
    return JetStreamPublisher(address)


def open_dead_letters(address: QueueAddress) -> JetStreamDeadLetters:
    """The dead letters of a queue, not connected yet.

    Raises:
        UsageError: NATS cannot bear such a name.
    """
    check_names(address)
    return JetStreamDeadLetters(address)
