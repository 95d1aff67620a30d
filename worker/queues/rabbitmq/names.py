"""Names for messages that nobody has named, the same again for one that comes back."""

import asyncio
from collections.abc import Iterable

from aiormq.abc import DeliveredMessage

from worker.queues.rabbitmq.connection import HEARTBEAT_SECONDS
from worker.queues.rabbitmq.messages import identity_of

_MOST = 10_000


class GivenNames:
    """What the messages without a name are called that this worker had.

    The broker itself has no name for a message. What it takes back from us it hands out again, marked as
    handed out before; one that we had, with the same body, is that one. Under another name it would be taken
    for a second message about a pair that is being sent, and be done with, while nothing else is left of it.
    """

    def __init__(self) -> None:
        self._given_back: dict[bytes, list[str]] = {}
        self._since = float("-inf")

    def of(self, message: DeliveredMessage) -> str:
        """What the message is called: as its publisher named it, as it was called before, or anew."""
        if not message.redelivered or _is_named(message):
            return identity_of(message)
        names = self._given_back.get(message.body)
        if not names:
            return identity_of(message)
        name = names.pop(0)
        if not names:
            del self._given_back[message.body]
        return name

    def given_back(self, held: Iterable[tuple[DeliveredMessage, str]]) -> None:
        """These were ours, as they were called; they may come again."""
        self._since = asyncio.get_running_loop().time()
        for message, name in held:
            if not _is_named(message) and len(self._given_back) < _MOST:
                self._given_back.setdefault(message.body, []).append(name)

    def nothing_came(self) -> None:
        """The queue is empty; once the broker must have taken all back, others have what has not come."""
        if asyncio.get_running_loop().time() > self._since + 3 * HEARTBEAT_SECONDS:
            self._given_back.clear()


def _is_named(message: DeliveredMessage) -> bool:
    return bool(message.header.properties.message_id)
