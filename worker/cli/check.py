"""``bulklink check INPUT``: what is in an input, without a network."""

import json
from dataclasses import asdict
from typing import Any

import click

from worker.cli.options import INPUT, settings_options
from worker.cli.output import answer
from worker.errors import Exit
from worker.report.summary import counted
from worker.run.check import CheckResult, check_input
from worker.settings import Settings, load_settings
from worker.sources import open_source

_SPOKEN_IN_SECONDS = 120


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
    lines = [f"{result.name}: {_counts(result)}"]
    lines += [f"  line {fault.line}: {fault.reason}" for fault in result.faults]
    if result.invalid > len(result.faults):
        lines.append(f"  and {result.invalid - len(result.faults):,} more")
    if settings.portal and settings.dry_run and result.pairs:
        lines.append(f"  {_plan(result.pairs, settings)}")
    answer(settings, lines, json.dumps(asdict(result), indent=2))
    return Exit.REJECTED if result.invalid else Exit.OK


def _counts(result: CheckResult) -> str:
    """What there is, and no zeros; of an input without rows that it has none."""
    counts = [
        counted(result.rows, "row"),
        counted(result.pairs, "pair") if result.pairs else "",
        counted(result.duplicates, "duplicate") if result.duplicates else "",
        f"{result.invalid:,} invalid" if result.invalid else "",
    ]
    return ", ".join(filter(None, counts)) if result.rows else "no rows"


def _plan(pairs: int, settings: Settings) -> str:
    """What a run would send, and how long it would take at least, if that is long enough to speak of."""
    portal, rate = settings.portal, settings.rate
    what = f"would send {counted(pairs, 'request')} to {portal}"
    if settings.existing == "check":
        what = f"would look for {counted(pairs, 'pair')} at {portal} and send what is not there"
        pairs *= 2
        what += f": at most {pairs:,} requests"
    seconds = int(pairs / settings.rate.per_second)
    if not seconds:
        return f"{what} at {rate}"
    none = " if none is there" if settings.existing == "check" else ""
    return f"{what} at {rate}, in {_spoken(seconds)} or more{none}"


def _spoken(seconds: int) -> str:
    if seconds < _SPOKEN_IN_SECONDS:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min"
