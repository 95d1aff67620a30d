"""contacts.jsonl: a line per link that stands, with the Contact as the portal sent it."""

from pathlib import Path

from worker.ledger import LedgerReader
from worker.models import Status
from worker.sinks.atomic import replaced

STATUSES = (Status.LINKED, Status.ALREADY_LINKED)


def write_contacts(reader: LedgerReader, path: Path) -> None:
    """Write the linked and already linked pairs, in input order, but for links that a rollback has removed.

    The Contact is spliced in as text: to parse and dump it again would be slower, and could change it.
    """
    with replaced(path) as file:
        for row in reader.rows(STATUSES, bodies=True, standing=True):
            file.write(
                f'{{"row":{row.row},"line":{row.line},"opportunity_id":{row.opportunity_id},'
                f'"contact_id":{row.contact_id},"status":"{row.status}","contact":{row.body or "null"}}}\n'
            )
