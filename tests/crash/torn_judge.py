"""Whether the worker keeps its word with a damaged ledger."""

import csv
import io
import json
import re
import shutil
import signal
import sqlite3
import sys
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.torn_damage import DB, Damage
from tests.crash.torn_sample import Sample, SetOfLinks
from worker import cli
from worker.errors import LedgerError
from worker.ledger import LedgerReader, audit

WRONGS = ("false", "lost", "strange", "garbled", "crude")
FILES = ("linked.csv", "rejected.csv", "retry.csv")
LINKED = re.compile(r'^\{"row":\d+,"line":\d+,"opportunity_id":(\d+),"contact_id":(\d+),')

PATIENCE = 20
"""Seconds after which a command is called stuck; none takes one."""


class Stuck(BaseException):
    """A command took too long."""


@dataclass(frozen=True)
class Said:
    """What a command said; ``report`` is empty if it printed none."""

    code: int
    report: dict[str, Any]
    err: str


def command(*words: str) -> Said:
    """Run the command in this process."""

    def stuck(*_: object) -> None:
        raise Stuck

    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, stuck)
    signal.alarm(PATIENCE)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = cli._main([*words, "--json", "--quiet"])
    except Stuck:
        return Said(-1, {}, "stuck")
    finally:
        signal.alarm(0)
    return Said(code, json.loads(out.getvalue() or "{}"), err.getvalue())


class Judge:
    """Counts and tells what is wrong, by kind; a case counts once for each kind."""

    def __init__(self) -> None:
        self.wrong: dict[str, set[str]] = {kind: set() for kind in WRONGS}
        self.went_on = 0
        self.case = ""

    def judge(self, verb: str, said: Said, sample: Sample, run: Path) -> None:
        """Hold a command to its word."""
        if not said.report:
            self._refusal(verb, said, run)
            return
        self.went_on += 1
        self._expect("crude", "Traceback" not in said.err, f"{verb}: {said.err.strip()}")
        held, counts = SetOfLinks.held, said.report["counts"]
        contacts = (run / "contacts.jsonl").read_text(errors="replace").splitlines()
        linked = {(int(found[1]), int(found[2])) for found in map(LINKED.match, contacts) if found}
        self._expect("false", linked <= held, f"{verb}: linked and not held: {list(linked - held)[:3]}")
        missing = list(sample.wanted - held)[:3]
        self._expect(
            "false",
            said.code not in {0, 3} or not missing,
            f"{verb}: exit {said.code}, and not held: {missing}",
        )
        strange = list(held - sample.wanted)[:3]
        self._expect("strange", not strange, f"{verb}: {strange}")
        listed = [row for name in FILES for row in _rows(run / name)]
        lines = {row[3] for row in listed}
        total = sum(n for state, n in counts.items() if state != "rows")
        self._expect(
            "lost",
            total == counts["rows"] == len(listed) + counts["duplicate"] and len(lines) == len(listed),
            f"{verb}: {counts}, and {len(listed)} rows in files",
        )
        if said.report["input"]["complete"]:
            rows = len(sample.cells)
            self._expect("lost", counts["rows"] == rows, f"{verb}: {counts['rows']} of {rows} rows")
        odd = [row for row in listed if sample.cells.get(row[3]) != row[:3]]
        odd_contacts = [text for text in contacts if not _is_contact(text)]
        self._expect("garbled", not odd and not odd_contacts, f"{verb}: {odd[:1]} {odd_contacts[:1]}"[:200])

    def _refusal(self, verb: str, said: Said, run: Path) -> None:
        line = said.err.rstrip("\n")
        fine = said.code == 1 and "\n" not in line and "internal error" not in line and str(run) in line
        if not (run / DB).is_file() and said.code == 2:
            fine = str(run) in line  # there is no ledger that could be damaged
        self._expect("crude", fine, f"{verb}: exit {said.code}: {said.err.strip()[:600]}")

    def _expect(self, kind: str, holds: bool, what: str) -> None:
        if not holds and self.case not in self.wrong[kind]:
            self.wrong[kind].add(self.case)
            sys.stderr.write(f"{kind}: {self.case}: {what}\n")


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", errors="replace") as file:
        return list(csv.reader(file))[1:]


def _is_contact(text: str) -> bool:
    try:
        line = json.loads(text)
        return bool(line["contact"]["id"] == line["contact_id"])
    except (ValueError, TypeError, KeyError):
        return False


def opinions(run: Path, folder: Path) -> str:
    """What SQLite's own check and the audit say of a damaged run, looked at in a copy."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    try:
        with closing(sqlite3.connect(copy / DB)) as db:
            sqlite = "ok" if db.execute("PRAGMA integrity_check").fetchone() == ("ok",) else "damaged"
    except sqlite3.Error:
        sqlite = "damaged"
    try:
        with LedgerReader(copy / DB) as reader:
            ours = "; ".join(audit(reader)) or "ok"
    except LedgerError:
        ours = "damaged"
    except Exception as error:  # noqa: BLE001 - told, not judged
        ours = repr(error)
    return f"integrity_check {sqlite}, audit {ours[:60]}"


def try_case(judge: Judge, sample: Sample, folder: Path, name: str, damage: Damage) -> None:
    """Damage a copy, and go through report, resume and report."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(sample.run, run)
    damage(run)
    judge.case = f"{sample.run.name}: {name} ({opinions(run, folder)})"
    SetOfLinks.held = set(sample.held)
    judge.judge("report", command("report", str(run)), sample, run)
    said = command("resume", str(run), "--rate", "100000/s")
    judge.judge("resume", said, sample, run)
    if said.report:
        judge.judge("second report", command("report", str(run)), sample, run)
