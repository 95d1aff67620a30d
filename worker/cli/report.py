"""``bulklink report RUN``: make the files of a run again from its ledger."""

from functools import partial
from typing import Any

import click

from worker.cli.completing import runs
from worker.cli.finish import complain_if_quiet, plan_words, summed_up
from worker.cli.grouped import GroupedCommand
from worker.cli.options import settings_options
from worker.cli.output import answer, complain, hand_over, say, shown
from worker.errors import Exit, UsageError, one_line
from worker.ledger import LedgerReader, run_lock
from worker.quantities import counted
from worker.report.plan import PLAN_JSON
from worker.run.directory import RunDirectory, find_run
from worker.run.files import audit_run, is_plan, write_files, write_plan
from worker.run.report import merge_runs
from worker.settings import Settings, load_settings


@click.command("report", cls=GroupedCommand)
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=runs)
@click.option("--check", is_flag=True, help="Change nothing; say whether ledger and files agree.")
@settings_options("runs_dir", "run_id", "as_json", "quiet", of="report")
def command(runs: tuple[str, ...], *, check: bool, **flags: Any) -> int:
    """Rebuild all files of RUN, by default the latest, and print its summary. RUN may be a plan.

    Of several RUNs, such as one and its retries, or those of the workers of a queue, a new run is made in
    which each row is counted once, as the best that became of it.

    Gives the exit code that the run itself ended with; with --check 0 if each row of the input has exactly
    one state and every file says what the ledger says, else 1.
    """
    settings = load_settings(flags)
    if flags["run_id"] is not None and (check or len(runs) <= 1):
        raise UsageError("--run-id is the name of what several runs are merged into; leave it out here")
    found = [find_run(settings.runs_dir, run) for run in runs or (None,)]
    if check:
        return max(_check(directory, settings) for directory in found)
    directory = found[0] if len(found) == 1 else merge_runs(settings, found, partial(say, settings))
    with run_lock(directory.path):
        if is_plan(directory):
            plan = write_plan(directory)
            kept = shown(directory.path / PLAN_JSON)
            answer(settings, plan_words(plan, directory, settings), plan.to_json(), kept=kept)
            return plan.exit_code
        report = write_files(directory)
    kept = shown(directory.path / "report.json")
    answer(settings, summed_up(report, directory, settings), report.to_json(), kept=kept)
    if not settings.as_json:  # which says all
        complain_if_quiet(report, directory, settings)
    return report.exit_code


def _check(directory: RunDirectory, settings: Settings) -> int:
    with run_lock(directory.path):
        faults = audit_run(directory)
    for fault in faults:
        complain(f"{directory.run_id}/{fault}")
    if faults:
        return Exit.CRASH
    with LedgerReader(directory.ledger) as reader:
        counts = {state: count for state, count in reader.counts().items() if count}
    states = " + ".join(f"{count:,} {state}" for state, count in counts.items()) or "0"
    if not settings.quiet:
        rows = counted(sum(counts.values()), "row")
        hand_over(f"run {one_line(directory.run_id)}: {states} = {rows}; all files agree")
    return Exit.OK
