"""The command on a disk with a trouble of its own: ``disk_trouble.py TROUBLE [N] run ...``.

Each trouble is of this process only; what stands in the files of the worker stays as it is.
"""

import ctypes
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar
from unittest.mock import patch

from worker import cli
from worker.report.build import Report
from worker.report.plan import Plan
from worker.run.directory import RunDirectory
from worker.run.files import write_files, write_plan

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


class BadDisk(sqlite3.Connection):
    """A ledger's connection whose commits are slow, or fail from one of them on.

    Attributes:
        commits: how many were asked for.
        fails_at: the number of the first one that fails; 0 for none.
        written: whether what fails was written all the same, as after an fsync that failed too late.
        seconds: that each one takes.
    """

    commits: ClassVar[int] = 0
    fails_at: ClassVar[int] = 0
    written: ClassVar[bool] = False
    seconds: ClassVar[float] = 0.0

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """As any connection does, but for COMMIT."""
        if sql != "COMMIT":
            return super().execute(sql, *values)
        BadDisk.commits += 1
        time.sleep(self.seconds)
        failing = 0 < self.fails_at <= BadDisk.commits
        if failing and not self.written:
            raise sqlite3.OperationalError("disk I/O error")
        cursor = super().execute(sql, *values)
        if failing:
            raise sqlite3.OperationalError("disk I/O error")
        return cursor

    @classmethod
    def plug_in(cls, *, fails_at: int = 0, written: bool = False, seconds: float = 0.0) -> Any:
        """A patch that lets every connection opened within it be such a one."""
        cls.commits, cls.fails_at, cls.written, cls.seconds = 0, fails_at, written, seconds
        return patch("worker.ledger.schema.sqlite3.connect", partial(sqlite3.connect, factory=cls))


def file_size(most: int) -> None:
    """No file can grow beyond ``most`` bytes, as if the disk were full there."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def file_size_at_end(most: int) -> None:
    """The same, but only once the sending is over and the files are being written."""

    def write(directory: RunDirectory) -> Report:
        file_size(most)
        return write_files(directory)

    def write_planned(directory: RunDirectory) -> Plan:
        file_size(most)
        return write_plan(directory)

    patch("worker.run.run.write_files", write).start()
    patch("worker.run.plan.write_plan", write_planned).start()


def anyone() -> bool:
    """Let a root that is executed next obey permissions like anyone else; whether that is possible."""
    libc = ctypes.CDLL(None)
    drops = (libc.prctl(_PR_CAPBSET_DROP, cap, 0, 0, 0) for cap in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH))
    return os.getuid() != 0 or not any(list(drops))


SIZED: dict[str, Callable[[int], None]] = {"file-size": file_size, "file-size-at-end": file_size_at_end}

if __name__ == "__main__":
    trouble = sys.argv.pop(1)
    if trouble in SIZED:
        SIZED[trouble](int(sys.argv.pop(1)))
        cli.main()
    elif not anyone():
        sys.exit("root cannot give up its rights here")
    else:
        os.execv(sys.executable, [sys.executable, "-m", "worker", *sys.argv[1:]])  # noqa: S606 - no shell is meant
