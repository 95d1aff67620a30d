"""Show how a run goes, on standard error: one line redrawn on a terminal, a line now and then elsewhere.

SIGUSR1 prints that line at any time, also with --quiet.
"""

import os
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Literal

from worker.cli.asked import when_asked
from worker.cli.output import complain, draw
from worker.cli.status_line import bar, done_of, fitted, line_of, parts_of, share_of
from worker.errors import one_line
from worker.tally import LinkTally, Pace, RunTally

PLAIN_EVERY = 10.0
_DUMB = {"", "dumb"}
_NARROWEST = 20
_SPARE = 3
"""Columns left free: a full last one makes some terminals begin a new line, and so does the ^C that they
write behind what is drawn."""
_USUAL = 80

Show = Callable[[RunTally | LinkTally], None]


def progress(kind: Literal["auto", "bar", "plain", "none"], *, quiet: bool) -> Show:
    """A function to be called often with the counts so far; it decides when to print."""
    pace = Pace()
    show = _printer(kind, pace, quiet=quiet)
    last: list[RunTally | LinkTally] = []
    live_page = ""

    def told(tally: RunTally | LinkTally) -> None:
        nonlocal live_page
        last[:] = [tally]
        if tally.live_page != live_page:
            live_page = tally.live_page
            if live_page and not quiet:  # whatever kind of progress is wanted: it is nowhere else
                draw(f"live page: {live_page}\n")
        pace.observe(tally.seconds, done_of(tally), tally.sent)
        show(tally)

    when_asked(
        lambda: one_line(line_of(parts_of(last[0], pace))) if last else "nothing has begun yet",
        lambda: "\n" if isinstance(show, _Bar) and show.is_drawn else "",
    )
    return told


def _printer(kind: Literal["auto", "bar", "plain", "none"], pace: Pace, *, quiet: bool) -> Show:
    if quiet or kind == "none":
        return lambda _: None
    if kind == "bar" or (kind == "auto" and _redraws()):
        return _Bar(pace)
    return _Plain(pace)


def _redraws() -> bool:
    """Whether standard error is a terminal that can go back to the beginning of a line."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") not in _DUMB


class _Plain:
    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._next = time.monotonic() + PLAIN_EVERY
        self._note = ""

    def __call__(self, tally: RunTally | LinkTally) -> None:
        if tally.note != self._note:
            self._note = tally.note
            if tally.note:  # that something is over shows in the numbers
                complain(tally.note)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY
            complain(line_of(parts_of(tally, self._pace)))


class _Bar:
    """One line, redrawn in place; what is to be read, such as a note, gets lines of its own above it."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._note = ""
        self._drawn = ""

    def __call__(self, tally: RunTally | LinkTally) -> None:
        columns = _width()
        width = columns - _SPARE
        note: list[str] = []
        if tally.note != self._note:
            self._note = tally.note
            note = textwrap.wrap(one_line(tally.note), width)
        text = fitted(parts_of(tally, self._pace), width)
        line = bar(share_of(tally), text, width)
        if line == self._drawn and not note and not tally.ended:
            return
        # A terminal that got narrower has broken the last line in several: we begin in the first of them.
        above = max(0, len(self._drawn) - 1) // columns
        begin = f"\x1b[{above}A\r\x1b[J" if above else "\r"
        # Erase to the end of each line: the last one may have been longer.
        lines = [f"{one}\x1b[K" for one in (*note, line)]
        draw(begin + "\n".join(lines) + ("\n" if tally.ended else ""))
        self._drawn = "" if tally.ended else line

    @property
    def is_drawn(self) -> bool:
        """Whether the cursor stands at the end of a line of ours."""
        return bool(self._drawn)


def _width() -> int:
    """Columns of the terminal just now; it may have been resized since the last line."""
    try:
        return max(_NARROWEST, os.get_terminal_size(2).columns or _USUAL)
    except OSError:
        return _USUAL
