"""Choose the client of a broker; its library is imported only when it is asked for."""

import importlib
from types import ModuleType

from worker.errors import UsageError
from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetters, Publisher, Queue

_MODULES = {
    # broker: our module, the extra that brings its library
    "redis": ("worker.queues.redis_streams", "redis"),
    "amqp": ("worker.queues.rabbitmq", "rabbitmq"),
    "nats": ("worker.queues.jetstream", "nats"),
}


def open_queue(address: QueueAddress, *, lease: float) -> Queue:
    """A queue to work on, not connected yet.

    Args:
        address: where it is.
        lease: seconds after which a message of a dead worker is handed out again.

    Raises:
        UsageError: the library for this broker is not installed.
    """
    queue: Queue = _module(address).open_queue(address, lease=lease)
    return queue


def open_publisher(address: QueueAddress) -> Publisher:
    """A queue to put messages on, not connected yet.

    Raises:
        UsageError: the library for this broker is not installed.
    """
    publisher: Publisher = _module(address).open_publisher(address)
    return publisher


def open_dead_letters(address: QueueAddress) -> DeadLetters:
    """The dead letters of a queue, not connected yet.

    Raises:
        UsageError: the library for this broker is not installed.
    """
    letters: DeadLetters = _module(address).open_dead_letters(address)
    return letters


def _module(address: QueueAddress) -> ModuleType:
    module, extra = _MODULES[address.broker]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("worker"):
            raise
        raise UsageError(
            f"{address.shown}: needs a library that is not installed: pip install 'bulklink[{extra}]'"
        ) from error
