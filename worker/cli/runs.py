"""``bulklink runs``: list runs."""

import json
from typing import Any

import click

from worker.cli.options import settings_options
from worker.cli.output import complain, hand_over
from worker.errors import LedgerError, one_line
from worker.run.directory import list_runs
from worker.run.runs import listed_run
from worker.settings import load_settings


@click.command("runs")
@settings_options("runs_dir", "as_json", of="runs")
def command(**flags: Any) -> int:
    """List the runs of the runs folder, oldest first, a line each; --json gives a report a line.

    One that a process works on is 'running' and has no exit code yet.
    """
    settings = load_settings(flags)
    for run in list_runs(settings.runs_dir):
        try:
            listed = listed_run(run)
        except LedgerError as error:
            complain(f"{run.run_id}: {error}")
            continue
        report = listed.report
        if settings.as_json:
            hand_over(json.dumps(listed.to_dict()))
        else:
            code = "" if listed.exit_code is None else f"exit {listed.exit_code}"
            hand_over(
                f"{one_line(run.run_id)}  {listed.status:<23}  {code:<8}"
                f"  {report.counts['linked']:,} of {report.counts['rows']:,} linked"
                f"  {report.input.name} -> {report.portal}"
            )
    return 0
