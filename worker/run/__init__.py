"""The composition root: opens, wires, drains and closes everything else, and decides every order."""

from worker.run.audit import audit_run
from worker.run.check import CheckResult, check_input
from worker.run.directory import RunDirectory, find_run, list_runs
from worker.run.finish import write_files
from worker.run.job import Job
from worker.run.listing import Listed, look_at
from worker.run.merging import merge_runs
from worker.run.publication import Published
from worker.run.rollback import count_links, roll_back
from worker.run.starting import resume_job, start_job, start_publication, start_retry, start_visit, start_work
from worker.run.tally import Tally
from worker.run.verify import verify
from worker.run.visit import Progress

__all__ = [
    "CheckResult",
    "Job",
    "Listed",
    "Progress",
    "Published",
    "RunDirectory",
    "Tally",
    "audit_run",
    "check_input",
    "count_links",
    "find_run",
    "list_runs",
    "look_at",
    "merge_runs",
    "resume_job",
    "roll_back",
    "start_job",
    "start_publication",
    "start_retry",
    "start_visit",
    "start_work",
    "verify",
    "write_files",
]
