"""What publishers write beside a body, in whatever form: pamqp is made to read on where it would give up.

It raises at a time beyond the year 9999 (some publishers count nanoseconds) and at text that is not UTF-8.
aiormq then ends the connection, the broker hands the message out again, and with one such message in a queue
no worker gets at any other. Neither library has a way to say how to decode, so its tables are changed.
"""

from pamqp import decode
from pamqp.common import FieldValue

_TIMESTAMP_BYTES = 8
_LENGTH_BYTES = 4
_LONGEST_WORD = 255


def read_on() -> None:
    """Let pamqp decode what it can, and pass over what it cannot."""
    decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = _timestamp
    decode.METHODS["shortstr"] = _word
    decode.TABLE_MAPPING[b"S"] = _text
    decode.METHODS["table"] = decode.TABLE_MAPPING[b"F"] = _table


def _timestamp(value: bytes) -> tuple[int, FieldValue]:
    """A time; None if there is no such year."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return _TIMESTAMP_BYTES, None


def _word(value: bytes) -> tuple[int, FieldValue]:
    """Text of up to 255 bytes, which has to fit into as many when it is written again."""
    try:
        return decode.short_str(value)
    except UnicodeDecodeError:
        end = 1 + value[0]
        fitting = value[1:end].decode("latin-1").encode()[:_LONGEST_WORD]
        return end, fitting.decode(errors="ignore")


def _text(value: bytes) -> tuple[int, FieldValue]:
    """Text; if it is none, bytes of the type that can be written again."""
    consumed, text = decode.long_str(value)
    return consumed, bytearray(text) if isinstance(text, bytes) else text


def _table(value: bytes) -> tuple[int, FieldValue]:
    """Names and values; empty if a name is not UTF-8."""
    try:
        return decode.field_table(value)
    except UnicodeDecodeError:
        return _LENGTH_BYTES + int.from_bytes(value[:_LENGTH_BYTES]), {}
