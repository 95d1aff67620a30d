"""``bulklink bench viewers``: what those who look at the live page take from the run that they look at.

The same pairs are linked at the stub portal with nobody at the page and with many, in turns, several times.
Neighbours are compared, for what else the machine does changes slowly; the middle of all comparisons counts.
"""

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from worker.cli.bench.figures import Figure, told
from worker.cli.bench.measured import BULKLINK, Running, Stub, stub_portal, write_pairs
from worker.cli.bench.watching import Watching
from worker.cli.output import draw, hand_over
from worker.errors import WorkerError

GOAL = 0.03
"""Share of the pace that viewers may take."""

CONCURRENCY = 8
"""Requests in flight."""

_ADDRESS = re.compile(r"^live page: (http://\S+)$", re.MULTILINE)
_PATIENCE = 30.0
"""Seconds for a run to say where its page is."""

_LOOK = 0.02
_MICRO = 1e6
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Run:
    """A run, looked at or not.

    Attributes:
        viewers: how many looked.
        pairs_per_second: from the first link that was asked for to the last answer.
        cpu_us_per_pair: in user and system mode, with start and end.
        events: that each viewer took at least.
    """

    viewers: int
    pairs_per_second: float
    cpu_us_per_pair: float
    events: int


@click.command("viewers")
@click.option(
    "--viewers", type=click.IntRange(1, 200), default=50, show_default=True, help="How many look at the page."
)
@click.option(
    "--pairs",
    type=click.IntRange(200, 1_000_000),
    default=30_000,
    show_default=True,
    help="How many each run links; the shorter it is, the more it counts that viewers come.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="Runs of each kind; the middle of them counts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(viewers: int, pairs: int, rounds: int, *, as_json: bool) -> int:
    """Link pairs one by one at a stub of a portal while people look at the live page, and while nobody does.

    Each viewer loads the page and follows its events, all on this machine. It takes some minutes.
    """
    result = measure_viewers(viewers, pairs, rounds, lambda text: draw(f"{text}\n"))
    hand_over(json.dumps(result, indent=2)) if as_json else hand_over(*table(result))
    return 0


def measure_viewers(viewers: int, pairs: int, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure runs with and without viewers, in turns.

    Args:
        viewers: how many look.
        pairs: that each run links.
        rounds: runs of each kind.
        tell: told what is measured next.

    Raises:
        WorkerError: a run failed, or a viewer was not served to the end.
    """
    alone: list[Run] = []
    looked_at: list[Run] = []
    with stub_portal() as stub:
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}: {pairs:,} pairs, twice")
            # Which comes first alternates: what gets slower, or faster, in between is nobody's.
            for many in (0, viewers) if number % 2 == 0 else (viewers, 0):
                (looked_at if many else alone).append(_linked(stub, pairs, many))
    figures = figures_of(alone, looked_at)
    return {
        "schema_version": 1,
        "viewers": viewers,
        "pairs": pairs,
        "alone": [asdict(one) for one in alone],
        "looked_at": [asdict(one) for one in looked_at],
        "figures": [asdict(figure) for figure in figures],
    }


def figures_of(alone: Sequence[Run], looked_at: Sequence[Run]) -> list[Figure]:
    """What viewers take, by rounds: of each two runs one was looked at."""
    rounds = list(zip(alone, looked_at, strict=True))
    pace = median(seen.pairs_per_second / unseen.pairs_per_second for unseen, seen in rounds)
    cost = median(seen.cpu_us_per_pair / unseen.cpu_us_per_pair for unseen, seen in rounds)
    return [
        Figure("looked at / alone, pairs/s", pace, 1 - GOAL, ">"),
        Figure("looked at / alone, CPU us/pair", cost, 1 + GOAL, "<"),
        Figure("events that each viewer took, at least", min(one.events for one in looked_at)),
    ]


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    yield f"{result['pairs']:,} pairs one by one, and with {result['viewers']} viewers of the live page"
    yield f"{'':<10}{'pairs/s':>12}{'looked at':>12}{'CPU us/pair':>14}{'looked at':>12}"
    for number, (alone, seen) in enumerate(zip(result["alone"], result["looked_at"], strict=True), 1):
        paces = f"{alone['pairs_per_second']:>12,.0f}{seen['pairs_per_second']:>12,.0f}"
        yield f"round {number:<4}{paces}{alone['cpu_us_per_pair']:>14,.0f}{seen['cpu_us_per_pair']:>12,.0f}"
    yield ""
    yield from map(told, result["figures"])


def _linked(stub: Stub, pairs: int, viewers: int) -> Run:
    """Link pairs once, with so many viewers."""
    stub.books("open")
    events = 0
    with tempfile.TemporaryDirectory(prefix="bulklink-bench-") as folder, ExitStack() as stack:
        path = Path(folder) / "pairs.csv"
        write_pairs(path, pairs)
        where = ("--portal", stub.url, "--runs-dir", folder, "--dashboard-port", "0", "--progress", "none")
        # As many in flight in each run: what is learned differs from run to run.
        sending = ("--rate", "1000000/s", "--concurrency", str(CONCURRENCY))
        how = ("--transport", "single", "--existing", "post", *sending)
        running = stack.enter_context(Running([*BULKLINK, "run", str(path), *where, *how]))
        address = _address_of(running)
        if viewers:
            with Watching(address, viewers) as watching:
                _, cpu_seconds, _ = running.finish()
            events = watching.least_events
        else:
            _, cpu_seconds, _ = running.finish()
    books = stub.books()
    if books["links"] != pairs:
        raise WorkerError(f"bench: the stub has {books['links']:,} links of {pairs:,}")
    seconds = max(_LEAST, books["last"] - books["first_post"])
    return Run(viewers, pairs / seconds, cpu_seconds / pairs * _MICRO, events)


def _address_of(running: Running) -> str:
    """Where the page of a run is, as soon as that says so.

    Raises:
        WorkerError: it ended before, or does not say it.
    """
    deadline = time.monotonic() + _PATIENCE
    while (found := _ADDRESS.search(running.said())) is None:
        if running.has_ended():
            running.finish()
        if running.has_ended() or time.monotonic() > deadline:
            raise WorkerError("bench: the run did not say where its live page is")
        time.sleep(_LOOK)
    return found[1]
