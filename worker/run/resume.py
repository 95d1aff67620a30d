"""Go on with a run where it stopped."""

from collections.abc import Callable
from functools import partial

from worker.errors import UsageError, WorkerError
from worker.ledger import LedgerReader, RunLock, check_file, check_waiting, run_lock
from worker.models import Status
from worker.run import advice
from worker.run.access import shared_rate
from worker.run.directory import RunDirectory
from worker.run.refusals import refuse_other_access
from worker.run.report import MERGED
from worker.run.run import claim_input, file_input, session_of
from worker.run.session import Session
from worker.settings import Settings
from worker.sources import open_source

_UNSETTLED = {Status.NOT_ATTEMPTED, Status.UNKNOWN}


def start(directory: RunDirectory, settings: Settings, reload: Callable[[], Settings]) -> Session:
    """Make ready to go on with a run where it stopped.

    Raises:
        UsageError: another portal is named than the one the run began with, or no shared rate if it had one.
        InputError: the rest of the input is wanted and cannot be read.
        LockedError: another process works on it, or on the same input.
    """
    # Held from here on: what is read now must still be so when the session begins.
    lock = run_lock(directory.path)
    try:
        return _start(directory, lock, settings, reload)
    except WorkerError:
        lock.release()
        raise


def _start(
    directory: RunDirectory, lock: RunLock, settings: Settings, reload: Callable[[], Settings]
) -> Session:
    with LedgerReader(directory.ledger) as reader:
        facts = reader.facts()
        check_waiting(reader, directory.ledger)
        states = reader.counts()
    if facts.get("input_kind") == MERGED:
        raise UsageError(f"run {directory.run_id} was merged of {', '.join(facts['merged'])}: resume those")
    if facts.get("input_kind") == "queue":
        raise UsageError(
            f"run {directory.run_id} worked on a queue, which hands out again what was left: start a new one,"
            f" {advice.go_on(directory, settings, facts)}"
        )
    refuse_other_access(directory, settings, facts)
    rate = shared_rate(settings)
    path: str = facts["input_path"]
    complete = facts.get("input_complete", False)
    source = None
    if not complete and path != "-":
        source = open_source(
            path, columns=settings.columns, delimiter=settings.delimiter, sheet=settings.sheet
        )
    try:
        claim = claim_input(path, directory, settings)
    except WorkerError:
        if source is not None:
            source.close()
        raise
    input_ = file_input(path, source, settings, claim, complete=complete)
    session = session_of(directory, lock, settings, input_, rate=rate, fresh=False, reload=reload)
    session.beside = partial(check_file, directory.ledger)
    session.tally.rows = sum(states.values())
    session.tally.complete = complete
    session.tally.settled.update({s: n for s, n in states.items() if s not in _UNSETTLED})
    return session
