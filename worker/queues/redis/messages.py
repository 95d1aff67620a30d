"""How messages and dead letters are written as entries of a stream: fields with names."""

import codecs
import json
from collections.abc import Mapping, Sequence

from worker.queues.base import DeadLetter, Failure, Message


def text_of(value: bytes) -> str:
    """As text, whatever it is."""
    return value.decode(errors="backslashreplace")


def number_of(value: bytes | None) -> int:
    """As a number; 0 if it is none."""
    return int(value) if value is not None and value.isdigit() else 0


def message_of(entry: str, fields: Mapping[bytes, bytes], handle: str, times: int) -> Message:
    """The message that an entry of the stream is, whoever added it.

    Args:
        entry: its id.
        fields: of the entry.
        handle: of this delivery.
        times: how often this very entry was handed out.
    """
    if b"body" in fields:
        identity = text_of(fields.get(b"id", b"")) or entry
        times += number_of(fields.get(b"deliveries"))
        return Message(handle, identity, fields[b"body"], times, text_of(fields.get(b"life", b"")))
    for name in (b"data", b"message", b"payload"):
        if name in fields and (len(fields) == 1 or _is_object(fields[name])):
            return Message(handle, entry, fields[name], times)
    flat = {text_of(name): text_of(value) for name, value in fields.items()}
    return Message(handle, entry, json.dumps(flat, ensure_ascii=False).encode(), times)


def _is_object(value: bytes) -> bool:
    return value.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def dead_letter_fields(
    identity: str, body: bytes, failure: Failure, deliveries: int
) -> Sequence[str | bytes | int]:
    """Fields of a dead letter: name, value, name, value..."""
    http_status = "" if failure.http_status is None else failure.http_status
    return (
        *("id", identity, "body", body, "reason", failure.reason, "status", failure.status),
        *("http_status", http_status, "attempts", failure.attempts, "deliveries", deliveries),
    )


def dead_letter_of(entry: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """A dead letter as it was written, whoever wrote it."""
    status = fields.get(b"http_status")
    return DeadLetter(
        identity=text_of(fields.get(b"id", b"")) or entry,
        body=fields.get(b"body", b""),
        failure=Failure(
            reason=text_of(fields.get(b"reason", b"")),
            status=text_of(fields.get(b"status", b"")),
            http_status=number_of(status) if status else None,
            attempts=number_of(fields.get(b"attempts")),
        ),
        deliveries=number_of(fields.get(b"deliveries")),
        # Without a time of its own it has that of its entry.
        dead_at=float(fields.get(b"dead_at") or int(entry.partition("-")[0]) / 1_000),
    )
