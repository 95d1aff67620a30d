"""A file that lives as long as somebody holds it open: the kernel lets go for whoever is killed."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

_PATIENCE = 0.2
"""Seconds for which somebody may be about to make or remove the file."""


def hold(path: Path, *, alone: bool = False) -> tuple[int, bool] | None:
    """Open a file, made if it is not there, and hold it until :func:`let_go`, or until this process ends.

    Args:
        path: of the file; only its owner may read it.
        alone: hold it only if nobody else does.

    Returns:
        The open file, and whether nobody else holds it; None if it was to be held alone and is not free.

    Raises:
        OSError: it cannot be opened or locked.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            first = _lock(handle, fcntl.LOCK_EX)
            if (first or (not alone and _lock(handle, fcntl.LOCK_SH))) and is_at(path, handle):
                return handle, first
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # held by somebody else alone, or removed since it was opened
        if time.monotonic() >= deadline:
            if alone:
                return None
            raise BlockingIOError(0, "is held by another process", str(path))
        time.sleep(_PATIENCE / 40)


def share(handle: int) -> None:
    """Let others hold it, too."""
    fcntl.flock(handle, fcntl.LOCK_SH)


def let_go(path: Path, handle: int) -> None:
    """Hold it no longer; who is the last removes it."""
    with suppress(OSError):
        if _lock(handle, fcntl.LOCK_EX) and is_at(path, handle):
            path.unlink()
    os.close(handle)


def sweep(folder: Path, names: str) -> None:
    """Remove files of such names that nobody holds: who was killed could not."""
    for path in folder.glob(names):
        with suppress(OSError):
            let_go(path, os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK))


def is_at(path: Path, handle: int) -> bool:
    """Whether the open file is the one that is there now."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(handle))
    except FileNotFoundError:
        return False


def _lock(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
