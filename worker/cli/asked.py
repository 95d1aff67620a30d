"""What a process says when SIGUSR1 asks it how it goes. Without an answer that signal would end it."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress


def when_asked(line: Callable[[], str], before: Callable[[], str] = str) -> None:
    """From now on answer with a line on standard error.

    Args:
        line: gives it; whatever was said before is no longer asked for.
        before: gives what ends a line that is being drawn.
    """

    def on_request(_number: int, _frame: object) -> None:
        # Not by sys.stderr: the signal may come while that is written to.
        with suppress(OSError):
            os.write(2, f"{before()}bulklink: {line()}\n".encode())

    with suppress(ValueError):  # in another thread than the main one
        signal.signal(signal.SIGUSR1, on_request)


def say_since_when(words: Sequence[str]) -> None:
    """Answer as any verb can: that it is at work, and for how long."""
    began = time.monotonic()
    verb = next((word for word in words if not word.startswith("-")), "bulklink")
    when_asked(lambda: f"{verb}: at work for {time.monotonic() - began:,.0f} s")
