"""``bulklink bench``: throughput, cost and memory on this machine, beside a bare aiohttp loop in one run."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from worker.cli.simulator_process import simulator
from worker.errors import WorkerError


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


@click.command("bench")
@click.option(
    "--pairs",
    type=click.IntRange(100, 10_000_000),
    default=10_000,
    show_default=True,
    help="How many to link.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=8, show_default=True, help="Requests in flight."
)
def command(pairs: int, concurrency: int) -> int:
    """Link PAIRS pairs on a simulated portal without latency, in a process of its own, without a limit.

    Compare ratios, not figures: both contenders ran on the same machine, one after the other.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-bench-") as folder, simulator("stub") as url:
        path = Path(folder) / "pairs.csv"
        _write(path, pairs)
        click.echo(f"{pairs:,} pairs, {concurrency} in flight, simulator on its own process", err=True)
        bare = _measure([sys.executable, "-m", "worker.cli.bare_loop", url, str(path), str(concurrency)])
        ours = _measure(
            [
                *(sys.executable, "-m", "worker", "run", str(path), "--portal", url, "--json"),
                *("--rate", "100000/s", "--concurrency", str(concurrency)),
                *("--runs-dir", folder, "--progress", "none", "--quiet"),
            ]
        )
    report = json.loads(ours.output)
    if report["counts"]["linked"] != pairs:
        raise WorkerError(f"bench: only {report['counts']['linked']:,} of {pairs:,} pairs were linked")
    latency = report["timing"]["latency_ms"]
    click.echo(f"{'':<14}{'pairs/s':>10}{'CPU us/pair':>14}{'peak MB':>10}")
    for name, run in (("bare aiohttp", bare), ("bulklink run", ours)):
        click.echo(
            f"{name:<14}{pairs / run.seconds:>10,.0f}{run.cpu_seconds / pairs * 1e6:>14,.0f}"
            f"{run.peak_mb:>10,.0f}"
        )
    click.echo(
        f"{'ratio':<14}{bare.seconds / ours.seconds:>10.2f}{ours.cpu_seconds / bare.cpu_seconds:>14.2f}"
        f"{ours.peak_mb / bare.peak_mb:>10.2f}"
    )
    click.echo(
        f"bulklink while linking: {report['timing']['pairs_per_second']:,.0f} pairs/s;"
        f" latency p50 {latency['p50']} ms, p99 {latency['p99']} ms (start and files not counted)"
    )
    return 0


def _write(path: Path, pairs: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("opportunity_id,contact_id\n")
        # Ten contacts to an opportunity, as exports have them; no pair twice.
        file.writelines(
            f"{i // 10 % 5000 + 1},{(i % 10 + i // 50_000 * 10) % 5000 + 1}\n" for i in range(pairs)
        )


def _measure(words: list[str]) -> _Run:
    """Run a command; its time includes start-up and all files."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
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
