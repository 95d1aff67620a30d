"""Let a worker work for long, on a portal with faults, and prove that it comes to hold no more and more.

    python tests/soak/soak.py --minutes 10 --seed 1

Input is read ahead into the ledger, on disk, so neither the length of the input nor what became of it may
show in memory. Every few seconds the worker is looked at: its resident memory, open files and threads from
outside, the tasks of its loop from within (``watched.py``). The first quarter of the time is for warming up
and is not judged; the median of the second quarter is compared with that of the last, so that an outage or a
burst counts for nothing.

The one line at the end has both medians of each figure. The exit code is 0 only if none grew by more than
its allowance, and the worker linked every row. What is wrong is told on standard error.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median

from worker.cli.simulator_process import simulator

WATCHED = Path(__file__).with_name("watched.py")
MB = 1024 * 1024
CONTACTS = OPPORTUNITIES = 5_000

# No pair is hit so often that it uses up its attempts: the run must end with every row linked.
SCENARIO = """
seed = {seed}

[portal]
opportunities = 5_000
contacts = 5_000

[latency]
seconds = 0.005
jitter = 0.004

# The books of a long run would only fill the simulator's own memory.
[books]
detail = false

[[faults]]
kind = "status"
status = 500
share = 0.01
per_pair = 2

[[faults]]
kind = "reset"
share = 0.005
per_pair = 1
after_store = true

[[faults]]
kind = "hang"
share = 0.0005
per_pair = 1

[[faults]]
kind = "status"
status = 429
retry_after = "1"
share = 0.0003

[[outages]]
kind = "status"
status = 503
body = "html"
after = {first}
seconds = {outage}

[[outages]]
kind = "reset"
after = {second}
seconds = {outage}
"""

LONGEST_OUTAGE = 10.0


@dataclass(frozen=True)
class Sample:
    """The worker at one moment.

    Attributes:
        rss: bytes of resident memory.
        tasks: of its event loop, at most a second ago.
    """

    rss: float
    files: float
    threads: float
    tasks: float


@dataclass(frozen=True)
class Growth:
    """Medians of the second and of the last quarter of the time.

    Attributes:
        peak: the highest of each figure after warming up.
    """

    before: Sample
    after: Sample
    peak: Sample
    samples: int

    def troubles(self) -> list[str]:
        """Each figure that grew by more than it may."""
        # Connections come and go, one at most to each of the eight permits.
        allowed = Sample(rss=max(10 * MB, self.before.rss / 10), files=8, threads=1, tasks=8)
        return [
            f"{field.name} grew from {old:,.0f} to {new:,.0f}, allowed are {more:,.0f} more"
            for field, old, new, more in zip(
                fields(Sample), astuple(self.before), astuple(self.after), astuple(allowed), strict=True
            )
            if new > old + more
        ]


def look(pid: int, counts: Path) -> Sample | None:
    """A sample; None if the process is gone, or does not send yet."""
    try:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are enough
        # The last line may still be under way.
        *_, tasks, _ = counts.read_text().split("\n")
        rss = int(status["VmRSS"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # a dead child has no memory
        return None
    return Sample(rss, files, int(status["Threads"]), int(tasks))


def judge(samples: Sequence[tuple[float, Sample]], seconds: float) -> Growth:
    """Compare quarters of ``seconds``; each sample comes with the seconds since the start.

    Raises:
        SystemExit: a quarter has no samples.
    """

    def middle(first: float, last: float, of: Callable[[list[float]], float] = median) -> Sample:
        chosen = [astuple(sample) for at, sample in samples if first <= at / seconds < last]
        if not chosen:
            raise SystemExit(
                f"no samples between {first:.0%} and {last:.0%} of the time: the run was too short"
            )
        return Sample(*(of(list(figure)) for figure in zip(*chosen, strict=True)))

    return Growth(middle(0.25, 0.5), middle(0.75, 1.0), middle(0.25, 1.0, max), len(samples))


def write_input(path: Path, rows: int) -> None:
    """Write as many different pairs."""
    with path.open("w") as file:
        file.write("opportunity_id,contact_id,note\n")
        file.writelines(f"{n % OPPORTUNITIES + 1},{n // OPPORTUNITIES + 1},row {n}\n" for n in range(rows))


def soak(options: argparse.Namespace, folder: Path, url: str) -> tuple[Growth, int, int]:
    """Run a worker and sample it; gives what was seen, its exit code, and the links it claims."""
    counts = folder / "tasks"
    command = [
        *(sys.executable, str(WATCHED), str(counts), options.leak, "run", "pairs.csv"),
        *("--portal", url, "--transport", "single", "--existing", "post"),
        *("--rate", f"{options.rate}/s", "--max-attempts", "20", "--timeout", "5s"),
        *("--json", "--progress", "none", "--quiet"),
    ]
    own = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
    seconds = options.minutes * 60
    samples: list[tuple[float, Sample]] = []
    with (
        (folder / "report.json").open("w+") as report,
        subprocess.Popen(
            command, cwd=folder, env={**own, "BULKLINK_TOKEN": "demo-token"}, stdout=report
        ) as process,
    ):
        try:
            started = time.monotonic()
            while process.poll() is None and (at := time.monotonic() - started) < seconds:
                sample = look(process.pid, counts)
                if sample is not None:
                    samples.append((at, sample))
                time.sleep(options.every)
            # Retries and outages take a little more time than the rows alone.
            code = process.wait(60 + seconds)
        finally:
            process.kill()
        report.seek(0)
        text = report.read()
    linked = json.loads(text)["counts"]["linked"] if text else 0
    return judge(samples, seconds), code, linked


def parse() -> argparse.Namespace:
    """The options."""
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=200, help="rows a second; sets the length of the input")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two samples")
    parser.add_argument("--leak", default="none", help="a leak of watched.py; then the exit code should be 1")
    return parser.parse_args()


def main() -> int:
    """Soak, judge, and say so in one line."""
    options = parse()
    rows = int(options.minutes * 60 * options.rate)
    outage = min(LONGEST_OUTAGE, options.minutes * 60 / 15)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        write_input(folder / "pairs.csv", rows)
        scenario = folder / "scenario.toml"
        scenario.write_text(
            SCENARIO.format(seed=options.seed, first=rows // 8, second=rows * 5 // 8, outage=outage)
        )
        with simulator(str(scenario)) as url:
            growth, code, linked = soak(options, folder, url)
    before, after, peak = growth.before, growth.after, growth.peak
    sys.stdout.write(
        f"seed {options.seed}: {options.minutes:g} minutes, {linked} of {rows} rows linked,"
        f" {growth.samples} samples;"
        f" memory {before.rss / MB:.1f} -> {after.rss / MB:.1f} MB (peak {peak.rss / MB:.1f}),"
        f" files {before.files:g} -> {after.files:g}, threads {before.threads:g} -> {after.threads:g},"
        f" tasks {before.tasks:g} -> {after.tasks:g}\n"
    )
    troubles = growth.troubles()
    if (code, linked) != (0, rows):
        troubles.append(f"the worker ended with {code} and {linked} of {rows} rows linked")
    sys.stderr.writelines(f"{trouble}\n" for trouble in troubles)
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
