"""SIGINT and SIGTERM: the first asks for a drain, a later one for an end at once. SIGHUP: read again."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)

TOGETHER = 1.0
"""Seconds from one to stop within which others are the same one. ``timeout`` signals its child, then the
child's group. Who goes on and on pressing Ctrl-C means more than one."""


class StopSignals:
    """Counts the signals to stop that one piece of work gets over its whole life.

    Attributes:
        first: the first of them; None if there was none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self.first: signal.Signals | None = None
        self._clock = clock
        self._last = float("-inf")

    def is_new(self, number: int) -> bool:
        """Count a signal that came just now; False if it is part of the last one that counted."""
        now = self._clock()
        if new := now - self._last >= TOGETHER:
            self._last = now
        self.count += new
        self.first = self.first or signal.Signals(number)
        return new


@contextmanager
def on_signals(
    first: Callable[[signal.Signals], None],
    second: Callable[[], None],
    hangup: Callable[[], None],
    *,
    stops: StopSignals | None = None,
) -> Iterator[None]:
    """Inside an event loop: call ``first`` at the first signal to stop, ``second`` at any later one.

    ``hangup`` is called at each SIGHUP. A terminal that is closed sends one, too: the run outlives it.
    Afterwards signals do what they did before. ``stops`` counts them together with those of other blocks;
    one that came before this block is acted on at its beginning.
    """
    loop = asyncio.get_running_loop()
    stops = stops or StopSignals()

    def received(number: signal.Signals) -> None:
        if not stops.is_new(number):
            return
        if stops.count == 1:
            first(number)
        else:
            second()

    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGHUP)}
    for number in SIGNALS:
        loop.add_signal_handler(number, received, number)
    loop.add_signal_handler(signal.SIGHUP, hangup)
    try:
        if stops.first is not None:
            first(stops.first)
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextmanager
def on_stop(stops: StopSignals, end: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Outside an event loop: let the first signal to stop in the block pass, call ``end`` at later ones.

    What ``end`` raises is raised by whatever is going on in the main thread.
    """

    def received(number: int, _frame: object) -> None:
        if stops.is_new(number) and stops.count > 1:
            end(signal.Signals(number))

    before = {number: signal.signal(number, received) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
