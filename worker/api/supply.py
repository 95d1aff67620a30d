"""Pairs of a program as the supply of a run: taken one by one, never many more than their outcomes are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Generic

from worker.api.channel import Channel
from worker.api.items import row_of
from worker.api.outcome import ItemT, Outcome
from worker.errors import InputError, LedgerError
from worker.judge import key_of
from worker.ledger import PairLedger, Standing
from worker.models import Outcome as Concluded
from worker.models import Pair, Row, Status, ids_of
from worker.quantities import counted
from worker.tally import RunTally

CHUNK = 100
"""Pairs taken from an iterable before anybody else has a turn."""


class PairSupply(Generic[ItemT]):
    """Pairs that come from an iterable.

    Args:
        pairs: what the program gave.
        outcomes: where they go.
        ledger: knows the pairs.
        tally: counts them.
        look_first: what the portal holds is looked for before a pair is noted as about to be sent.
        window: gives how many may be taken at once whose outcome nobody has taken yet.
        complete: is done when there are no more.
    """

    is_endless = True
    waits_for_reasons = True  # what a program was told stays as it is

    def __init__(
        self,
        pairs: Iterable[ItemT] | AsyncIterable[ItemT],
        outcomes: Channel[ItemT],
        ledger: PairLedger,
        tally: RunTally,
        *,
        look_first: bool,
        window: Callable[[], int],
        complete: Callable[[], Awaitable[None]],
    ) -> None:
        self._pairs = pairs
        self._outcomes = outcomes
        self._ledger = ledger
        self._tally = tally
        self._look_first = look_first
        self._window = window
        self._when_complete = complete
        self._open: dict[int, tuple[ItemT, int | str]] = {}
        self._judged: list[tuple[Row, int | str]] = []
        self._taken = 0
        self._complete = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        outcomes.taken = self._room.set

    @property
    def taken(self) -> int:
        """Pairs taken from the iterable."""
        return self._taken

    async def read(self) -> None:
        """Take pairs as long as there is room for them, until there are no more.

        Raises:
            InputError: the iterable raised an error, which is its cause.
        """
        try:
            if isinstance(self._pairs, AsyncIterable):
                await self._read_slowly(self._pairs)
            else:
                await self._read(self._pairs)
            await self._when_complete()
            self._tally.complete = True
        finally:
            self._complete = True
            self._news.set()

    async def _read(self, pairs: Iterable[ItemT]) -> None:
        try:
            iterator = iter(pairs)
            more = True
            while more:
                room = min(await self._wait_for_room(), CHUNK)
                more = False
                for item in islice(iterator, room):
                    self._arrived(item)
                    more = True
                await asyncio.sleep(0)
        except Exception as error:
            raise self._broke_off(error) from error

    async def _read_slowly(self, pairs: AsyncIterable[ItemT]) -> None:
        iterator = aiter(pairs)
        try:
            while await self._wait_for_room():
                self._arrived(await anext(iterator))
        except StopAsyncIteration:
            pass
        except Exception as error:
            raise self._broke_off(error) from error
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()

    def _broke_off(self, error: Exception) -> InputError:
        after = counted(self._taken, "pair")
        return InputError(f"the input broke off after {after}: {type(error).__name__}: {error}")

    async def _wait_for_room(self) -> int:
        """Room for so many pairs, at least one."""
        while (room := self._window() - len(self._open) - len(self._outcomes)) <= 0:
            self._room.clear()
            await self._room.wait()
        return room

    def _arrived(self, item: ItemT) -> None:
        self._taken += 1
        row = row_of(item, self._taken)
        verdict = key_of(row)
        self._open[row.number] = item, verdict
        self._judged.append((row, verdict))
        self._news.set()

    async def take(self, most: int) -> Sequence[Pair]:
        """The next pairs, about so many, their intents durable; none when there are no more."""
        while True:
            # Looked at before what was judged is admitted: what comes in between is found by the next round.
            complete = self._complete
            self._news.clear()
            await self._admit()
            pairs = await self._ledger.claim(most, look_first=self._look_first)
            if pairs or complete:
                return pairs
            await self._news.wait()

    async def _admit(self) -> None:
        judged, self._judged = self._judged, []
        admitted = await self._ledger.admit(judged)
        self._tally.admitted(admitted)
        if admitted.invalid:
            for row, verdict in judged:
                if isinstance(verdict, str):
                    self._conclude(Standing(row.number, Status.INVALID, verdict))
        if admitted.duplicates:
            for one in await self._ledger.standing([row.number for row, _ in judged]):
                if one.status is Status.DUPLICATE:
                    self._conclude(one)

    async def settled(self, outcome: Concluded) -> None:
        """Hand the outcome on."""
        standing = Standing(
            outcome.pair.row, outcome.status, outcome.reason, outcome.http_status, len(outcome.attempts)
        )
        self._conclude(standing, outcome.body)

    def _conclude(self, standing: Standing, body: bytes = b"") -> None:
        item, verdict = self._open.pop(standing.row)
        opportunity_id, contact_id = (None, None) if isinstance(verdict, str) else ids_of(verdict)
        status = standing.status or (Status.UNKNOWN if standing.sent else Status.NOT_ATTEMPTED)
        self._outcomes.put(
            Outcome(
                item,
                opportunity_id,
                contact_id,
                status,
                standing.reason,
                standing.http_status,
                standing.attempts,
                body,
            )
        )

    async def close(self) -> None:
        """Say of what was taken and has no outcome how it stands."""
        left = list(self._open)
        try:
            known = {one.row: one for one in await self._ledger.standing(left)}
        except LedgerError:  # it has given up, and with it whatever was on its way is in doubt
            known = {row: Standing(row, None, sent=True) for row in left}
        for row in left:
            _, verdict = self._open[row]
            if isinstance(verdict, str):
                self._conclude(Standing(row, Status.INVALID, verdict))
            else:
                self._conclude(known.get(row, Standing(row, None)))
