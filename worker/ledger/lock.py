"""One process per run, held by an advisory lock on the run directory itself: a crash lets it go."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.errors import LedgerError, LockedError

_PATIENCE = 0.2
"""Seconds for which a lock is asked for again: who only looks whether it is held holds it for a moment."""


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
    handle = _open(directory)
    deadline = time.monotonic() + _PATIENCE
    while not _flock(handle, fcntl.LOCK_EX, directory):
        if time.monotonic() >= deadline:
            os.close(handle)
            raise LockedError(f"run {directory.name} is being worked on by another process")
        time.sleep(_PATIENCE / 10)
    return RunLock(handle)


def is_locked(directory: Path) -> bool:
    """Whether a process works on the run just now; False also if that cannot be told."""
    try:
        handle = _open(directory)
        if _flock(handle, fcntl.LOCK_SH, directory):  # shared, so that those who look do not see each other
            os.close(handle)
            return False
    except LedgerError:
        return False
    os.close(handle)
    return True


def _open(directory: Path) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise LedgerError(f"{directory}: {error.strerror}") from error


def _flock(handle: int, how: int, directory: Path) -> bool:
    """Lock it; False if another process holds it. On an error the handle is closed."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        os.close(handle)
        raise LedgerError(f"{directory}: cannot be locked: {error.strerror}") from error
    return True
