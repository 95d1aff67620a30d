"""Redis Streams as queues: a consumer group whose workers renew their leases; needs Redis 7.0 or newer."""

from worker.queues.address import QueueAddress
from worker.queues.redis.dead_letters import RedisDeadLetters
from worker.queues.redis.publisher import RedisPublisher
from worker.queues.redis.queue import RedisQueue

__all__ = ["open_dead_letters", "open_publisher", "open_queue"]


def open_queue(address: QueueAddress, *, lease: float) -> RedisQueue:
    """A queue to work on, not connected yet.

    Args:
        address: where it is.
        lease: seconds after which a message of a dead worker is handed out again.
    """
    return RedisQueue(address, lease)


def open_publisher(address: QueueAddress, *, for_work: bool) -> RedisPublisher:
    """A queue to put messages on, not connected yet.

    Args:
        address: where it is.
        for_work: what is put there is for workers; where they could not work, it is not opened.
    """
    return RedisPublisher(address, for_work=for_work)


def open_dead_letters(address: QueueAddress) -> RedisDeadLetters:
    """The dead letters of a queue, not connected yet."""
    return RedisDeadLetters(address)
