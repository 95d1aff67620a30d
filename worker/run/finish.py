"""Write every file of a run directory from its ledger."""

from pathlib import Path

from worker.ledger import LedgerReader, check
from worker.report.build import Report, build_report
from worker.report.html import write_html
from worker.run.directory import RunDirectory
from worker.sinks import FILES, replaced, sweep, write_contacts, write_outcomes

WRITTEN = ("contacts.jsonl", *FILES, "report.html", "report.json")
"""All of them, in the order of writing: a report is never newer than what it speaks of."""


def write_files(directory: RunDirectory, into: Path | None = None) -> Report:
    """Rebuild them all, in the run directory or ``into`` another folder; the caller holds the run's lock.

    Raises:
        LedgerError: the ledger is damaged; the files stay as they are.
        OutputError: a file cannot be written.
    """
    folder = into or directory.path
    with LedgerReader(directory.ledger) as reader:
        check(reader, directory.ledger)
        if into is None:
            sweep(folder)
        write_contacts(reader, folder / "contacts.jsonl")
        for name in FILES:
            write_outcomes(reader, folder / name)
        report = build_report(reader)
    write_html(report, folder / "report.html")
    with replaced(folder / "report.json") as file:
        file.write(report.to_json())
    return report
