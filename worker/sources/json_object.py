"""A JSON object as cells: each value as the text that stands in it."""

import json
from typing import Any, Self

import orjson

from worker.json_text import mend

FAULT_NOT_JSON = "not valid JSON"
FAULT_NOT_OBJECT = "not a JSON object"
FAULT_DEEP = "JSON nested too deeply"

_EXACT = frozenset({str, int, bool, type(None)})
"""Types that orjson reads without loss."""

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class FaultError(ValueError):
    """The text is no JSON object; the message says why."""


class _Number(float):
    """A number that remembers how it was written: ``1.10`` is a cell text, not a quantity."""

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


def read_object(text: str | bytes) -> dict[str, Any]:
    """An object's values by key, in its order; numbers that lose nothing, for :func:`cell_of`.

    Raises:
        FaultError: the text is none.
    """
    try:
        try:
            found: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            text = mend(text if isinstance(text, str) else text.decode())
            found = orjson.loads(text)
        if isinstance(found, dict) and not _EXACT.issuperset(map(type, found.values())):
            # orjson keeps neither the text of a number nor an integer beyond 64 bits.
            found = json.loads(text, parse_float=_Number)
    except ValueError as error:
        # orjson refuses nesting beyond 1024 by this very error.
        raise FaultError(FAULT_DEEP if "depth limit" in str(error) else FAULT_NOT_JSON) from error
    except RecursionError as error:
        raise FaultError(FAULT_DEEP) from error
    if not isinstance(found, dict):
        raise FaultError(FAULT_NOT_OBJECT)
    return found


def is_object(line: str) -> bool:
    """Whether a line is a JSON object."""
    try:
        read_object(line)
    except FaultError:
        return False
    return True


def contradicts_itself(text: str | bytes, key: str) -> bool:
    """Whether an object that was read has this key more than once, with different values.

    Of such a key every reader takes another one, most of them the last.
    """
    quoted = f'"{key}"'
    if isinstance(text, bytes):
        times = text.count(quoted.encode("utf-8", "surrogatepass"))
    else:
        times = text.count(quoted)
    if times <= 1:
        return False  # as nearly always; what stands deeper inside, or in a value, is sorted out below
    try:
        members: list[tuple[str, object]] = json.loads(text, object_pairs_hook=list, parse_float=str)
    except (ValueError, RecursionError):
        return True  # only a reader that takes the one for the other got through
    return len({repr(value) for name, value in members if name == key}) > 1


def cell_of(value: object) -> str:
    """A value as a cell: text as it is, a number as it was written, null as nothing, all else as JSON.

    Raises:
        FaultError: it is nested too deeply to be written.
    """
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    if value is None:
        return ""
    if isinstance(value, _Number):
        return value.text
    try:
        return _compact(value)
    except RecursionError as error:
        raise FaultError(FAULT_DEEP) from error
