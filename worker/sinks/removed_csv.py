"""removed.csv: the links that a sync removed, or would have; valid input, to make them again."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.ledger import LedgerReader, Pruned, RowRecord, pruned_links
from worker.models import Status
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


def row_like(one: Pruned, facts: Mapping[str, Any]) -> RowRecord:
    """Such a link as a row that the input might have had, for files with the columns of that.

    Args:
        one: the link.
        facts: of the run, which say how its input is written.
    """
    cells = [""] * len(facts["columns"])
    for role, number in (("opportunity", one.opportunity_id), ("contact", one.contact_id)):
        _, place, _ = facts["ids"][role]
        cells[place] = str(number)
    ids = one.opportunity_id, one.contact_id
    return RowRecord(0, 0, tuple(cells), *ids, Status.NOT_ATTEMPTED, "", None, 0)
