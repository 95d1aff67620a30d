"""Hand pairs from the ledger on, a chunk of intents at a time."""

import asyncio
from collections.abc import Sequence

from worker.ledger import Ledger
from worker.models import Pair

HORIZON = 20_000
"""Rows of a file, read in half a second, that are known before its first opportunity is looked at."""


class Feed:
    """Pairs in input order, each once; waits while the input is still being read.

    Args:
        ledger: where they are.
        look_first: intents are not noted yet, see :meth:`worker.ledger.Ledger.claim`.
        horizon: with ``look_first``, rows that are read before any pair is given, if there are so many: then
            all pairs of an opportunity are known, and it is looked at once, wherever they stand.
    """

    def __init__(self, ledger: Ledger, *, look_first: bool = False, horizon: int = 0) -> None:
        self._ledger = ledger
        self._look_first = look_first
        self._horizon = horizon if look_first else 0
        self._news = asyncio.Event()
        self._rows = 0
        self._complete = False
        self._has_given = self._has_waited = False

    def more(self, rows: int) -> None:
        """There are so many new rows in the ledger."""
        self._rows += rows
        self._news.set()

    def complete(self) -> None:
        """No more rows will come into the ledger."""
        self._complete = True
        self._news.set()

    def has_kept_ahead(self) -> bool:
        """Whether pairs were taken since this was last asked, and none of them was waited for."""
        ahead = self._has_given and not self._has_waited
        self._has_given = self._has_waited = False
        return ahead

    async def take(self, most: int) -> Sequence[Pair]:
        """The next pairs, about so many, their intents durable; none when there are no more."""
        while True:
            # Looked at before claiming: rows that come in between are then found by the next round.
            complete = self._complete
            self._news.clear()
            if complete or self._rows >= self._horizon:
                pairs = await self._ledger.claim(most, look_first=self._look_first)
                if pairs or complete:
                    self._has_given = True
                    return pairs
            self._has_waited = True
            await self._news.wait()
