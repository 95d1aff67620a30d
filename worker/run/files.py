"""All files of a run directory: made from its ledger, and compared with it."""

import filecmp
import tempfile
from pathlib import Path

from worker.errors import OutputError, UsageError
from worker.ledger import LedgerReader, audit, check
from worker.report.build import Report, build_report
from worker.report.figures import figures_of
from worker.report.html import write_html
from worker.report.plan import PLAN_CSV, PLAN_JSON, Plan, build_plan, write_plan_csv
from worker.report.sync import REMOVED_CSV
from worker.run.directory import RunDirectory
from worker.sinks import CHECK_PREFIX, FILES, replaced, sweep, write_contacts, write_outcomes, write_removed

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
        if _removes(reader):
            write_removed(reader, folder / REMOVED_CSV)
    return write_report(directory, folder)


def write_report(directory: RunDirectory, into: Path | None = None) -> Report:
    """Rebuild report.html and report.json, in the run directory or ``into`` another folder.

    The caller holds the run's lock.

    Raises:
        LedgerError: the ledger is damaged; the files stay as they are.
        OutputError: a file cannot be written.
    """
    folder = into or directory.path
    with LedgerReader(directory.ledger) as reader:
        report = build_report(reader)
        figures, facts = figures_of(reader, report), reader.facts()
    write_html(report, figures, facts, folder / "report.html")
    with replaced(folder / "report.json") as file:
        file.write(report.to_json())
    return report


def is_plan(directory: RunDirectory) -> bool:
    """Whether it is the folder of a plan, and no run's.

    Raises:
        UsageError: it is one that was never done.
        LedgerError: its ledger cannot be read.
    """
    with LedgerReader(directory.ledger) as reader:
        facts = reader.facts()
    if "plans" in facts and "planned" not in facts:
        raise UsageError(f"{directory.run_id} is a plan that was never done: plan again")
    return "planned" in facts


def write_plan(directory: RunDirectory, into: Path | None = None) -> Plan:
    """Rebuild plan.json and plan.csv, in the folder of the plan or ``into`` another one.

    The caller holds its lock.

    Raises:
        LedgerError: the ledger is damaged; the files stay as they are.
        OutputError: a file cannot be written.
    """
    folder = into or directory.path
    with LedgerReader(directory.ledger) as reader:
        check(reader, directory.ledger)
        plan = build_plan(reader)
        write_plan_csv(reader, folder / PLAN_CSV)
    with replaced(folder / PLAN_JSON) as file:
        file.write(plan.to_json())
    return plan


def audit_run(directory: RunDirectory) -> list[str]:
    """What is wrong, a line each, beginning with the name of the file; empty if all is well.

    Every file is made again from the ledger, beside the run, and compared byte by byte.

    Raises:
        LedgerError: the ledger cannot be read.
        OutputError: there is no room to make the files again.
    """
    with LedgerReader(directory.ledger) as reader:
        faults = audit(reader)
        names = (*WRITTEN, REMOVED_CSV) if not faults and _removes(reader) else WRITTEN
    if faults:
        # Files of a ledger that contradicts itself would prove nothing.
        return [f"{directory.ledger.name}: {fault}" for fault in faults]
    found = []
    try:
        room = tempfile.TemporaryDirectory(prefix=CHECK_PREFIX, dir=directory.path)
    except OSError as error:
        raise OutputError(f"{directory.path}: {error.strerror}") from error
    with room as folder:
        planned = is_plan(directory)
        if planned:
            write_plan(directory, into=Path(folder))
        else:
            write_files(directory, into=Path(folder))
        for name in (PLAN_CSV, PLAN_JSON) if planned else names:
            ours, theirs = Path(folder) / name, directory.path / name
            if not theirs.is_file():
                found.append(f"{name}: is missing")
            elif not filecmp.cmp(ours, theirs, shallow=False):
                found.append(f"{name}: is not what the ledger says{_lines(ours, theirs)}")
    return found


def _removes(reader: LedgerReader) -> bool:
    """Whether it is the ledger of a sync that removes."""
    return bool(reader.facts().get("sync", {}).get("prune"))


def _lines(ours: Path, theirs: Path) -> str:
    should, has = (sum(1 for _ in path.open("rb")) for path in (ours, theirs))
    return f" ({has:,} lines, should be {should:,})" if has != should else ""
