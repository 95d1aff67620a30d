"""What a message of RabbitMQ carries besides its body: its name, how often it was handed out, why it died."""

import hashlib
import time
from datetime import datetime
from typing import Any
from uuid import uuid4

import aio_pika
from aiormq.abc import DeliveredMessage

from worker.queues.base import DeadLetter, Failure

_CARRIED = "x-bulklink-deliveries"
_LIFE = "x-bulklink-life"
_LONGEST_NAME = 255
_DIGEST_BYTES = 16
_FAILURE = ("reason", "status", "http_status", "attempts", "deliveries", "dead_at")

# Of no use in a copy, or harmful: the broker drops a message whose x-death says that it died in the queue it
# is to come back to, and puts one also on the queues that CC and BCC name.
_NOT_COPIED = ("x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC", _CARRIED, *_FAILURE)
_NOT_COPIED_START = ("x-first-death-", "x-last-death-")

_DEATHS = {
    # what the broker calls it: what we do
    "delivery_limit": "delivered too often",
    "maxlen": "queue too long",
    "expired": "expired",
    "rejected": "rejected",
}


def identity_of(message: DeliveredMessage) -> str:
    """What its publisher named it.

    Without that, a new name: the broker has none for a message, so two deliveries of one cannot be told
    from two messages.
    """
    return str(message.header.properties.message_id or uuid4().hex)


def deliveries_of(message: DeliveredMessage) -> int:
    """How often it was handed out, this time included.

    A classic queue says only whether it was before; a replicated one counts, since 4.3 under another name.
    Our delayed copies are new to the broker, and carry on the count.
    """
    headers = _headers(message)
    names = [name for name in ("x-acquired-count", "x-delivery-count") if name in headers]
    earlier = max(_count(headers, name) for name in names) if names else int(bool(message.redelivered))
    return 1 + earlier + _count(headers, _CARRIED)


def life_of(message: DeliveredMessage) -> str:
    """Which life of a message it is, see :class:`worker.queues.base.Message`."""
    return str(_headers(message).get(_LIFE) or "")


def delayed_copy(message: DeliveredMessage, identity: str) -> aio_pika.Message:
    """The same message for another delivery."""
    return _copy(message, identity, {_CARRIED: deliveries_of(message)})


def dead_copy(message: DeliveredMessage, identity: str, failure: Failure) -> aio_pika.Message:
    """The same message as a dead letter."""
    headers: dict[str, Any] = {
        "reason": failure.reason,
        "status": failure.status,
        "attempts": failure.attempts,
        "deliveries": deliveries_of(message),
        # As text: the library would send a number in 32 bits, and round it to minutes.
        "dead_at": repr(time.time()),
    }
    if failure.http_status is not None:
        headers["http_status"] = failure.http_status
    return _copy(message, identity, headers)


def requeued_copy(message: DeliveredMessage, queue: str) -> aio_pika.Message:
    """A dead letter as the new message it once was; the time of its death names its new life.

    A requeue that was cut off and is made again gives the same life, and so is no second one.

    Args:
        message: as the broker gave it.
        queue: name of the queue where it was alive.
    """
    letter = dead_letter_of(message, queue)
    life = repr(letter.dead_at) if letter.dead_at else uuid4().hex
    return _copy(message, letter.identity, {_LIFE: life})


def dead_letter_of(message: DeliveredMessage, queue: str) -> DeadLetter:
    """A dead letter, whether we made it one or the broker did.

    Args:
        message: as the broker gave it.
        queue: name of the queue where it was alive.
    """
    headers = _headers(message)
    if "reason" in headers:
        failure = Failure(
            str(headers["reason"]),
            str(headers.get("status", "")),
            _count(headers, "http_status") or None,
            _count(headers, "attempts"),
        )
        return DeadLetter(
            identity_of(message),
            message.body,
            failure,
            _count(headers, "deliveries"),
            _seconds(headers.get("dead_at")),
        )
    deaths = [death for death in headers.get("x-death") or () if death.get("queue") == queue]
    death = deaths[0] if deaths else {}
    at = death.get("time")
    return DeadLetter(
        identity=identity_of(message),
        body=message.body,
        failure=Failure(_DEATHS.get(str(death.get("reason")), str(death.get("reason", "unknown"))), ""),
        # At least: the broker starts to count anew in the dead letters.
        deliveries=1 + _count(headers, _CARRIED),
        dead_at=at.timestamp() if isinstance(at, datetime) else 0.0,
    )


def new_message(identity: str, body: bytes) -> aio_pika.Message:
    """A message that outlives a restart of the broker."""
    return aio_pika.Message(
        body, message_id=_fitting(identity), delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )


def _fitting(identity: str) -> str:
    """An identity as the broker can hold it: of a longer one the beginning, and a digest of all of it."""
    name = identity.encode()
    if len(name) <= _LONGEST_NAME:
        return identity
    digest = hashlib.blake2b(name, digest_size=_DIGEST_BYTES).hexdigest()
    return f"{name[: _LONGEST_NAME - len(digest) - 1].decode(errors='ignore')}~{digest}"


def _copy(message: DeliveredMessage, identity: str, headers: dict[str, Any]) -> aio_pika.Message:
    # Not its expiration, which would end the delay; not its user, whom the broker would want to be us.
    its = message.header.properties
    kept = {
        name: value
        for name, value in _headers(message).items()
        if name not in _NOT_COPIED and not name.startswith(_NOT_COPIED_START)
    }
    return aio_pika.Message(
        message.body,
        headers={**kept, **headers},
        message_id=identity,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        content_type=its.content_type,
        content_encoding=its.content_encoding,
        priority=its.priority,
        correlation_id=its.correlation_id,
        reply_to=its.reply_to,
        timestamp=its.timestamp,
        type=its.message_type,
        app_id=its.app_id,
    )


def _headers(message: DeliveredMessage) -> dict[str, Any]:
    headers: dict[str, Any] = message.header.properties.headers or {}
    return headers


def _count(headers: dict[str, Any], name: str) -> int:
    """A number in the headers; 0 if there is none, for anybody may write what they like there."""
    value = headers.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _seconds(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return 0.0
