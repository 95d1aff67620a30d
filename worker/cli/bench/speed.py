"""``bulklink bench`` without a word: throughput, cost and memory, beside a bare aiohttp loop in one run."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from worker.cli.simulator_process import simulator
from worker.errors import WorkerError

_BULKLINK = (sys.executable, "-m", "worker")


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


def measure_speed(pairs: int, concurrency: int, queue: str | None) -> int:
    """Link pairs on a simulated portal and print how fast that was; gives the exit code."""
    with tempfile.TemporaryDirectory(prefix="bulklink-bench-") as folder, simulator("stub") as url:
        path = Path(folder) / "pairs.csv"
        _write(path, pairs)
        click.echo(f"{pairs:,} pairs, {concurrency} in flight, simulator on its own process", err=True)
        bare = _measure(
            [sys.executable, "-m", "worker.cli.bench.bare_loop", url, str(path), str(concurrency)]
        )
        limits = ("--portal", url, "--rate", "100000/s", "--concurrency", str(concurrency))
        where = ("--runs-dir", folder, "--json", "--quiet")
        ours = _measure(
            [*_BULKLINK, "run", str(path), *limits, *where, "--progress", "none"],
        )
        rows = [("bare aiohttp", bare), ("bulklink run", ours)]
        if queue is not None:
            rows.append(("publish", _measure([*_BULKLINK, "publish", str(path), *where], queue)))
            worked = _measure([*_BULKLINK, "work", "--drain", *limits, *where, "--progress", "none"], queue)
            rows.append(("bulklink work", worked))
            _all_linked(worked, pairs)
    timing = _all_linked(ours, pairs)["timing"]
    click.echo(f"{'':<14}{'pairs/s':>10}{'CPU us/pair':>14}{'peak MB':>10}")
    for name, run in rows:
        click.echo(
            f"{name:<14}{pairs / run.seconds:>10,.0f}{run.cpu_seconds / pairs * 1e6:>14,.0f}"
            f"{run.peak_mb:>10,.0f}"
        )
    _ratio("run / bare", bare, ours)
    if queue is not None:
        _ratio("work / run", ours, worked)
    click.echo(
        f"bulklink while linking: {timing['pairs_per_second']:,.0f} pairs/s;"
        f" latency p50 {timing['latency_ms']['p50']} ms, p99 {timing['latency_ms']['p99']} ms"
        " (start and files not counted)"
    )
    return 0


def _all_linked(run: _Run, pairs: int) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run.output)
    if report["counts"]["linked"] != pairs:
        raise WorkerError(f"bench: only {report['counts']['linked']:,} of {pairs:,} pairs were linked")
    return report


def _ratio(name: str, one: _Run, other: _Run) -> None:
    click.echo(
        f"{name:<14}{one.seconds / other.seconds:>10.2f}{other.cpu_seconds / one.cpu_seconds:>14.2f}"
        f"{other.peak_mb / one.peak_mb:>10.2f}"
    )


def _write(path: Path, pairs: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("opportunity_id,contact_id\n")
        # Ten contacts to an opportunity, as exports have them; no pair twice.
        file.writelines(
            f"{i // 10 % 5000 + 1},{(i % 10 + i // 50_000 * 10) % 5000 + 1}\n" for i in range(pairs)
        )


def _measure(words: list[str], queue: str | None = None) -> _Run:
    """Run a command; its time includes start-up and all files."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
    if queue is not None:  # with its password
        own["BULKLINK_QUEUE_URL"] = queue
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(words, stdout=output, env={**own, "BULKLINK_TOKEN": "demo-token"}) as process,  # noqa: S603 - our own modules
    ):
        # Not Popen.wait: only this call gives what the one child used.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise WorkerError(f"bench: {words[2]} ended with exit code {process.returncode}")
    # Kilobytes, but on macOS, where they are bytes.
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return _Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit, text)
