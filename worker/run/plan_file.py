"""Tell a plan from an input, by its name and how it begins."""

from contextlib import suppress
from pathlib import Path

_SUFFIX, _SIGN = ".json", b'"plan_id"'
_BEGINNING = 1024


def is_plan(path: str) -> bool:
    """Whether the file says that it is a plan; what it says of itself may still be wrong."""
    with suppress(OSError):
        if path.endswith(_SUFFIX) and Path(path).is_file():
            with Path(path).open("rb") as file:
                return _SIGN in file.read(_BEGINNING)
    return False
