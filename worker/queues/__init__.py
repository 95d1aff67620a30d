"""Messages of a broker: leased, worked on, acknowledged when their outcome is durable. Knows no portal."""

from worker.queues.address import QueueAddress, parse_address, parse_rate_address
from worker.queues.base import DeadLetter, DeadLetters, Message, Publisher, Queue, Why
from worker.queues.opening import open_dead_letters, open_publisher, open_queue, open_rate

__all__ = [
    "DeadLetter",
    "DeadLetters",
    "Message",
    "Publisher",
    "Queue",
    "QueueAddress",
    "Why",
    "open_dead_letters",
    "open_publisher",
    "open_queue",
    "open_rate",
    "parse_address",
    "parse_rate_address",
]
