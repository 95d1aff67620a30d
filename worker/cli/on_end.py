"""Tell somebody that a run has ended: by a command of the user's own, which is given the report."""

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.cli.output import complain, shown
from worker.settings import ON_END_VARIABLES, PREFIX

if TYPE_CHECKING:
    from worker.report.build import Report
    from worker.run.directory import RunDirectory

LONGEST = 60.0
"""Seconds that the command may take; then it is ended."""


def tell_end(command: str, report: "Report", directory: "RunDirectory", longest: float = LONGEST) -> None:
    """Run the command with report.json on its standard input.

    Its exit code changes nothing about ours: the run has ended as it has. What it prints goes to standard
    error, for standard output may be a report. That it fails, or takes too long, is said.

    Args:
        command: of the shell; it has the exit code and the run's folder in BULKLINK_EXIT_CODE and
            BULKLINK_RUN_DIRECTORY.
        report: of the run.
        directory: of the run.
        longest: seconds that it may take.
    """
    exit_code, run_directory = (f"{PREFIX}{name.upper()}" for name in ON_END_VARIABLES)
    told = {exit_code: str(int(report.exit_code)), run_directory: str(directory.path.resolve())}
    try:
        process = subprocess.Popen(  # noqa: S602 - it is the user's own command line
            command,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=2,  # standard error's descriptor, whatever has become of it
            env={**os.environ, **told},
            start_new_session=True,  # so that what it starts can be ended with it
        )
    except OSError as error:
        complain(f"--on-end: {error.strerror}; the report is in {shown(directory.path)}")
        return
    with process:
        try:
            process.communicate(report.to_json().encode(), timeout=longest)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            complain(f"--on-end: took longer than {longest:.0f} s and was ended")
            return
    if process.returncode:
        complain(f"--on-end: the command gave exit code {process.returncode}")
