"""report.json, report.html and the summary on the terminal, all made from a ledger."""

from worker.report.build import Report, build_report
from worker.report.html import write_html
from worker.report.summary import counted, summary

__all__ = ["Report", "build_report", "counted", "summary", "write_html"]
