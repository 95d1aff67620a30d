"""The composition root: opens, wires, drains and closes everything else, and decides every order."""

from worker.run.audit import audit_run
from worker.run.check import CheckResult, check_input
from worker.run.directory import RunDirectory, find_run, list_runs
from worker.run.finish import write_files
from worker.run.job import Job, resume_job, start_job
from worker.run.tally import Tally

__all__ = [
    "CheckResult",
    "Job",
    "RunDirectory",
    "Tally",
    "audit_run",
    "check_input",
    "find_run",
    "list_runs",
    "resume_job",
    "start_job",
    "write_files",
]
