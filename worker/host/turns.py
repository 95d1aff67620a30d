"""Turns that processes on one machine share: when the next one is due stands in a small file.

All of them go by the same clock, that of the machine since it was started, which is also the event loop's.
Whoever opens the file as the only one begins it anew, so what a killed process left in it does no harm. Only
a step from the last turn is kept to: at a slow rate that is longer than it takes to start the next process.
"""

import asyncio
import fcntl
import math
import os
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.host.held import hold, is_at, let_go, share

_WORD = b"bulklnk2"
_PAGE = struct.Struct("<8sdddd")
"""A word that says what it is; when the next turn is due; if a pause lies before that, when the next one in
the pause is due, and when the pause ends; and seconds from the turn before to this one."""

_MOST_SECONDS = 86_400.0
_MOST_STEPS = 1_000
"""A turn that is due later than that is none: somebody has written nonsense."""

_SLACK = 0.005
_OF_LATE = 0.8
"""Seconds, and share of how late a turn may be used, for which a turn that nobody took is still there: timers
wake a little late, and that would add up."""

_NO_TIME = 0.005
"""Seconds for which one process may have all turns."""

_STILL_THERE = 1.0
"""Seconds after which it is looked whether the file is still there: temporary folders are tidied up."""

_RETRY, _PATIENCE = 0.001, 1.0
"""Seconds until a lock is asked for again, and until its holder must have been stopped in the middle of a
booking, which takes microseconds: he is not waited for any longer."""

_of_this_process = threading.Lock()
"""Locks of a file are a process's; its threads need one, too."""


class HostTurns:
    """A book of turns, see :class:`worker.limits.TurnBook`, for the processes of one user on one machine.

    Use as a context manager.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self._look_at = -math.inf
        self._left, self._step = 0, 0.0
        self._next = self._last = self._end = -math.inf

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            OSError: it cannot be.
        """
        self._handle = _open(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _of_this_process:  # to close it anywhere is to unlock it everywhere in a process
            if _left_over(self._handle) > -math.inf:
                os.close(self._handle)  # to be found by who comes before that is due
            else:
                let_go(self._path, self._handle)

    def book_at_once(self, *, step: float, late: float) -> float | None:
        """Take the next turn if it is due, and if nobody holds the file just now; else nothing is booked."""
        now = asyncio.get_running_loop().time()
        oldest = now - min(_SLACK, _OF_LATE * late)
        if not self._has_booked(step, oldest):
            if not self._try_lock():
                return None
            try:
                due, *_ = self._read(now, step)
                if due > now:
                    return None
                self._book(step, oldest, 0.0)
            finally:
                self._unlock()
        if self._next > now:
            return None
        return self._take_booked()

    async def book(self, *, step: float, late: float, pause: float, urgent: bool = False) -> float:
        """Take the next turn; gives when it is due, by the clock of the running loop."""
        oldest = asyncio.get_running_loop().time() - min(_SLACK, _OF_LATE * late)
        if urgent:
            in_pause = await self._book_in_pause(step, oldest)
            if in_pause is not None:
                return in_pause
        if urgent or pause > 0 or not self._has_booked(step, oldest):
            await self._book_some(step, oldest, pause)
        return self._take_booked()

    def _has_booked(self, step: float, oldest: float) -> bool:
        """Whether a turn is booked that is not too old; those that are lapse."""
        if step != self._step:
            return False
        if self._left and self._next < oldest:
            lapsed = min(self._left, math.ceil((oldest - self._next) / step))
            self._left -= lapsed
            self._next += lapsed * step
        return self._left > 0

    def _take_booked(self) -> float:
        self._left -= 1
        self._last, self._next = self._next, self._next + self._step
        return self._last

    async def postpone(self, by: float, before: float) -> bool:
        """Put off turns that are not booked yet, if the next of them is due before a time; whether it was."""
        await self._lock()
        try:
            after, in_pause, end = self._read(before, self._step)
            if after > before:
                return False
            self._write(after + by, in_pause, end, self._step)
        finally:
            self._unlock()
        return True

    async def give_back(self, due: float, step: float) -> None:
        """A turn was not used: it is there again, if none after it was booked."""
        if due != self._last or step != self._step:
            return
        if self._left:
            self._next, self._left = due, self._left + 1
            return
        await self._lock()
        try:
            after, in_pause, end = self._read(due, step)
            if after == self._end:
                self._end = due
                self._write(due, in_pause, end, step)
        finally:
            self._unlock()

    async def _book_some(self, step: float, oldest: float, pause: float) -> None:
        await self._lock()
        try:
            self._book(step, oldest, pause)
        finally:
            self._unlock()

    def _book(self, step: float, oldest: float, pause: float) -> None:
        """Book what comes due in no time: at a high rate the locks would cost more than they are worth."""
        now = asyncio.get_running_loop().time()
        due, in_pause, end = self._read(now, step)
        due = max(due, oldest)
        if pause > 0 and (until := now + pause) > due:
            if now >= end:
                in_pause = due
            due = end = until
        self._step, self._left = step, max(1, int(_NO_TIME / step))
        self._next, self._end = due, due + self._left * step
        self._write(self._end, in_pause, end, step)

    async def _book_in_pause(self, step: float, oldest: float) -> float | None:
        """A turn before the end of the pause that lies before all others; None if there is none."""
        await self._lock()
        try:
            after, in_pause, end = self._read(oldest, step)
            due = max(in_pause, oldest)
            if due + step > end:
                return None
            self._write(after, due + step, end, step)
        finally:
            self._unlock()
        return due

    def _make_sure(self) -> None:
        """Go on with the file that is there now, if somebody has removed ours."""
        if not is_at(self._path, self._handle):
            with suppress(OSError):  # then we are alone with the old one
                handle = _open(self._path)
                with _of_this_process:
                    os.close(self._handle)
                self._handle = handle

    async def _lock(self) -> None:
        for _ in range(int(_PATIENCE / _RETRY)):
            if self._try_lock():
                return
            await asyncio.sleep(_RETRY)
        _of_this_process.acquire()

    def _try_lock(self) -> bool:
        if (now := asyncio.get_running_loop().time()) >= self._look_at:
            self._look_at = now + _STILL_THERE
            self._make_sure()
        if _of_this_process.acquire(blocking=False):
            try:
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                _of_this_process.release()
            else:
                return True
        return False

    def _unlock(self) -> None:
        fcntl.lockf(self._handle, fcntl.LOCK_UN)
        _of_this_process.release()

    def _read(self, now: float, step: float) -> tuple[float, float, float]:
        """What stands there, unless it is nonsense."""
        page = os.pread(self._handle, _PAGE.size, 0)
        if len(page) == _PAGE.size:
            word, *times, _ = _PAGE.unpack(page)
            if word == _WORD and all(time <= now + _MOST_SECONDS + _MOST_STEPS * step for time in times):
                return (*times,)
        return now + step, -math.inf, -math.inf  # somebody may just have had a turn

    def _write(self, due: float, in_pause: float, end: float, step: float) -> None:
        os.pwrite(self._handle, _PAGE.pack(_WORD, due, in_pause, end, step), 0)


def _open(path: Path) -> int:
    held = hold(path)
    assert held is not None  # noqa: S101 - it need not be held alone
    handle, is_first = held
    try:
        if is_first:
            due = _left_over(handle)
            os.ftruncate(handle, 0)
            os.pwrite(handle, _PAGE.pack(_WORD, due, -math.inf, -math.inf, 0.0), 0)
            share(handle)
    except BaseException:
        let_go(path, handle)
        raise
    return handle


def _left_over(handle: int) -> float:
    """When the next turn is due after all who booked are gone, pauses aside; minus infinity if it is now."""
    page = os.pread(handle, _PAGE.size, 0)
    if len(page) == _PAGE.size:
        word, due, _, _, step = _PAGE.unpack(page)
        now = _now()
        if word == _WORD and due > now and step > 0:
            return float(min(due, now + step))
    return -math.inf


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # before it runs, and after
        return time.monotonic()
