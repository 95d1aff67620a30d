"""What is read at a portal, as something to iterate over: a part of what was given at a time, and no more.

Nothing goes on while nobody asks for the next answer: no task, no request. So whoever stops iterating, by
``break``, an error or a cancellation, has nothing to end.
"""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Generic, Self, TypeVar

from worker.errors import InputError, UsageError

CHUNK = 100
"""Taken from an iterable before anybody else has a turn."""

GivenT = TypeVar("GivenT")
ToldT = TypeVar("ToldT")


class Lookup(Generic[GivenT, ToldT]):
    """Answers about things that a program gives, one for each, in its order. Made by :class:`Portal`.

    Iterate over it. As an async context manager it also closes an async generator that is not read to its
    end, which Python else does later.

    Args:
        given: by the program.
        ask: gives the answers about some of it, in its order.
        buffer: how many are taken, and asked about together.

    Raises:
        UsageError: that is no iterable, or no number to take together.
    """

    def __init__(
        self,
        given: Iterable[GivenT] | AsyncIterable[GivenT],
        ask: Callable[[Sequence[GivenT]], Awaitable[Sequence[ToldT]]],
        buffer: int,
    ) -> None:
        if type(buffer) is not int or buffer < 1:
            raise UsageError(f"buffer: {buffer} is not a whole number from 1 on")
        if isinstance(given, str | bytes) or not isinstance(given, Iterable | AsyncIterable):
            raise UsageError(f"{given!r:.50}: give a list or another iterable, also of one")
        self._given = aiter(given) if isinstance(given, AsyncIterable) else iter(given)
        self._ask = ask
        self._buffer = buffer
        self._asked: list[GivenT] = []
        self._told: deque[ToldT] = deque()
        self._answered = 0
        self._trouble: InputError | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._given, AsyncGenerator):
            await self._given.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ToldT:
        async with self._turn:  # several may iterate; each answer is given once
            while not self._told:
                if not self._asked and not await self._take():
                    raise StopAsyncIteration
                # Cancelled in between, they are asked about again: to read changes nothing.
                self._told.extend(await self._ask(self._asked))
                self._answered += len(self._asked)
                self._asked = []
            return self._told.popleft()

    async def _take(self) -> bool:
        """Take what is asked about next; False if nothing is left."""
        if self._trouble is None:
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001 - raised when what came before has its answers
                taken = self._answered + len(self._asked)
                self._trouble = InputError(
                    f"the input broke off after {taken:,}: {type(error).__name__}: {error}"
                )
                self._trouble.__cause__ = error
        if not self._asked and self._trouble is not None:
            raise self._trouble
        return bool(self._asked)

    async def _read(self) -> None:
        given, asked = self._given, self._asked
        if isinstance(given, AsyncIterator):
            with suppress(StopAsyncIteration):
                while len(asked) < self._buffer:
                    asked.append(await anext(given))
            return
        while len(asked) < self._buffer:
            some = islice(given, min(CHUNK, self._buffer - len(asked)))
            before = len(asked)
            asked.extend(some)
            if len(asked) == before:
                break
            await asyncio.sleep(0)
