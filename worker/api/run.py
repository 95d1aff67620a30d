"""Link pairs, and iterate over what becomes of them."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Literal, Self, Unpack

from worker.api.channel import Channel
from worker.api.outcome import Counts, ItemT, Outcome
from worker.api.portal import Portal, PortalOptions
from worker.errors import Exit, UsageError

if TYPE_CHECKING:
    from worker.api.sending import Sending

BUFFER = 1000
"""Pairs taken beyond those on their way: as many can be looked for together."""


class LinkRun(Generic[ItemT]):
    """Pairs on their way. Made by :func:`link_pairs`; use as an async context manager, once.

    Iterate over it for the outcomes, in the order in which they come. When the block is left early, by
    ``break``, an error or a cancellation, requests on their way get the grace, and nothing more is sent. A
    second cancellation does not wait for them.
    """

    def __init__(
        self,
        pairs: Iterable[ItemT] | AsyncIterable[ItemT],
        portal: Portal,
        *,
        existing: Literal["check", "post"],
        buffer: int,
        ledger: Path | None,
    ) -> None:
        self._pairs = pairs
        self._portal = portal
        self._existing = existing
        self._buffer = buffer
        self._ledger = ledger
        self._outcomes: Channel[ItemT] = Channel()
        self._stack = AsyncExitStack()
        self._sending: Sending[ItemT] | None = None
        self._task: asyncio.Task[None] | None = None
        self._raised = False

    @property
    def counts(self) -> Counts:
        """How the pairs stand that were taken so far; final after the block."""
        return Counts.of(self._sending.taken if self._sending else 0, self._outcomes.states)

    @property
    def remaining(self) -> tuple[Outcome[ItemT], ...]:
        """Outcomes that nobody has iterated over; after the block, with those of all that was taken."""
        return self._outcomes.waiting

    async def __aenter__(self) -> Self:
        from worker.api.sending import Leave, Sending  # noqa: PLC0415 - brings in aiohttp

        if self._task is not None:
            raise UsageError("these pairs were linked already: call link_pairs again")
        more: dict[str, object] = {"existing": self._existing}
        if self._ledger is not None:
            more |= {"runs_dir": self._ledger.parent, "run_id": self._ledger.name}
        settings = self._portal.settings(**more)
        async with AsyncExitStack() as stack:
            if not self._portal.is_open:
                await stack.enter_async_context(self._portal)
            leave = Leave()
            sending = Sending(self._pairs, self._outcomes, self._portal.site, settings, self._buffer, leave)
            work = sending.run() if self._ledger is None else sending.run_recorded(self._ledger)
            self._sending = sending
            self._task = asyncio.create_task(work)
            self._task.add_done_callback(lambda _: leave.begun.set())
            self._task.add_done_callback(lambda _: self._outcomes.end())
            stack.push_async_callback(self._end)
            await leave.begun.wait()
            if self._task.done() and (error := self._error()) is not None:
                raise error
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if error is None and (missed := self._error()) is not None:
            raise missed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[ItemT]:
        if self._task is None:
            raise UsageError("enter it first: async with link_pairs(...) as run")
        outcome = await self._outcomes.get()
        if outcome is not None:
            return outcome
        if (error := self._error()) is not None:
            raise error
        raise StopAsyncIteration

    def _error(self) -> BaseException | None:
        """What ended the sending, if nobody was told; told once."""
        task = self._task
        if self._raised or task is None or not task.done() or task.cancelled():
            return None
        error = task.exception()
        self._raised = error is not None
        return error

    async def _end(self) -> None:
        """Send nothing more, and wait for what is on its way; cancelled, no longer."""
        task, sending = self._task, self._sending
        if task is None or sending is None or task.done():
            return
        sending.leave.ask("the program", Exit.RETRYABLE)
        if not sending.leave.begun.is_set():
            task.cancel()
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            while not task.done():
                with suppress(asyncio.CancelledError):  # raised at the end, by the one that is under way
                    await asyncio.wait({task})


def link_pairs(
    pairs: Iterable[ItemT] | AsyncIterable[ItemT],
    *,
    portal: str | Portal,
    existing: Literal["check", "post"] = "check",
    buffer: int = BUFFER,
    ledger: str | Path | None = None,
    **options: Unpack[PortalOptions],
) -> LinkRun[ItemT]:
    """Link pairs at a portal, and iterate over what becomes of each.

    ::

        async with link_pairs(pairs, portal="https://portal.example.com", token=token) as run:
            async for outcome in run:
                print(outcome.item, outcome.status)
        print(run.counts)

    A pair that the portal refuses, and an item that is no pair, is an outcome. An error ends the iteration:
    the portal refuses us, is closed or gone (:class:`~worker.errors.PortalError`,
    :class:`~worker.errors.OutageError`), or the iterable raised one (:class:`~worker.errors.InputError`,
    whose cause is that).

    Args:
        pairs: tuples of opportunity and contact, or mappings with names that a column may have; from an
            iterable or an async one. They are taken lazily: when nobody iterates, no more are taken than are
            on their way, and ``buffer``.
        portal: its address; or a :class:`Portal`, which stays open if it was open before.
        existing: look first what the portal holds (``check``), or just send (``post``).
        buffer: pairs that are taken beyond those on their way before their outcomes are.
        ledger: path of a run directory to be made, with all files that the command writes; None for no files.
        options: of the portal, if that is given by its address.

    Raises:
        UsageError: what is given makes no sense; values of options are looked at on entering.
    """
    if isinstance(portal, Portal):
        if options:
            raise UsageError(f"{next(iter(options))}: is told to Portal(...), and not to link_pairs")
    else:
        portal = Portal(portal, **options)
    if type(buffer) is not int or buffer < 1:
        raise UsageError(f"buffer: {buffer} is not a whole number from 1 on")
    path = None if ledger is None else Path(ledger)
    return LinkRun(pairs, portal, existing=existing, buffer=buffer, ledger=path)
