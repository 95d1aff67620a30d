"""Turn TOML tables into frozen dataclasses. It knows types, not what a portal is.

A key that no field bears is refused: a misspelt fault would otherwise be a fault that never happens, and the
test that relies on it would prove nothing.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin

T = TypeVar("T")


def read_table(cls: type[T], table: Mapping[str, object], where: str = "") -> T:
    """Build ``cls`` from a table; ``where`` is the table's own name, for messages.

    Raises:
        ValueError: one line that names the key which is unknown or holds the wrong kind of value.
    """
    types = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]  # always a dataclass
    values = {}
    for name, value in table.items():
        spot = f"{where}.{name}" if where else name
        if name not in types:
            raise ValueError(f"unknown key {spot!r}; known here are {', '.join(sorted(types))}")
        values[name] = _value(types[name], value, spot)
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where or 'scenario'}: {error}") from None


def _value(kind: Any, value: object, spot: str) -> object:
    if kind in _READERS:
        return _READERS[kind](value, spot)
    if is_dataclass(kind) and isinstance(kind, type):
        return read_table(kind, _table(value, spot), spot)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if value not in choices:
            raise ValueError(f"{spot!r} must be one of {', '.join(map(repr, choices))}, not {value!r}")
        return value
    item = get_args(kind)[0]
    return tuple(
        read_table(item, _table(row, spot), f"{spot}[{index}]")
        for index, row in enumerate(_list(value, spot))
    )


def _wrong(spot: str, wanted: str, value: object) -> ValueError:
    return ValueError(f"{spot!r} must be {wanted}, not {value!r}")


def _table(value: object, spot: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise _wrong(spot, "a table", value)
    return value


def _list(value: object, spot: str) -> list[object]:
    if not isinstance(value, list):
        raise _wrong(spot, "a list", value)
    return value


def _integer(value: object, spot: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(spot, "a whole number", value)
    return value


def _number(value: object, spot: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _wrong(spot, "a number", value)
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise _wrong(spot, "a number", value)
    return number


def _flag(value: object, spot: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(spot, "true or false", value)
    return value


def _text(value: object, spot: str) -> str:
    if not isinstance(value, str):
        raise _wrong(spot, "text", value)
    return value


def _ids(value: object, spot: str) -> frozenset[int]:
    return frozenset(_integer(item, spot) for item in _list(value, spot))


def _pairs(value: object, spot: str) -> frozenset[tuple[int, int]]:
    return frozenset(_pair(item, spot) for item in _list(value, spot))


def _pair(value: object, spot: str) -> tuple[int, int]:
    match value:
        case [int(opportunity), int(contact)] if not {type(opportunity), type(contact)} & {bool}:
            return opportunity, contact
    raise _wrong(spot, "a list of [opportunity, contact]", value)


def _id_map(value: object, spot: str) -> Mapping[int, int]:
    table = _table(value, spot)
    if not all(key.isdecimal() for key in table):
        raise _wrong(spot, "a table of opportunity = contact", value)
    return MappingProxyType({int(key): _integer(item, spot) for key, item in table.items()})


_READERS: dict[Any, Callable[[object, str], object]] = {
    int: _integer,
    float: _number,
    bool: _flag,
    bool | None: _flag,
    int | None: _integer,
    str: _text,
    frozenset[int]: _ids,
    frozenset[tuple[int, int]]: _pairs,
    Mapping[int, int]: _id_map,
}
