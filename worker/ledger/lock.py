"""One process per run, held by an advisory lock on the run directory itself: a crash lets it go."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.errors import LedgerError, LockedError


class RunLock:
    """A lock that is held; let go by :meth:`release`, or at the end of a ``with`` block."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    def release(self) -> None:
        """Let it go; nothing happens if it is let go already."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def run_lock(directory: Path) -> RunLock:
    """Take the run's lock.

    Raises:
        LockedError: another process holds it.
        LedgerError: there is no such directory, or its disk cannot lock.
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
    return RunLock(handle)
