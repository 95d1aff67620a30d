"""A file as the supply of a run: read into the ledger ahead of the sending, fed from there in order."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from worker.errors import TooFewRows
from worker.host import Claim
from worker.ledger import Ledger
from worker.models import Outcome, Pair
from worker.sources import Source
from worker.supply.feed import HORIZON, Feed
from worker.supply.ingest import ingest
from worker.tally import RunTally

REST = 2
"""While pairs are sent, reading rests so many times as long as it worked: all share one interpreter."""

LONGEST_REST = 0.25
"""Seconds; a slow pipe has not been at work all the time that it took."""

STDIN_GONE = (
    "what fed this run, standard input or a program, is gone: rows after the last one were never read"
)


class FileInput:
    """An input file.

    Args:
        path: as resume must find it again; ``-`` is standard input.
        source: the open file; None if it was read to its end before, or is gone.
        complete: it was read to its end before.
        look_first: what the portal holds is looked for before a pair is noted as about to be sent.
        limit: most rows to read.
        min_rows: nothing is fed before so many were read; None to feed the first ones at once.
        claim: keeps others from linking the same input; None if nothing does.
    """

    def __init__(
        self,
        path: str,
        source: Source | None,
        *,
        complete: bool,
        look_first: bool,
        limit: int | None,
        min_rows: int | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.facts = {"input_path": path, "input_name": Path(path).name}
        self.lost = "" if complete or source is not None else STDIN_GONE
        self._source = source
        self._look_first = look_first
        self._limit = limit
        self._min_rows = min_rows
        self._claim = claim

    async def open(self, ledger: Ledger, tally: RunTally, tell: Callable[[str], None]) -> "FileSupply":  # noqa: ARG002 - a file has no trouble that passes
        """The file, to be read into this ledger.

        Raises:
            TooFewRows: it has fewer than are expected.
            InputError: it broke off before it had so many.
        """
        # A pipe may bring its rows slowly, or never end: what is there is looked at.
        endless = self._source is not None and self._source.name == "-"
        horizon = 0 if endless else max(0, HORIZON - tally.rows)
        feed = Feed(ledger, look_first=self._look_first, horizon=horizon)
        supply = FileSupply(self._source, ledger, tally, feed=feed, limit=self._limit)
        if self._min_rows is not None:
            await supply.hold(str(self.facts["input_name"]), self._min_rows)
        return supply

    def close(self) -> None:
        """Close the file, and let others have it."""
        if self._source is not None:
            self._source.close()
        if self._claim is not None:
            self._claim.release()


class FileSupply:
    """Rows of a file, each claimed from the ledger in order. A pipe may never end."""

    waits_for_reasons = False

    def __init__(
        self, source: Source | None, ledger: Ledger, tally: RunTally, *, feed: Feed, limit: int | None
    ) -> None:
        self.is_endless = source is not None and source.name == "-"
        self._source = source
        self._ledger = ledger
        self._tally = tally
        self._limit = limit
        self._feed = feed
        self._least = 0
        self._enough = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._rested = 0.0  # when the last rest ended

    async def hold(self, name: str, least: int) -> None:
        """Begin to read, and wait until ``least`` rows are there.

        Raises:
            TooFewRows: the input ended before.
            InputError: it broke off before.
        """
        self._least = least
        self._reading = asyncio.create_task(self._read())
        enough = asyncio.create_task(self._enough.wait())
        try:
            await asyncio.wait({self._reading, enough}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._reading.cancel()
            raise
        finally:
            enough.cancel()
        if self._tally.rows < least:
            await self._reading
            raise TooFewRows(name, self._tally.rows, least)

    async def read(self) -> None:
        """Read the file into the ledger."""
        await (self._reading or self._read())

    async def _read(self) -> None:
        self._rested = asyncio.get_running_loop().time()
        try:
            if self._source is not None:
                await ingest(self._source, self._ledger, self._more, self._tally, self._limit)
        finally:
            self._feed.complete()

    async def _more(self, rows: int) -> None:
        self._feed.more(rows)
        if self._tally.rows >= self._least:
            self._enough.set()
        clock = asyncio.get_running_loop().time
        if self._feed.has_kept_ahead():
            await asyncio.sleep(min(LONGEST_REST, REST * (clock() - self._rested)))
        self._rested = clock()

    async def take(self, most: int) -> Sequence[Pair]:
        """The next pairs, about so many, their intents durable; none when there are no more."""
        return await self._feed.take(most)

    async def settled(self, outcome: Outcome) -> None:
        """Nothing is owed to a file."""

    async def close(self) -> None:
        """The file is closed by its input."""
