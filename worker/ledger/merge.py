"""Make one ledger of many, each row once: of what several runs had, the best outcome."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from worker.ledger.history import samples_of, sessions_of
from worker.ledger.joint import Sampled, together
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

KNOWN_AS = """SELECT r.row, coalesce(o.identity, m.identity, :run || ':' || r.row) AS identity,
            coalesce(o.content, m.content, 0) AS content, coalesce(o.number, r.row) AS number
        FROM source.rows r LEFT JOIN source.origins o USING (row) LEFT JOIN source.messages m USING (row)"""
"""What the rows of a run are known as in all runs: a row of a file by the run that read it, and its number
there, which its retries keep; a message by its identity."""

_PLACES = """CREATE TEMP TABLE places (
    identity TEXT NOT NULL,
    content INTEGER NOT NULL,
    family INTEGER NOT NULL,  -- a run and its retries: the place of the first that is named
    number INTEGER NOT NULL,
    PRIMARY KEY (identity, content)
) WITHOUT ROWID"""

_REMOVALS = "CREATE TEMP TABLE removals (key INTEGER PRIMARY KEY, at REAL NOT NULL)"
"""When a sync first removed a link, or may have."""

_PLACE = f"INSERT OR IGNORE INTO places SELECT identity, content, :family, number FROM ({KNOWN_AS})"  # noqa: S608 - constant

_NUMBER = """INSERT INTO messages SELECT identity, content,
    row_number() OVER (ORDER BY family, number, identity, content) FROM places"""

_TAKE_IN = (
    f"""CREATE TEMP TABLE came AS SELECT k.row, m.row AS goes FROM ({KNOWN_AS}) k
        JOIN main.messages m ON m.identity = k.identity AND m.content = k.content""",  # noqa: S608 - constant
    "CREATE UNIQUE INDEX temp.came_by_row ON came (row)",
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
    """INSERT INTO undone SELECT c.goes, u.begun_at, u.state, u.reason, u.http_status, u.settled_at
        FROM source.undone u JOIN came c USING (row) WHERE true
        ON CONFLICT (row) DO UPDATE SET begun_at = excluded.begun_at, state = excluded.state,
            reason = excluded.reason, http_status = excluded.http_status, settled_at = excluded.settled_at
        WHERE coalesce(excluded.settled_at, excluded.begun_at)
            > coalesce(undone.settled_at, undone.begun_at)""",
    """INSERT INTO removals SELECT key, coalesce(settled_at, begun_at) FROM source.prunes
        WHERE begun_at IS NOT NULL AND coalesce(state, 'failed') IN ('removed', 'failed')
            AND coalesce(restored, 'failed') NOT IN ('restored', 'there')
        ON CONFLICT (key) DO UPDATE SET at = min(at, excluded.at)""",
    # Of a link that several syncs were to remove, the last word is that of the last one that touched it.
    """INSERT INTO prunes (key, created, begun_at, state, reason, http_status, settled_at, restored,
            restored_reason, restored_at)
        SELECT key, created, begun_at, state, reason, http_status, settled_at, restored, restored_reason,
            restored_at FROM source.prunes WHERE true
        ON CONFLICT (key) DO UPDATE SET created = excluded.created, begun_at = excluded.begun_at,
            state = excluded.state, reason = excluded.reason, http_status = excluded.http_status,
            settled_at = excluded.settled_at, restored = excluded.restored,
            restored_reason = excluded.restored_reason, restored_at = excluded.restored_at
        WHERE coalesce(excluded.restored_at, excluded.settled_at, excluded.begun_at, 0)
            >= coalesce(prunes.restored_at, prunes.settled_at, prunes.begun_at, 0)""",
    "DROP TABLE came",
)

_MADE_BEFORE = """SELECT key FROM removals CROSS JOIN rows USING (key)
    WHERE status = 'linked' AND pre = 'absent' GROUP BY key HAVING min(settled_at) < at"""
"""Links that one of the runs made before a sync removed them: not there before all of them."""

_CONCLUDE = (
    # What else a sync removed was there before, whoever has made it again since.
    f"""UPDATE rows SET status = 'already_linked', pre = 'present'
        WHERE status = 'linked' AND pre = 'absent' AND key IN (SELECT key FROM removals)
            AND key NOT IN ({_MADE_BEFORE})
            AND row NOT IN (SELECT row FROM undone WHERE state IN ('removed', 'gone'))""",  # noqa: S608 - constant
    # And it alone is to be there again after a rollback, whichever of several removed it last.
    "UPDATE prunes SET begun_at = (SELECT at FROM removals r WHERE r.key = prunes.key)",
    f"UPDATE prunes SET begun_at = NULL WHERE key IN ({_MADE_BEFORE})",  # noqa: S608 - same
    # What was linked before is not ours to have removed; and what was linked after a removal is there.
    """DELETE FROM undone WHERE row IN (SELECT row FROM undone u JOIN rows r USING (row)
        WHERE r.pre IS 'present' OR r.settled_at > coalesce(u.settled_at, u.begun_at))""",
    # The same of what a sync removed: one of the others names it, and has linked it since.
    """DELETE FROM prunes WHERE key IN (SELECT key FROM rows r JOIN prunes p USING (key)
        WHERE r.status IN ('linked', 'already_linked')
            AND row NOT IN (SELECT row FROM undone WHERE state IN ('removed', 'gone'))
            AND r.settled_at > coalesce(p.restored_at, p.settled_at, p.begun_at, 0))""",
    "INSERT OR IGNORE INTO pairs SELECT key, row FROM rows WHERE key IS NOT NULL ORDER BY row",
)


def merge_ledgers(path: Path, sources: Sequence[Path], facts: Mapping[str, object]) -> None:
    """Make a ledger at ``path`` of ``sources``, which are not touched, with these named facts.

    Rows are in the order of the runs, and within a run and its retries in that of its input. Its sessions are
    the stretches of time in which any of the runs was at work.

    Raises:
        LedgerError: one of them cannot be read, or the new one not be written.
    """
    db = connect(path, mode="rwc")
    db.create_function("better", 4, _is_better, deterministic=True)
    db.create_function("seal", 1, seal, deterministic=True)
    try:
        db.execute("PRAGMA synchronous = OFF")  # made from what is on disk, at any time
        known = _in_order(sources)
        db.execute(_PLACES)
        db.execute(_REMOVALS)
        for source, names in known:
            _with(db, source, names, (_PLACE,))
        db.execute(_NUMBER)
        for source, names in known:
            _with(db, source, names, _TAKE_IN)
        for sql in _CONCLUDE:
            db.execute(sql)
        _note(db, sources, facts)
        db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise trouble(path, error) from error
    finally:
        db.close()


def _in_order(sources: Sequence[Path]) -> list[tuple[Path, dict[str, object]]]:
    """The ledgers with what their statements need to know; a run before its retries."""
    families: dict[str, int] = {}
    found: list[tuple[bool, Path, dict[str, object]]] = []
    for source in sources:
        with LedgerReader(source) as reader:  # refuses what is no sound ledger, by its name
            facts = reader.facts()
            reader.counts()
        family = families.setdefault(facts.get("origin", facts["run_id"]), len(families))
        names = {
            "run": facts["run_id"],
            "queue": facts.get("input_kind") == "queue",
            "family": family,
        }
        found.append(("parent" in facts, source, names))
    return [(source, names) for _, source, names in sorted(found, key=lambda one: one[0])]


def _with(
    db: sqlite3.Connection, source: Path, names: Mapping[str, object], statements: Sequence[str]
) -> None:
    """Execute statements that read one of the ledgers."""
    db.execute("ATTACH ? AS source", (f"{source.absolute().as_uri()}?mode=ro",))
    try:
        db.execute("BEGIN")
        for sql in statements:
            db.execute(sql, {name: value for name, value in names.items() if f":{name}" in sql})
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
        db.execute("DETACH source")


def _note(db: sqlite3.Connection, sources: Sequence[Path], facts: Mapping[str, object]) -> None:
    sessions: list[tuple[float, float, float]] = []
    sampled: list[Sampled] = []
    for source in sources:
        with LedgerReader(source) as reader:
            sessions += reader.sessions()
            samples = samples_of(reader)
            for one in sessions_of(reader):
                own = tuple(sample for number, sample in samples if number == one.number)
                sampled.append(Sampled(one.started_at, one.seconds, own))
    stretches = _stretches(sessions)
    db.executemany("INSERT INTO sessions (started_at, seconds, paused_seconds) VALUES (?, ?, ?)", stretches)
    for number, (began, seconds, _) in enumerate(stretches, 1):
        db.executemany(
            "INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(number, *astuple(sample)) for sample in together(sampled, began, seconds)],
        )
    db.executemany(
        "INSERT INTO meta VALUES (?, ?)", [(name, json.dumps(value)) for name, value in facts.items()]
    )


def _stretches(sessions: Iterable[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Sessions that overlap as one, from the first beginning to the last end; pauses are added up."""
    found: list[tuple[float, float, float]] = []
    for started, seconds, paused in sorted(sessions):
        if found and started <= found[-1][0] + found[-1][1]:
            begin, length, before = found[-1]
            found[-1] = (begin, max(length, started + seconds - begin), before + paused)
        else:
            found.append((started, seconds, paused))
    return found


def _is_better(new: str | None, new_sent: float | None, old: str | None, old_sent: float | None) -> bool:
    return _rank(new, new_sent) < _rank(old, old_sent)


def _rank(status: str | None, sent_at: float | None) -> int:
    if status is None:
        return _BEST_FIRST.index(Status.NOT_ATTEMPTED if sent_at is None else Status.UNKNOWN)
    return _BEST_FIRST.index(Status(status))
