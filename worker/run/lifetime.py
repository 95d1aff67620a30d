"""How a piece of work ends: it is asked to, or cancelled; and the thin wrapper in which signals do so.

The work itself is a coroutine without signals, and runs in any event loop: it is given a :class:`Stop`, which
anybody may use. :class:`Lifetime` is the wrapper that every verb uses: an event loop, and SIGINT, SIGTERM and
SIGHUP as they are meant (:mod:`worker.run.signals`).
"""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from worker.errors import Exit, StoppedError
from worker.run.signals import StopSignals, on_signals, on_stop

_T = TypeVar("_T")

_YOUNG = 20_000
"""Objects made, less those gone, after which Python looks for rings of them that nobody refers to. What a
pair needs is gone without that; by default it would be looked for after 700."""


class Stop:
    """The wish that a piece of work ends.

    Attributes:
        why: who wishes it, in a word such as ``SIGTERM``; empty as long as nobody does.
        exit_code: what the command gives then.
    """

    def __init__(self) -> None:
        self.why = ""
        self.exit_code = Exit.OK
        self._task: asyncio.Task[Any] | None = None
        self._drain: Callable[[], None] | None = None
        self._is_over = False

    def ask(self, why: str, exit_code: Exit) -> None:
        """Begin nothing new, finish what is on its way; work that has nothing on its way is cancelled."""
        self.why, self.exit_code = why, exit_code
        if self._drain is None:
            self.cancel()
        else:
            self._drain()

    def cancel(self) -> None:
        """End at once."""
        if self._task is not None and not self._is_over:
            self._task.cancel()

    def drain_by(self, drain: Callable[[], None]) -> None:
        """From now on there may be something on its way: ``drain`` is called when a stop is asked for."""
        self._drain = drain

    def over(self) -> None:
        """What is left to do takes no time, and must be done: it is not cancelled any more."""
        self._is_over = True

    async def guard(self, work: Coroutine[Any, Any, _T], go_on: Callable[[], str]) -> _T:
        """Do the work in this task, so that it can be stopped.

        Args:
            work: what is done.
            go_on: gives the command that does what is left undone.

        Raises:
            StoppedError: it was cancelled by us.
        """
        self._task = asyncio.current_task()
        try:
            return await work
        except asyncio.CancelledError:
            if not self.why:
                raise
            raise StoppedError(self.exit_code, go_on()) from None


class Lifetime:
    """The time of one command, in which signals are counted together, inside its event loop and beyond."""

    def __init__(self) -> None:
        self._signals = StopSignals()

    def run(
        self,
        work: Callable[[Stop], Coroutine[Any, Any, _T]],
        go_on: Callable[[], str],
        reload: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> _T:
        """Do ``work`` in an event loop of its own; the first signal asks it to stop, a later one cancels it.

        Args:
            work: is given what asks it to stop.
            go_on: gives the command that does what is left undone.
            reload: done at each SIGHUP, beside the work.

        Raises:
            StoppedError: a signal has cancelled it.
        """
        gc.freeze()  # what is imported stays
        gc.set_threshold(_YOUNG)
        return asyncio.run(self._run(work, go_on, reload))

    async def _run(
        self,
        work: Callable[[Stop], Coroutine[Any, Any, _T]],
        go_on: Callable[[], str],
        reload: Callable[[], Coroutine[Any, Any, None]] | None,
    ) -> _T:
        stop = Stop()
        reloads: set[asyncio.Task[None]] = set()

        def hang_up() -> None:
            if reload is not None:
                task = asyncio.create_task(reload())
                reloads.add(task)  # the loop itself would not keep it
                task.add_done_callback(reloads.discard)

        async def watched() -> _T:
            with on_signals(
                lambda number: stop.ask(number.name, Exit(128 + number)),
                stop.cancel,
                hang_up,
                stops=self._signals,
            ):
                return await work(stop)

        return await stop.guard(watched(), go_on)

    @contextmanager
    def beyond_the_loop(self, go_on: Callable[[], str]) -> Iterator[None]:
        """Also in what is done outside the event loop, such as writing files, a later signal is an end.

        Args:
            go_on: gives the command that does what is left undone.

        Raises:
            StoppedError: in the middle of the block, at a signal that is not the first.
        """

        def end(number: signal.Signals) -> NoReturn:
            raise StoppedError(Exit(128 + number), go_on())

        with on_stop(self._signals, end):
            yield
