"""SIGINT and SIGTERM: the first asks for a drain, the second for an end at once."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_signals(first: Callable[[signal.Signals], None], second: Callable[[], None]) -> Iterator[None]:
    """Call ``first`` at the first signal inside the block, and ``second`` at any later one."""
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
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
