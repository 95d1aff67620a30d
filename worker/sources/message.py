"""The body of a queue message as a row. Judges no id and knows no broker."""

from typing import Any

import orjson

from worker.models import Row
from worker.sources.base import FAULT_TEXT_LENGTH
from worker.sources.columns import CONTACT, ID_NAMES, OPPORTUNITY, Id, locate
from worker.sources.jsonl_file import FAULT_DEEP, FAULT_NOT_JSON, FAULT_NOT_OBJECT
from worker.sources.making import make_row

MESSAGE_COLUMNS = (*ID_NAMES, "id", "message")
"""Cells of each row: both ids, the message's own ``id``, and, if it could not be read, its beginning."""

MAX_MESSAGE = 64 * 1024
"""Bytes; two ids need a hundred."""

FAULT_LARGE = f"message larger than {MAX_MESSAGE // 1024} KiB"


def read_message(body: bytes) -> Row:
    """Make a row of a message; its number and line are for the ledger to give.

    The keys may bear any name that a column of a file may. Anything but a JSON object with both makes a
    row with a fault, whatever the bytes.
    """
    if len(body) > MAX_MESSAGE:
        return _faulty(body, FAULT_LARGE)
    try:
        found: Any = orjson.loads(body)
    except ValueError as error:
        return _faulty(body, FAULT_DEEP if "depth limit" in str(error) else FAULT_NOT_JSON)
    if not isinstance(found, dict):
        return _faulty(body, FAULT_NOT_OBJECT)
    opportunity, no_opportunity = _find(OPPORTUNITY, found)
    contact, no_contact = _find(CONTACT, found)
    cells = (opportunity or "", contact or "", _text(found.get("id"))[:FAULT_TEXT_LENGTH], "")
    fault = " and ".join(filter(None, (no_opportunity, no_contact)))
    return make_row(0, 0, cells, opportunity, contact, fault)


def _find(which: Id, found: dict[str, Any]) -> tuple[str | None, str]:
    if which.name in found:  # as it nearly always is
        return _text(found[which.name])[:FAULT_TEXT_LENGTH], ""
    keys = tuple(found)
    match locate(which, keys, {}):
        case []:
            return None, f"no {which.name}"
        case [at]:
            return _text(found[keys[at]])[:FAULT_TEXT_LENGTH], ""
        case _:
            return None, f"more than one {which.name}"


def _text(value: object) -> str:
    """A value as a cell: text as it is, nothing for null, all else as JSON."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    return "" if value is None else orjson.dumps(value).decode()


def _faulty(body: bytes, fault: str) -> Row:
    text = body[:FAULT_TEXT_LENGTH].decode("utf-8", "backslashreplace")
    return make_row(0, 0, ("", "", "", text[:FAULT_TEXT_LENGTH]), None, None, fault)
