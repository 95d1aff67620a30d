"""``bulklink sync INPUT``: make the links of the opportunities in a file those of the file."""

from typing import Any

import click

from worker.cli.completing import files
from worker.cli.grouped import GroupedCommand
from worker.cli.options import INPUT, RUN, settings_options


@click.command(
    "sync",
    cls=GroupedCommand,
    examples=[
        ("bulklink sync pairs.csv", "Add what is missing, as run does."),
        (
            "bulklink sync pairs.csv --prune own",
            "And remove what earlier runs added and pairs.csv no longer has.",
        ),
        ("bulklink sync pairs.csv --prune all -n", "Say what would be added and removed."),
    ],
)
@click.argument("input_path", metavar="INPUT", shell_complete=files)
@settings_options(
    *(option for option in RUN if option != "existing"),
    "prune",
    "allow_removals",
    *INPUT,
    "same_input_anyway",
    "run_id",
    "dry_run",
    of="sync",
)
def command(input_path: str, **flags: Any) -> int:
    """Add the links of INPUT that are missing; with --prune, then remove what its opportunities have besides.

    Opportunities that INPUT does not name are never touched, nor are primary contacts, nor an opportunity
    with a row that did not become a link. Nothing is removed if a row is worth another try, or if it would
    be more than 10 links and more than 10 % of all: exit code 8, and removed.csv says what it would have
    been. A sync is a run like any other: resume goes on with it, rollback undoes it.
    """
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    def settled() -> Any:
        return load_settings({**flags, "existing": "check"})

    settings = settled()
    if settings.dry_run:
        return _preview(settings, input_path)
    from worker.cli.finish import work_and_report  # noqa: PLC0415 - brings in aiohttp
    from worker.run.run import start  # noqa: PLC0415 - same
    from worker.run.sync import new_pruning, sync_facts  # noqa: PLC0415 - same

    facts = sync_facts(settings)
    session = start(settings, input_path, settled, facts)
    pruning = None
    if settings.prune is not None:
        pruning = new_pruning(session.directory, settings, settings.prune, settings.allow_removals)
    return work_and_report(session, settings, pruning)


def _preview(settings: Any, input_path: str) -> int:
    from worker.cli.output import answer, complain  # noqa: PLC0415 - only here
    from worker.cli.progress import progress  # noqa: PLC0415 - same
    from worker.run.run import refuse_no_portal  # noqa: PLC0415 - same
    from worker.run.sync import sync_facts  # noqa: PLC0415 - same
    from worker.run.sync_preview import preview  # noqa: PLC0415 - same
    from worker.sources import open_source  # noqa: PLC0415 - same

    refuse_no_portal(settings)
    sync_facts(settings)
    with open_source(
        input_path, columns=settings.columns, delimiter=settings.delimiter, sheet=settings.sheet
    ) as source:
        found = preview(settings, source, progress(settings.progress, quiet=settings.quiet))
        answer(settings, found.lines(source.name), found.model_dump_json(indent=2))
        if settings.quiet and (why := found.left(source.name)):
            complain(why)
    return int(found.exit_code)
