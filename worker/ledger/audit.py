"""Does a ledger agree with itself? Every rule that the accounting of a run rests on, as a query."""

from pathlib import Path

from worker.ledger.reader import LedgerReader
from worker.ledger.trouble import damaged

_EXAMPLES = 3

_CHANGED = "rows whose line, pair or cells have changed"
_CHANGED_ROWS = "SELECT row FROM rows WHERE seal(line || ' ' || coalesce(key, 'None') || cells) <> seal"

_RULES = {
    # what is wrong with the rows found: the query that finds them
    "rows in a state that there is none of": """
        SELECT row FROM links WHERE status NOT IN ('linked', 'already_linked', 'duplicate', 'invalid',
            'rejected', 'retryable', 'unknown', 'not_attempted')""",
    _CHANGED: _CHANGED_ROWS,
    "Contacts that have changed": """
        SELECT row FROM contacts WHERE seal(CAST(body AS BLOB)) <> seal""",
    "rows called invalid that name a pair, or not called so that name none": """
        SELECT row FROM rows WHERE (key IS NULL) <> (status IS 'invalid')""",
    "pairs that belong to no row, or to the row of another pair": """
        SELECT p.row FROM pairs p LEFT JOIN rows r USING (row) WHERE r.key IS NOT p.key
            -- First counted in the order of the rows: to look each of them up for its pair takes far longer.
            AND (SELECT count(*) FROM rows r CROSS JOIN pairs p USING (key) WHERE p.row = r.row)
                <> (SELECT count(*) FROM pairs)""",
    "rows whose pair was never noted": """
        SELECT row FROM rows r WHERE key IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM pairs p WHERE p.key = r.key)""",
    "outcomes without an intent or without a request": """
        SELECT row FROM rows WHERE (status IN ('linked', 'unknown') AND (sent_at IS NULL OR attempts < 1))
            OR (status IN ('rejected', 'retryable') AND reason <> 'too_many_deliveries'
                AND (sent_at IS NULL OR attempts < 1)
                AND NOT EXISTS (SELECT 1 FROM requests WHERE kind IN ('look', 'batch'))
                -- Nothing need be asked for what the plan of a run says of a row.
                AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'plan'))""",
    "rows called linked before, or not, against what was seen": """
        SELECT row FROM rows WHERE (status IS 'already_linked') <> (pre IS 'present')
            OR (pre IS NOT NULL AND pre NOT IN ('absent', 'present'))""",
    "rows with more or fewer failures than failed requests": """
        SELECT r.row FROM rows r
            LEFT JOIN (SELECT row, count(*) AS n FROM failures GROUP BY row) f USING (row)
            WHERE r.attempts - coalesce(f.n, 0) <> (r.status IS 'linked')
                AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'merged')""",
    "removals of what was never linked": """
        SELECT u.row FROM undone u LEFT JOIN rows r USING (row)
            WHERE r.key IS NULL OR r.sent_at IS NULL OR r.pre IS 'present'
                OR u.state NOT IN ('removed', 'gone', 'kept', 'failed')""",
    "Contacts of rows that are not linked": """
        SELECT c.row FROM contacts c LEFT JOIN rows r USING (row)
            WHERE coalesce(r.status, '') NOT IN ('linked', 'already_linked')""",
}

_STRAY = """
    SELECT number FROM prunes p WHERE EXISTS (SELECT 1 FROM pairs WHERE key = p.key)
        OR NOT EXISTS (SELECT 1 FROM pairs WHERE key BETWEEN p.key & ~4294967295 AND p.key | 4294967295)"""
"""Of one sync: what several have decided need not agree."""


def check(reader: LedgerReader, path: Path) -> None:
    """Refuse a ledger that does not agree with itself: nothing may be sent or claimed because of it.

    Raises:
        LedgerError: with the first fault.
    """
    faults = audit(reader)
    if faults:
        raise damaged(path, faults[0])


def check_waiting(reader: LedgerReader, path: Path) -> None:
    """Refuse a ledger that nothing may be sent from: a row without an outcome is damaged, or its table.

    The Contacts are by far the most of the file and say nothing of what is to be sent: see
    :func:`check_file`. What it says of the other rows is left to :func:`check`, before anything is told of
    them: a run of a million rows would be kept waiting for either.

    Raises:
        LedgerError: with the first fault.
    """
    tables = list(reader.query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'contacts'"))
    faults = [fault for (table,) in tables for fault in _damage(reader, f"quick_check({table})")]
    faults = faults or [
        *_misnumbered(reader),
        *_broken(reader, _CHANGED, f"{_CHANGED_ROWS} AND status IS NULL"),
    ]
    if faults:
        raise damaged(path, faults[0])


def check_removals(reader: LedgerReader, path: Path) -> None:
    """Refuse a ledger by which nothing may be removed: what a sync decided is damaged.

    Raises:
        LedgerError: with the first fault.
    """
    # All of it: what quick_check leaves out, that a table and its index agree, is how a changed bit shows.
    faults = _damage(reader, "integrity_check(prunes)")
    faults = faults or _broken(reader, "removals of what the input names, or does not know of", _STRAY)
    if faults:
        raise damaged(path, faults[0])


def check_file(path: Path) -> None:
    """Refuse a ledger whose file is damaged, wherever that is; may be done beside other work.

    Raises:
        LedgerError: with the first fault.
    """
    with LedgerReader(path) as reader:
        faults = _damage(reader, "quick_check(5)")
    if faults:
        raise damaged(path, faults[0])


def audit(reader: LedgerReader) -> list[str]:
    """What does not agree, a line each; empty if all is well.

    Raises:
        LedgerError: the ledger cannot be read to its end.
    """
    damage = _damage(reader, "integrity_check(5)")
    if damage:
        return damage
    found = _misnumbered(reader)
    for fault, sql in _RULES.items():
        found += _broken(reader, fault, sql)
    return found


def _damage(reader: LedgerReader, pragma: str) -> list[str]:
    """What SQLite finds wrong with the file, or with a table."""
    texts = [text for (text,) in reader.query(f"PRAGMA {pragma}") if text != "ok"]
    return [f"the file is damaged: {text.splitlines()[-1]}" for text in texts]


def _misnumbered(reader: LedgerReader) -> list[str]:
    ((rows, first, last),) = reader.query(
        "SELECT count(*), coalesce(min(row), 1), coalesce(max(row), 0) FROM rows"
    )
    return (
        [] if (first, last) == (1, rows) else [f"{rows:,} rows, but they are numbered {first:,} to {last:,}"]
    )


def _broken(reader: LedgerReader, fault: str, sql: str) -> list[str]:
    """A line for the rows that break a rule, if there are any."""
    wrong = [row for (row,) in reader.query(sql)]
    return [f"{fault}: {len(wrong):,}, such as row {', '.join(map(str, wrong[:_EXAMPLES]))}"] if wrong else []
