"""Tell a plan from an input, by its name and how it begins."""

from contextlib import suppress
from pathlib import Path

from worker.errors import UsageError

_SUFFIX, _SIGN = ".json", b'"plan_id"'
_BEGINNING = 1024


def is_plan(path: str) -> bool:
    """Whether the file says that it is a plan; what it says of itself may still be wrong.

    Raises:
        UsageError: it is gone, or its plan was killed before it was written; the ledger beside it has it all.
    """
    file = Path(path)
    if file.name == "plan.json" and (file.parent / "ledger.db").is_file() and not file.exists():
        name = file.parent.name
        raise UsageError(
            f"{path} does not exist; if {name} is a plan, 'bulklink report {name}' makes it again"
        )
    with suppress(OSError):
        if path.endswith(_SUFFIX) and file.is_file():
            with file.open("rb") as opened:
                return _SIGN in opened.read(_BEGINNING)
    return False
