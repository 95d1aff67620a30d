"""Write a file whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from worker.errors import OutputError

CHECK_PREFIX = ".check-"
"""How the name of a folder begins in which files are made only to be compared."""

_PART = ".part"

_BUFFER = 1 << 18
"""Bytes that are written at once."""

KEPT = "the ledger has it all, see 'bulklink report'"


@contextmanager
def replaced(path: Path, *, encoding: str = "utf-8", kept: str = KEPT) -> Iterator[TextIO]:
    """Text written inside the block takes the place of ``path`` at its end, if it ends well.

    Bytes of the input that are no UTF-8 go out as they came in. Only the owner may read the file.

    Args:
        path: of the file.
        encoding: of the text; no byte order mark is added.
        kept: what an error says of what is not lost by it.

    Raises:
        OutputError: the file cannot be written; what stood at ``path`` still stands.
    """
    temporary: Path | None = None
    try:
        # A name of its own: another process that writes the same file must not write into this one.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
        temporary = Path(name)
        errors = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
        with open(  # noqa: PTH123 - of a handle
            handle, "w", buffering=_BUFFER, encoding=encoding, errors=errors, newline=""
        ) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _drop(temporary)
        raise OutputError(f"{path}: {error.strerror}; {kept}") from error
    except BaseException:
        _drop(temporary)
        raise


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left half written; only for who holds the run's lock."""
    for path in (*folder.glob(f".*{_PART}"), *folder.glob(f"{CHECK_PREFIX}*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            _drop(path)


def _drop(path: Path | None) -> None:
    if path is not None:
        with suppress(OSError):
            path.unlink()
