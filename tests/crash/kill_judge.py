"""Judge what workers left behind: reports and files, against the input and the portal's books.

It starts no worker and kills none. The top of ``kill_loop.py`` tells what "lost" and "double-counted" mean.
"""

import csv
import json
import sqlite3
import sys
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.crash.kill_books import Command, Input, Portal


class Findings:
    """What is wrong, counted and told."""

    def __init__(self) -> None:
        self.lost = self.doubled = self.wrong = 0

    def lose(self, items: Collection[object], what: str) -> None:
        """Things that should be there and are not."""
        self.lost += self._tell("lost", items, what)

    def double(self, items: Collection[object], what: str) -> None:
        """Things that are there and should not be."""
        self.doubled += self._tell("double-counted", items, what)

    def expect(self, holds: bool, what: str) -> None:
        """Anything else that must hold."""
        if not holds:
            self.wrong += self._tell("wrong", [()], what)

    def _tell(self, kind: str, items: Collection[object], what: str) -> int:
        if items:
            examples = ", ".join(map(str, list(items)[:3]))
            tell(f"{kind}: {what}: {len(items)}, such as {examples}")
        return len(items)


def tell(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@dataclass(frozen=True)
class Files:
    """The output files of a run: line, status and ids of each row, in the order of the file."""

    rows: dict[str, list[tuple[int, str]]]
    links: list[tuple[int, tuple[int, int]]]
    unknown: set[tuple[int, int]]
    there_before: set[tuple[int, int]]
    contacts: list[tuple[int, tuple[int, int]]]


def read_files(run: Path) -> Files:
    """Read what a run left."""
    rows: dict[str, list[tuple[int, str]]] = {}
    pairs: dict[str, list[tuple[int, tuple[int, int]]]] = {"linked": [], "unknown": []}
    before: set[tuple[int, int]] = set()
    for name in ("linked.csv", "rejected.csv", "retry.csv"):
        with (run / name).open(newline="") as file:
            found = list(csv.DictReader(file))
        rows[name] = [(int(row["_line"]), row["_status"]) for row in found]
        for row in found:
            status = row["_status"].removeprefix("already_")
            if status in pairs:
                pair = int(row["opportunity_id"]), int(row["contact_id"])
                pairs[status].append((int(row["_line"]), pair))
                if status != row["_status"]:
                    before.add(pair)
    contacts = []
    for text in (run / "contacts.jsonl").read_text().splitlines():
        one = json.loads(text)
        # The id that the portal named, not the one that we asked for.
        contacts.append((one["line"], (one["opportunity_id"], one["contact"]["id"])))
    return Files(rows, pairs["linked"], {pair for _, pair in pairs["unknown"]}, before, contacts)


class Judge:
    """Compares what a run says and holds with what was asked for.

    Attributes:
        findings: what was wrong so far.
    """

    def __init__(
        self, command: Command, portal: Portal, source: Input, before: Collection[tuple[int, int]]
    ) -> None:
        self.findings = Findings()
        self._before = set(before)
        self._command = command
        self._portal = portal
        self._source = source

    def dead(self, run: str, kills: int) -> None:
        """What the report of a killed run says must be true and sum up; ``kills`` is how many it had."""
        report, trouble = self._command.report(run)
        self.findings.expect(not trouble, f"the report after kill {kills}: {trouble}")
        if not report:
            return
        counts = report["counts"]
        files, held = read_files(self._command.run_folder(run)), self._portal.links()
        when = f"in the report after kill {kills}"
        linked = {pair for _, pair in files.links}
        self.findings.lose(linked - held, f"links claimed and not held {when}")
        missed = held - linked - files.unknown - self._before
        self.findings.lose(missed, f"links held and called not attempted {when}")
        self.findings.expect(
            sum(counts.values()) == 2 * counts["rows"] <= 2 * self._source.rows, f"the sum {when}: {counts}"
        )
        listed = {name: len(rows) for name, rows in files.rows.items()}
        told = {
            "linked.csv": counts["linked"] + counts["already_linked"],
            "rejected.csv": counts["invalid"] + counts["rejected"],
            "retry.csv": counts["not_attempted"] + counts["unknown"],
        }
        self.findings.expect(listed == told, f"files and counts {when}: {listed}, {told}")
        unfinished = told["retry.csv"] or not report["input"]["complete"]
        if unfinished:
            seen = report["status"], report["exit_code"]
            self.findings.expect(seen == ("interrupted", 5), f"how it ended {when}: {seen}")

    def finished(self, run: str) -> None:
        """The report, the files and the portal must show what was asked for, no less and no more."""
        report, trouble = self._command.report(run)
        self.findings.expect(not trouble, f"the last report: {trouble}")
        if report:
            self._counts(report["counts"])
            self._rows(read_files(self._command.run_folder(run)))
        held, wanted = self._portal.links(), set(self._source.pairs.values())
        self.findings.lose(wanted - held, "links that the portal does not hold")
        self.findings.double(held - wanted - self._before, "links that nobody asked for")

    def undone(self) -> None:
        """After a rollback the portal must hold what it held before the run."""
        held = self._portal.links()
        self.findings.lose(self._before - held, "links of others that a rollback has removed")
        self.findings.double(held - self._before, "links that a rollback has left")

    def _counts(self, counts: dict[str, int]) -> None:
        total, rows = sum(counts.values()) - counts["rows"], self._source.rows
        self.findings.lose(range(total, rows), "rows that no state counts")
        self.findings.double(range(rows, total), "rows that are counted twice")
        self.findings.expect(counts["rows"] == rows, f"{counts['rows']} rows read of {rows}")
        wanted = len(self._source.pairs)
        linked = counts["linked"] + counts["already_linked"]
        self.findings.lose(range(linked, wanted), "rows that the report does not call linked")
        self.findings.double(range(wanted, linked), "rows that the report calls linked")

    def _rows(self, files: Files) -> None:
        """Every row where it belongs, once, in the order of the input."""
        seen: set[int] = set()
        for name, rows in files.rows.items():
            lines = [line for line, _ in rows]
            belong = {line for line, file in self._source.files.items() if file == name}
            self.findings.lose(belong - set(lines), f"rows that should be in {name}")
            self.findings.double(set(lines) - belong, f"rows that should not be in {name}")
            self.findings.double([line for line in lines if line in seen], f"rows of {name} in another file")
            self.findings.double(range(len(set(lines)), len(lines)), f"rows that are in {name} twice")
            self.findings.expect(lines == sorted(lines), f"the order of {name}")
            seen.update(lines)
        self.findings.expect(files.contacts == files.links, "contacts.jsonl and linked.csv have other links")
        astray = {line for line, pair in files.links if self._source.pairs.get(line, pair) != pair}
        self.findings.double(astray, "rows linked to something else")
        ours = {pair for _, pair in files.links} - files.there_before
        self.findings.double(ours & self._before, "links of others that the run calls its own")
        self.findings.lose(files.there_before - self._before, "links of the run that it calls others'")


def can_resume(run: Path) -> bool:
    """Whether a run came far enough to have its facts written, without which nobody can go on with it."""
    path = run / "ledger.db"
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as ledger:
            return ledger.execute("SELECT 1 FROM meta WHERE name = 'portal'").fetchone() is not None
    except sqlite3.Error:
        return False
