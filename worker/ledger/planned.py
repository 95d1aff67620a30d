"""What a ledger knows of a plan: rows that are to become links, and those that are there or cannot be.

A plan is a ledger without intents: a pair that is to be linked has no outcome and is seen to be absent, all
other rows are settled. So the words of a run say what is planned for a row, and the run that does it begins
with a copy.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from worker.ledger.branch import FORM
from worker.ledger.ledger import Ledger
from worker.ledger.reader import LedgerReader
from worker.ledger.schema import connect
from worker.ledger.trouble import trouble
from worker.models import Pair, Status, ids_of
from worker.reasons import CONTACT_MISSING

_HTTP_NOT_FOUND = 404

_COPY = (
    # Of links that are there the Contacts are wanted, too: they are looked for again.
    """INSERT INTO rows (row, line, cells, key, seal, status, reason, http_status, settled_at, pre)
        SELECT row, line, cells, key, seal, nullif(status, 'already_linked'), reason, http_status, settled_at,
            iif(status IS NULL OR status = 'already_linked', NULL, pre) FROM source.rows ORDER BY row""",
    "INSERT INTO pairs SELECT key, row FROM source.pairs ORDER BY key",
)

_KEPT = (*FORM, "input_sha256", "input_blank")


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan says of a link.

    Attributes:
        there: it is there already; else it is to be made.
    """

    row: int
    line: int
    opportunity_id: int
    contact_id: int
    there: bool

    @property
    def pair(self) -> Pair:
        """The same, as what a run is asked for."""
        return Pair(self.row, self.line, self.opportunity_id, self.contact_id)


@dataclass(frozen=True, slots=True)
class Scope:
    """How much there is to do for a plan.

    Attributes:
        links: to be made.
        looks: at opportunities, for these.
        all_links: to be made, or there.
        all_looks: at opportunities, for these.
        contacts: different ones that are to be linked.
    """

    links: int
    looks: int
    all_links: int
    all_looks: int
    contacts: int


class PlanLedger(Ledger):
    """The ledger of a plan that is being made."""

    async def absent(self, rows: Sequence[int]) -> None:
        """Note that the links of these rows are not there; nothing is about to be sent for that."""
        values = [(row,) for row in rows]
        await self._do(lambda store: store.execute("UPDATE rows SET pre = 'absent' WHERE row = ?", values))

    async def contacts_missing(self, contact_ids: Sequence[int]) -> None:
        """Note that these contacts are not there for us, so that no row can be linked that names one."""
        sql = (
            "UPDATE rows SET status = 'rejected', reason = ?, http_status = ?, settled_at = ?"
            " WHERE status IS NULL AND key & 4294967295 IN (SELECT value FROM json_each(?))"
        )
        values = (CONTACT_MISSING, _HTTP_NOT_FOUND, time.time(), json.dumps(contact_ids))
        await self._do(lambda store: store.execute(sql, [values]))


def pairs_waiting(reader: LedgerReader) -> Iterator[Pair]:
    """All pairs without an outcome, by opportunity."""
    for key, row, line in reader.query(
        "SELECT p.key, row, line FROM pairs p JOIN rows r USING (row) WHERE status IS NULL ORDER BY p.key"
    ):
        yield Pair(row, line, *ids_of(key))


def contacts_to_link(reader: LedgerReader) -> Iterator[int]:
    """The contacts that are to be linked, each once."""
    for (contact_id,) in reader.query(
        "SELECT DISTINCT key & 4294967295 FROM rows WHERE status IS NULL ORDER BY 1"
    ):
        yield contact_id


def planned(reader: LedgerReader) -> Iterator[Planned]:
    """The links that are to be made, and those that are there, by opportunity."""
    for key, row, line, there in reader.query(
        "SELECT p.key, row, line, status IS NOT NULL FROM pairs p JOIN rows r USING (row)"
        " WHERE status IS NULL OR status = 'already_linked' ORDER BY p.key"
    ):
        yield Planned(row, line, *ids_of(key), bool(there))


def first_lines_of(reader: LedgerReader, contact_ids: Sequence[int]) -> dict[int, Planned]:
    """For each of these contacts, the first row that is to be linked with it."""
    found = reader.query(
        "SELECT min(row), line, key FROM rows WHERE status IS NULL"
        " AND key & 4294967295 IN (SELECT value FROM json_each(?)) GROUP BY key & 4294967295",
        (json.dumps(contact_ids),),
    )
    return {ids_of(key)[1]: Planned(row, line, *ids_of(key), there=False) for row, line, key in found}


def scope_of(reader: LedgerReader, most_sought: int) -> Scope:
    """How much there is to do; a look is for so many links of one opportunity at most."""
    links, looks, all_links, all_looks = next(
        reader.query(
            "SELECT coalesce(sum(links), 0), coalesce(sum((links + ?1 - 1) / ?1), 0),"
            " coalesce(sum(all_links), 0), coalesce(sum((all_links + ?1 - 1) / ?1), 0)"
            " FROM (SELECT sum(status IS NULL) AS links, count(*) AS all_links FROM rows"
            " WHERE status IS NULL OR status = 'already_linked' GROUP BY key >> 32)",
            (most_sought,),
        )
    )
    (contacts,) = next(reader.query("SELECT count(DISTINCT key & 4294967295) FROM rows WHERE status IS NULL"))
    return Scope(links, looks, all_links, all_looks, contacts)


def plan_counts(reader: LedgerReader) -> dict[tuple[Status, str], int]:
    """Rows by state and, of those that the portal refuses, by reason."""
    found = reader.query(
        "SELECT status, iif(status = 'rejected', reason, ''), count(*) FROM links GROUP BY 1, 2"
    )
    return {(Status(status), reason): count for status, reason, count in found}


def plan_digest(reader: LedgerReader) -> str:
    """SHA-256, in hex, of what is planned for each row, and at which portal."""
    digest = hashlib.sha256(json.dumps(reader.facts()["portal"]).encode())
    for values in reader.query("SELECT row, line, cells, key, status, reason, pre FROM rows ORDER BY row"):
        digest.update(json.dumps(values).encode())
    return digest.hexdigest()


def question_seconds(reader: LedgerReader) -> float:
    """How long the portal took for a request of the plan, on the mean; 0 if it had none."""
    seconds: float
    (seconds,) = next(
        reader.query(
            "SELECT coalesce(avg(seconds), 0.0) FROM requests"
            " WHERE kind IN ('look', 'exists', 'batch') AND result IN ('ok', 'permanent')"
        )
    )
    return seconds


def copy_plan(path: Path, plan: Path) -> None:
    """Make a ledger at ``path`` with the rows of a plan, which is not touched.

    Links that are planned, and those that the plan says are there, wait for their outcome.

    Raises:
        LedgerError: the plan cannot be read, or the new one not be written.
    """
    with LedgerReader(plan) as reader:
        facts = reader.facts()
    known = {name: facts[name] for name in _KEPT if name in facts}
    known |= {"input_complete": True, "plan": facts["run_id"]}
    try:
        with closing(connect(path, mode="rwc")) as db:
            db.execute("ATTACH ? AS source", (f"{plan.absolute().as_uri()}?mode=ro",))
            db.execute("BEGIN")
            for sql in _COPY:
                db.execute(sql)
            values = [(name, json.dumps(value)) for name, value in known.items()]
            db.executemany("INSERT INTO meta VALUES (?, ?)", values)
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise trouble(path, error) from error
