"""What another run has left, as what a retry reads: the rows are in its ledger before it begins."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from worker.ledger import Ledger
from worker.supply.base import Supply
from worker.supply.file import FileInput
from worker.tally import RunTally

RETRY = "retry"
"""Kind of such an input."""


class RetryInput:
    """The rows of another run that are worth another try.

    Args:
        parent: the directory of that run.
        of: its facts.
        look_first: what the portal holds is looked for before a pair is noted as about to be sent.
        begun: awaited once the portal takes us.
    """

    def __init__(
        self,
        parent: Path,
        of: Mapping[str, object],
        *,
        look_first: bool,
        begun: Callable[[], Awaitable[None]],
    ) -> None:
        path = str(parent.resolve())
        self._rows = FileInput(path, None, complete=True, look_first=look_first, limit=None)
        self.lost = ""
        self.facts = {
            "input_path": path,
            "input_name": of["input_name"],
            "input_kind": RETRY,
            "parent": of["run_id"],
            "origin": of.get("origin", of["run_id"]),
        }
        self._begun = begun

    async def open(self, ledger: Ledger, tally: RunTally, tell: Callable[[str], None]) -> Supply:
        """The rows, to be fed from this ledger."""
        await self._begun()
        return await self._rows.open(ledger, tally, tell)

    def close(self) -> None:
        """Nothing is open."""
