"""The end of every verb that works on a run: files, report, summary, exit code."""

import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.cli.on_end import tell_end
from worker.cli.output import complain, hand_over_json, say, shown
from worker.errors import LedgerError, WorkerError
from worker.ledger import LedgerReader
from worker.report.build import Report
from worker.report.plan import PLAN_JSON, Plan, build_plan
from worker.report.summary import ending, left, summary
from worker.run.advice import go_on
from worker.run.directory import RunDirectory
from worker.run.lifetime import Lifetime
from worker.run.run import complete
from worker.run.runs import listed_run
from worker.run.session import Session
from worker.run.sync import FOLLOWS, Pruning
from worker.settings import Settings
from worker.tally import RunTally

if TYPE_CHECKING:
    from worker.cli.progress import Show


def work_and_report(
    session: Session, settings: Settings, pruning: Pruning | None = None, show: "Show | None" = None
) -> int:
    """Do what a session has to do, write all files, print what became of it; gives the exit code.

    Args:
        session: what is to be linked.
        settings: all options.
        pruning: what is to be removed afterwards, if anything is.
        show: shows how it goes; None if nobody has shown anything yet.
    """
    from worker.cli.progress import progress  # noqa: PLC0415 - not before it is needed

    # The terminal may be closed at any time, also while files are written.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    directory = session.directory
    show = show or progress(settings.progress, quiet=settings.quiet)
    is_told = False

    def tell(tally: RunTally) -> None:
        nonlocal is_told
        if tally.begun and not is_told:  # one that the portal refuses leaves no files to be told of
            is_told = True
            say(settings, f"run {directory.run_id}: files in {shown(directory.path)}")
        show(tally)

    def prune(lifetime: Lifetime) -> None:
        if pruning is not None:
            pruning.run(lifetime, show, session.door)

    if pruning is not None:
        session.followed_by = FOLLOWS
    try:
        report = complete(session, tell, prune)
    except WorkerError as error:
        if settings.on_end and is_told:
            _tell_of_error(settings.on_end, error, directory)
        raise
    say(settings, *summed_up(report, directory, settings))
    complain_if_quiet(report, directory, settings)
    _pass_on(report, directory, settings)
    return report.exit_code


def _pass_on(report: Report, directory: RunDirectory, settings: Settings) -> None:
    """Give the report to whoever is to have it: one who cannot be given it keeps no other from it."""
    try:
        if settings.as_json:
            hand_over_json(report.to_json(), kept=shown(directory.path / "report.json"))
    finally:
        if settings.on_end:
            tell_end(settings.on_end, report, directory)


def _tell_of_error(command: str, error: WorkerError, directory: RunDirectory) -> None:
    """Tell of a run that an error has ended after it began: the report is what the ledger has of it."""
    with suppress(LedgerError, OSError):
        report = listed_run(directory).report
        ended = {"status": "aborted", "exit_code": error.exit_code, "message": str(error)}
        tell_end(command, report.model_copy(update=ended), directory)


def summed_up(report: Report, directory: RunDirectory, settings: Settings) -> list[str]:
    """What became of a run, and the command that goes on with it."""
    return summary(report, shown(directory.path), _next(report, directory, settings))


def complain_if_quiet(report: Report, directory: RunDirectory, settings: Settings) -> None:
    """With --quiet, where no summary says it: in one line, why the exit code of a run is not 0."""
    why = ending(report, _next(report, directory, settings)) or left(report, shown(directory.path))
    if settings.quiet and why:
        complain(why)


def told_again(directory: RunDirectory, settings: Settings) -> list[str]:
    """What a plan says that was made before."""
    with LedgerReader(directory.ledger) as reader:
        return plan_words(build_plan(reader), directory, settings)


def plan_words(plan: Plan, directory: RunDirectory, settings: Settings) -> list[str]:
    """What a plan says, and the command that does it."""
    return plan.summary(shown(directory.path), settings.command("run", shown(directory.path / PLAN_JSON)))


def _next(report: Report, directory: RunDirectory, settings: Settings) -> str:
    facts = {"input_kind": report.input.kind, "input_path": report.input.name, "portal": report.portal}
    return go_on(directory, settings, facts)
