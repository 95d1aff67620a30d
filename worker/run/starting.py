"""Make ready what a run needs before it begins: its input or queue, its directory, its job."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from worker.errors import LedgerError, LockedError, UsageError, WorkerError
from worker.ledger import LedgerReader, RunLock, check, run_lock
from worker.models import Status
from worker.queues import open_publisher, open_queue, open_rate, parse_address, parse_rate_address
from worker.run import advice
from worker.run.directory import RunDirectory
from worker.run.finish import write_files
from worker.run.job import Job
from worker.run.merging import MERGED
from worker.run.publication import LEDGER as PUBLISH_LEDGER
from worker.run.publication import Publication, Published
from worker.settings import Settings, load_settings
from worker.sinks import FILES
from worker.sources import Source, open_source
from worker.supply.file import FileInput
from worker.supply.queue import QueuePlan
from worker.supply.queue_input import QueueInput

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

PREFETCH = 2
"""Messages held per request in flight: enough to have the next ones at hand."""

RETRY = "retry.csv"

DRAIN_IDLE = 10.0
"""Seconds for which a queue must look empty when its broker does not tell what other workers hold."""


def start_job(settings: Settings, input_path: str, reload: Callable[[], Settings]) -> Job:
    """Make ready a new run over an input.

    Raises:
        UsageError: no portal is named.
        InputError: the input cannot be read at all.
    """
    if settings.portal is None:
        raise UsageError("no portal: give --portal URL or set BULKLINK_PORTAL")
    rate = _shared_rate(settings)
    source = open_source(input_path, columns=settings.columns, delimiter=settings.delimiter)
    try:
        directory, lock = _new(settings)
    except WorkerError:
        source.close()
        raise
    path = input_path if input_path == "-" else str(Path(input_path).resolve())
    input_ = _file(path, source, settings, complete=False)
    return Job(directory, lock, settings, input_, rate=rate, fresh=True, reload=reload)


def start_work(settings: Settings, queue_url: str, reload: Callable[[], Settings]) -> Job:
    """Make ready a new run over the messages of a queue; it is connected to when the run begins.

    Raises:
        UsageError: no portal is named, the URL is wrong, or the library for its broker is not installed.
    """
    if settings.portal is None:
        raise UsageError("no portal: give --portal URL or set BULKLINK_PORTAL")
    address = parse_address(queue_url)
    queue = open_queue(address, lease=settings.lease)
    results = None
    if settings.results is not None:
        results = open_publisher(parse_address(settings.results.get_secret_value()), for_work=False)
    plan = QueuePlan(
        prefetch=settings.concurrency * PREFETCH,
        drain=settings.drain,
        idle=DRAIN_IDLE if address.broker == "amqp" else 0.0,
        limit=settings.limit,
        max_deliveries=settings.max_deliveries,
        retry_delay=settings.retry_delay,
        look_first=settings.existing == "check",
    )
    rate = _shared_rate(settings)
    directory, lock = _new(settings)
    input_ = QueueInput(address.shown, queue, results, plan=plan, wait_for=settings.wait_for_broker)
    return Job(directory, lock, settings, input_, rate=rate, fresh=True, reload=reload)


def _new(settings: Settings) -> tuple[RunDirectory, RunLock]:
    directory = RunDirectory.create(settings.runs_dir, settings.run_id)
    try:
        lock = run_lock(directory.path)
    except LedgerError:
        directory.discard()
        raise
    if directory.ledger.exists():  # of who took the same name at the same moment, and was quicker
        lock.release()
        raise LockedError(f"run {directory.run_id} is being worked on by another process")
    return directory, lock


def resume_job(directory: RunDirectory, settings: Settings, reload: Callable[[], Settings]) -> Job:
    """Make ready to go on with a run where it stopped.

    Raises:
        UsageError: another portal is named than the one the run began with, or no shared rate if it had one.
        InputError: the rest of the input is wanted and cannot be read.
        LockedError: another process works on it.
    """
    # Held from here on: what is read now must still be so when the job begins.
    lock = run_lock(directory.path)
    try:
        return _go_on(directory, lock, settings, reload)
    except WorkerError:
        lock.release()
        raise


def _go_on(directory: RunDirectory, lock: RunLock, settings: Settings, reload: Callable[[], Settings]) -> Job:
    with LedgerReader(directory.ledger) as reader:
        facts = reader.facts()
        check(reader, directory.ledger)
        states = reader.counts()
    if facts.get("input_kind") == MERGED:
        raise UsageError(f"run {directory.run_id} was merged of {', '.join(facts['merged'])}: resume those")
    if facts.get("input_kind") == "queue":
        raise UsageError(
            f"run {directory.run_id} worked on a queue, which hands out again what was left: start a new one,"
            f" {advice.go_on(directory, settings, facts)}"
        )
    _refuse_other_ways(directory, settings, facts)
    rate = _shared_rate(settings)
    path: str = facts["input_path"]
    complete = facts.get("input_complete", False)
    source = None
    if not complete and path != "-":
        source = open_source(path, columns=settings.columns, delimiter=settings.delimiter)
    input_ = _file(path, source, settings, complete=complete)
    job = Job(directory, lock, settings, input_, rate=rate, fresh=False, reload=reload)
    job.tally.rows = sum(states.values())
    job.tally.complete = complete
    job.tally.settled.update(
        {s: n for s, n in states.items() if s not in {Status.NOT_ATTEMPTED, Status.UNKNOWN}}
    )
    return job


def _shared_rate(settings: Settings) -> "RedisRate | None":
    if settings.shared_rate is None:
        return None
    # Unless the URL says otherwise, all who work on one portal share one rate.
    portal = urlsplit(settings.portal or "").netloc.translate({ord("["): None, ord("]"): None})
    return open_rate(parse_rate_address(settings.shared_rate.get_secret_value(), portal))


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


def start_retry(directory: RunDirectory, settings: Settings, reload: Callable[[], Settings]) -> Job | None:
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
    _refuse_other_ways(directory, settings, facts)
    return start_job(settings, str(directory.path / RETRY), reload)


def start_visit(directory: RunDirectory, flags: Mapping[str, Any]) -> tuple[Settings, "RedisRate | None"]:
    """Settle how to go to the portal about a run, by default as the run itself did.

    Raises:
        UsageError: another portal is named, or no shared rate if that run had one.
    """
    with LedgerReader(directory.ledger) as reader:
        facts = reader.facts()
    settings = load_settings(flags, facts["settings"])
    _refuse_other_ways(directory, settings, facts)
    return settings, _shared_rate(settings)


def _refuse_other_ways(directory: RunDirectory, settings: Settings, facts: Mapping[str, Any]) -> None:
    """Refuse to send what one run has left to another portal, or at a rate of its own if it shared one."""
    if settings.portal != facts["portal"]:
        raise UsageError(f"run {directory.run_id} is for {facts['portal']}, not for {settings.portal}")
    if facts.get("shared_rate") and settings.shared_rate is None:
        raise UsageError(
            f"run {directory.run_id} shares its rate through {facts['shared_rate']}:"
            " name it again, with --shared-rate or BULKLINK_SHARED_RATE"
        )


def _file(path: str, source: Source | None, settings: Settings, *, complete: bool) -> FileInput:
    look_first = settings.existing == "check"
    return FileInput(
        path,
        source,
        complete=complete,
        look_first=look_first,
        limit=settings.limit,
        min_rows=settings.min_rows,
    )


def start_publication(
    settings: Settings,
    input_path: str,
    queue_url: str,
    *,
    resume: str | None,
    tell: Callable[[str], None],
    show: Callable[[Published], None],
) -> Publication:
    """Make ready to put an input on a queue, or to go on with it where an earlier session was cut off.

    Args:
        settings: all options.
        input_path: path of the input; ``-`` is standard input.
        queue_url: where to.
        resume: name of the run to go on with; None for a new one.
        tell: told what is going on, in words for the user.
        show: called after each batch.

    Raises:
        UsageError: the URL is wrong, the library for its broker is not installed, or there is no such run.
        InputError: the input cannot be read at all.
    """
    address = parse_address(queue_url)
    publisher = open_publisher(address)
    directory = None
    if resume is not None:
        directory = RunDirectory(settings.runs_dir / resume)
        if not (directory.path / PUBLISH_LEDGER).is_file():
            raise UsageError(f"{resume}: nothing was published by a run of that name in {settings.runs_dir}")
    source = open_source(input_path, columns=settings.columns, delimiter=settings.delimiter)
    try:
        return Publication(
            directory or RunDirectory.create(settings.runs_dir, settings.run_id),
            source,
            publisher,
            address.shown,
            limit=settings.limit,
            min_rows=settings.min_rows,
            fresh=directory is None,
            give_up_after=settings.wait_for_broker,
            tell=tell,
            show=show,
        )
    except WorkerError:
        source.close()
        raise
