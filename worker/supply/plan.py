"""What a plan says, as what a run reads: the rows are in its ledger before it begins."""

from collections.abc import Callable, Mapping
from pathlib import Path

from worker.host import Claim
from worker.ledger import Ledger
from worker.supply.base import Supply
from worker.supply.file import FileInput
from worker.tally import RunTally

PLAN = "plan"
"""Kind of such an input."""


class PlanInput:
    """The links that a plan says are to be made.

    Args:
        plan: the directory of the plan.
        of: its facts.
        look_first: what the portal holds is looked for before a pair is noted as about to be sent.
        claim: keeps others from linking the same input; None if nothing does.
    """

    lost = ""

    def __init__(
        self, plan: Path, of: Mapping[str, object], *, look_first: bool, claim: Claim | None
    ) -> None:
        path = str(plan.resolve())
        self._rows = FileInput(path, None, complete=True, look_first=look_first, limit=None, claim=claim)
        self.facts = {"input_path": path, "input_name": of["input_name"], "input_kind": PLAN}

    async def open(self, ledger: Ledger, tally: RunTally, tell: Callable[[str], None]) -> Supply:
        """The rows, to be fed from this ledger."""
        return await self._rows.open(ledger, tally, tell)

    def close(self) -> None:
        """Let others have the input."""
        self._rows.close()
