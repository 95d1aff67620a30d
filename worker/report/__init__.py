"""report.json, report.html and the summary on the terminal, all made from a ledger."""

from worker.report.build import Report, build_report
from worker.report.html import write_html
from worker.report.summary import summary

__all__ = ["Report", "build_report", "summary", "write_html"]
