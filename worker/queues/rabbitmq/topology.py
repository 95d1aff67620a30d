"""The queues that we make at a RabbitMQ, and of what kind: of work, of dead letters, of delayed messages."""

import math
from dataclasses import dataclass, field
from typing import Any

from worker.queues.address import QueueAddress

# The worker gives a message up long before; this stops one that kills each worker before it can.
_DELIVERY_LIMIT = 100
# To look at a dead letter counts as a delivery, and from 4.0 on a queue has a limit if it names none.
_NO_LIMIT = 2_147_483_647

SETTLED_AT_ONCE = 20
"""Deliveries settled in one go at most, if it matters that the broker has heard of all.

A replicated queue works on 32 at a time. The channel keeps those beyond, sends them on in its own time, tells
nobody, and forgets them when it is closed; those messages would come again.
"""

_HOUR = 3_600.0
DELAY_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, _HOUR)
"""Seconds that messages wait in our delay queues; longer delays are whole hours.

A queue lets nothing out before its first message, so all in one must wait equally long.
"""


@dataclass(frozen=True, slots=True)
class QueueDeclaration:
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


def work_queue(address: QueueAddress) -> QueueDeclaration:
    """The queue itself."""
    return QueueDeclaration(address.name, {**_on_to(address.dead_name), "x-delivery-limit": _DELIVERY_LIMIT})


def dead_letter_queue(address: QueueAddress) -> QueueDeclaration:
    """Its dead letters."""
    return QueueDeclaration(address.dead_name, {"x-delivery-limit": _NO_LIMIT})


def delay_queue(address: QueueAddress, seconds: float) -> QueueDeclaration:
    """Where messages wait for the least step that is not shorter than ``seconds``.

    Not a classic queue: that one forgets a message as it passes it on, confirmed or not. And without an
    expiry of its own, since a replicated queue expires while it is in use, messages and all.
    """
    step = next((step for step in DELAY_STEPS if step >= seconds), math.ceil(seconds / _HOUR) * _HOUR)
    milliseconds = round(step * 1_000)
    return QueueDeclaration(
        f"{address.name}.delay.{milliseconds}", {**_on_to(address.name), "x-message-ttl": milliseconds}
    )
