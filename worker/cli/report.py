"""``bulklink report RUN``: make the files of a run again from its ledger."""

from typing import Any

import click

from worker.cli.finish import report
from worker.cli.options import settings_options
from worker.ledger import run_lock
from worker.run import find_run
from worker.settings import load_settings


@click.command("report")
@click.argument("run", metavar="[RUN]", required=False)
@settings_options("runs_dir", "as_json", "quiet")
def command(run: str | None, **flags: Any) -> int:
    """Rebuild all files of RUN, by default the latest, and print its summary.

    Gives the exit code that the run itself ended with.
    """
    settings = load_settings(flags)
    directory = find_run(settings.runs_dir, run)
    with run_lock(directory.path):
        return report(directory, settings)
