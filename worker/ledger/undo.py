"""What a ledger knows of links that were made, of their being there still, and of their removal."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.ledger.ledger import Ledger
from worker.ledger.reader import LedgerReader
from worker.models import ids_of
from worker.reasons import PRE_STATE_UNREAD
from worker.removals import Made, Undo, Undoing


@dataclass(frozen=True, slots=True)
class Claim:
    """What a run says about a link: that it is there, or that it was removed.

    Attributes:
        row: the first that is about it; a queue may name a link again.
    """

    row: int
    opportunity_id: int
    contact_id: int
    there: bool


_ROWS_CLAIM = (
    # What a sync removed it speaks of itself; where runs are merged, a row of another may have it, too.
    "FROM claims WHERE NOT EXISTS (SELECT 1 FROM prunes p WHERE p.key = claims.key"
    " AND p.state IN ('removed', 'gone'))"
)


def claims(reader: LedgerReader) -> Iterator[Claim]:
    """All that the rows of a run say about the portal, opportunity by opportunity."""
    for row, key, there in reader.query(f"SELECT row, key, there {_ROWS_CLAIM} ORDER BY key"):
        yield Claim(row, *ids_of(key), bool(there))


def count_claims(reader: LedgerReader) -> tuple[int, int]:
    """How many links :func:`claims` says are there, and how many were removed."""
    there, removed = next(
        reader.query(f"SELECT coalesce(sum(there), 0), coalesce(sum(NOT there), 0) {_ROWS_CLAIM}")
    )
    return there, removed


def links_made(reader: LedgerReader, *, unread: bool) -> Iterator[Made]:
    """All links that a run made, or may have made, and that are not removed yet; by opportunity.

    Args:
        reader: of the run's ledger.
        unread: also those of which nobody looked whether they were there before.
    """
    from worker.contact import created_at  # noqa: PLC0415 - its models take a tenth of a second to make

    found = reader.query(
        "SELECT row, key, begun, coalesce((SELECT body FROM contacts c WHERE c.row = made.row), '') FROM made"
        " WHERE pre = 'absent' OR begun OR ? ORDER BY key",
        (unread,),
    )
    for row, key, begun, body in found:
        yield Made(row, *ids_of(key), created_at(body.encode()), bool(begun))


def count_made(reader: LedgerReader) -> tuple[int, int]:
    """How many links :func:`links_made` has to offer: without those of unread pre-state, and with them."""
    known, everything = next(
        reader.query("SELECT coalesce(sum(pre IS 'absent' OR begun), 0), count(*) FROM made")
    )
    return known, everything


def made_at(reader: LedgerReader) -> dict[int, float]:
    """When a run was about to make each of its links, or may have been, in epoch seconds, by key.

    Of a link that was looked for, that is after the look that did not find it.
    """
    return dict(
        reader.query(
            "SELECT key, max(coalesce(sent_at, settled_at, 0.0)) FROM made JOIN rows USING (row, key)"
            " GROUP BY key"
        )
    )


def undone_counts(reader: LedgerReader) -> dict[Undo, int]:
    """Links by what became of them, over all rollbacks of this run; every state is there."""
    found = dict(reader.query("SELECT state, count(*) FROM undone WHERE state IS NOT NULL GROUP BY 1"))
    return {state: found.get(state, 0) for state in Undo}


def undone_at(reader: LedgerReader) -> float | None:
    """When a rollback of this run last did something, in epoch seconds; None if there was none."""
    at: float | None
    (at,) = next(reader.query("SELECT max(coalesce(settled_at, begun_at)) FROM undone"))
    return at


def undone_reasons(reader: LedgerReader) -> dict[str, int]:
    """Why links were kept or not removed."""
    return dict(
        reader.query(
            "SELECT reason, count(*) FROM undone WHERE state IN ('kept', 'failed') GROUP BY 1 ORDER BY 1"
        )
    )


def undone_rows(reader: LedgerReader) -> Iterator[Undoing]:
    """What became of each link, in input order."""
    for row, state, reason, http_status in reader.query(
        "SELECT row, state, reason, http_status FROM undone WHERE state IS NOT NULL ORDER BY row"
    ):
        yield Undoing(row, Undo(state), reason, http_status)


class UndoLedger(Ledger):
    """The ledger of a run that is being undone."""

    async def keep_unread(self) -> None:
        """Note that the links of unread pre-state are kept."""
        sql = (
            "INSERT OR REPLACE INTO undone SELECT row, NULL, 'kept', ?, NULL, ? FROM made"
            " WHERE pre IS NULL AND NOT begun"
        )
        await self._do(lambda store: store.execute(sql, [(PRE_STATE_UNREAD, time.time())]))

    async def begin(self, rows: Sequence[int]) -> None:
        """Note that the links of these rows are about to be removed."""
        sql = (
            "INSERT INTO undone (row, begun_at) VALUES (?, ?)"
            " ON CONFLICT (row) DO UPDATE SET begun_at = excluded.begun_at, state = NULL, reason = ''"
        )
        now = time.time()
        await self._do(lambda store: store.execute(sql, [(row, now) for row in rows]))

    async def conclude(self, undoings: Sequence[Undoing]) -> None:
        """Note what became of links."""
        now = time.time()
        sql = (
            "INSERT INTO undone VALUES (?, NULL, ?, ?, ?, ?) ON CONFLICT (row) DO UPDATE SET"
            " state = excluded.state, reason = excluded.reason, http_status = excluded.http_status,"
            " settled_at = excluded.settled_at"
        )
        values = [(one.row, one.state, one.reason, one.http_status, now) for one in undoings]
        await self._do(lambda store: store.execute(sql, values))
