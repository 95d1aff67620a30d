"""Kill the worker again and again, then prove by the portal's own books that nothing was lost or done twice.

    python tests/crash/kill_loop.py --kills 300 --rows 50000 --seed 1

The portal is a simulator in a process of its own, so it outlives each worker and knows what really
arrived. Moments to kill at are drawn from the seed and stretched so that the kills fit into the rows; where
exactly they hit is up to the machine. The one line at the end counts:

* lost: links asked for that the portal does not hold, rows in no file, and untrue words in the report of a
  dead run: a link claimed that the portal does not hold, or one that it holds and the report calls not
  attempted;
* double-counted: links that nobody asked for, and rows in a file where they do not belong or in two;
* repeats: POSTs of a pair beyond its first. Without faults nothing else than a kill can cause one, and a
  kill no more than there are permits.

The exit code is 0 only if nothing is lost or double-counted, the repeats are within their bound, and the
worker never ended otherwise than by our kill or by the end of its work. What is wrong is told on standard
error.
"""

import argparse
import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import urlopen

OPPORTUNITIES, CONTACTS = 2_000, 5_000

CALM = f"""
[portal]
opportunities = {OPPORTUNITIES}
contacts = {CONTACTS}

[latency]
seconds = 0.002
jitter = 0.001
"""

# Twice for a pair at most: then no pair uses up its attempts, and the run must end as on a calm portal.
FAULTS = """
[[faults]]
kind = "status"
status = 500
share = 0.01
per_pair = 2

[[faults]]
kind = "reset"
share = 0.005
per_pair = 2
after_store = true
"""

SHORTEST, LONGEST = 0.01, 1.5
"""Seconds from a worker's first POST to its end."""

AT_START = 0.1
"""Share of kills that do not wait for a POST: imports, lock, tables, probe, reading are killed too."""

START_TAKES = 1.2
"""Seconds, about; a kill at start-up comes within them."""

PATIENCE = 120.0
"""Seconds after which a worker that neither posts nor ends is called stuck."""

PLANTED = Path(__file__).with_name("planted.py")


@dataclass(frozen=True)
class Input:
    """A file, and where each of its lines has to end.

    Attributes:
        files: by line, the output file of its row; duplicates are in none.
        pairs: by line, the pair of a row that has to be linked.
    """

    path: Path
    rows: int
    files: dict[int, str]
    pairs: dict[int, tuple[int, int]]


def write_input(path: Path, rows: int, rng: Random) -> Input:
    """Write a file of which 1 % each is invalid, repeated, and about contacts that do not exist."""
    files: dict[int, str] = {}
    pairs: dict[int, tuple[int, int]] = {}
    seen: set[tuple[int, int]] = set()
    good: list[tuple[int, int]] = []
    line = 2
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["opportunity_id", "contact_id", "note"])
        for number in range(rows):
            note = "fine"
            match number % 100:
                case 10:
                    cells: tuple[object, object] = rng.choice(["x", "", "0", "-4", "2147483648"]), 5
                    files[line] = "rejected.csv"
                case 20:
                    opportunity, contact = rng.choice(good)
                    cells = f" {opportunity}", f"000{contact}"
                case 30:
                    cells = rng.randint(1, OPPORTUNITIES), 1_000_000 + number
                    files[line] = "rejected.csv"
                case kind:
                    note = "two\nlines" if kind == 40 else note
                    cells = pair = _new_pair(seen, rng)
                    good.append(pair)
                    files[line] = "linked.csv"
                    pairs[line] = pair
            writer.writerow([*cells, note])
            line += 1 + note.count("\n")
    return Input(path, rows, files, pairs)


def _new_pair(seen: set[tuple[int, int]], rng: Random) -> tuple[int, int]:
    while True:
        pair = rng.randint(1, OPPORTUNITIES), rng.randint(1, CONTACTS)
        if pair not in seen:
            seen.add(pair)
            return pair


class Portal:
    """The simulator's books."""

    def __init__(self, url: str) -> None:
        self.url = url

    def books(self, part: str = "") -> Any:
        """One page of them."""
        with urlopen(f"{self.url}/_books{part}", timeout=30) as answer:  # noqa: S310 - our own simulator
            return json.load(answer)

    def posts(self) -> int:
        """Link POSTs that have arrived."""
        return int(self.books()["posts"])

    def links(self) -> set[tuple[int, int]]:
        """The links it holds."""
        return {(opportunity, contact) for opportunity, contact in self.books("/links")}

    def repeats(self) -> int:
        """Link POSTs beyond the first of their pair."""
        return sum(count - 1 for _, _, count in self.books("/posts"))


@contextmanager
def simulator(folder: Path, scenario: str) -> Iterator[Portal]:
    """A portal for as long as the block lasts."""
    path = folder / "scenario.toml"
    path.write_text(scenario)
    words = [sys.executable, "-m", "worker.simulator", "--port", "0", "--scenario", str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("listening on "):
                raise SystemExit("the simulator did not start")
            yield Portal(line.removeprefix("listening on ").strip())
        finally:
            process.terminate()


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


class Command:
    """The command line in one folder, with a clean environment, and with a planted bug if one is named."""

    def __init__(self, folder: Path, plant: str | None) -> None:
        self.folder = folder
        self._program = [str(PLANTED), plant] if plant else ["-m", "worker"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
        self._environment = {**clean, "BULKLINK_TOKEN": "demo-token"}

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a worker; what it says goes to a file, so that no full pipe can hold it up."""
        with (self.folder / "worker.err").open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, *self._program, *words, "--quiet", "--progress", "none"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def said(self) -> str:
        """What the last worker wrote on standard error."""
        return (self.folder / "worker.err").read_text(errors="replace").strip()

    def report(self, run: str) -> tuple[dict[str, Any], str]:
        """``bulklink report RUN --json``, always by the worker as it is; the report, and what went wrong."""
        done = subprocess.run(
            [sys.executable, "-m", "worker", "report", run, "--json", "--quiet"],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if not done.stdout:
            return {}, f"exit code {done.returncode}: {done.stderr.strip()}"
        report: dict[str, Any] = json.loads(done.stdout)
        agrees = report["exit_code"] == done.returncode
        return (
            report,
            "" if agrees else f"exit code {done.returncode}, but {report['exit_code']} in the report",
        )


@dataclass(frozen=True)
class Files:
    """The output files of a run: line, status and ids of each row, in the order of the file."""

    rows: dict[str, list[tuple[int, str]]]
    links: list[tuple[int, tuple[int, int]]]
    unknown: set[tuple[int, int]]
    contacts: list[tuple[int, tuple[int, int]]]


def read_files(run: Path) -> Files:
    """Read what a run left."""
    rows: dict[str, list[tuple[int, str]]] = {}
    pairs: dict[str, list[tuple[int, tuple[int, int]]]] = {"linked": [], "unknown": []}
    for name in ("linked.csv", "rejected.csv", "retry.csv"):
        with (run / name).open(newline="") as file:
            found = list(csv.DictReader(file))
        rows[name] = [(int(row["_line"]), row["_status"]) for row in found]
        for row in found:
            if row["_status"] in pairs:
                pair = int(row["opportunity_id"]), int(row["contact_id"])
                pairs[row["_status"]].append((int(row["_line"]), pair))
    contacts = []
    for text in (run / "contacts.jsonl").read_text().splitlines():
        one = json.loads(text)
        # The id that the portal named, not the one that we asked for.
        contacts.append((one["line"], (one["opportunity_id"], one["contact"]["id"])))
    return Files(rows, pairs["linked"], {pair for _, pair in pairs["unknown"]}, contacts)


class KillLoop:
    """One input, one portal, many workers.

    Attributes:
        kills: workers that died by our signal.
        stillborn: runs killed before their ledger could be gone on with, and begun again under a new name.
    """

    def __init__(self, command: Command, portal: Portal, source: Input, options: argparse.Namespace) -> None:
        self.findings = Findings()
        self.kills = self.stillborn = 0
        self._command = command
        self._portal = portal
        self._source = source
        self._options = options
        self._rng = Random(options.seed)  # noqa: S311 - moments to kill at
        self._begun = False
        self._posting_seconds = 0.0

    @property
    def run(self) -> str:
        """The name of the run that is worked on."""
        return f"crash-{self.stillborn}"

    @property
    def folder(self) -> Path:
        """Its directory."""
        return self._command.folder / "runs" / self.run

    def kill(self) -> None:
        """Kill workers until there were enough, or until one comes to its end first."""
        while self.kills < self._options.kills:
            before = self._portal.posts()
            code = self._one_worker(before)
            if code != -signal.SIGKILL:
                self._ended(code)
                tell(
                    f"the run ended after {self.kills} of {self._options.kills} kills: too few rows for more"
                )
                return
            self.kills += 1
            if not _can_resume(self.folder):
                self._bury(before)
            elif self.kills % self._options.report_every == 0:
                self._judge_dead()

    def finish(self) -> None:
        """Resume to the end, and compare what was done with what was asked for."""
        process = self._start()
        try:
            self._ended(process.wait(60 + 4 * self._source.rows / 100))
        finally:
            process.kill()
            process.wait()
        report, trouble = self._command.report(self.run)
        self.findings.expect(not trouble, f"the last report: {trouble}")
        if report:
            self._judge_counts(report["counts"])
            self._judge_rows(read_files(self.folder))
        held, wanted = self._portal.links(), set(self._source.pairs.values())
        self.findings.lose(wanted - held, "links that the portal does not hold")
        self.findings.double(held - wanted, "links that nobody asked for")

    def _start(self) -> subprocess.Popen[bytes]:
        if self._begun:
            return self._command.start("resume", self.run)
        self._begun = True
        return self._command.start(
            *("run", str(self._source.path), "--run-id", self.run, "--portal", self._portal.url),
            *("--rate", self._options.rate, "--concurrency", str(self._options.concurrency)),
        )

    def _one_worker(self, before: int) -> int:
        process = self._start()
        try:
            if self._rng.random() < AT_START:
                time.sleep(self._rng.uniform(0.0, START_TAKES))
            else:
                self._wait_for_a_post(process, before)
                delay = self._delay()
                time.sleep(delay)
                self._posting_seconds += delay
        finally:
            # No check whether it still runs: how it ended is told by its exit status alone.
            process.kill()
            code = process.wait()
        return code

    def _wait_for_a_post(self, process: subprocess.Popen[bytes], before: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and self._portal.posts() == before:
            if time.monotonic() > deadline:
                self.findings.expect(holds=False, what=f"a worker was stuck: {self._command.said()}")
                return
            time.sleep(0.01)

    def _delay(self) -> float:
        """Draw how long this worker may post, so that the rows last until the last kill."""
        books = self._portal.books()
        pace = (books["posts"] or 1) / self._posting_seconds if self._posting_seconds else 500.0
        left = 0.9 * self._source.rows - (books["posts"] - books["repeats"])
        mean = max(0.0, left) / pace / (self._options.kills - self.kills)
        drawn = self._rng.expovariate(1 / mean) if mean else 0.0
        return min(LONGEST, max(SHORTEST, drawn))

    def _ended(self, code: int) -> None:
        # 3: the input has rows that are invalid, and contacts that do not exist.
        self.findings.expect(code == 3, f"a worker ended with {code}, not 3: {self._command.said()}")

    def _bury(self, posts_before: int) -> None:
        """Begin anew; that is right only if the dead run had sent nothing."""
        self.findings.expect(
            self._portal.posts() == posts_before, f"{self.run} has sent and left no ledger to resume"
        )
        self.stillborn += 1
        self._begun = False

    def _judge_dead(self) -> None:
        """What the report of a killed run says must be true, and must sum up."""
        report, trouble = self._command.report(self.run)
        self.findings.expect(not trouble, f"the report after kill {self.kills}: {trouble}")
        if not report:
            return
        counts = report["counts"]
        files, held = read_files(self.folder), self._portal.links()
        when = f"in the report after kill {self.kills}"
        linked = {pair for _, pair in files.links}
        self.findings.lose(linked - held, f"links claimed and not held {when}")
        self.findings.lose(held - linked - files.unknown, f"links held and called not attempted {when}")
        self.findings.expect(
            sum(counts.values()) == 2 * counts["rows"] <= 2 * self._source.rows, f"the sum {when}: {counts}"
        )
        listed = {name: len(rows) for name, rows in files.rows.items()}
        told = {
            "linked.csv": counts["linked"],
            "rejected.csv": counts["invalid"] + counts["rejected"],
            "retry.csv": counts["not_attempted"] + counts["unknown"],
        }
        self.findings.expect(listed == told, f"files and counts {when}: {listed}, {told}")
        unfinished = told["retry.csv"] or not report["input"]["complete"]
        if unfinished:
            seen = report["status"], report["exit_code"]
            self.findings.expect(seen == ("interrupted", 5), f"how it ended {when}: {seen}")

    def _judge_counts(self, counts: dict[str, int]) -> None:
        total, rows = sum(counts.values()) - counts["rows"], self._source.rows
        self.findings.lose(range(total, rows), "rows that no state counts")
        self.findings.double(range(rows, total), "rows that are counted twice")
        self.findings.expect(counts["rows"] == rows, f"{counts['rows']} rows read of {rows}")
        wanted = len(self._source.pairs)
        self.findings.lose(range(counts["linked"], wanted), "rows that the report does not call linked")
        self.findings.double(range(wanted, counts["linked"]), "rows that the report calls linked")

    def _judge_rows(self, files: Files) -> None:
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


def _can_resume(run: Path) -> bool:
    """Whether a run came far enough to have its facts written, without which nobody can go on with it."""
    path = run / "ledger.db"
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as ledger:
            return ledger.execute("SELECT 1 FROM meta WHERE name = 'portal'").fetchone() is not None
    except sqlite3.Error:
        return False


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--rate", default="2000/s", help="as bulklink takes it")
    parser.add_argument(
        "--faults", action="store_true", help="1 %% of 500s, 0.5 %% of answers lost; no bound"
    )
    parser.add_argument("--report-every", type=int, default=10, help="judge the report after each N-th kill")
    parser.add_argument("--plant", help="a bug of planted.py; then the exit code should be 1")
    parser.add_argument("--folder", type=Path, help="an empty folder to keep all files in")
    return parser.parse_args(words)


def main() -> int:
    """Kill, finish, judge, and say so in one line."""
    options = parse()
    started = time.monotonic()
    scenario = f"seed = {options.seed}\n{CALM}{FAULTS if options.faults else ''}"
    with (
        nullcontext(options.folder)
        if options.folder
        else tempfile.TemporaryDirectory(prefix="kills-") as name,
        simulator(Path(name), scenario) as portal,
    ):
        folder = Path(name).resolve()
        source = write_input(folder / "pairs.csv", options.rows, Random(options.seed))  # noqa: S311 - data
        loop = KillLoop(Command(folder, options.plant), portal, source, options)
        loop.kill()
        loop.finish()
        repeats = portal.repeats()
    findings, bound = loop.findings, loop.kills * options.concurrency
    if loop.stillborn:
        tell(f"{loop.stillborn} of the kills came before there was anything to resume")
    sys.stdout.write(
        f"seed {options.seed}: {loop.kills} kills, {options.rows} rows, {findings.lost} lost,"
        f" {findings.doubled} double-counted, {repeats} repeats (bound {bound}),"
        f" {time.monotonic() - started:.1f} seconds\n"
    )
    within = options.faults or repeats <= bound
    return 1 if findings.lost or findings.doubled or findings.wrong or not within else 0


if __name__ == "__main__":
    sys.exit(main())
