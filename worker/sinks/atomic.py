"""Write a file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from worker.errors import OutputError


@contextmanager
def replaced(path: Path) -> Iterator[TextIO]:
    """Text written inside the block takes the place of ``path`` at its end, if it ends well.

    Bytes of the input that are no UTF-8 go out as they came in. Only the owner may read the file.

    Raises:
        OutputError: the file cannot be written; what stood at ``path`` still stands.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:  # noqa: PTH123 - of a handle
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OutputError(
            f"{path}: {error.strerror}; the ledger has it all, see 'bulklink report'"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
