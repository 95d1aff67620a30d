"""The end of every verb that works on a run: files, report, summary, exit code."""

import signal

from worker.cli.output import hand_over, say, shown
from worker.report import summary
from worker.run import Job, RunDirectory, write_files
from worker.settings import Settings


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
    say(settings, *summary(result, shown(directory.path)))
    if settings.as_json:
        hand_over(result.to_json().rstrip("\n"), kept=shown(directory.path / "report.json"))
    return result.exit_code
