"""``bulklink bench size``: a large input by batch at the stub portal, killed near its end and gone on with.

What is measured is what grows with the input, or should not: memory, the time to the first request, how much
reading the input takes from the sending, the way back into a large ledger, the files at the end.
"""

import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from worker.cli.bench.figures import Figure, told
from worker.cli.bench.measured import BULKLINK, Running, Stub, bulklink, stub_portal, write_pairs
from worker.cli.output import draw, hand_over
from worker.errors import LedgerError, WorkerError
from worker.ledger.reader import LedgerReader

RUN = "size"

_LEFT, _LEAST_LEFT = 0.05, 500
"""Share of the rows that are left when the run is killed; more of them than batches carry at once."""

_LOOK = 0.1
"""Seconds between two looks at a run; moments are told no closer."""

_PATIENCE = 120.0
"""Seconds without a request after which a run is called stuck."""

_STARTS = 3
"""The quickest of so many starts counts: what else the machine does only adds to it."""

_KILOBYTES_A_MEGABYTE = 1024
_MARKS = (0.1, 0.5, 0.9)


@dataclass(slots=True)
class Watched:
    """What was seen of a run while it went on. Times are of the monotonic clock.

    Attributes:
        looks: time, links made so far, and memory in MB, if this machine tells.
        read_at: when the input was seen to be in the ledger.
    """

    looks: list[tuple[float, int, float | None]] = field(default_factory=list)
    read_at: float | None = None

    def links_at(self, moment: float) -> int:
        """Links made by then."""
        return max((links for at, links, _ in self.looks if at <= moment), default=0)

    def memory_at(self, links: float) -> float | None:
        """Memory when so many links were made first."""
        return next((memory for _, made, memory in self.looks if made >= links), None)


@click.command("size")
@click.option(
    "--rows",
    type=click.IntRange(1000, 10_000_000),
    default=100_000,
    show_default=True,
    help="How many there are; the goals are for 1,000,000. Each takes 6 kB of disk meanwhile.",
)
@click.option(
    "--existing",
    type=click.Choice(["check", "post"]),
    default="check",
    show_default=True,
    help="Look first what is there, or not, as 'bulklink run' does.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(rows: int, existing: str, *, as_json: bool) -> int:
    """Link a large input by batch at a stub of a portal, kill the run near its end, and go on with it.

    Prints what memory it took, when the first request left, how fast links were made while the input was read
    and afterwards, and how long resume, the files at the end, and check took.
    """
    result = measure_size(rows, existing, lambda text: draw(f"{text}\n"))
    lines = [f"{rows:,} rows, --transport batch --existing {existing}", *map(told, result["figures"])]
    hand_over(json.dumps(result, indent=2)) if as_json else hand_over(*lines)
    return 0


def measure_size(rows: int, existing: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure, and make sure that each row became one link.

    Raises:
        WorkerError: a command failed, or a row is not linked at the end.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-bench-") as name, stub_portal() as stub:
        folder = Path(name)
        path = folder / "pairs.csv"
        write_pairs(path, rows)
        figures = list(_without_a_portal(folder, path, tell))
        tell("run, until it is killed")
        figures += _run(folder, stub, path, rows, existing)
        tell("resume, to the end")
        figures += _resume(folder, stub, rows)
        counts = json.loads((folder / RUN / "report.json").read_text())["counts"]
    if counts["linked"] + counts["already_linked"] != rows:
        raise WorkerError(f"bench: of {rows:,} rows the report says: {counts}")
    return {
        "schema_version": 1,
        "rows": rows,
        "existing": existing,
        "counts": counts,
        "figures": [asdict(figure) for figure in figures],
    }


def _without_a_portal(folder: Path, path: Path, tell: Callable[[str], None]) -> Iterator[Figure]:
    """How long the command takes that sends nothing."""
    small = folder / "small.csv"
    write_pairs(small, 3)
    tell("help, check")
    starts = [_seconds([*BULKLINK, "--help"]) for _ in range(_STARTS)]
    yield Figure("--help", min(starts), 0.15, "<=", "s")
    checks = [_seconds([*BULKLINK, "check", str(small), "--quiet"]) for _ in range(_STARTS)]
    yield Figure("check of 3 rows", min(checks), 0.35, "<=", "s")
    yield Figure("check", _seconds([*BULKLINK, "check", str(path), "--quiet"]), 6, "<=", "s")


def _seconds(words: Sequence[str]) -> float:
    with Running(words) as running:
        return running.finish()[0]


def _run(folder: Path, stub: Stub, path: Path, rows: int, existing: str) -> Iterator[Figure]:
    """Run until most rows are linked, and kill it there: the stub holds its answers back from then on."""
    stub.books("open")
    stub.books(f"hold={rows - max(int(rows * _LEFT), _LEAST_LEFT)}")
    how = ("--run-id", RUN, "--transport", "batch", "--existing", existing, "--rate", "1000000/s")
    with Running(bulklink("run", str(path), *how, folder=folder, url=stub.url)) as running:
        watched = _watch(running, stub, folder / RUN / "ledger.db")
        running.kill()
        _, _, peak_mb = running.finish(-signal.SIGKILL)
    books = stub.books("hold=")
    yield Figure("first request after", books["first"] - running.started, 1, "<=", "s")
    yield Figure("first link after", books["first_post"] - running.started, unit="s")
    yield from _paces(watched, books)
    for share in _MARKS:
        yield Figure(f"memory at {share:.0%} of the rows", watched.memory_at(share * rows), unit="MB")
    most = max(peak_mb, *(memory or 0.0 for _, _, memory in watched.looks))
    yield Figure("memory at most", most, 150, "<", "MB")


def _paces(watched: Watched, books: dict[str, Any]) -> Iterator[Figure]:
    """Links a second until the input was read, and from then on."""
    read_at, first = watched.read_at, books["first_post"]
    during = after = None
    # Less than some looks are no time over which a pace can be told.
    if read_at is not None and read_at - first > 3 * _LOOK:
        during = watched.links_at(read_at) / (read_at - first)
    begins = max(read_at or books["last"], first)
    if books["last"] - begins > 3 * _LOOK:
        after = (books["posts"] - watched.links_at(begins)) / (books["last"] - begins)
    yield Figure("links made while the input was read", during, unit="pairs/s")
    yield Figure("links made afterwards", after, unit="pairs/s")
    yield Figure("while / afterwards", during / after if during and after else None, 0.7)


def _resume(folder: Path, stub: Stub, rows: int) -> Iterator[Figure]:
    """Go on with what was killed, to its end."""
    before = stub.books()["posts"]
    stub.books("turn")
    words = [*BULKLINK, "resume", RUN, "--runs-dir", str(folder), "--quiet", "--progress", "none"]
    with Running(words) as running:
        seconds, _, peak_mb = running.finish()
    books = stub.books()
    if books["links"] != rows:
        raise WorkerError(f"bench: the stub has {books['links']:,} links of {rows:,}")
    yield Figure("resume, first request after", books["first"] - running.started, 3, "<", "s")
    yield Figure("resume, links asked for again", before + books["posts"] - rows)
    yield Figure("resume, memory at most", peak_mb, 150, "<", "MB")
    yield Figure(
        "files, from the last answer to the end", running.started + seconds - books["last"], 30, "<", "s"
    )


def _watch(running: Running, stub: Stub, ledger: Path) -> Watched:
    """Look at a run until the stub holds its answers back.

    Raises:
        WorkerError: it ended before, or is stuck.
    """
    watched, last, since = Watched(), 0, time.monotonic()
    while not running.has_ended():
        books = stub.books()
        now = time.monotonic()
        watched.looks.append((now, books["posts"], _memory(running.pid)))
        if watched.read_at is None and _is_read(ledger):
            watched.read_at = now
        if books["holding"]:
            return watched
        if books["requests"] != last:
            last, since = books["requests"], now
        if now - since > _PATIENCE:
            raise WorkerError(f"bench: no request came for {_PATIENCE:.0f} s")
        time.sleep(_LOOK)
    running.finish(-signal.SIGKILL)
    raise WorkerError("bench: the run was killed by somebody else")


def _memory(pid: int) -> float | None:
    """Memory of a process in MB; None on a machine that does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / _KILOBYTES_A_MEGABYTE
    return None


def _is_read(ledger: Path) -> bool:
    """Whether the whole input is in the ledger."""
    with suppress(LedgerError), LedgerReader(ledger) as reader:
        return bool(reader.meta().get("input_complete"))
    return False
