"""``bulklink runs``: list runs, and remove those that ended long ago."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from worker.cli.options import settings_options
from worker.cli.output import complain, hand_over, say, shown
from worker.errors import LedgerError, UsageError, one_line
from worker.quantities import counted, parse_duration
from worker.run.directory import list_runs
from worker.run.prune import Old, old_runs, remove, sweep_removed
from worker.run.runs import Listed, listed_run
from worker.settings import Settings, load_settings

_HEADER = ("run", "started", "status", "exit", "rows", "linked", "before", "input -> portal")
_TO_THE_RIGHT = {3, 4, 5, 6}
_MEGABYTE = 1e6


@click.command("runs")
@click.option("--prune", metavar="AGE", help="Remove the folders of runs that ended longer ago, such as 90d.")
@click.option("--yes", is_flag=True, help="Remove them without asking.")
@settings_options("runs_dir", "dry_run", "as_json", "quiet", of="runs")
def command(prune: str | None, *, yes: bool, **flags: Any) -> int:
    """List the runs of the runs folder, oldest first; --json gives a report a line.

    One that a process works on is 'running' and has no exit code yet. With --prune runs that ended longer
    ago are listed and, once that is confirmed, removed: they can not be resumed, verified or undone then.
    """
    settings = load_settings(flags)
    if prune is not None:
        return _prune(settings, prune, yes=yes)
    found, runs = [], list_runs(settings.runs_dir)
    for run in runs:
        try:
            found.append(listed_run(run))
        except LedgerError as error:
            complain(f"{run.run_id}: {error}")
    if settings.as_json:
        for listed in found:
            hand_over(json.dumps(listed.to_dict()))
    elif found:
        hand_over(*_table(found))
    if not runs:
        say(settings, f"no runs in {shown(settings.runs_dir)}")
    return 0


def _table(runs: Sequence[Listed]) -> list[str]:
    rows = [_HEADER, *map(_cells, runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return [
        "  ".join(_padded(row[at], widths[at], at) for at in range(len(_HEADER))).rstrip() for row in rows
    ]


def _padded(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column in _TO_THE_RIGHT else cell.ljust(width)


def _cells(listed: Listed) -> tuple[str, ...]:
    report = listed.report
    counts = report.counts
    return (
        one_line(listed.run_id),
        f"{report.timing.started_at.astimezone():%Y-%m-%d %H:%M}",
        listed.status,
        "" if listed.exit_code is None else str(int(listed.exit_code)),
        *(f"{counts[state]:,}" for state in ("rows", "linked", "already_linked")),
        one_line(f"{report.input.name} -> {report.portal}"),
    )


def _prune(settings: Settings, age: str, *, yes: bool) -> int:
    try:
        seconds = parse_duration(age)
    except ValueError as error:
        raise UsageError(f"--prune: {error}") from None
    if not settings.dry_run:
        sweep_removed(settings.runs_dir)
    found = list(old_runs(settings.runs_dir, time.time() - seconds))
    if not found:
        say(settings, f"no run ended longer than {age} ago")
        return 0
    if not settings.quiet:
        hand_over(*_table([one.listed for one in found]))
    what = f"{counted(len(found), 'run')}, {sum(one.size for one in found) / _MEGABYTE:,.1f} MB"
    if settings.dry_run:
        say(settings, f"{what} to remove")
        return 0
    if not yes and not _confirmed(what):
        say(settings, "nothing was removed")
        return 0
    removed = [one for one in found if _removed(one)]
    size = sum(one.size for one in removed)
    say(settings, f"{counted(len(removed), 'run')} removed, {size / _MEGABYTE:,.1f} MB")
    return 0


def _confirmed(what: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{what} to remove: nobody is here to confirm that, say --yes; nothing was removed")
    return click.confirm(f"Remove {what}?", err=True)


def _removed(old: Old) -> bool:
    if remove(old.run):
        return True
    complain(f"run {old.run.run_id}: a process works on it; it is kept")
    return False
