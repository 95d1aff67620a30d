"""``bulklink report RUN``: make the files of a run again from its ledger."""

from functools import partial
from typing import Any

import click

from worker.cli.finish import report, say
from worker.cli.options import settings_options
from worker.errors import Exit
from worker.ledger import LedgerReader, run_lock
from worker.report import counted
from worker.run import RunDirectory, audit_run, find_run, merge_runs
from worker.settings import Settings, load_settings


@click.command("report")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--check", is_flag=True, help="Change nothing; say whether ledger and files agree.")
@settings_options("runs_dir", "run_id", "as_json", "quiet")
def command(runs: tuple[str, ...], *, check: bool, **flags: Any) -> int:
    """Rebuild all files of RUN, by default the latest, and print its summary.

    Of several RUNs, such as those of the workers of a queue, a new run is made in which each row is counted
    once, as the best that became of it.

    Gives the exit code that the run itself ended with; with --check 0 if each row of the input has exactly
    one state and every file says what the ledger says, else 1.
    """
    settings = load_settings(flags)
    found = [find_run(settings.runs_dir, run) for run in runs or (None,)]
    if check:
        return max(_check(directory, settings) for directory in found)
    directory = found[0] if len(found) == 1 else merge_runs(settings, found, partial(say, settings))
    with run_lock(directory.path):
        return report(directory, settings)


def _check(directory: RunDirectory, settings: Settings) -> int:
    with run_lock(directory.path):
        faults = audit_run(directory)
    for fault in faults:
        click.echo(f"bulklink: {directory.run_id}/{fault}", err=True)
    if faults:
        return Exit.CRASH
    with LedgerReader(directory.ledger) as reader:
        counts = {state: count for state, count in reader.counts().items() if count}
    states = " + ".join(f"{count:,} {state}" for state, count in counts.items()) or "0"
    say(
        settings,
        f"run {directory.run_id}: {states} = {counted(sum(counts.values()), 'row')}; all files agree",
    )
    return Exit.OK
