"""Make the ledger of a retry: the rows that another run left, as that one knows them."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from worker.ledger.merge import KNOWN_AS
from worker.ledger.reader import LedgerReader
from worker.ledger.schema import connect
from worker.ledger.trouble import trouble

LEFT = ("retryable", "unknown", "not_attempted")
"""States of rows that are worth another try."""

FORM = ("columns", "ids", "dialect")
"""Facts about how an input is written, and so are the files of what was made of it."""

_BRANCH = (
    f"""CREATE TEMP TABLE came AS SELECT row_number() OVER (ORDER BY row) AS goes, *
        FROM ({KNOWN_AS}) JOIN (SELECT row FROM source.links WHERE status IN {LEFT}) USING (row)""",  # noqa: S608 - constant
    "INSERT INTO origins SELECT goes, identity, content, number FROM came",
    # What may have been sent stays in doubt, and is looked for before it is sent again; not what a rollback
    # has removed since.
    """INSERT INTO rows (row, line, cells, key, seal, sent_at, pre)
        SELECT goes, line, cells, key, seal, iif(doubt, sent_at, NULL), iif(doubt, pre, NULL) FROM
            (SELECT c.goes, r.*, coalesce(u.state, '') NOT IN ('removed', 'gone') AND
                (r.status IS 'unknown' OR (r.status IS NULL AND r.sent_at IS NOT NULL)) AS doubt
            FROM came c JOIN source.rows r USING (row) LEFT JOIN source.undone u USING (row))""",
    "INSERT OR IGNORE INTO pairs SELECT key, row FROM rows ORDER BY row",
    # A queue may have named a link in several messages.
    """UPDATE rows SET status = 'duplicate', sent_at = NULL, pre = NULL, settled_at = :now,
            reason = 'same pair as line ' ||
                (SELECT first.line FROM pairs p JOIN rows first USING (row) WHERE p.key = rows.key)
        WHERE row NOT IN (SELECT row FROM pairs)""",
    "DROP TABLE came",
)


def branch_ledger(path: Path, parent: Path) -> None:
    """Make a ledger at ``path`` of the rows that ``parent``, which is not touched, has left.

    They wait to be sent; each keeps its line, and what it is in the run that read it first.

    Raises:
        LedgerError: the parent cannot be read, or the new one not be written.
    """
    with LedgerReader(parent) as reader:
        facts = reader.facts()
    known = {name: facts[name] for name in FORM if name in facts}
    try:
        with closing(connect(path, mode="rwc")) as db:
            db.execute("ATTACH ? AS source", (f"{parent.absolute().as_uri()}?mode=ro",))
            db.execute("BEGIN")
            for sql in _BRANCH:
                names = {"run": facts["run_id"], "now": time.time()}
                db.execute(sql, {name: value for name, value in names.items() if f":{name}" in sql})
            facts_of_it = {**known, "input_complete": True}
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [(name, json.dumps(value)) for name, value in facts_of_it.items()],
            )
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise trouble(path, error) from error
