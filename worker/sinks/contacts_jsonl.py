"""contacts.jsonl: a line per link that stands, with the Contact as the portal sent it."""

from pathlib import Path

from worker.ledger import LedgerReader
from worker.sinks.atomic import replaced


def write_contacts(reader: LedgerReader, path: Path) -> None:
    """Write the linked and already linked pairs, in input order, but for links that a rollback has removed.

    Without Contacts if the run was told to keep only ids, and no line at all if it keeps none. The Contact is
    spliced in as it came: to parse and dump it again would be slower, and could change it.
    """
    kept = reader.meta().get("settings", {}).get("contacts", "full")
    with replaced(path) as file:
        if kept != "none":
            file.buffer.writelines(reader.lines_of_links(contacts=kept == "full"))
