"""Does a ledger agree with itself? Every rule that the accounting of a run rests on, as a query."""

from pathlib import Path

from worker.ledger.reader import LedgerReader
from worker.ledger.trouble import damaged

_EXAMPLES = 3

_RULES = {
    # what is wrong with the rows found: the query that finds them
    "rows in a state that there is none of": """
        SELECT row FROM links WHERE status NOT IN ('linked', 'already_linked', 'duplicate', 'invalid',
            'rejected', 'retryable', 'unknown', 'not_attempted')""",
    "rows whose line, pair or cells have changed": """
        SELECT row FROM rows WHERE seal(line || ' ' || coalesce(key, 'None') || cells) <> seal""",
    "Contacts that have changed": """
        SELECT row FROM contacts WHERE seal(body) <> seal""",
    "rows called invalid that name a pair, or not called so that name none": """
        SELECT row FROM rows WHERE (key IS NULL) <> (status IS 'invalid')""",
    "pairs that belong to no row, or to the row of another pair": """
        SELECT p.row FROM pairs p LEFT JOIN rows r USING (row) WHERE r.key IS NOT p.key""",
    "rows whose pair was never noted": """
        SELECT row FROM rows r WHERE key IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM pairs p WHERE p.key = r.key)""",
    "outcomes without an intent or without a request": """
        SELECT row FROM rows WHERE (status IN ('linked', 'unknown') AND (sent_at IS NULL OR attempts < 1))
            OR (status IN ('rejected', 'retryable') AND reason <> 'too_many_deliveries'
                AND (sent_at IS NULL OR attempts < 1)
                AND NOT EXISTS (SELECT 1 FROM requests WHERE kind IN ('look', 'batch')))""",
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


def check(reader: LedgerReader, path: Path) -> None:
    """Refuse a ledger that does not agree with itself: nothing may be sent or claimed because of it.

    Raises:
        LedgerError: with the first fault.
    """
    faults = audit(reader)
    if faults:
        raise damaged(path, faults[0])


def audit(reader: LedgerReader) -> list[str]:
    """What does not agree, a line each; empty if all is well.

    Raises:
        LedgerError: the ledger cannot be read to its end.
    """
    damage = [text for (text,) in reader.query("PRAGMA integrity_check(5)") if text != "ok"]
    if damage:
        return [f"the file is damaged: {text.splitlines()[-1]}" for text in damage]
    found = []
    ((rows, first, last),) = reader.query(
        "SELECT count(*), coalesce(min(row), 1), coalesce(max(row), 0) FROM rows"
    )
    if (first, last) != (1, rows):
        found.append(f"{rows:,} rows, but they are numbered {first:,} to {last:,}")
    for fault, sql in _RULES.items():
        wrong = [row for (row,) in reader.query(sql)]
        if wrong:
            examples = ", ".join(map(str, wrong[:_EXAMPLES]))
            found.append(f"{fault}: {len(wrong):,}, such as row {examples}")
    return found
