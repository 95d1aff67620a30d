"""What a list of runs says of each: how it ended, or that it is at work."""

from dataclasses import dataclass
from typing import Any

from worker.ledger import LedgerReader, is_locked
from worker.report.build import Report, build_report
from worker.run.directory import RunDirectory

RUNNING = "running"
PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Listed:
    """A run in a list.

    Attributes:
        status: of its report, or ``running``.
        exit_code: None while it is at work: nobody knows yet.
        report: made from its ledger as it stands.
    """

    run_id: str
    status: str
    exit_code: int | None
    report: Report

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, with this status and exit code."""
        return {
            **self.report.model_dump(mode="json"),
            "status": self.status,
            "exit_code": self.exit_code,
        }


def listed_run(run: RunDirectory) -> Listed:
    """Read how a run stands, without disturbing who works on it.

    Raises:
        LedgerError: its ledger cannot be read.
    """
    at_work = is_locked(run.path)  # asked first: who ends meanwhile has written how
    with LedgerReader(run.ledger) as reader:
        # One that has ended is locked by who verifies, rolls back or reports it.
        at_work = at_work and "end_code" not in reader.facts()
        report = build_report(reader)
    if at_work:
        return Listed(run.run_id, RUNNING, None, report)
    return Listed(run.run_id, report.status, report.exit_code, report)
