"""Begin a run over what an earlier one left."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from worker.errors import UsageError, WorkerError
from worker.ledger import Ledger, LedgerReader, branch_ledger, run_lock
from worker.models import Status
from worker.quantities import counted
from worker.report.rollback import ROLLBACK_CSV
from worker.run import advice
from worker.run.access import shared_rate
from worker.run.directory import RunDirectory, new_run
from worker.run.files import write_files, write_report
from worker.run.refusals import refuse_other_access, refuse_plan
from worker.run.run import session_of
from worker.run.session import Session
from worker.settings import Settings
from worker.sinks import FILES
from worker.supply.admitted import AdmittedInput


def saved_for_retry(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a run began with, but for those that are about what it read."""
    return {**facts["settings"], "limit": None, "min_rows": None}


def start(
    directory: RunDirectory, settings: Settings, reload: Callable[[], Settings]
) -> tuple[Session | None, str]:
    """Make ready a new run over the rows of another that are worth another try; None if none is.

    With it comes what is to be said first: why there is none, or what is not tried again.

    The new one has them in its ledger, with their lines, before anything is sent; it names that run as its
    parent, and once it has begun it is named there as one of the retries.

    Raises:
        UsageError: another portal is named, or no shared rate if that run had one; or those rows are still to
            come from where that run had them.
        LedgerError: that run's ledger is damaged.
        LockedError: that run is being worked on.
    """
    with run_lock(directory.path):
        with LedgerReader(directory.ledger) as reader:
            facts = reader.facts()
        refuse_plan(directory, settings, facts)
        report = write_files(directory)
        if facts.get("input_kind") == "queue":
            raise UsageError(
                f"run {directory.run_id} worked on a queue, which hands out again what was left;"
                f" what was given up: {settings.command('dead', facts['input_path'], '--requeue')}"
            )
        if not facts.get("input_complete") and facts["input_path"] != "-":
            what = advice.go_on(directory, settings, facts)
            raise UsageError(f"run {directory.run_id} has not read all rows yet: {what}")
        left = sum(report.counts[status] for status in FILES["retry.csv"])
        note = f"run {directory.run_id}: no row is worth another try" if not left else ""
        if report.rollback is not None and report.rollback.undone:
            what = f"{counted(left, 'row')} that it left {'is' if left == 1 else 'are'} tried again"
            note = (
                f"{note or f'run {directory.run_id}: {what}'}; it was rolled back, and the"
                f" {counted(report.rollback.undone, 'link')} that are gone since stay so:"
                f" to make them again, run its {ROLLBACK_CSV}"
            )
        if not left:
            return None, note
        refuse_other_access(directory, settings, facts)
        return _branch(directory, facts, settings, reload), note


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
    input_ = AdmittedInput(
        parent.path,
        {
            "input_name": facts["input_name"],
            "input_kind": "retry",
            "parent": facts["run_id"],
            "origin": facts.get("origin", facts["run_id"]),
        },
        look_first=settings.existing == "check",
        begun=lambda: _tell_parent(parent, directory.run_id),
    )
    session = session_of(directory, lock, settings, input_, rate=rate, fresh=True, reload=reload)
    session.tally.rows = sum(states.values())
    session.tally.complete = True
    session.tally.settled[Status.DUPLICATE] = states[Status.DUPLICATE]
    return session


async def _tell_parent(parent: RunDirectory, run_id: str) -> None:
    """Name a retry in the ledger and the reports of its parent.

    One that is being worked on, or that cannot be written any more, goes without: the retry names it anyway.
    """
    with suppress(WorkerError), run_lock(parent.path):
        async with Ledger(parent.ledger, create=False) as ledger:
            told = await ledger.fact("retries") or []
            await ledger.put_meta(retries=[*told, run_id])
        await asyncio.to_thread(write_report, parent)
