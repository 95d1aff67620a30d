"""What a ledger knows of links beyond the input that a sync removes, and whose links those were."""

import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from worker.json_text import load_texts
from worker.ledger.ledger import Ledger
from worker.ledger.reader import LedgerReader
from worker.ledger.store import Store
from worker.ledger.undo import Claim
from worker.models import Pair, PreState, Status, ids_of
from worker.reasons import WITHHELD
from worker.removals import Extra, Made, Restored, Restoring, Undo, Undoing


@dataclass(frozen=True, slots=True)
class Pruned:
    """A link that a sync was to remove, and what became of it.

    Attributes:
        state: of :class:`worker.removals.Undo`, or ``withheld``, or ``planned``.
        restored: what a rollback did to make it again; None if none has tried.
    """

    number: int
    opportunity_id: int
    contact_id: int
    state: str
    reason: str
    http_status: int | None
    restored: Restored | None
    restored_reason: str


PLANNED = "planned"
_ANEW = "restored = NULL, restored_reason = '', restored_at = NULL"
"""When a sync goes on, what a rollback did before is over: what goes now can be undone like the first."""

STATES = (*map(str, Undo), WITHHELD, PLANNED)
"""All words for what became of a removal."""


def named_opportunities(reader: LedgerReader) -> Iterator[int]:
    """The opportunities of which the input names a pair, each once."""
    # A step from one to the next over the index: an opportunity may have any number of pairs.
    found = reader.query(
        "WITH RECURSIVE named (id) AS (SELECT min(key) >> 32 FROM pairs UNION ALL"
        " SELECT (SELECT min(key) >> 32 FROM pairs WHERE key > (id << 32 | 4294967295))"
        " FROM named WHERE id IS NOT NULL) SELECT id FROM named WHERE id IS NOT NULL"
    )
    for (one,) in found:
        yield one


def desired_contacts(reader: LedgerReader, opportunity_id: int) -> frozenset[int]:
    """The contacts that the input names for an opportunity."""
    first = opportunity_id << 32
    found = reader.query("SELECT key FROM pairs WHERE key BETWEEN ? AND ?", (first, first | 0xFFFFFFFF))
    return frozenset(key & 0xFFFFFFFF for (key,) in found)


def rows_of(reader: LedgerReader, status: Status) -> Iterator[tuple[tuple[str, ...], int | None]]:
    """Cells of the rows in a state, each with its opportunity; None if the row is no pair."""
    for cells, opportunity in reader.query(
        "SELECT cells, opportunity_id FROM links WHERE status = ?", (status,)
    ):
        yield load_texts(cells), opportunity


def count_unsettled(reader: LedgerReader) -> int:
    """Rows without an outcome."""
    count: int
    (count,) = next(reader.query("SELECT count(*) FROM rows WHERE status IS NULL"))
    return count


def last_words(
    reader: LedgerReader, keys: AbstractSet[int]
) -> Iterator[tuple[int, float, bool, datetime | None]]:
    """What a run did with some links: key, when, whether it made or removed it, and its contact's date.

    It made those that it looked for, that were not there, and that the portal confirmed. It removed those
    that a rollback of it, or it as a sync, has removed or found gone.
    """
    from worker.contact import created_at  # noqa: PLC0415 - its models take a tenth of a second to make

    for row, key, at in reader.query(
        # When it was about to be asked for: what others did after that was done to it, or in place of it.
        "SELECT row, key, coalesce(sent_at, settled_at) FROM rows WHERE status = 'linked' AND pre = 'absent'"
    ):
        if key in keys:
            found = reader.query("SELECT body FROM contacts WHERE row = ?", (row,))
            yield key, at, True, next((created_at(body.encode()) for (body,) in found), None)
    for key, at in reader.query(
        "SELECT key, u.settled_at FROM undone u JOIN rows r USING (row)"
        " WHERE u.state IN ('removed', 'gone')"
        " UNION ALL SELECT key, settled_at FROM prunes WHERE state IN ('removed', 'gone')"
        " AND restored IS NOT 'restored'"  # as if it had never gone
    ):
        if key in keys:
            yield key, at, False, None


def pruned_at(reader: LedgerReader) -> float | None:
    """When a sync last did something with a link that it was to remove; None if it has not yet."""
    at: float | None
    (at,) = next(reader.query("SELECT max(coalesce(settled_at, begun_at)) FROM prunes"))
    return at


def links_to_prune(reader: LedgerReader) -> Iterator[Made]:
    """The removals that are decided and not settled yet, or have failed; by opportunity."""
    for number, key, created, begun in reader.query(
        "SELECT number, key, created, begun_at IS NOT NULL FROM prunes"
        " WHERE state IS NULL OR state = 'failed' ORDER BY key"
    ):
        yield Made(number, *ids_of(key), created and datetime.fromisoformat(created), bool(begun))


def prune_counts(reader: LedgerReader) -> dict[str, int]:
    """Removals by what became of them; every state is there."""
    found = dict(reader.query("SELECT coalesce(state, ?), count(*) FROM prunes GROUP BY 1", (PLANNED,)))
    return {state: found.get(state, 0) for state in STATES}


def prune_reasons(reader: LedgerReader) -> dict[str, int]:
    """Why links were kept or not removed."""
    return dict(
        reader.query(
            "SELECT reason, count(*) FROM prunes WHERE state IN ('kept', 'failed') GROUP BY 1 ORDER BY 1"
        )
    )


def pruned_links(reader: LedgerReader) -> Iterator[Pruned]:
    """All removals, and what became of each, by opportunity."""
    for number, key, state, reason, http_status, restored, why in reader.query(
        "SELECT number, key, coalesce(state, ?), reason, http_status, restored, restored_reason FROM prunes"
        " ORDER BY key",
        (PLANNED,),
    ):
        again = None if restored is None else Restored(restored)
        yield Pruned(number, *ids_of(key), state, reason, http_status, again, why)


def pruned_claims(reader: LedgerReader) -> Iterator[Claim]:
    """What a sync says about links beyond its input, by opportunity: those that it removed are gone.

    Each has its number, below zero, in place of a row. Those that a rollback has made again are there.
    """
    for number, key, there in reader.query(
        "SELECT number, key, coalesce(restored, '') IN ('restored', 'there') FROM prunes"
        " WHERE state IN ('removed', 'gone') ORDER BY key"
    ):
        yield Claim(-number, *ids_of(key), bool(there))


def links_to_make_again(reader: LedgerReader) -> Iterator[Pair]:
    """The links that a sync has removed, or may have, and that no rollback has made again; by opportunity."""
    for number, key in reader.query(
        "SELECT number, key FROM prunes WHERE begun_at IS NOT NULL"
        " AND coalesce(state, 'failed') IN ('removed', 'failed')"
        " AND coalesce(restored, 'failed') = 'failed'"
        " ORDER BY key"
    ):
        yield Pair(number, 0, *ids_of(key), pre=PreState.UNREAD)


def restored_counts(reader: LedgerReader) -> dict[Restored, int]:
    """Links that a sync removed by what a rollback did to make them again; every state is there."""
    found = dict(reader.query("SELECT restored, count(*) FROM prunes WHERE restored IS NOT NULL GROUP BY 1"))
    return {state: found.get(state, 0) for state in Restored}


def restored_at(reader: LedgerReader) -> float | None:
    """When a rollback last did something with such a link, in epoch seconds; None if none has."""
    at: float | None
    (at,) = next(reader.query("SELECT max(restored_at) FROM prunes"))
    return at


class PruneLedger(Ledger):
    """The ledger of a sync that removes."""

    async def decide(self, removals: Sequence[Extra], withheld: str, facts: Mapping[str, object]) -> None:
        """Note all that is to be removed, or that was withheld, in one commit with facts of the run."""
        state = WITHHELD if withheld else None

        def work(store: Store) -> None:
            store.execute("DELETE FROM prunes WHERE number > ?", [(0,)])
            store.execute(
                "INSERT INTO prunes (number, key, created, state) VALUES (?, ?, ?, ?)",
                [
                    (number, one.key, one.created and one.created.isoformat(), state)
                    for number, one in enumerate(removals, 1)
                ],
            )
            store.put_meta(facts)

        await self._do(work)

    async def begin(self, rows: Sequence[int]) -> None:
        """Note that the links of these numbers are about to be removed."""
        now = time.time()
        sql = f"UPDATE prunes SET begun_at = ?, state = NULL, reason = '', {_ANEW} WHERE number = ?"  # noqa: S608 - constant
        await self._do(lambda store: store.execute(sql, [(now, row) for row in rows]))

    async def conclude(self, undoings: Sequence[Undoing]) -> None:
        """Note what became of links."""
        now = time.time()
        to = "state = ?, reason = ?, http_status = ?, settled_at = ?"
        sql = f"UPDATE prunes SET {to}, {_ANEW} WHERE number = ?"  # noqa: S608 - constants
        values = [(one.state, one.reason, one.http_status, now, one.row) for one in undoings]
        await self._do(lambda store: store.execute(sql, values))

    async def restore(self, restored: Sequence[Restoring]) -> None:
        """Note what became of links that were to be made again."""
        now = time.time()
        # One that is there is as if nobody had begun with it: whoever goes on with the sync finds it so.
        sql = (
            "UPDATE prunes SET restored = ?1, restored_reason = ?2, restored_at = ?3,"
            " begun_at = iif(?1 IN ('restored', 'there'), NULL, begun_at) WHERE number = ?4"
        )
        values = [(one.state, one.reason, now, one.number) for one in restored]
        await self._do(lambda store: store.execute(sql, values))
