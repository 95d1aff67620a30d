"""Write every file of a run directory from its ledger."""

from worker.ledger import LedgerReader
from worker.report import Report, build_report, write_html
from worker.run.directory import RunDirectory
from worker.sinks import FILES, replaced, write_contacts, write_outcomes


def write_files(directory: RunDirectory) -> Report:
    """Rebuild them all; the report comes last, so that a report is never newer than what it speaks of."""
    with LedgerReader(directory.ledger) as reader:
        columns = reader.meta().get("columns", ["opportunity_id", "contact_id"])
        write_contacts(reader, directory.path / "contacts.jsonl")
        for name in FILES:
            write_outcomes(reader, directory.path / name, columns)
        report = build_report(reader)
    write_html(report, directory.path / "report.html")
    with replaced(directory.path / "report.json") as file:
        file.write(report.to_json())
    return report
