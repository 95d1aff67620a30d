"""How messages and dead letters are written for NATS: a body, and the rest in headers as plain ASCII."""

import hashlib
import re
import string
import time
from collections.abc import Mapping
from urllib.parse import quote, unquote

from nats.js.api import RawStreamMsg

from worker.queues.base import DeadLetter, Failure, Message

NATS_ID = "Nats-Msg-Id"
"""The server swallows a message that has the same as another one a short time before."""

_ID = "Bulklink-Id"
_REASON = "Bulklink-Reason"
_STATUS = "Bulklink-Status"
_HTTP_STATUS = "Bulklink-Http-Status"
_ATTEMPTS = "Bulklink-Attempts"
_DELIVERIES = "Bulklink-Deliveries"
_DEAD_AT = "Bulklink-Dead-At"
_LIFE = "Bulklink-Life"

_PLAIN = "".join(sorted({*string.punctuation, " "} - {"%"}))
_LONGEST_TEXT = 1_000
_OVERHEAD = len("NATS/1.0\r\n\r\n")


def quoted(text: str) -> str:
    """As a header can hold it: what is not plain ASCII becomes %XX, and so does a space at either end."""
    coded = quote(text, safe=_PLAIN)
    return re.sub("^ +| +$", lambda spaces: "%20" * len(spaces[0]), coded)


def unquoted(value: str) -> str:
    """The text that was quoted."""
    return unquote(value, errors="backslashreplace")


def message_headers(identity: str, body: bytes) -> dict[str, str]:
    """Headers of a message that is published for the first time.

    Another body under the same identity is another message, so the id that the server goes by names both.
    """
    value = quoted(identity)
    return {NATS_ID: f"{value}.{hashlib.blake2b(body, digest_size=8).hexdigest()}", _ID: value}


def requeued_headers(letter: DeadLetter, nats_id: str, most_bytes: int) -> dict[str, str]:
    """Headers of a message that was there before under another id; the new one names its new life.

    Those are left out for which there is no room beside the body.
    """
    return _fitting({NATS_ID: nats_id, _ID: quoted(letter.identity), _LIFE: nats_id}, letter.body, most_bytes)


def life_of(headers: Mapping[str, str] | None) -> str:
    """Which life of a message it is, see :class:`worker.queues.base.Message`."""
    return str((headers or {}).get(_LIFE, ""))


def identity_of(headers: Mapping[str, str] | None, otherwise: str) -> str:
    """The identity of a message, whoever published it."""
    if headers:
        if own := str(headers.get(_ID, "")):
            return unquoted(own)
        if theirs := str(headers.get(NATS_ID, "")):
            return theirs
    return otherwise


def dead_letter_headers(message: Message, failure: Failure, nats_id: str, most_bytes: int) -> dict[str, str]:
    """Headers of a dead letter; if there is little room beside the body, the reason is cut.

    If there is less, as much is said as there is room for, the first things first: a body may be as large as
    a message without any headers.
    """
    headers = {
        NATS_ID: nats_id,
        _ID: quoted(message.identity),
        _STATUS: quoted(failure.status[:_LONGEST_TEXT]),
        _REASON: "",
        _HTTP_STATUS: "" if failure.http_status is None else str(failure.http_status),
        _DEAD_AT: f"{time.time():.6f}",
        _ATTEMPTS: str(failure.attempts),
        _DELIVERIES: str(message.deliveries),
    }
    headers = _fitting(headers, message.body, most_bytes)
    if _REASON not in headers:
        return headers
    room = most_bytes - size_of(headers, message.body)
    reason = failure.reason[:_LONGEST_TEXT]
    while len(quoted(reason)) > room:
        reason = reason[: len(reason) // 2]
    return headers | {_REASON: quoted(reason)}


def dead_letter_of(raw: RawStreamMsg, otherwise: str) -> DeadLetter:
    """A dead letter as it was written, whoever wrote it."""
    headers = raw.headers or {}
    return DeadLetter(
        identity=identity_of(headers, otherwise),
        body=raw.data or b"",
        failure=Failure(
            reason=unquoted(headers.get(_REASON, "unknown")),
            status=unquoted(headers.get(_STATUS, "")),
            http_status=_number(headers.get(_HTTP_STATUS)),
            attempts=_number(headers.get(_ATTEMPTS)) or 0,
        ),
        deliveries=_number(headers.get(_DELIVERIES)) or 0,
        # Without a time of its own it has that of its message.
        dead_at=_seconds(headers.get(_DEAD_AT)) or (raw.time.timestamp() if raw.time else 0.0),
    )


def size_of(headers: Mapping[str, str], body: bytes) -> int:
    """Bytes that the server counts."""
    overhead = _OVERHEAD if headers else 0
    return overhead + sum(len(name) + len(value) + 4 for name, value in headers.items()) + len(body)


def _fitting(headers: Mapping[str, str], body: bytes, most_bytes: int) -> dict[str, str]:
    """The headers that there is room for beside the body, in their order."""
    fitting: dict[str, str] = {}
    for name, value in headers.items():
        if size_of({**fitting, name: value}, body) <= most_bytes:
            fitting[name] = value
    return fitting


def _number(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() else None


def _seconds(value: str | None) -> float:
    try:
        return float(value or "")
    except ValueError:
        return 0.0
