"""The world around the kill loop: an input, a simulated portal with its books, and the command.

Nothing here kills, and nothing judges.
"""

import csv
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import urlopen

from tests.forks import Forked, ForkServer, simulator

OPPORTUNITIES, CONTACTS = 2_000, 5_000

# Ends within the table of latencies, so that more of them can be added.
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


def write_holdings(source: Input, rng: Random) -> tuple[set[tuple[int, int]], str]:
    """Links that were made before: a tenth of those asked for, and some of others; and a scenario of them."""
    wanted = sorted(source.pairs.values())
    before = set(rng.sample(wanted, len(wanted) // 10))
    others = {(opportunity, CONTACTS - 1) for opportunity, _ in rng.sample(wanted, len(wanted) // 10)}
    before |= others - set(wanted)
    return before, CALM.replace("[portal]", f"[portal]\nlinked = {json.dumps(sorted(map(list, before)))}")


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

    def let_end(self) -> None:
        """Wait until it has done what it was asked, also by those who are gone."""
        deadline = time.monotonic() + PATIENCE
        while (books := self.books())["requests"] > sum(books["by_status"].values()):
            assert time.monotonic() < deadline, "the portal does not come to an end"
            time.sleep(0.01)

    def links(self) -> set[tuple[int, int]]:
        """The links it holds."""
        return {(opportunity, contact) for opportunity, contact in self.books("/links")}

    def repeats(self) -> int:
        """Link POSTs beyond the first of their pair."""
        return sum(count - 1 for _, _, count in self.books("/posts"))


@contextmanager
def portal_of(server: ForkServer, folder: Path, scenario: str) -> Iterator[Portal]:
    """A portal for as long as the block lasts."""
    path = folder / "scenario.toml"
    path.write_text(scenario)
    with simulator(server, str(path)) as url:
        yield Portal(url)


class Command:
    """The command line in one folder, with a clean environment, and with a planted bug if one is named."""

    def __init__(self, folder: Path, plant: str | None, server: ForkServer) -> None:
        self.folder = folder
        self._server = server
        self._program = [str(PLANTED), plant] if plant else ["worker"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
        self._environment = {**clean, "BULKLINK_TOKEN": "demo-token"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a worker; what it says goes to a file, so that no full pipe can hold it up."""
        with (self.folder / "worker.err").open("wb") as errors:
            return Forked(
                self._server,
                *(*self._program, *words, "--quiet", "--progress", "none"),
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def run_folder(self, run: str) -> Path:
        """The directory of a run."""
        return self.folder / "runs" / run

    def said(self) -> str:
        """What the last worker wrote on standard error."""
        return (self.folder / "worker.err").read_text(errors="replace").strip()

    def report(self, run: str) -> tuple[dict[str, Any], str]:
        """``bulklink report RUN --json``, always by the worker as it is; the report, and what went wrong."""
        with Forked(
            self._server,
            *("worker", "report", run, "--json", "--quiet"),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            out, err = process.communicate(timeout=PATIENCE)
        if not out:
            return {}, f"exit code {process.returncode}: {err.strip()}"
        report: dict[str, Any] = json.loads(out)
        agrees = report["exit_code"] == process.returncode
        return (
            report,
            "" if agrees else f"exit code {process.returncode}, but {report['exit_code']} in the report",
        )
