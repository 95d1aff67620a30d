"""A file as the supply of a run: read into the ledger ahead of the sending, fed from there in order."""

from collections.abc import Callable, Sequence
from pathlib import Path

from worker.ledger import Ledger
from worker.models import Outcome, Pair
from worker.run.feed import HORIZON, Feed
from worker.run.ingest import ingest
from worker.run.tally import Tally
from worker.sources import Source

STDIN_GONE = "standard input is gone: rows after the last one were never read"


class FileOrigin:
    """An input file.

    Args:
        path: as resume must find it again; ``-`` is standard input.
        source: the open file; None if it was read to its end before, or is gone.
        complete: it was read to its end before.
        look_first: what the portal holds is looked for before a pair is noted as about to be sent.
        limit: most rows to read.
    """

    def __init__(
        self,
        path: str,
        source: Source | None,
        *,
        complete: bool,
        look_first: bool,
        limit: int | None,
    ) -> None:
        self.facts = {"input_path": path, "input_name": Path(path).name}
        self.lost = "" if complete or source is not None else STDIN_GONE
        self._source = source
        self._look_first = look_first
        self._limit = limit

    def go_on(self, run_id: str) -> str:
        """Resume takes the rows without an outcome."""
        return f"bulklink resume {run_id}"

    async def supply(self, ledger: Ledger, tally: Tally, tell: Callable[[str], None]) -> "FileSupply":  # noqa: ARG002 - a file has no trouble that passes
        """The file, to be read into this ledger."""
        # A pipe may bring its rows slowly, or never end: what is there is looked at.
        horizon = 0 if self._source is not None and self._source.name == "-" else HORIZON
        feed = Feed(ledger, look_first=self._look_first, horizon=horizon)
        return FileSupply(self._source, ledger, tally, feed=feed, limit=self._limit)

    def close(self) -> None:
        """Close the file."""
        if self._source is not None:
            self._source.close()


class FileSupply:
    """Rows of a file, each claimed from the ledger in order. A pipe may never end."""

    def __init__(
        self, source: Source | None, ledger: Ledger, tally: Tally, *, feed: Feed, limit: int | None
    ) -> None:
        self.is_endless = source is not None and source.name == "-"
        self._source = source
        self._ledger = ledger
        self._tally = tally
        self._limit = limit
        self._feed = feed

    async def read(self) -> None:
        """Read the file into the ledger."""
        try:
            if self._source is not None:
                await ingest(self._source, self._ledger, self._feed, self._tally, self._limit)
        finally:
            self._feed.complete()

    async def take(self, most: int) -> Sequence[Pair]:
        """The next pairs, about so many, their intents durable; none when there are no more."""
        return await self._feed.take(most)

    async def settled(self, outcome: Outcome) -> None:
        """Nothing is owed to a file."""

    async def close(self) -> None:
        """The file is closed by its origin."""
