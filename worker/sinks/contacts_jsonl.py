"""contacts.jsonl: a line per link that stands, with the Contact as the portal sent it."""

from pathlib import Path

from worker.ledger import LedgerReader
from worker.models import Status
from worker.sinks.atomic import replaced

STATUSES = (Status.LINKED, Status.ALREADY_LINKED)


def write_contacts(reader: LedgerReader, path: Path) -> None:
    """Write the linked and already linked pairs, in input order, but for links that a rollback has removed.

    Without Contacts if the run was told to keep only ids, and no line at all if it keeps none. The Contact is
    spliced in as text: to parse and dump it again would be slower, and could change it.
    """
    kept = reader.meta().get("settings", {}).get("contacts", "full")
    with replaced(path) as file:
        if kept == "none":
            return
        for row in reader.rows(STATUSES, bodies=kept == "full", standing=True):
            file.write(
                f'{{"row":{row.row},"line":{row.line},"opportunity_id":{row.opportunity_id},'
                f'"contact_id":{row.contact_id},"status":"{row.status}","contact":{row.body or "null"}}}\n'
            )
