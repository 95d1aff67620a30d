"""Rows that are in the ledger before the run begins: what a plan names, or what another run has left."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from worker.host import Claim
from worker.ledger import Ledger
from worker.supply.base import Supply
from worker.supply.file import FileInput
from worker.tally import RunTally


async def _nothing() -> None:
    pass


class AdmittedInput:
    """What nobody has to read any more.

    Args:
        origin: the directory that the rows come from.
        facts: what the ledger is told of them, beside where they come from.
        look_first: what the portal holds is looked for before a pair is noted as about to be sent.
        claim: keeps others from linking the same input; None if nothing does.
        begun: awaited once the portal takes us.
    """

    lost = ""

    def __init__(
        self,
        origin: Path,
        facts: Mapping[str, object],
        *,
        look_first: bool,
        claim: Claim | None = None,
        begun: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        path = str(origin.resolve())
        self._rows = FileInput(path, None, complete=True, look_first=look_first, limit=None, claim=claim)
        self.facts = {"input_path": path, **facts}
        self._begun = begun

    async def open(self, ledger: Ledger, tally: RunTally, tell: Callable[[str], None]) -> Supply:
        """The rows, to be fed from this ledger."""
        await self._begun()
        return await self._rows.open(ledger, tally, tell)

    def close(self) -> None:
        """Let others have the input."""
        self._rows.close()
