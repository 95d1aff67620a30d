"""Tables of a ledger, and how a connection to one is made."""

import errno
import os
import sqlite3
import zlib
from contextlib import closing, suppress
from pathlib import Path

from worker.errors import LedgerError, NeverBegan
from worker.ledger.trouble import disk_full, trouble

_READER_WAITS = 10_000
_WRITER_WAITS = 60_000
"""Milliseconds for which a statement waits while another program writes."""

SCHEMA_VERSION = "9"

PAGE_SIZE = 8_192
"""Bytes: three Contacts fit in; of a page of 4,096 one would leave nearly half empty."""

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
    session INTEGER PRIMARY KEY,
    started_at REAL NOT NULL,
    seconds REAL NOT NULL DEFAULT 0,
    paused_seconds REAL NOT NULL DEFAULT 0,
    version TEXT NOT NULL DEFAULT '',  -- of the program
    settings TEXT NOT NULL DEFAULT '{}',
    end_code INTEGER,  -- none: nobody was there to write it
    end_message TEXT NOT NULL DEFAULT ''
);
CREATE TABLE samples (  -- how far a session was after so many seconds
    session INTEGER NOT NULL,
    seconds REAL NOT NULL,
    links INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    throttled INTEGER NOT NULL,
    paused_seconds REAL NOT NULL,
    permits INTEGER NOT NULL
);
CREATE TABLE rows (
    row INTEGER PRIMARY KEY,
    line INTEGER NOT NULL,
    cells TEXT NOT NULL,
    key INTEGER,
    seal INTEGER NOT NULL,  -- over line, key and cells: SQLite does not notice what a disk changes
    status TEXT,
    reason TEXT NOT NULL DEFAULT '',
    http_status INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    session INTEGER,
    sent_at REAL,
    settled_at REAL,
    pre TEXT  -- what the portal held before it was first sent: absent, present, or not looked for
);
CREATE TABLE pairs (key INTEGER PRIMARY KEY, row INTEGER NOT NULL);
CREATE TABLE messages (  -- of a queue only
    identity TEXT NOT NULL,
    content INTEGER NOT NULL,  -- the key of the pair; below 0 for what is none
    row INTEGER NOT NULL,
    PRIMARY KEY (identity, content)
) WITHOUT ROWID;
CREATE TABLE lives (  -- of messages that were put back from the dead letters: those that were taken in
    row INTEGER NOT NULL,
    life TEXT NOT NULL,
    PRIMARY KEY (row, life)
) WITHOUT ROWID;
CREATE TABLE origins (  -- of a retry only: what its rows are in the run that read them first
    row INTEGER PRIMARY KEY,
    identity TEXT NOT NULL,
    content INTEGER NOT NULL,
    number INTEGER NOT NULL  -- that of the row there
);
CREATE TABLE contacts (  -- in the order of their answers: to put each in its place would move the others
    row INTEGER NOT NULL UNIQUE,
    body TEXT NOT NULL,
    seal INTEGER NOT NULL
);
CREATE TABLE failures (
    row INTEGER NOT NULL,
    session INTEGER NOT NULL,
    number INTEGER NOT NULL,
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    http_status INTEGER
);
CREATE TABLE requests (  -- every HTTP request of the run, whatever it was for
    session INTEGER NOT NULL,
    kind TEXT NOT NULL,
    items INTEGER NOT NULL,  -- operations that it carried
    repeated INTEGER NOT NULL,  -- links among them that were asked for before
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    http_status INTEGER,
    seconds REAL NOT NULL
);
CREATE TABLE repeats (  -- links that were asked for again, by the reason why
    reason TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE undone (  -- what rollback did with the link of a row
    row INTEGER PRIMARY KEY,
    begun_at REAL,
    state TEXT,  -- none: it may have been asked for, and nobody knows
    reason TEXT NOT NULL DEFAULT '',
    http_status INTEGER,
    settled_at REAL
);
CREATE TABLE prunes (  -- links beyond the input that a sync removes, all decided before the first goes
    number INTEGER PRIMARY KEY,
    key INTEGER NOT NULL UNIQUE,
    created TEXT,  -- when its contact was, as the portal said when it was decided
    begun_at REAL,
    state TEXT,  -- none: it may have been asked for, and nobody knows
    reason TEXT NOT NULL DEFAULT '',
    http_status INTEGER,
    settled_at REAL,
    restored TEXT,  -- what a rollback did to make it again
    restored_reason TEXT NOT NULL DEFAULT '',
    restored_at REAL
);
CREATE VIEW links AS  -- rows in the words of a report; one without an outcome is in doubt if sent
    SELECT row, line, key >> 32 AS opportunity_id, key & 4294967295 AS contact_id,
           coalesce(status, CASE WHEN sent_at IS NULL THEN 'not_attempted' ELSE 'unknown' END) AS status,
           CASE WHEN status IS NOT NULL THEN reason WHEN sent_at IS NULL THEN 'run_ended'
                ELSE 'no_answer' END AS reason,
           http_status, attempts, datetime(sent_at, 'unixepoch') AS sent_at,
           datetime(settled_at, 'unixepoch') AS settled_at, coalesce(pre, 'unread') AS pre, cells
    FROM rows;
CREATE VIEW claims AS  -- links that the run says are there, and those that a rollback has removed
    SELECT min(row) AS row, key, coalesce(max(there_at) > max(gone_at), max(gone_at) IS NULL) AS there
    FROM (SELECT r.row, r.key, iif(r.status IN ('linked', 'already_linked'), r.settled_at, NULL) AS there_at,
            iif(u.state IN ('removed', 'gone'), u.settled_at, NULL) AS gone_at
        FROM rows r LEFT JOIN undone u USING (row))
    WHERE there_at IS NOT NULL OR gone_at IS NOT NULL GROUP BY key;
CREATE VIEW made AS  -- links that the run made, or may have made, and that no rollback has removed
    SELECT r.row, r.key, r.pre, u.begun_at IS NOT NULL AS begun FROM rows r LEFT JOIN undone u USING (row)
    WHERE (r.status IN ('linked', 'unknown') OR (r.status IS NULL AND r.sent_at IS NOT NULL))
        AND coalesce(u.state, '') NOT IN ('removed', 'gone');
CREATE VIEW latencies AS
    SELECT seconds FROM requests WHERE kind IN ('link', 'look', 'batch');
"""


def seal(text: str | bytes) -> int:
    """What a text, or its UTF-8, is sealed with, to know it by later."""
    return zlib.crc32(text if isinstance(text, bytes) else text.encode())


def connect(path: Path, *, mode: str) -> sqlite3.Connection:
    """Open the ledger at ``path``; ``mode`` is SQLite's own: ``ro``, ``rw`` or ``rwc`` (create).

    Raises:
        NeverBegan: whoever made it was killed before it had tables.
        LedgerBusy: another program has it open; only if it is to be written.
        LedgerBlocked: the disk is full.
        LedgerError: there is none, or the file is none.
    """
    try:
        if mode == "rwc":
            # SQLite would make it readable for all; its side files take this file's mode.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if mode == "ro":
            _roll_back(path)
        connection = _connection(path, mode)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise disk_full(path) from error
        raise LedgerError(f"{path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise trouble(path, error) from error
    try:
        _prepare(connection, path, mode)
    except sqlite3.Error as error:
        connection.close()
        raise trouble(path, error) from error
    except LedgerError:
        connection.close()
        raise
    return connection


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    # Used by one thread at a time: opened by the caller's, then handed to the ledger's own.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )


def _roll_back(path: Path) -> None:
    """Roll back what a process that was killed has left, if it has: before that nobody may read the file.

    There is something of the kind for a moment at the beginning and at the end of a session, when the file
    goes into WAL mode and out of it. Whoever opens it to write, and reads, rolls it back; a reader may not. A
    process that is alive at that moment holds a lock, and is left alone.
    """
    with suppress(OSError, sqlite3.Error):  # why it cannot be done, the reader will be told
        if path.with_name(f"{path.name}-journal").exists():
            with closing(_connection(path, "rw")) as connection:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _prepare(connection: sqlite3.Connection, path: Path, mode: str) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_READER_WAITS if mode == 'ro' else 0}")
    if mode != "rwc":
        _check_version(connection, path)  # first of all: what is not ours is not changed
    if mode == "ro":
        return
    if mode == "rwc":
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    # From a rollback journal to the WAL: not while anybody reads. Once there, readers do no harm.
    connection.execute("PRAGMA journal_mode = WAL")
    # A row is called durable once committed; only FULL keeps that word through a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 2000")
    connection.execute(f"PRAGMA busy_timeout = {_WRITER_WAITS}")
    if mode == "rwc":
        # All or nothing: a crash must not leave some of the tables.
        connection.executescript(f"BEGIN; {TABLES}")
        connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (SCHEMA_VERSION,))
        connection.execute("COMMIT")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise NeverBegan(path)
    found = connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()
    if found is None or not found[0].isdecimal():
        raise LedgerError(f"{path}: no ledger of bulklink")
    if found[0] != SCHEMA_VERSION:
        whose = "a newer" if int(found[0]) > int(SCHEMA_VERSION) else "an older"
        raise LedgerError(
            f"{path}: made by {whose} bulklink, with ledger version {found[0]}; this one reads version"
            f" {SCHEMA_VERSION}; nothing was changed"
        )
