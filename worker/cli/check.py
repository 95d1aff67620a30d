"""``bulklink check INPUT``: what is in an input, without a network."""

import json
from dataclasses import asdict
from typing import Any

import click

from worker.cli.options import INPUT, settings_options
from worker.errors import Exit
from worker.report import counted
from worker.run import check_input
from worker.settings import Settings, load_settings
from worker.sources import open_source


@click.command("check")
@click.argument("input_path", metavar="INPUT")
@settings_options(*INPUT, "as_json", "quiet")
def command(input_path: str, **flags: Any) -> int:
    """Read INPUT and judge every row; sends nothing and leaves nothing behind.

    Exit code 0 if every row is a pair or a duplicate of one, 3 if some are invalid.
    """
    return check(input_path, load_settings(flags))


def check(input_path: str, settings: Settings) -> int:
    """Judge an input and print the result; gives the exit code."""
    source = open_source(input_path, columns=settings.columns, delimiter=settings.delimiter)
    try:
        result = check_input(source, settings.limit)
    finally:
        source.close()
    if settings.as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    if not settings.quiet:
        click.echo(
            f"{result.name}: {counted(result.rows, 'row')}, {counted(result.pairs, 'pair')},"
            f" {counted(result.duplicates, 'duplicate')}, {result.invalid:,} invalid",
            err=True,
        )
        for fault in result.faults:
            click.echo(f"  line {fault.line}: {fault.reason}", err=True)
        if result.invalid > len(result.faults):
            click.echo(f"  and {result.invalid - len(result.faults):,} more", err=True)
        if settings.portal and settings.dry_run:
            click.echo(f"  {_plan(result.pairs, settings)}", err=True)
    return Exit.REJECTED if result.invalid else Exit.OK


def _plan(pairs: int, settings: Settings) -> str:
    seconds = pairs / settings.rate.per_second
    portal, rate = settings.portal, settings.rate
    if settings.existing == "post":
        return f"would send {pairs:,} requests to {portal} at {rate}, in {seconds:,.0f} s or more"
    what = f"would look for {counted(pairs, 'pair')} at {portal} and send what is not there"
    return f"{what}: at most {2 * pairs:,} requests at {rate}, in {2 * seconds:,.0f} s or more"
