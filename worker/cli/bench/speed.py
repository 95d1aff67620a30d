"""``bulklink bench`` without a word: how fast links are made, beside a bare aiohttp loop and curl.

Every contender is a process of its own that links pairs at the stub portal, twice: a few, which is what
starting and ending takes, and many. The stub's books say whether each link was made.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker.cli.bench.figures import Figure, aligned, told
from worker.cli.bench.measured import (
    BULKLINK,
    Measured,
    Stub,
    bulklink,
    measure,
    some_pairs,
    stub_portal,
    write_pairs,
)

FEW = 100
"""Pairs of the small run."""

BATCH_MORE = 5
"""By batch so many times more pairs are linked, or the time would be too short to be measured."""

BATCH = 100
CURL_AT_ONCE = 16
LIMIT = 50
"""Requests a second that the vendor's cloud allows."""
_LIMITED_SINGLE, _LIMITED_BATCH = 5 * LIMIT, 4 * LIMIT * BATCH

BARE, CURL, SINGLE, BATCHES, WORK = "bare aiohttp", "curl -Z", "single", "batch", "work, single"

_HEAD = (
    f"{'':<16}{'pairs':>9}{'pairs/s':>12}{'CPU us/pair':>13}{'pairs/s':>13}{'CPU us/pair':>13}"
    f"{'requests/s':>12}{'peak MB':>9}{'stub busy':>11}"
)
_UNLIMITED = "1000000/s"
_MICRO = 1e6
_LEAST = 1e-6
_NOISE = 0.2
"""Seconds, about, by which two starts of the same command differ on a machine that does other things, too."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A command that links the pairs of a file.

    Attributes:
        name: as it is shown.
        words: makes the command, of the file's path and the number of its pairs.
        more: how many times the usual number of pairs it gets.
        links: it makes links; otherwise it only prepares.
        starts_like: another one that takes the same to start and end.
        queue: where it gets or puts its pairs.
    """

    name: str
    words: Callable[[Path, int], list[str]]
    more: int = 1
    links: bool = True
    starts_like: str = ""
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what many pairs took, and that less what a few of them took.

    What is without start and end is None if it was so short that it would be noise.

    Attributes:
        net_pairs_per_second: without what the few took for starting and ending; so are all that begin alike.
        stub_busy: share of that time in which the stub worked.
    """

    name: str
    pairs: int
    pairs_per_second: float
    cpu_us_per_pair: float
    net_pairs_per_second: float | None
    net_cpu_us_per_pair: float | None
    net_requests_per_second: float | None
    peak_mb: float
    stub_busy: float | None


def measure_speed(
    pairs: int, concurrency: int, queue: str | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measure all contenders, one after the other.

    Args:
        pairs: that each gets; those by batch get more.
        concurrency: requests in flight, where the transport leaves it open.
        queue: URL of a queue, to measure that as well.
        tell: told what is measured next, and what is left out.

    Raises:
        WorkerError: one failed, or did not make its links.
    """
    with stub_portal() as stub:
        contenders = list(_contenders(stub, concurrency, queue, tell))
        tell(f"starting and ending: {FEW} pairs each")
        few = {one.name: _measure(one, stub, FEW) for one in contenders if not one.starts_like}
        rows = {}
        for one in contenders:
            many = pairs * one.more
            tell(f"{one.name}: {many:,} pairs")
            small = few[one.starts_like or one.name]
            rows[one.name] = _row(one.name, small, _measure(one, stub, many))
        tell(f"under a limit of {LIMIT} requests/s")
        limited = _limited(stub)
    ratios = list(_ratios(rows, limited))
    return {
        "schema_version": 1,
        "pairs": pairs,
        "concurrency": concurrency,
        "rows": [asdict(row) for row in rows.values()],
        "limited": limited,
        "ratios": [asdict(ratio) for ratio in ratios],
    }


def _contenders(
    stub: Stub, concurrency: int, queue: str | None, tell: Callable[[str], None]
) -> Iterator[Contender]:
    loop = (sys.executable, "-m", "worker.cli.bench.bare_loop", stub.url)
    yield Contender(BARE, lambda path, _: [*loop, str(path), str(concurrency)])
    if shutil.which("curl"):
        yield Contender(CURL, lambda path, pairs: _curl(path, pairs, stub))
    else:
        tell("curl is not on the PATH: left out")
    sending = ("--rate", _UNLIMITED, "--concurrency", str(concurrency))

    def run(*how: str) -> Callable[[Path, int], list[str]]:
        return lambda path, _: bulklink("run", str(path), *sending, *how, folder=path.parent, url=stub.url)

    single, batch = ("--transport", "single"), ("--transport", "batch", "--batch-size", str(BATCH))
    yield Contender(SINGLE, run(*single, "--existing", "post"))
    yield Contender("single, looking", run(*single, "--existing", "check"), starts_like=SINGLE)
    yield Contender(BATCHES, run(*batch, "--existing", "post"), BATCH_MORE)
    yield Contender("batch, looking", run(*batch, "--existing", "check"), BATCH_MORE, starts_like=BATCHES)
    if queue is not None:
        yield Contender(
            "publish",
            lambda path, _: [*BULKLINK, "publish", str(path), "--runs-dir", str(path.parent), "--quiet"],
            links=False,
            queue=queue,
        )
        work = ("--drain", *sending, *single, "--existing", "post")
        yield Contender(
            WORK, lambda path, _: bulklink("work", *work, folder=path.parent, url=stub.url), queue=queue
        )


def _curl(path: Path, pairs: int, stub: Stub) -> list[str]:
    """Post the pairs of a file; what curl is to do is written beside it."""
    orders = path.with_name("pairs.curl")
    with orders.open("w", encoding="utf-8") as file:
        file.write('header = "Authorization: demo-token"\ndata = ""\n')
        file.writelines(
            f'url = "{stub.url}/api/2.0/crm/opportunity/{opportunity}/contact/{contact}"\n'
            'output = "/dev/null"\n'
            for opportunity, contact in some_pairs(pairs)
        )
    return ["curl", "-sSZ", "--parallel-max", str(CURL_AT_ONCE), "--config", str(orders)]


def _measure(contender: Contender, stub: Stub, pairs: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="bulklink-bench-") as folder:
        path = Path(folder) / "pairs.csv"
        write_pairs(path, pairs)
        words = contender.words(path, pairs)
        return measure(stub, words, pairs, queue=contender.queue, links=contender.links)


def _row(name: str, few: Measured, many: Measured) -> Row:
    pairs, seconds = many.pairs - few.pairs, many.seconds - few.seconds
    cpu_seconds = many.cpu_seconds - few.cpu_seconds
    is_long = seconds > _NOISE and cpu_seconds > 0
    return Row(
        name,
        many.pairs,
        pairs_per_second=many.pairs / many.seconds,
        cpu_us_per_pair=many.cpu_seconds / many.pairs * _MICRO,
        net_pairs_per_second=pairs / seconds if is_long else None,
        net_cpu_us_per_pair=cpu_seconds / pairs * _MICRO if is_long else None,
        net_requests_per_second=(many.requests - few.requests) / seconds if is_long else None,
        peak_mb=many.peak_mb,
        stub_busy=(many.portal_cpu_seconds - few.portal_cpu_seconds) / seconds if is_long else None,
    )


def _limited(stub: Stub) -> dict[str, float]:
    """Pairs a second under a limit, one by one and by batch, while they are sent."""
    found = {}
    for name, pairs, how in (
        (SINGLE, _LIMITED_SINGLE, ("--transport", "single")),
        (BATCHES, _LIMITED_BATCH, ("--transport", "batch", "--batch-size", str(BATCH))),
    ):
        options = (*how, "--rate", f"{LIMIT}/s", "--existing", "post")

        def words(path: Path, _: int, options: tuple[str, ...] = options) -> list[str]:
            return bulklink("run", str(path), *options, folder=path.parent, url=stub.url)

        found[name] = pairs / max(_measure(Contender(name, words), stub, pairs).posting_seconds, _LEAST)
    return found


def _ratios(rows: dict[str, Row], limited: dict[str, float]) -> Iterator[Figure]:
    single, batch = rows[SINGLE], rows[BATCHES]
    yield Figure("single / bare aiohttp, pairs/s", _faster(single, rows[BARE]), 0.70)
    cost = _ratio(single.net_cpu_us_per_pair, rows[BARE].net_cpu_us_per_pair)
    yield Figure("single / bare aiohttp, CPU us/pair", cost)
    yield Figure("batch / single, pairs/s", _faster(batch, single), 6)
    if CURL in rows:
        yield Figure("batch / curl -Z, pairs/s", _faster(batch, rows[CURL]), 1, ">")
    yield Figure("batch, CPU us/pair", batch.net_cpu_us_per_pair, 50, "<=")
    yield Figure(
        f"batch / single at {LIMIT} requests/s, pairs/s", _ratio(limited[BATCHES], limited[SINGLE]), 40
    )
    # How often it could do meanwhile what it did.
    yield Figure("stub / single, requests/s", _ratio(1, single.stub_busy), 5)
    yield Figure("stub / batch, requests/s", _ratio(1, batch.stub_busy), 5)
    if WORK in rows:
        cost = _ratio(rows[WORK].net_cpu_us_per_pair, single.net_cpu_us_per_pair)
        yield Figure("work / single, pairs/s", _faster(rows[WORK], single), None)
        yield Figure("work / single, CPU us/pair", cost, None)


def _faster(one: Row, other: Row) -> float | None:
    return _ratio(one.net_pairs_per_second, other.net_pairs_per_second)


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def table(result: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    lines = [f"{'':<25}{'start and end included':>25}{'without them':>26}", _HEAD]
    lines += map(_line, result["rows"])
    stub = {row["name"]: _ratio(row["net_requests_per_second"], row["stub_busy"]) for row in result["rows"]}
    limited = result["limited"]
    lines += [
        "",
        f"the stub answers {aligned(stub[SINGLE], 0)} requests/s, or {aligned(stub[BATCHES], 0)} batches",
        f"at {LIMIT} requests/s: single {limited[SINGLE]:,.0f} pairs/s, batch {limited[BATCHES]:,.0f}",
        "",
    ]
    return [*lines, *map(told, result["ratios"])]


def _line(row: Mapping[str, Any]) -> str:
    widths = {
        "pairs_per_second": 12,
        "cpu_us_per_pair": 13,
        "net_pairs_per_second": 13,
        "net_cpu_us_per_pair": 13,
        "net_requests_per_second": 12,
        "peak_mb": 9,
    }
    figures = "".join(aligned(row[name], width) for name, width in widths.items())
    return f"{row['name']:<16}{row['pairs']:>9,}{figures}{aligned(row['stub_busy'], 11, '.0%')}"
