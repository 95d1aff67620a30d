"""Messages of a broker: leased, worked on, acknowledged when their outcome is durable. Knows no portal."""

from worker.queues.address import QueueAddress, parse_address, parse_rate_address
from worker.queues.base import DeadLetter, DeadLetters, Failure, Message, Publisher, Queue
from worker.queues.opening import open_dead_letters, open_publisher, open_queue, open_rate

__all__ = [
    "DeadLetter",
    "DeadLetters",
    "Failure",
    "Message",
    "Publisher",
    "Queue",
    "QueueAddress",
    "open_dead_letters",
    "open_publisher",
    "open_queue",
    "open_rate",
    "parse_address",
    "parse_rate_address",
]
