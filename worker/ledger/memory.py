"""A ledger that is no file: pairs that are worked on by one process, and are not gone on with by another.

It remembers the ids of every pair, so that one that comes again is known, and of the others only those that
have no outcome yet: some hundred bytes for each pair.
"""

from collections.abc import Mapping, Sequence
from itertools import islice

from worker.ledger.base import Admitted, Standing
from worker.models import Attempt, Outcome, Pair, Row, Status, ids_of


class MemoryLedger:
    """Knows pairs as :class:`worker.ledger.Ledger` does, see :class:`worker.ledger.base.PairLedger`.

    Nothing in it waits, so each call is over before another begins.
    """

    def __init__(self) -> None:
        self._lines: dict[int, int] = {}  # where each pair was first asked for, by its key
        self._repeats: dict[int, int] = {}  # the same of rows that ask for it once more
        self._waiting: dict[int, Pair] = {}
        self._claimed: set[int] = set()
        self._attempts: dict[int, int] = {}
        self._in_doubt: frozenset[int] = frozenset()

    async def admit(self, judged: Sequence[tuple[Row, int | str]]) -> Admitted:
        """Take in rows, each with the key of its pair or the reason why it is none."""
        pairs = duplicates = invalid = 0
        for row, verdict in judged:
            if isinstance(verdict, str):
                invalid += 1
                continue
            first = self._lines.setdefault(verdict, row.line)
            if first != row.line:
                duplicates += 1
                self._repeats[row.number] = first
                continue
            pairs += 1
            self._waiting[row.number] = Pair(row.number, row.line, *ids_of(verdict))
        return Admitted(pairs, duplicates, invalid)

    async def claim(self, limit: int, *, look_first: bool = False) -> list[Pair]:
        """The next pairs, each given once; with ``look_first`` all others of their opportunities, too."""
        given = list(islice(self._waiting.values(), limit))
        if look_first:
            opportunities = {pair.opportunity_id for pair in given}
            given += [
                pair
                for pair in islice(self._waiting.values(), limit, None)
                if pair.opportunity_id in opportunities
            ]
        for pair in given:
            del self._waiting[pair.row]
        self._claimed.update(pair.row for pair in given)
        return given

    async def looked(self, absent: Sequence[int], in_doubt: Sequence[int] = ()) -> None:
        """Nothing has to outlive this process, so no intent is noted."""

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Forget pairs that have their last word."""
        self._claimed.difference_update(outcome.pair.row for outcome in outcomes)

    async def explain(self, reasons: Mapping[int, str]) -> None:
        """What is settled is forgotten, and so not explained."""

    async def count(self, unsettled: Mapping[int, Sequence[Attempt]]) -> None:
        """Note how often pairs were sent in vain that are left without an outcome."""
        self._attempts |= {row: len(attempts) for row, attempts in unsettled.items()}

    async def release(self, in_doubt: Sequence[int]) -> None:
        """Note of which of the pairs without an outcome it is unknown whether the portal holds them."""
        self._in_doubt = frozenset(in_doubt)

    async def standing(self, rows: Sequence[int]) -> list[Standing]:
        """How some rows stand just now: duplicates, and pairs without an outcome."""
        found: list[Standing] = []
        for row in rows:
            if row in self._repeats:
                reason = f"same pair as line {self._repeats[row]}"
                found.append(Standing(row, Status.DUPLICATE, reason))
            elif row in self._claimed or row in self._waiting:
                sent = row in self._in_doubt
                found.append(Standing(row, None, attempts=self._attempts.get(row, 0), sent=sent))
        return found
