"""Choose the client of a broker; its library is imported only when it is asked for."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from worker.errors import UsageError
from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetters, Publisher, Queue

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

_MODULES = {
    # broker: our module, the extra that brings its library
    "redis": ("worker.queues.redis", "redis"),
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


def open_publisher(address: QueueAddress, *, for_work: bool = True) -> Publisher:
    """A queue to put messages on, not connected yet.

    Args:
        address: where it is.
        for_work: what is put there is for workers; one that they could not work on is refused when opened.

    Raises:
        UsageError: the library for this broker is not installed.
    """
    publisher: Publisher = _module(address).open_publisher(address, for_work=for_work)
    return publisher


def open_dead_letters(address: QueueAddress) -> DeadLetters:
    """The dead letters of a queue, not connected yet.

    Raises:
        UsageError: the library for this broker is not installed.
    """
    letters: DeadLetters = _module(address).open_dead_letters(address)
    return letters


def open_rate(address: QueueAddress) -> "RedisRate":
    """A rate that several processes share, not connected yet.

    Raises:
        UsageError: the library for Redis is not installed.
    """
    rate: RedisRate = _import("worker.queues.redis.rate", "redis", address).open_rate(address)
    return rate


def _module(address: QueueAddress) -> ModuleType:
    module, extra = _MODULES[address.broker]
    return _import(module, extra, address)


def _import(module: str, extra: str, address: QueueAddress) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("worker"):
            raise
        raise UsageError(
            f"{address.shown}: needs a library that is not installed: pip install 'bulklink[{extra}]'"
        ) from error
