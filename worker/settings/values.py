"""What a value of an option may be: read from text and from what TOML has, and written as it is saved.

Each type is told once here; which option has it, with its bounds, default and help, says ``fields``.
"""

import math
import re
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr
from pydantic_core import PydanticCustomError

from worker.quantities import ErrorLimit, Rate, format_duration, parse_duration, parse_error_limit
from worker.settings.addresses import portal_url, proxy_url, without_password
from worker.timetable import Timetable, parse_timetable

DOCUMENTED = Timetable(Rate(500, 10.0))
"""What the vendor's cloud allows: the most that is sent if no rate is stated."""

ENVIRONMENT = "env"
"""In place of a proxy: the one that the usual variables name."""

_WHOLE = re.compile(r"\s*[+-]?[0-9]+(?:_[0-9]+)*\s*")

_LONGEST_NUMBER, _BITS = 40, 63

_NEXT_ID = re.compile(r",\s*(?=(?:opportunity|contact)=)")


def _columns(value: object) -> object:
    columns: object = value
    if isinstance(value, str):
        # A name may have commas in it; a comma before the other id's name ends it.
        pairs = [part.partition("=")[::2] for part in _NEXT_ID.split(value)]
        columns = dict(pairs) if len(dict(pairs)) == len(pairs) else None
    elif isinstance(value, dict):
        columns = {role: str(name) if type(name) is int else name for role, name in value.items()}
    if value is not None and not (
        isinstance(columns, dict)
        and columns
        and columns.keys() <= {"opportunity", "contact"}
        and all(isinstance(name, str) for name in columns.values())
    ):
        raise ValueError(f"{value!r} is not like opportunity=NAME,contact=NAME")
    return columns


def _portal(value: str | None) -> str | None:
    return None if value is None else portal_url(value)


def _proxy(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return proxy_url(text) if isinstance(text, str) and text != ENVIRONMENT else value


def _saved_proxy(proxy: SecretStr | None) -> str | None:
    # Without the password it is asked for: better than a way around the proxy.
    return None if proxy is None else without_password(proxy.get_secret_value())


def _whole(value: object) -> object:
    # pydantic would take true for 1, and 2.0 for 2: as likely a mistake in the file as a wish.
    if isinstance(value, (bool, float)) or (isinstance(value, str) and not _WHOLE.fullmatch(value)):
        raise PydanticCustomError("int_type", "not a whole number")
    if isinstance(value, (int, str)) and _is_beyond(value):
        raise ValueError("there is nothing of which there are so many")
    return value


def _is_beyond(number: int | str) -> bool:
    """Whether it is more than 64 bits can hold: it is saved and logged as such."""
    if isinstance(number, str):
        if len(number) > _LONGEST_NUMBER:
            return True
        number = int(number)
    return number.bit_length() > _BITS


def _auto(value: object) -> object:
    return None if value == "auto" else value


def _rate(value: object) -> Timetable:
    if value == "auto":
        return DOCUMENTED
    return value if isinstance(value, Timetable) else parse_timetable(str(value))


def _link_rate(value: object) -> Timetable | None:
    return None if value is None else _rate(value)


def _timezone(value: str | None) -> str | None:
    try:
        return None if value is None else ZoneInfo(value).key
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError(f"{value!r} is no time zone that is known here, like Europe/Berlin") from None


def _run_id(value: str) -> str:
    if not value or value[0] in "-." or not all(c.isalnum() or c in "-_." for c in value):
        # One that begins with a hyphen could not be named to any verb: it would be taken for an option.
        raise ValueError(
            f"{value!r} is no run id: letters, digits, '-', '_' and '.' only, no '-' or '.' first"
        )
    return value


def _some(value: object) -> object:
    # As a path it would be this folder: not what is meant by "$FOLDER" where that is not set.
    if value == "":
        raise ValueError("'' is no path")
    return value


def _path(value: Path) -> Path:
    if "\0" in str(value):
        raise ValueError(f"{str(value)!r} is no path")
    return value


def _seconds(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
        return parse_duration(str(value))  # which refuses it, in its own words
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _error_limit(value: object) -> ErrorLimit | None:
    return value if value is None or isinstance(value, ErrorLimit) else parse_error_limit(str(value))


PortalUrl = Annotated[str | None, AfterValidator(_portal)]
"""Address of a portal, without the path of the API."""

ProxyUrl = Annotated[SecretStr | None, BeforeValidator(_proxy), PlainSerializer(_saved_proxy)]
"""URL of a proxy with a scheme, or :data:`ENVIRONMENT`."""

RateByTime = Annotated[Timetable, BeforeValidator(_rate), PlainSerializer(str)]
"""``500/10s``, ``08:00-19:00=5/s,50/s``; ``auto`` is :data:`DOCUMENTED`."""

LinkRateByTime = Annotated[
    Timetable | None, BeforeValidator(_link_rate), PlainSerializer(lambda value: value and str(value))
]
"""The same, if there is one."""

ZoneName = Annotated[str | None, AfterValidator(_timezone)]
"""A time zone that is known on this machine."""

WholeNumber = Annotated[int, BeforeValidator(_whole)]
"""``100``; neither ``true`` nor ``2.0``."""

AutoOrNumber = Annotated[WholeNumber | None, BeforeValidator(_auto)]
"""A number; None for ``auto``."""

Seconds = Annotated[float, BeforeValidator(_seconds), PlainSerializer(format_duration)]
"""``30s``, ``5m``, or a number of seconds."""

FailedPairs = Annotated[
    ErrorLimit | None,
    BeforeValidator(_error_limit),
    PlainSerializer(lambda value: value and str(value)),
]
"""``100`` or ``5%``."""

FilePath = Annotated[Path, BeforeValidator(_some), AfterValidator(_path)]
"""A path as it was given."""

SavedPath = Annotated[Path, BeforeValidator(_some), AfterValidator(lambda path: _path(path).absolute())]
"""One that a later session finds, too, wherever that is started."""

Columns = Annotated[dict[str, str] | None, BeforeValidator(_columns)]
"""Names of columns by role: ``opportunity=NAME,contact=NAME``, or a table."""

SheetName = Annotated[str | None, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""A sheet, by name or by number."""

RunId = Annotated[str | None, AfterValidator(lambda value: None if value is None else _run_id(value))]
"""A name that can be a folder's, and be typed as a word of a command line."""
