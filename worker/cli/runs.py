"""``bulklink runs``: list runs."""

import json
from typing import Any

import click

from worker.cli.options import settings_options
from worker.cli.output import complain, hand_over
from worker.errors import LedgerError, one_line
from worker.ledger import LedgerReader
from worker.report import build_report
from worker.run import list_runs
from worker.settings import load_settings


@click.command("runs")
@settings_options("runs_dir", "as_json")
def command(**flags: Any) -> int:
    """List the runs of the runs folder, oldest first, a line each; --json gives a report a line."""
    settings = load_settings(flags)
    for run in list_runs(settings.runs_dir):
        try:
            with LedgerReader(run.ledger) as reader:
                report = build_report(reader)
        except LedgerError as error:
            complain(f"{run.run_id}: {error}")
            continue
        if settings.as_json:
            hand_over(json.dumps(report.model_dump(mode="json")))
        else:
            hand_over(
                f"{one_line(run.run_id)}  {report.status:<23}  exit {report.exit_code:<3}"
                f"  {report.counts['linked']:,} of {report.counts['rows']:,} linked"
                f"  {report.input.name} -> {report.portal}"
            )
    return 0
