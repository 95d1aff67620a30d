"""``bulklink plan INPUT``: what a run would do, from a look at the portal."""

from typing import Any

import click

from worker.cli.completing import files
from worker.cli.grouped import GroupedCommand
from worker.cli.options import ABOUT_A_RUN, INPUT, settings_options


@click.command(
    "plan",
    cls=GroupedCommand,
    examples=[
        ("bulklink plan pairs.csv --run-id monday", "Say what is to be done, and keep it."),
        ("bulklink run runs/monday/plan.json", "Do exactly that."),
        ("bulklink plan pairs.csv --detailed-exitcode -q", "Only ask whether there is anything to do."),
    ],
)
@click.argument("input_path", metavar="INPUT", shell_complete=files)
@settings_options(*ABOUT_A_RUN, *INPUT, "run_id", "detailed_exitcode", of="plan")
def command(input_path: str, **flags: Any) -> int:
    """Compare INPUT with the portal, and say what a run would do.

    Nothing is changed there. plan.json and plan.csv are kept in a folder like that of a run, and
    'bulklink run RUNS_DIR/ID/plan.json' does exactly what is planned. Exit code 0 if each row is a link or
    can become one, 3 if some are invalid or name what the portal does not have, 5 if it did not tell of some.
    """
    from worker.cli.finish import plan_words  # noqa: PLC0415 - brings in aiohttp
    from worker.cli.output import answer, complain, shown  # noqa: PLC0415 - same
    from worker.cli.progress import progress  # noqa: PLC0415 - same
    from worker.report.plan import PLAN_JSON  # noqa: PLC0415 - same
    from worker.run.plan import make_plan  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    settings = load_settings(flags)
    directory, plan = make_plan(settings, input_path, progress(settings.progress, quiet=settings.quiet))
    kept = shown(directory.path / PLAN_JSON)
    answer(settings, plan_words(plan, directory, settings), plan.to_json(), kept=kept)
    code = plan.detailed_exit_code() if settings.detailed_exitcode else plan.exit_code
    if settings.quiet and (why := plan.left(shown(directory.path), code)):
        complain(why)
    return code
