"""One process per run, held by an advisory lock on the run directory itself: a crash lets it go."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import LedgerError, LockedError


@contextmanager
def run_lock(directory: Path) -> Iterator[None]:
    """Hold the run's lock.

    Raises:
        LockedError: another process holds it.
    """
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise LedgerError(f"{directory}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if not isinstance(error, BlockingIOError):
            raise LedgerError(f"{directory}: cannot be locked: {error.strerror}") from error
        raise LockedError(f"run {directory.name} is being worked on by another process") from error
    try:
        yield
    finally:
        os.close(handle)
