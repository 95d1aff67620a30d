"""The only truth of a run: one SQLite file with its rows, intents, outcomes and Contacts.

A row is admitted when read, claimed before its request leaves (the intent) and settled after the answer;
each step is durable before the next begins. All files of a run directory can be rebuilt from it.
"""

from worker.ledger.audit import audit, check, check_file, check_removals, check_waiting
from worker.ledger.base import Admitted, Known, PairLedger, Standing
from worker.ledger.branch import FORM, branch_ledger
from worker.ledger.history import Sample, SessionRecord, next_sample, samples_of, sessions_of
from worker.ledger.intake import WORN_OUT, Arrival, Delivery
from worker.ledger.ledger import Ledger
from worker.ledger.lock import RunLock, is_locked, run_lock
from worker.ledger.memory import MemoryLedger
from worker.ledger.merge import merge_ledgers
from worker.ledger.planned import (
    PlanLedger,
    Planned,
    Scope,
    contacts_to_link,
    copy_plan,
    first_lines_of,
    pairs_waiting,
    plan_counts,
    plan_digest,
    planned,
    question_seconds,
    scope_of,
)
from worker.ledger.prune import (
    Pruned,
    PruneLedger,
    count_unsettled,
    desired_contacts,
    last_words,
    links_to_make_again,
    links_to_prune,
    named_opportunities,
    prune_counts,
    prune_reasons,
    pruned_claims,
    pruned_links,
    restored_at,
    restored_counts,
    rows_of,
)
from worker.ledger.reader import Cause, LedgerReader, RowRecord
from worker.ledger.undo import (
    Claim,
    UndoLedger,
    claims,
    count_claims,
    count_made,
    links_made,
    undone_at,
    undone_counts,
    undone_reasons,
    undone_rows,
)

__all__ = [
    "FORM",
    "WORN_OUT",
    "Admitted",
    "Arrival",
    "Cause",
    "Claim",
    "Delivery",
    "Known",
    "Ledger",
    "LedgerReader",
    "MemoryLedger",
    "PairLedger",
    "PlanLedger",
    "Planned",
    "PruneLedger",
    "Pruned",
    "RowRecord",
    "RunLock",
    "Sample",
    "Scope",
    "SessionRecord",
    "Standing",
    "UndoLedger",
    "audit",
    "branch_ledger",
    "check",
    "check_file",
    "check_removals",
    "check_waiting",
    "claims",
    "contacts_to_link",
    "copy_plan",
    "count_claims",
    "count_made",
    "count_unsettled",
    "desired_contacts",
    "first_lines_of",
    "is_locked",
    "last_words",
    "links_made",
    "links_to_make_again",
    "links_to_prune",
    "merge_ledgers",
    "named_opportunities",
    "next_sample",
    "pairs_waiting",
    "plan_counts",
    "plan_digest",
    "planned",
    "prune_counts",
    "prune_reasons",
    "pruned_claims",
    "pruned_links",
    "question_seconds",
    "restored_at",
    "restored_counts",
    "rows_of",
    "run_lock",
    "samples_of",
    "scope_of",
    "sessions_of",
    "undone_at",
    "undone_counts",
    "undone_reasons",
    "undone_rows",
]
