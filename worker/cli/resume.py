"""``bulklink resume [RUN]``: go on where a run stopped."""

from typing import Any

import click

from worker.cli.completing import runs
from worker.cli.grouped import GroupedCommand
from worker.cli.options import RUN, settings_options


@click.command("resume", cls=GroupedCommand)
@click.argument("run", metavar="[RUN]", required=False, shell_complete=runs)
@settings_options(*RUN, "same_input_anyway", inherits=True)
def command(run: str | None, **flags: Any) -> int:
    """Go on with RUN, by default the latest: rows without an outcome are sent, no other.

    A sync then goes on with its removals. Options not given are those the run began with. Credentials are
    never saved and must be given again.
    """
    from worker.cli.finish import work_and_report  # noqa: PLC0415 - brings in aiohttp
    from worker.cli.output import say  # noqa: PLC0415 - same
    from worker.ledger import LedgerReader  # noqa: PLC0415 - same
    from worker.run.directory import find_run  # noqa: PLC0415 - same
    from worker.run.resume import start  # noqa: PLC0415 - same
    from worker.run.sync import pruning_of  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    directory = find_run(load_settings(flags).runs_dir, run)
    with LedgerReader(directory.ledger) as reader:
        saved = reader.facts()["settings"]
    settings = load_settings(flags, saved)
    session = start(directory, settings, lambda: load_settings(flags, saved))
    pruning = pruning_of(directory, settings)
    if session.nothing_left and pruning is None:
        say(settings, f"run {directory.run_id}: nothing to resume, every row has its outcome")
    return work_and_report(session, settings, pruning)
