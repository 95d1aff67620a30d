"""removed.csv: the links that a sync removed, or would have; valid input, to make them again."""

import csv
from pathlib import Path

from worker.ledger import LedgerReader, pruned_links
from worker.sinks.atomic import replaced

COLUMNS = ("opportunity_id", "contact_id", "_status", "_http_status", "_reason", "_restored")


def write_removed(reader: LedgerReader, path: Path) -> None:
    """Write them all, by opportunity; header only if there are none."""
    with replaced(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in pruned_links(reader):
            ids = one.opportunity_id, one.contact_id
            writer.writerow([*ids, one.state, one.http_status, one.reason, one.restored])
