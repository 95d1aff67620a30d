"""The body of a queue message as a row. Judges no id and knows no broker."""

import codecs
from typing import Any

from worker.models import Row
from worker.sources.base import FAULT_TEXT_LENGTH
from worker.sources.columns import CONTACT, ID_NAMES, OPPORTUNITY, Id, locate
from worker.sources.json_object import FaultError, cell_of, contradicts_itself, read_object

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
        body = body.removeprefix(codecs.BOM_UTF8)
        found = read_object(body)
        opportunity, no_opportunity = _find(OPPORTUNITY, body, found)
        contact, no_contact = _find(CONTACT, body, found)
        own_id = cell_of(found.get("id"))[:FAULT_TEXT_LENGTH]
    except FaultError as error:
        return _faulty(body, str(error))
    cells = (opportunity or "", contact or "", own_id, "")
    fault = " and ".join(filter(None, (no_opportunity, no_contact)))
    return Row(0, 0, cells, opportunity, contact, fault)


def _find(which: Id, body: bytes, found: dict[str, Any]) -> tuple[str | None, str]:
    key = which.name
    if key not in found:  # it nearly always is
        keys = tuple(found)
        match locate(which, keys, {}):
            case []:
                return None, f"no {which.name}"
            case [at]:
                key = keys[at]
            case _:
                return None, f"more than one {which.name}"
    if contradicts_itself(body, key):
        return None, f"more than one {which.name}"
    return cell_of(found[key])[:FAULT_TEXT_LENGTH], ""


def _faulty(body: bytes, fault: str) -> Row:
    text = body[:FAULT_TEXT_LENGTH].decode("utf-8", "backslashreplace")
    return Row(0, 0, ("", "", "", text[:FAULT_TEXT_LENGTH]), None, None, fault)
