"""``bulklink run INPUT``: the main job."""

from typing import Any

import click

from worker.cli.completing import files
from worker.cli.grouped import GroupedCommand
from worker.cli.options import INPUT, RUN, settings_options


@click.command(
    "run",
    cls=GroupedCommand,
    examples=[
        ("bulklink run pairs.csv --limit 100", "Try the first hundred rows."),
        ("bulklink run pairs.csv -n", "Say what would be sent; send nothing."),
        ("bulklink run pairs.csv --max-errors 5%", "Stop when more than that fails."),
        ("bulklink run - < pairs.csv", "Read standard input."),
        ("bulklink run runs/monday/plan.json", "Do exactly what was planned."),
    ],
)
@click.argument("input_path", metavar="INPUT", shell_complete=files)
@settings_options(*RUN, *INPUT, "same_input_anyway", "run_id", "dry_run")
def command(input_path: str, **flags: Any) -> int:
    """Link every pair of INPUT: CSV or JSONL (.gz and .zst too; - is standard input), or a workbook.

    If INPUT is a plan.json, do what it says, unless the portal or the input has changed since (exit code 8).

    Credentials come from the environment or the configuration file only: BULKLINK_TOKEN or
    BULKLINK_TOKEN_FILE, or BULKLINK_USERNAME with BULKLINK_PASSWORD or BULKLINK_PASSWORD_FILE.
    """
    from worker.run.plan_file import is_plan  # noqa: PLC0415 - after click has accepted the words
    from worker.settings import load_settings  # noqa: PLC0415 - same

    if is_plan(input_path):
        return _carry_out(input_path, flags)
    settings = load_settings(flags)
    if settings.dry_run:
        from worker.cli.check import check  # noqa: PLC0415 - only here

        return check(input_path, settings, asks_portal=settings.portal is not None)
    from worker.cli.finish import work_and_report  # noqa: PLC0415 - brings in aiohttp
    from worker.run.run import start  # noqa: PLC0415 - same

    return work_and_report(start(settings, input_path, lambda: load_settings(flags)), settings)


def _carry_out(path: str, flags: dict[str, Any]) -> int:
    """Do what a plan says; options not given are those that it was made with."""
    from pathlib import Path  # noqa: PLC0415 - brings in aiohttp

    from worker.cli.finish import plan_words, work_and_report  # noqa: PLC0415 - same
    from worker.cli.output import answer, complain, shown  # noqa: PLC0415 - same
    from worker.cli.progress import progress  # noqa: PLC0415 - same
    from worker.run.apply import find_plan, start  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - same

    found = find_plan(Path(path), load_settings(flags).runs_dir, flags)
    settings = load_settings(flags, found.saved)
    if settings.dry_run:
        answer(settings, plan_words(found.plan, found.directory, settings), found.plan.to_json(), kept=path)
        code = found.plan.exit_code
        if settings.quiet and (why := found.plan.left(shown(found.directory.path), code)):
            complain(why)
        return code
    show = progress(settings.progress, quiet=settings.quiet)
    session = start(found, settings, lambda: load_settings(flags, found.saved), show)
    return work_and_report(session, settings, show=show)
