"""Make one ledger of many, each row once: of a message that several workers had, the best outcome."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from worker.ledger.reader import LedgerReader
from worker.ledger.schema import connect, seal
from worker.ledger.trouble import trouble
from worker.models import Status

_BEST_FIRST = (
    Status.LINKED,
    Status.ALREADY_LINKED,
    Status.REJECTED,
    Status.DUPLICATE,
    Status.INVALID,
    Status.RETRYABLE,
    Status.UNKNOWN,
    Status.NOT_ATTEMPTED,
)

_TAKE_IN = (
    """CREATE TEMP TABLE came
        (row INTEGER PRIMARY KEY, identity TEXT NOT NULL, content INTEGER NOT NULL, goes INTEGER)""",
    # A row of a file has no identity but its place: it is in one run only.
    """INSERT INTO came SELECT r.row, coalesce(m.identity, :run || ':' || r.row), coalesce(m.content, 0), NULL
        FROM source.rows r LEFT JOIN source.messages m USING (row)""",
    """INSERT INTO messages
        SELECT identity, content, (SELECT count(*) FROM messages) + row_number() OVER (ORDER BY row) FROM came
        WHERE (identity, content) NOT IN (SELECT identity, content FROM messages)""",
    """UPDATE came SET goes = (SELECT m.row FROM messages m
        WHERE m.identity = came.identity AND m.content = came.content)""",
    """INSERT INTO rows SELECT c.goes, iif(:queue, c.goes, r.line), r.cells, r.key,
            seal(iif(:queue, c.goes, r.line) || ' ' || coalesce(r.key, 'None') || r.cells), r.status,
            r.reason, r.http_status, r.attempts, r.session, r.sent_at, r.settled_at, r.pre
        FROM source.rows r JOIN came c USING (row) WHERE true
        ON CONFLICT (row) DO UPDATE SET
            attempts = rows.attempts + excluded.attempts,
            pre = iif(better(excluded.status, excluded.sent_at, rows.status, rows.sent_at),
                coalesce(excluded.pre, nullif(rows.pre, 'present')),
                coalesce(rows.pre, nullif(excluded.pre, 'present'))),
            status = iif(better(excluded.status, excluded.sent_at, rows.status, rows.sent_at),
                excluded.status, rows.status),
            reason = iif(better(excluded.status, excluded.sent_at, rows.status, rows.sent_at),
                excluded.reason, rows.reason),
            http_status = iif(better(excluded.status, excluded.sent_at, rows.status, rows.sent_at),
                excluded.http_status, rows.http_status),
            settled_at = iif(better(excluded.status, excluded.sent_at, rows.status, rows.sent_at),
                excluded.settled_at, rows.settled_at),
            sent_at = coalesce(min(rows.sent_at, excluded.sent_at), rows.sent_at, excluded.sent_at)""",
    """INSERT OR IGNORE INTO contacts
        SELECT c.goes, s.body, s.seal FROM source.contacts s JOIN came c USING (row)""",
    """INSERT INTO failures SELECT c.goes, f.session, f.number, f.result, f.reason, f.http_status
        FROM source.failures f JOIN came c USING (row)""",
    "INSERT INTO requests SELECT * FROM source.requests",
    """INSERT INTO repeats SELECT reason, count FROM source.repeats WHERE true
        ON CONFLICT (reason) DO UPDATE SET count = count + excluded.count""",
    """INSERT OR IGNORE INTO undone
        SELECT c.goes, u.begun_at, u.state, u.reason, u.http_status, u.settled_at
        FROM source.undone u JOIN came c USING (row) JOIN rows r ON r.row = c.goes
        WHERE r.pre IS NOT 'present'""",
    "INSERT OR IGNORE INTO pairs SELECT key, row FROM rows WHERE key IS NOT NULL",
    "DROP TABLE came",
)


def merge_ledgers(path: Path, sources: Sequence[Path], facts: Mapping[str, object]) -> None:
    """Make a ledger at ``path`` of ``sources``, which are not touched, with these named facts.

    Its one session lasts from the first beginning to the last end.

    Raises:
        LedgerError: one of them cannot be read, or the new one not be written.
    """
    db = connect(path, mode="rwc")
    db.create_function("better", 4, _is_better, deterministic=True)
    db.create_function("seal", 1, seal, deterministic=True)
    try:
        db.execute("PRAGMA synchronous = OFF")  # made from what is on disk, at any time
        for source in sources:
            _take_in(db, source)
        _note(db, sources, facts)
        db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise trouble(path, error) from error
    finally:
        db.close()


def _take_in(db: sqlite3.Connection, source: Path) -> None:
    with LedgerReader(source) as reader:  # refuses what is no sound ledger, by its name
        facts = reader.facts()
        reader.counts()
    db.execute("ATTACH ? AS source", (f"{source.absolute().as_uri()}?mode=ro",))
    try:
        db.execute("BEGIN")
        for sql in _TAKE_IN:
            names = {"run": facts["run_id"], "queue": facts.get("input_kind") == "queue"}
            db.execute(sql, {name: value for name, value in names.items() if f":{name}" in sql})
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
        db.execute("DETACH source")


def _note(db: sqlite3.Connection, sources: Sequence[Path], facts: Mapping[str, object]) -> None:
    sessions: list[tuple[float, float, float]] = []
    for source in sources:
        with LedgerReader(source) as reader:
            sessions += reader.sessions()
    if sessions:
        begin = min(started for started, _, _ in sessions)
        end = max(started + seconds for started, seconds, _ in sessions)
        paused = sum(seconds for _, _, seconds in sessions)
        db.execute("INSERT INTO sessions VALUES (1, ?, ?, ?)", (begin, end - begin, paused))
    db.executemany(
        "INSERT INTO meta VALUES (?, ?)", [(name, json.dumps(value)) for name, value in facts.items()]
    )


def _is_better(new: str | None, new_sent: float | None, old: str | None, old_sent: float | None) -> bool:
    return _rank(new, new_sent) < _rank(old, old_sent)


def _rank(status: str | None, sent_at: float | None) -> int:
    if status is None:
        return _BEST_FIRST.index(Status.NOT_ATTEMPTED if sent_at is None else Status.UNKNOWN)
    return _BEST_FIRST.index(Status(status))
