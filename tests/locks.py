"""Locks between processes that run tests. The system lets go of what a process held that has died."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def hold(path: Path, how: int = fcntl.LOCK_EX) -> int:
    """A descriptor that holds the lock until it is closed.

    Raises:
        BlockingIOError: another process holds it, and ``how`` says not to wait.
    """
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, how)
    except BaseException:
        os.close(held)
        raise
    return held


@contextmanager
def locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock within the block."""
    held = hold(path, how)
    try:
        yield
    finally:
        os.close(held)


def common_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of these tests know."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
