"""``bulklink retry RUN``: another run, over what an earlier one left."""

from typing import Any

import click

from worker.cli.completing import runs
from worker.cli.grouped import GroupedCommand
from worker.cli.options import RUN, settings_options


@click.command("retry", cls=GroupedCommand)
@click.argument("run", metavar="RUN", shell_complete=runs)
@settings_options(*RUN, "same_input_anyway", "run_id", inherits=True)
def command(run: str, **flags: Any) -> int:
    """Begin a new run over the rows of RUN that are worth another try: those in its retry.csv.

    They are the retryable, the unknown and the not attempted ones, and keep their lines. RUN itself stays as
    it is, but for its report, which names its retries. Options not given are those that RUN began with.
    Credentials are never saved and must be given again.
    """
    from worker.cli.finish import work_and_report  # noqa: PLC0415 - brings in aiohttp
    from worker.cli.output import say  # noqa: PLC0415 - same
    from worker.ledger import LedgerReader  # noqa: PLC0415 - same
    from worker.run.directory import find_run  # noqa: PLC0415 - same
    from worker.run.retry import saved_for_retry, start  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    directory = find_run(load_settings(flags).runs_dir, run)
    with LedgerReader(directory.ledger) as reader:
        saved = saved_for_retry(reader.facts())
    settings = load_settings(flags, saved)
    session, note = start(directory, settings, lambda: load_settings(flags, saved))
    if note:
        say(settings, note)
    if session is None:
        return 0
    return work_and_report(session, settings)
