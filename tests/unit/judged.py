"""Rows as the ledger takes them in."""

from worker.models import Pair, Reject, Row


def judged(verdict: Pair | Reject, *cells: str) -> tuple[Row, int | str]:
    """The row that was judged so, with the key of its pair or the reason why it is none."""
    key = verdict.key if isinstance(verdict, Pair) else verdict.reason
    return Row(verdict.row, verdict.line, cells, None, None), key
