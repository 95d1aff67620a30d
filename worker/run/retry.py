"""Begin a run over what an earlier one left."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from worker.errors import UsageError, WorkerError
from worker.ledger import LedgerReader, branch_ledger, put_fact, run_lock
from worker.models import Status
from worker.run import advice
from worker.run.access import refuse_other_access, shared_rate
from worker.run.directory import RunDirectory, new_run
from worker.run.files import write_files, write_report
from worker.run.run import session_of
from worker.run.session import Session
from worker.settings import Settings
from worker.sinks import FILES
from worker.supply.retry import RetryInput


def saved_for_retry(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a run began with, but for those that are about what it read."""
    return {**facts["settings"], "limit": None, "min_rows": None}


def start(directory: RunDirectory, settings: Settings, reload: Callable[[], Settings]) -> Session | None:
    """Make ready a new run over the rows of another that are worth another try; None if none is.

    The new one has them in its ledger, with their lines, before anything is sent; it names that run as its
    parent, and once it has begun it is named there as one of the retries.

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
        if not any(report.counts[status] for status in FILES["retry.csv"]):
            return None
        refuse_other_access(directory, settings, facts)
        return _branch(directory, facts, settings, reload)


def _branch(
    parent: RunDirectory, facts: Mapping[str, Any], settings: Settings, reload: Callable[[], Settings]
) -> Session:
    rate = shared_rate(settings)
    directory, lock = new_run(settings.runs_dir, settings.run_id)
    try:
        branch_ledger(directory.ledger, parent.ledger)
        with LedgerReader(directory.ledger) as reader:
            states = reader.counts()
    except WorkerError:
        directory.discard()
        lock.release()
        raise
    input_ = RetryInput(
        parent.path,
        facts,
        look_first=settings.existing == "check",
        begun=lambda: _tell_parent(parent, directory.run_id),
    )
    session = session_of(directory, lock, settings, input_, rate=rate, fresh=True, reload=reload)
    session.tally.rows = sum(states.values())
    session.tally.complete = True
    session.tally.settled[Status.DUPLICATE] = states[Status.DUPLICATE]
    return session


def _tell_parent(parent: RunDirectory, run_id: str) -> None:
    """Name a retry in the ledger and the reports of its parent.

    One that is being worked on, or that cannot be written any more, goes without: the retry names it anyway.
    """
    with suppress(WorkerError), run_lock(parent.path):
        with LedgerReader(parent.ledger) as reader:
            told = reader.facts().get("retries", [])
        put_fact(parent.ledger, "retries", [*told, run_id])
        write_report(parent)
