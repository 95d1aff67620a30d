"""The end of every verb that works on a run: files, report, summary, exit code."""

import click

from worker.report import summary
from worker.run import Job, RunDirectory, write_files
from worker.settings import Settings


def say(settings: Settings, text: str) -> None:
    """A line for people, on standard error; nothing with --quiet."""
    if not settings.quiet:
        click.echo(text, err=True)


def work_and_report(job: Job, settings: Settings) -> int:
    """Do the job, write all files, print what became of it; gives the exit code."""
    from worker.cli.progress import progress  # noqa: PLC0415 - report needs the rest of this module only

    say(settings, f"run {job.directory.run_id}: files in {job.directory.path}")
    job.work(progress(settings.progress, quiet=settings.quiet))
    return report(job.directory, settings)


def report(directory: RunDirectory, settings: Settings) -> int:
    """Write all files of a run and print what became of it; gives the exit code."""
    result = write_files(directory)
    say(settings, summary(result, str(directory.path)))
    if settings.as_json:
        click.echo(result.to_json(), nl=False)
    return result.exit_code
