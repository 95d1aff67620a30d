"""Show how a run goes, on standard error: one line redrawn on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Literal

from worker.cli.output import complain, draw
from worker.errors import one_line
from worker.models import Status
from worker.tally import LinkTally, RunTally

PLAIN_EVERY = 10.0
_BAR = 20
_FAILED = (Status.INVALID, Status.REJECTED, Status.RETRYABLE, Status.UNKNOWN)


def progress(
    kind: Literal["auto", "bar", "plain", "none"], *, quiet: bool
) -> Callable[[RunTally | LinkTally], None]:
    """A function to be called often with the counts so far; it decides when to print."""
    if quiet or kind == "none":
        return lambda _: None
    if kind == "bar" or (kind == "auto" and sys.stderr is not None and sys.stderr.isatty()):
        return _bar
    return _Plain()


class _Plain:
    def __init__(self) -> None:
        self._next = time.monotonic() + PLAIN_EVERY
        self._note = ""

    def __call__(self, tally: RunTally | LinkTally) -> None:
        if tally.note != self._note:
            self._note = tally.note
            if tally.note:  # that something is over shows in the numbers
                complain(tally.note)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY
            complain(_line(tally))


def _bar(tally: RunTally | LinkTally) -> None:
    share = _share(tally)
    bar = "#" * int(share * _BAR)
    end = "\n" if tally.ended else ""
    line = f"[{bar:<{_BAR}}] {_line(tally)}{f'  {one_line(tally.note)}' if tally.note else ''}"
    # Erase to the end of the line: the last one may have been longer.
    draw(f"\r{line}\x1b[K{end}")


def _share(tally: RunTally | LinkTally) -> float:
    if isinstance(tally, LinkTally):
        return tally.done / tally.total if tally.total else 0.0
    return tally.done / tally.rows if tally.complete and tally.rows else 0.0


def _line(tally: RunTally | LinkTally) -> str:
    if isinstance(tally, LinkTally):
        pace = tally.done / tally.seconds if tally.seconds else 0.0
        return f"{tally.done:,}/{tally.total:,} links, {pace:,.0f}/s"
    total = f"{tally.rows:,}" if tally.complete else f"{tally.rows:,}+"
    failed = sum(tally.settled[status] for status in _FAILED)
    pace = tally.settled_here / tally.seconds if tally.seconds else 0.0
    words = [f"{tally.done:,}/{total} rows", f"{tally.settled[Status.LINKED]:,} linked"]
    if tally.settled[Status.ALREADY_LINKED]:
        words.append(f"{tally.settled[Status.ALREADY_LINKED]:,} linked before")
    if failed:
        words.append(f"{failed:,} failed")
    words.append(f"{pace:,.0f}/s")
    if tally.throttled:
        words.append(f"{tally.throttled:,} throttled")
    if tally.complete and pace and tally.rows > tally.done:
        words.append(f"about {_clock((tally.rows - tally.done) / pace)} left")
    return ", ".join(words)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
