"""The end of every verb that works on a run: files, report, summary, exit code."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import click

from worker.report import summary
from worker.run import Job, RunDirectory, write_files
from worker.settings import Settings


def say(settings: Settings, text: str) -> None:
    """A line for people, on standard error; nothing with --quiet, or when their terminal is gone."""
    if not settings.quiet:
        with suppress(OSError):
            click.echo(text, err=True)


def hand_over(text: str) -> None:
    """Print what was asked for on standard output; that its reader has left is no failure of ours."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        # What is still buffered would fail once more at exit, and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def shown(path: Path) -> str:
    """The path as it is typed from here, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def work_and_report(job: Job, settings: Settings) -> int:
    """Do the job, write all files, print what became of it; gives the exit code."""
    from worker.cli.progress import progress  # noqa: PLC0415 - report needs the rest of this module only

    # The terminal may be closed at any time, also while files are written.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    say(settings, f"run {job.directory.run_id}: files in {shown(job.directory.path)}")
    job.work(progress(settings.progress, quiet=settings.quiet))
    return report(job.directory, settings)


def report(directory: RunDirectory, settings: Settings) -> int:
    """Write all files of a run and print what became of it; gives the exit code."""
    result = write_files(directory)
    say(settings, summary(result, shown(directory.path)))
    if settings.as_json:
        hand_over(result.to_json())
    return result.exit_code
