"""SIGINT and SIGTERM: the first asks for a drain, the second for an end at once. SIGHUP: read again."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_signals(
    first: Callable[[signal.Signals], None], second: Callable[[], None], hangup: Callable[[], None]
) -> Iterator[None]:
    """Call ``first`` at the first signal to stop inside the block, ``second`` at any later one.

    ``hangup`` is called at each SIGHUP. A terminal that is closed sends one, too: the run outlives it.
    """
    loop = asyncio.get_running_loop()
    seen = False

    def received(number: signal.Signals) -> None:
        nonlocal seen
        if seen:
            second()
        else:
            seen = True
            first(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, received, number)
    hangup_before = signal.getsignal(signal.SIGHUP)
    loop.add_signal_handler(signal.SIGHUP, hangup)
    try:
        yield
    finally:
        for number in (*SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGHUP, hangup_before)
