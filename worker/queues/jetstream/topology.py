"""The streams that we make at a NATS server: of work and of dead letters; and what they may be called."""

from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from worker.errors import UsageError
from worker.queues.address import QueueAddress

_DUPLICATE_SECONDS = 120.0


def check_names(address: QueueAddress) -> None:
    """Refuse names that NATS cannot bear.

    Raises:
        UsageError: the name of the stream or of the durable consumer is one.
    """
    for word, what in ((address.name, "stream"), (address.group, "durable consumer")):
        if set(word) & set(".:"):
            raise UsageError(f"{address.shown}: the name of a {what} may hold no . and no : with NATS")


def work_stream(address: QueueAddress) -> StreamConfig:
    """The stream itself: what is acknowledged leaves it."""
    return StreamConfig(
        name=address.name,
        subjects=[address.name],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        duplicate_window=_DUPLICATE_SECONDS,
    )


def dead_letter_stream(address: QueueAddress) -> StreamConfig:
    """The stream of dead letters."""
    return StreamConfig(
        name=f"{address.name}_dead",
        subjects=[address.dead_name],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
    )
