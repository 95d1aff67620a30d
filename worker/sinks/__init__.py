"""Files of the run directory that list rows. All can be rebuilt from the ledger at any time."""

from worker.sinks.atomic import CHECK_PREFIX, replaced, sweep
from worker.sinks.contacts_jsonl import write_contacts
from worker.sinks.outcome_csv import FILES, LineEnds, defused, form_of, write_outcomes, write_records
from worker.sinks.removed_csv import row_like, write_removed

__all__ = [
    "CHECK_PREFIX",
    "FILES",
    "LineEnds",
    "defused",
    "form_of",
    "replaced",
    "row_like",
    "sweep",
    "write_contacts",
    "write_outcomes",
    "write_records",
    "write_removed",
]
