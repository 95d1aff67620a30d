"""``bulklink status RUN``: how far a run is, from another shell."""

import json
from typing import Any

import click

from worker.cli.completing import runs
from worker.cli.options import settings_options


@click.command("status")
@click.argument("run", metavar="[RUN]", required=False, shell_complete=runs)
@settings_options("runs_dir", "as_json", of="status")
def command(run: str | None, **flags: Any) -> int:
    """Say how far RUN is, by default the latest: one at work, of a file or a queue, or one that has ended.

    Its ledger is read, and nothing is changed or disturbed. Exit code 0 whatever became of it.
    """
    from worker.cli.finish import summed_up, told_again  # noqa: PLC0415 - brings in aiohttp
    from worker.cli.output import answer  # noqa: PLC0415 - same
    from worker.report.standing import standing  # noqa: PLC0415 - same
    from worker.run.directory import find_run  # noqa: PLC0415 - same
    from worker.run.runs import PLANNED, RUNNING, listed_run  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    settings = load_settings(flags)
    directory = find_run(settings.runs_dir, run)
    listed = listed_run(directory)
    if listed.status == RUNNING:
        lines = standing(listed.report)
    elif listed.status == PLANNED:
        lines = told_again(directory, settings)
    else:
        lines = summed_up(listed.report, directory, settings)
    answer(settings, lines, json.dumps(listed.to_dict()))
    return 0
