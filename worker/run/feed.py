"""Hand pairs from the ledger to the lanes, a chunk of intents at a time."""

import asyncio
from collections import deque

from worker.ledger import Ledger
from worker.models import Pair


class Feed:
    """Pairs in input order, each once; waits while the input is still being read.

    Args:
        ledger: where they are.
        chunk: pairs claimed at once.
        look_first: their intents are not noted yet, see :meth:`worker.ledger.Ledger.claim`.
    """

    def __init__(self, ledger: Ledger, chunk: int, *, look_first: bool = False) -> None:
        self._ledger = ledger
        self._chunk = chunk
        self._look_first = look_first
        self._ready: deque[Pair] = deque()
        self._one_at_a_time = asyncio.Lock()
        self._news = asyncio.Event()
        self._complete = self._exhausted = False

    def more(self) -> None:
        """There are new pairs in the ledger."""
        self._news.set()

    def complete(self) -> None:
        """No more pairs will come into the ledger."""
        self._complete = True
        self._news.set()

    async def take(self) -> Pair | None:
        """The next pair, its intent durable; None when there are no more."""
        async with self._one_at_a_time:
            while not self._ready:
                if self._exhausted:
                    return None
                # Looked at before claiming: rows that come in between are then found by the next round.
                complete = self._complete
                self._news.clear()
                self._ready.extend(await self._ledger.claim(self._chunk, look_first=self._look_first))
                if self._ready:
                    break
                if complete:
                    self._exhausted = True  # each further claim would be a commit for nothing
                    return None
                await self._news.wait()
            return self._ready.popleft()

    def at_hand(self, limit: int) -> list[Pair]:
        """Up to so many more of the pairs that are claimed already."""
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
