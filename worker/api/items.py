"""What a program gives, as a row like those of a file. Judges no id."""

import operator
from collections.abc import Mapping
from typing import Any

from worker.models import Row
from worker.sources.base import FAULT_TEXT_LENGTH
from worker.sources.columns import CONTACT, OPPORTUNITY, Id, locate

_PAIR = 2
NO_PAIR = "neither a pair (opportunity, contact) nor a mapping"


def row_of(item: object, number: int) -> Row:
    """The row that an item makes, whatever it is; ``number`` counts from 1 and stands for its line, too."""
    if isinstance(item, tuple) and len(item) == _PAIR:
        return _row(number, *map(_text, item))
    if isinstance(item, Mapping):
        opportunity, no_opportunity = _find(OPPORTUNITY, item)
        contact, no_contact = _find(CONTACT, item)
        return _row(number, opportunity, contact, " and ".join(filter(None, (no_opportunity, no_contact))))
    return _row(number, None, None, NO_PAIR)


def _row(number: int, opportunity: str | None, contact: str | None, fault: str = "") -> Row:
    return Row(number, number, (opportunity or "", contact or ""), opportunity, contact, fault)


def _find(which: Id, item: Mapping[Any, Any]) -> tuple[str | None, str]:
    """The text of an id, or why there is none."""
    if which.name in item:  # as it nearly always is
        return _text(item[which.name]), ""
    keys = [key for key in item if isinstance(key, str)]
    match locate(which, keys, {}):
        case []:
            return None, f"no {which.name}"
        case [at]:
            return _text(item[keys[at]]), ""
        case _:
            return None, f"more than one {which.name}"


def _text(value: Any) -> str:
    """A value as a cell would have it; whole numbers of any kind as their digits."""
    if isinstance(value, str):
        return value[:FAULT_TEXT_LENGTH]
    if value is None:
        return ""
    if not isinstance(value, bool):
        try:
            return str(operator.index(value))[:FAULT_TEXT_LENGTH]
        except (TypeError, ValueError):  # no whole number; or one of more digits than Python writes
            pass
    return f"a {type(value).__name__}"
