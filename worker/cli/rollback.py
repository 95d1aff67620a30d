"""``bulklink rollback RUN``: remove the links that a run made."""

import json
from typing import Any

import click

from worker.cli.completing import runs
from worker.cli.grouped import GroupedCommand
from worker.cli.options import ABOUT_A_RUN, settings_options
from worker.quantities import counted


@click.command("rollback", cls=GroupedCommand)
@click.argument("run", metavar="RUN", shell_complete=runs)
@settings_options(*ABOUT_A_RUN, "max_attempts", "unread", "dry_run", of="rollback", inherits=True)
def command(run: str, **flags: Any) -> int:
    """Remove the links that RUN made, and no other.

    Those are the ones that it looked for before it sent them, and that were not there; a run with
    --existing post has none. What a sync removed is made again.
    Each is looked for once more before and after it is removed. It may be stopped and done again at any
    time. Exit code 8 says that some were kept, 5 that it is worth another try: see RUN's rollback.csv.
    """
    from worker.cli.output import answer, complain, hand_over_json, say, shown  # noqa: PLC0415 - brings in aiohttp
    from worker.cli.progress import progress  # noqa: PLC0415 - same
    from worker.ledger import run_lock  # noqa: PLC0415 - same
    from worker.run.access import same_access  # noqa: PLC0415 - same
    from worker.run.directory import find_run  # noqa: PLC0415 - same
    from worker.run.rollback import count_links, count_to_make_again, roll_back  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    directory = find_run(load_settings(flags).runs_dir, run)
    settings, access = same_access(directory, flags)
    with run_lock(directory.path):
        if settings.dry_run:
            remove, keep = count_links(directory, unread=settings.unread)
            again = count_to_make_again(directory)
            text = f"run {directory.run_id}: {counted(remove, 'link')} to remove"
            if keep:
                text += f", {keep:,} to keep because nobody looked whether they were there before"
            if again:
                text += f", {again:,} to make again"
            counts = {"run_id": directory.run_id, "remove": remove, "keep": keep, "restore": again}
            answer(settings, [text], json.dumps(counts))
            return 0
        done = roll_back(directory, settings, access, progress(settings.progress, quiet=settings.quiet))
    say(settings, *done.summary(shown(directory.path)))
    if settings.quiet and (why := done.left_over(shown(directory.path))):
        complain(why)
    if settings.as_json:
        hand_over_json(done.to_json(), kept=shown(directory.path / "rollback.json"))
    return done.exit_code
