"""Begin a run over an input; and do, with event loop, signals and files, what a session has to do.

Here settings become plain values: what runs below has none.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from worker.errors import LedgerBlocked, LockedError, StoppedError, UsageError, WorkerError
from worker.host import Claim, Taken, claim, common_folder
from worker.ledger import RunLock
from worker.limits.hours import Rates
from worker.portal.auth import Credentials
from worker.report.build import Report
from worker.run import advice
from worker.run.access import access_of, credentials_of, rates_of, shared_rate
from worker.run.directory import RunDirectory, new_run
from worker.run.files import write_files
from worker.run.lifetime import Lifetime
from worker.run.page import door_of
from worker.run.removal import removes_single_links
from worker.run.session import RunPlan, Session, any_portal
from worker.settings import Settings
from worker.sources import Source, open_source
from worker.supply.base import Input
from worker.supply.file import FileInput
from worker.tally import RunTally

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

_AGAIN = "the same command"


def start(
    settings: Settings,
    input_path: str,
    reload: Callable[[], Settings],
    facts: Mapping[str, object] = MappingProxyType({}),
) -> Session:
    """Make ready a new run over an input.

    Args:
        settings: all options.
        input_path: path of the input; ``-`` is standard input.
        reload: gives the settings as they stand now, for SIGHUP.
        facts: what the ledger is told of it besides.

    Raises:
        UsageError: no portal is named.
        InputError: the input cannot be read at all.
        LockedError: another run links it just now.
    """
    refuse_no_portal(settings)
    rate = shared_rate(settings)
    source = open_source(
        input_path, columns=settings.columns, delimiter=settings.delimiter, sheet=settings.sheet
    )
    try:
        directory, lock = new_run(settings.runs_dir, settings.run_id)
    except WorkerError:
        source.close()
        raise
    path = "-" if source.name == "-" else str(Path(input_path).resolve())
    try:
        claim = claim_input(path, directory, settings)
    except WorkerError:
        source.close()
        directory.discard()
        lock.release()
        raise
    input_ = file_input(path, source, settings, claim, complete=False)
    return session_of(directory, lock, settings, input_, rate=rate, fresh=True, reload=reload, facts=facts)


def refuse_no_portal(settings: Settings) -> None:
    """Refuse to begin a run that does not know where to.

    Raises:
        UsageError: no portal is named.
    """
    if settings.portal is None:
        raise UsageError("no portal: give --portal URL or set BULKLINK_PORTAL")


def claim_input(path: str, directory: RunDirectory, settings: Settings) -> Claim | None:
    """Keep other processes of this user from linking the same input; None if it cannot be told which it is.

    Raises:
        LockedError: one does just now, and the user does not want both.
    """
    if path == "-":
        return None
    who = {"run_id": directory.run_id, "input": path}
    try:
        return claim(
            common_folder(), settings.portal or "", Path(path), who, anyway=settings.same_input_anyway
        )
    except Taken as taken:
        run, other = taken.by.get("run_id", "of another process"), taken.by.get("input", path)
        what = "it" if other == path else f"the same, as {other},"
        raise LockedError(
            f"{path}: run {run} links {what} there just now: wait for it, or give --same-input-anyway"
        ) from None
    except OSError:
        return None


def file_input(
    path: str, source: Source | None, settings: Settings, claim: Claim | None, *, complete: bool
) -> FileInput:
    """A file as what a run reads, see :class:`worker.supply.file.FileInput`."""
    return FileInput(
        path,
        source,
        complete=complete,
        look_first=settings.existing == "check",
        limit=settings.limit,
        min_rows=settings.min_rows,
        claim=claim,
    )


def session_of(
    directory: RunDirectory,
    lock: RunLock,
    settings: Settings,
    input_: Input,
    *,
    rate: "RedisRate | None",
    fresh: bool,
    reload: Callable[[], Settings],
    facts: Mapping[str, object] = MappingProxyType({}),
) -> Session:
    """A session, as the settings say; for the arguments see :class:`worker.run.session.Session`."""
    saved = settings.to_save()
    plan = RunPlan(
        facts={
            "portal": settings.portal,
            "settings": saved,
            "shared_rate": rate and rate.shown,
            "runs_dir": str(settings.runs_dir),
            **facts,
        },
        saved=saved,
        look_first=settings.existing == "check",
        grace=settings.grace,
        max_duration=settings.max_duration,
        max_errors=settings.max_errors,
        go_on=advice.go_on(directory, settings, input_.facts),
        report=settings.command("report", advice.named(directory, settings)),
        door=door_of(settings),
        make_sure=removes_single_links if "sync" in facts and settings.prune is not None else any_portal,
    )

    def reloaded() -> tuple[Rates, int | None, Credentials]:
        now = reload()
        return rates_of(now), now.concurrency, credentials_of(now)

    access = access_of(directory, settings, rate)
    return Session(directory, lock, plan, input_, access, fresh=fresh, reload=reloaded)


def nothing_more(_: Lifetime) -> None:
    """A run is over when all its rows are."""


def complete(
    session: Session,
    show: Callable[[RunTally], None],
    afterwards: Callable[[Lifetime], None] = nothing_more,
) -> Report:
    """Do what is left to do and write all files, all under the run's lock. ``show`` is called often.

    ``afterwards`` is done when all rows are, within the same lifetime.

    A signal to stop lets requests on their way have their answers; a second one does not wait for them, and
    the files are written all the same. Only one that comes while they are, and is not the first, ends that
    too.

    Raises:
        WorkerError: it could not begin, was stopped before it had or without its files, or the ledger gave
            up; a portal that refuses us in the middle is no exception but an end, written to the ledger.
    """
    lifetime = Lifetime()
    plan = session.plan
    try:
        with session.lock, lifetime.beyond_the_loop(lambda: plan.report):
            try:
                if not session.nothing_left:
                    lifetime.run(partial(session.run, show=show), lambda: plan.go_on, session.reload)
                afterwards(lifetime)
                return write_files(session.directory)
            except WorkerError as error:
                go_on = plan.go_on
                if session.leaves_nothing:
                    session.directory.discard()
                    go_on = _AGAIN
                if isinstance(error, StoppedError) and go_on == _AGAIN:
                    raise StoppedError(error.exit_code, go_on) from None
                if isinstance(error, LedgerBlocked):
                    raise LedgerBlocked(error.what, go_on) from error
                raise
    finally:
        session.input.close()
