"""The end of every verb that works on a run: files, report, summary, exit code."""

import signal

from worker.cli.output import complain, hand_over, say, shown
from worker.report.summary import ending, summary
from worker.run.job import Job
from worker.settings import Settings


def work_and_report(job: Job, settings: Settings) -> int:
    """Do the job, write all files, print what became of it; gives the exit code."""
    from worker.cli.progress import progress  # noqa: PLC0415 - not before it is needed

    # The terminal may be closed at any time, also while files are written.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    say(settings, f"run {job.directory.run_id}: files in {shown(job.directory.path)}")
    report = job.work(progress(settings.progress, quiet=settings.quiet))
    say(settings, *summary(report, shown(job.directory.path)))
    if settings.quiet and ending(report):
        complain(ending(report))
    if settings.as_json:
        hand_over(report.to_json().rstrip("\n"), kept=shown(job.directory.path / "report.json"))
    return report.exit_code
