"""Begin a run over what an earlier one left."""

from collections.abc import Callable, Mapping
from typing import Any

from worker.errors import UsageError
from worker.ledger import LedgerReader, run_lock
from worker.run import advice
from worker.run import run as new_run
from worker.run.access import refuse_other_access
from worker.run.directory import RunDirectory
from worker.run.files import write_files
from worker.run.session import Session
from worker.settings import Settings
from worker.sinks import FILES

RETRY = "retry.csv"


def saved_for_retry(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a run began with, as they are for its ``retry.csv``.

    That has the columns that were kept, so one that was chosen by its number may have another number there.
    """
    saved: dict[str, Any] = dict(facts["settings"])
    saved["limit"] = saved["min_rows"] = None
    saved["delimiter"] = facts.get("dialect", {}).get("delimiter", ",")
    for role, (name, place, number) in facts.get("ids", {}).items():
        wanted = (saved["columns"] or {}).get(role)
        if wanted is not None and number is not None and wanted in {str(number), f"#{number}"} - {name}:
            saved["columns"] = {**saved["columns"], role: f"#{place + 1}"}
    return saved


def start(directory: RunDirectory, settings: Settings, reload: Callable[[], Settings]) -> Session | None:
    """Make ready a new run over the rows of another that are worth another try; None if none is.

    Raises:
        UsageError: another portal is named, or no shared rate if that run had one; or those rows are still to
            come from where that run had them.
        LedgerError: that run's ledger is damaged.
        LockedError: that run is being worked on.
    """
    with run_lock(directory.path):
        report = write_files(directory)
        with LedgerReader(directory.ledger) as reader:
            facts = reader.facts()
    if facts.get("input_kind") == "queue":
        raise UsageError(
            f"run {directory.run_id} worked on a queue, which hands out again what was left;"
            f" what was given up: {settings.command('dead', facts['input_path'], '--requeue')}"
        )
    if not facts.get("input_complete") and facts["input_path"] != "-":
        what = advice.go_on(directory, settings, facts)
        raise UsageError(f"run {directory.run_id} has not read all rows yet: {what}")
    if not any(report.counts[status] for status in FILES[RETRY]):
        return None
    refuse_other_access(directory, settings, facts)
    return new_run.start(settings, str(directory.path / RETRY), reload)
