"""Kill the worker again and again, then prove by the portal's own books that nothing was lost or done twice.

    python tests/crash/kill_loop.py --kills 300 --rows 50000 --seed 1 --transport batch

The portal is a simulator in a process of its own, so it outlives each worker and knows what really
arrived. Moments to kill at are drawn from the seed and stretched so that the kills fit into the rows; where
exactly they hit is up to the machine. The one line at the end counts:

* lost: links asked for that the portal does not hold, rows in no file, and untrue words in the report of a
  dead run: a link claimed that the portal does not hold, or one that it holds and the report calls not
  attempted;
* double-counted: links that nobody asked for, and rows in a file where they do not belong or in two;
* repeats: POSTs of a pair beyond its first. Without faults nothing else than a kill can cause one, and a
  kill no more than there are permits, times the size of a batch.

By batch the portal takes a while for each item, as a real one does: otherwise a few hundred pairs would be
linked before a worker can be seen to post, and the rows would not last. It goes on with a batch whose sender
was killed; most workers come when that is over, some meanwhile.

The exit code is 0 only if nothing is lost or double-counted, the repeats are within their bound, and the
worker never ended otherwise than by our kill or by the end of its work. What is wrong is told on standard
error.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from random import Random

if __name__ == "__main__":  # then it looks for modules in its own folder only
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.crash import kill_books
from tests.crash.kill_books import Command, Input, Portal
from tests.crash.kill_judge import Judge, can_resume, tell
from tests.forks import ForkServer
from worker.limits.batch_size import CEILING
from worker.site import BATCHES_AT_ONCE

SHORTEST, LONGEST = 0.01, 1.5
"""Seconds from a worker's first POST to its end."""

AT_START = 0.1
"""Share of kills that do not wait for a POST: lock, tables, probe, reading are killed too."""

MEANWHILE = 0.2
"""Share of workers that do not wait until the portal is done with what the dead one has sent."""

START_TAKES = 0.4
"""Seconds, about; a kill at start-up comes within them."""


class KillLoop:
    """One input, one portal, many workers.

    Attributes:
        judge: keeps what was found wrong.
        kills: workers that died by our signal.
        stillborn: runs killed before their ledger could be gone on with, and begun again under a new name.
        most_repeats: POSTs beyond the first of their pair from one kill to the next, at most.
    """

    def __init__(
        self,
        command: Command,
        portal: Portal,
        source: Input,
        before: set[tuple[int, int]],
        options: argparse.Namespace,
    ) -> None:
        self.judge = Judge(command, portal, source, before)
        self.kills = self.stillborn = self.most_repeats = 0
        self._command = command
        self._portal = portal
        self._source = source
        self._options = options
        self._rng = Random(options.seed)  # noqa: S311 - moments to kill at
        self._begun = False
        self._repeats = 0
        self._posting_seconds = 0.0

    @property
    def run(self) -> str:
        """The name of the run that is worked on."""
        return f"crash-{self.stillborn}"

    def kill(self) -> None:
        """Kill workers until there were enough, or until one comes to its end first."""
        while self.kills < self._options.kills:
            if self._rng.random() >= MEANWHILE:
                self._portal.let_end()
            before = self._portal.posts()
            code = self._one_worker(before)
            self._count_repeats()
            if code != -signal.SIGKILL:
                self._ended(code)
                tell(
                    f"the run ended after {self.kills} of {self._options.kills} kills: too few rows for more"
                )
                return
            self.kills += 1
            if not can_resume(self._command.run_folder(self.run)):
                self._bury(before)
            elif self.kills % self._options.report_every == 0:
                self.judge.dead(self.run, self.kills)

    def finish(self) -> None:
        """Resume to the end, and compare what was done with what was asked for."""
        process = self._start()
        try:
            self._ended(process.wait(60 + 4 * self._source.rows / 100))
        finally:
            process.kill()
            process.wait()
        self._count_repeats()
        self.judge.finished(self.run)

    def undo(self) -> int:
        """Roll the run back, and kill that too, until it comes to its end; gives the number of kills."""
        kills, code = 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            process = self._command.start("rollback", self.run, "--rate", self._options.rate)
            try:
                # Ever later, so that it comes to its end at last.
                code = process.wait(self._rng.uniform(0.0, START_TAKES) + kills / 4)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
                kills += code == -signal.SIGKILL
        self.judge.findings.expect(code == 0, f"a rollback ended with {code}: {self._command.said()}")
        self.judge.undone()
        return kills

    def _start(self) -> subprocess.Popen[str]:
        if self._begun:
            return self._command.start("resume", self.run)
        self._begun = True
        return self._command.start(
            *("run", str(self._source.path), "--run-id", self.run, "--portal", self._portal.url),
            *("--rate", self._options.rate, "--concurrency", str(self._options.concurrency)),
            *("--transport", self._options.transport),
            *("--existing", "check" if self._options.undo else "post"),
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

    def _count_repeats(self) -> None:
        repeats = int(self._portal.books()["repeats"])
        self.most_repeats = max(self.most_repeats, repeats - self._repeats)
        self._repeats = repeats

    def _wait_for_a_post(self, process: subprocess.Popen[str], before: int) -> None:
        deadline = time.monotonic() + kill_books.PATIENCE
        while process.poll() is None and self._portal.posts() == before:
            if time.monotonic() > deadline:
                self.judge.findings.expect(holds=False, what=f"a worker was stuck: {self._command.said()}")
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
        self.judge.findings.expect(code == 3, f"a worker ended with {code}, not 3: {self._command.said()}")

    def _bury(self, posts_before: int) -> None:
        """Begin anew; that is right only if the dead run had sent nothing."""
        self.judge.findings.expect(
            self._portal.posts() == posts_before, f"{self.run} has sent and left no ledger to resume"
        )
        self.stillborn += 1
        self._begun = False


def parse(words: list[str]) -> argparse.Namespace:
    """The options."""
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--transport", choices=["single", "batch"], default="single")
    parser.add_argument(
        "--item-seconds", type=float, default=0.002, help="that the portal takes for each item of a batch"
    )
    parser.add_argument("--rate", default="2000/s", help="as bulklink takes it")
    parser.add_argument(
        "--faults", action="store_true", help="1 %% of 500s, 0.5 %% of answers lost; no bound"
    )
    parser.add_argument("--report-every", type=int, default=10, help="judge the report after each N-th kill")
    parser.add_argument("--plant", help="a bug of planted.py; then the exit code should be 1")
    parser.add_argument(
        "--undo",
        action="store_true",
        help="some links are there before; look first, and roll back at the end",
    )
    parser.add_argument("--folder", type=Path, help="an empty folder to keep all files in")
    return parser.parse_args(words)


def main(words: list[str], server: ForkServer) -> int:
    """Kill, finish, judge, and say so in one line; the server starts the workers."""
    options = parse(words)
    started = time.monotonic()
    rng = Random(options.seed)  # noqa: S311 - data
    with (
        nullcontext(options.folder)
        if options.folder
        else tempfile.TemporaryDirectory(prefix="kills-") as name
    ):
        folder = Path(name).resolve()
        source = kill_books.write_input(folder / "pairs.csv", options.rows, rng)
        before: set[tuple[int, int]] = set()
        holdings = kill_books.CALM
        if options.undo:
            before, holdings = kill_books.write_holdings(source, rng)
        pace = f"item_seconds = {options.item_seconds}\n"
        scenario = f"seed = {options.seed}\n{holdings}{pace}{kill_books.FAULTS if options.faults else ''}"
        with kill_books.portal_of(server, folder, scenario) as portal:
            loop = KillLoop(Command(folder, options.plant, server), portal, source, before, options)
            loop.kill()
            loop.finish()
            repeats = portal.repeats()
            undoing = f", rolled back with {loop.undo()} kills" if options.undo else ""
    at_once = options.concurrency
    if options.transport == "batch":
        at_once = min(at_once, BATCHES_AT_ONCE) * CEILING
    findings, bound = loop.judge.findings, loop.kills * at_once
    if loop.stillborn:
        tell(f"{loop.stillborn} of the kills came before there was anything to resume")
    sys.stdout.write(
        f"seed {options.seed}: {loop.kills} kills, {options.rows} rows, {findings.lost} lost,"
        f" {findings.doubled} double-counted, {repeats} repeats (bound {bound}),"
        f" {time.monotonic() - started:.1f} seconds{undoing}\n"
    )
    if options.transport == "batch":
        sys.stdout.write(f"at most {loop.most_repeats} repeats after one kill (bound {at_once})\n")
    within = options.faults or repeats <= bound
    return 1 if findings.lost or findings.doubled or findings.wrong or not within else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="forks-") as meeting, ForkServer(Path(meeting)) as fork_server:
        sys.exit(main(sys.argv[1:], fork_server))
