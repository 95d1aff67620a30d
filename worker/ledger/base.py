"""What sending needs of a ledger, whether that is a file or not, and what that tells of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from worker.models import Attempt, Outcome, Pair, Row, Status

Known: TypeAlias = tuple[int, tuple[str, ...], int | None]
"""Of a row that is in the ledger: its line, its cells, and the key of its pair; None if it is none."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """How a chunk of rows was judged."""

    pairs: int = 0
    duplicates: int = 0
    invalid: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a row stands.

    Attributes:
        status: its last word; None if it has none.
        sent: of a row that has none, an intent is noted: the portal may hold it.
    """

    row: int
    status: Status | None
    reason: str = ""
    http_status: int | None = None
    attempts: int = 0
    sent: bool = False


class PairLedger(Protocol):
    """Knows the pairs of a run: which there are, which are about to be sent, and what became of them.

    :class:`worker.ledger.Ledger` keeps them in a file, so that a later process can go on;
    :class:`worker.ledger.MemoryLedger` for as long as this one works on them.
    """

    async def admit(self, judged: Sequence[tuple[Row, int | str]]) -> Admitted:
        """Take in rows without a gap, each with the key of its pair or the reason why it is none."""

    async def claim(self, limit: int, *, look_first: bool = False) -> list[Pair]:
        """The next pairs without an outcome; with ``look_first`` all that are there of an opportunity."""

    async def looked(self, absent: Sequence[int], in_doubt: Sequence[int] = ()) -> None:
        """Note what looks at the members told: rows that are about to be sent for that."""

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Note the last word on pairs."""

    async def explain(self, reasons: Mapping[int, str]) -> None:
        """Give rejected rows the reasons that were found out since."""

    async def count(self, unsettled: Mapping[int, Sequence[Attempt]]) -> None:
        """Add what was sent in vain for rows that are left without an outcome."""

    async def release(self, in_doubt: Sequence[int]) -> None:
        """Take back open intents, but for rows that the portal may hold."""

    async def standing(self, rows: Sequence[int]) -> list[Standing]:
        """How some rows stand just now; those that were never admitted are left out."""
