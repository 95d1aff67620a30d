"""report.json, report.html and the summary on the terminal, all made from a ledger."""

from worker.report.build import Report, build_report
from worker.report.html import write_html
from worker.report.rollback import ROLLBACK_CSV, Rollback
from worker.report.summary import counted, ending, summary
from worker.report.verification import VERIFY_CSV, Verification

__all__ = [
    "ROLLBACK_CSV",
    "VERIFY_CSV",
    "Report",
    "Rollback",
    "Verification",
    "build_report",
    "counted",
    "ending",
    "summary",
    "write_html",
]
