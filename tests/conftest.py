"""What all tests share: aioresponses made to work with aiohttp 3.14, and a loop whose time is virtual."""

import asyncio
import selectors
import types
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import aiohttp
import aioresponses.core
import pytest

_T = TypeVar("_T")


class _MockedResponse(aiohttp.ClientResponse):
    """aioresponses 0.7.9 does not pass what aiohttp 3.14 requires."""

    def __init__(self, *args: Any, stream_writer: Any = None, **options: Any) -> None:
        stream_writer = stream_writer or types.SimpleNamespace(output_size=0)
        super().__init__(*args, stream_writer=stream_writer, **options)


aioresponses.core.ClientResponse = _MockedResponse


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: when nothing is ready, time itself moves on to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("every coroutine waits, and no timer is set: a deadlock")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour of sleeping takes no time. Not for threads or sockets."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


@pytest.fixture
def virtual_time() -> Iterator[Callable[[Coroutine[Any, Any, _T]], _T]]:
    """Run a coroutine to its end on a loop of virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner.run
