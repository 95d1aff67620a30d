"""Say in our own words why a value cannot be taken: pydantic's are about types, not options."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from worker.quantities import format_duration
from worker.settings.fields import Option

_TEXT = {"string_type", "string_unicode", "path_type"}


def refusal(field: FieldInfo, option: Option, error: Mapping[str, Any], value: object) -> str:
    """What is wrong with a value.

    Args:
        field: what it was given for.
        option: the same, as it looks on the command line.
        error: one of pydantic's, about this field.
        value: as it was given; not shown if it is a secret.
    """
    kind = str(error["type"])
    if kind == "value_error":  # of a validator of ours
        return str(error["msg"]).removeprefix("Value error, ")
    said = "the value" if option.secret else _shown(value)
    if kind in _TEXT:
        return f"{said} is not a text in quotes"
    if option.metavar in {"N", "auto|N"}:
        no = "not" if option.metavar == "N" else "neither auto nor"
        return f"{said} is {no} a whole number {_range(field, str)}"
    if "|" in option.metavar:
        *first, last = option.metavar.split("|")
        return f"{said} is not {', '.join(first)} or {last}"
    if option.metavar == "TIME":
        return f"{said} is not a time {_range(field, format_duration)}"
    return f"{said} is neither true nor false" if field.annotation is bool else f"{said} cannot be used"


def _shown(value: object) -> str:
    # As TOML has it, and the environment.
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _range(field: FieldInfo, shown: Callable[[Any], str]) -> str:
    bounds = {
        name: shown(getattr(item, name))
        for item in field.metadata
        for name in ("ge", "gt", "le")
        if getattr(item, name, None) is not None
    }
    most = bounds.get("le")
    if "ge" in bounds:
        return f"from {bounds['ge']} {f'to {most}' if most else 'on'}"
    return f"above {bounds['gt']}{f' and up to {most}' if most else ''}"
