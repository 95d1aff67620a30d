"""``bulklink verify RUN``: look for what a run says it linked."""

from typing import Any

import click

from worker.cli.completing import runs
from worker.cli.grouped import GroupedCommand
from worker.cli.options import ABOUT_A_RUN, settings_options


@click.command("verify", cls=GroupedCommand)
@click.argument("run", metavar="RUN", shell_complete=runs)
@settings_options(*ABOUT_A_RUN, of="verify", inherits=True)
def command(run: str, **flags: Any) -> int:
    """Look at the portal for every link that RUN says is there, and for those that its rollback removed.

    Nothing is changed. Exit code 8 says that something is not as RUN says: the rows are in its verify.csv,
    which 'bulklink run' takes as input. Options not given are those that RUN began with.
    """
    from worker.cli.output import answer, complain, shown  # noqa: PLC0415 - brings in aiohttp
    from worker.cli.progress import progress  # noqa: PLC0415 - same
    from worker.ledger import run_lock  # noqa: PLC0415 - same
    from worker.run.access import same_access  # noqa: PLC0415 - same
    from worker.run.directory import find_run  # noqa: PLC0415 - same
    from worker.run.verify import verify  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    directory = find_run(load_settings(flags).runs_dir, run)
    settings, access = same_access(directory, flags)
    with run_lock(directory.path):
        found = verify(directory, settings, access, progress(settings.progress, quiet=settings.quiet))
    kept = shown(directory.path / "verify.json")
    answer(settings, found.summary(shown(directory.path)), found.to_json(), kept=kept)
    if settings.quiet and (why := found.left(shown(directory.path))):
        complain(why)
    return found.exit_code
