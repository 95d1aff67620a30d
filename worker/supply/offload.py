"""Run a blocking call in a thread that nobody has to wait for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


async def offload(work: Callable[[], _T]) -> _T:
    """The result of ``work()``, from a daemon thread.

    Not asyncio.to_thread: its pool is joined at exit, and a read from an idle pipe would hold up a stop
    for ever.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def resolve(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only beside an error, or as a _T

    def call() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:  # noqa: BLE001 - handed to the waiting coroutine, whatever it is
            error = caught
        with suppress(RuntimeError):  # the loop is closed: the run ended while we read
            loop.call_soon_threadsafe(resolve, result, error)

    threading.Thread(target=call, name="offload", daemon=True).start()
    return await future
