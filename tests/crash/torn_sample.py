"""An interrupted run, made by the real command and the real simulator, and a portal to go on with it."""

import asyncio
import csv
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from tests.forks import Forked, ForkServer, simulator
from worker.models import Ask, Kind, Request, Result
from worker.portal.calls import Call, Read
from worker.portal.classify import BodyKind, Verdict
from worker.portal.client import Finding
from worker.portal.wire import Envelope
from worker.reasons import NOT_FOUND

CONTACTS = 1000
KINDS = ("young", "old", "closed")

Link = tuple[int, int]


@dataclass(frozen=True)
class Sample:
    """An interrupted run, the links that the portal held then, and what its input asks for.

    Attributes:
        cells: those of the input, by line.
    """

    run: Path
    held: frozenset[Link]
    wanted: frozenset[Link]
    cells: dict[str, list[str]]


class SetOfLinks:
    """A portal that never fails, in the shape of the client that a site opens."""

    held: set[Link]

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def probe(self) -> None:
        pass

    async def ready(self) -> None:
        pass

    async def send(self, call: Call, _read: object, _kind: Kind, asks: Sequence[Ask]) -> Finding:
        await asyncio.sleep(0)
        (ask,) = asks
        if ask.kind is Kind.EXISTS:  # which side is missing stays untold: both are asked for, and nobody says
            return Finding(Verdict(Result.TRANSIENT, "server_page"), 0.001, 500)
        opportunity_id, (contact_id, *_) = ask.opportunity_id, ask.contact_ids
        body = b'{"id":%d}' % contact_id
        if contact_id > CONTACTS:
            missing = Verdict(Result.PERMANENT, NOT_FOUND)
            return Finding(missing, 0.001, 404, read=Read(BodyKind.JSON_ENVELOPE, None, None))
        if call.method == "POST":
            self.held.add((opportunity_id, contact_id))
            return Finding(Verdict(Result.OK, ""), 0.001, 201, read=Read(BodyKind.JSON_ENVELOPE, None, body))
        there = [{"id": contact_id}] if (opportunity_id, contact_id) in self.held else []
        members = Envelope("json", there)
        return Finding(
            Verdict(Result.OK, ""), 0.001, 200, read=Read(BodyKind.JSON_ENVELOPE, members, members)
        )

    async def question(self) -> Request:
        return Request(Kind.PROBE, Result.PERMANENT, http_status=404, seconds=0.001)


def write_input(path: Path, rows: int) -> frozenset[Link]:
    """Write a file of pairs, with some rows that are invalid, repeated, or about nobody; gives the good."""
    wanted: set[Link] = set()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["opportunity_id", "contact_id", "note"])
        for n in range(1, rows + 1):
            pair = n % 50 + 1, n % CONTACTS + 1
            match n % 40:
                case 10:
                    writer.writerow(["x", n, "no number"])
                case 20:
                    writer.writerow([(n - 1) % 50 + 1, n, "that of the line before"])
                case 30:
                    writer.writerow([5, 1_000_000 + n, "nobody"])
                case _:
                    writer.writerow([*pair, f"note {n}"])
                    wanted.add(pair)
    return frozenset(wanted)


def books(url: str, part: str = "") -> Any:
    """One page of the portal's books."""
    with urlopen(f"{url}/_books{part}", timeout=30) as answer:  # noqa: S310 - our own simulator
        return json.load(answer)


def end_when(
    server: ForkServer, posts: int, url: str, folder: Path, how: signal.Signals, *words: str
) -> None:
    """Run the command, and end it once that many link POSTs have arrived in all."""
    environment = {**os.environ, "BULKLINK_TOKEN": "demo-token"}
    with Forked(server, "worker", *words, "--quiet", cwd=folder, env=environment) as process:
        while books(url)["posts"] < posts and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(how)
    while books(url)["requests"] > sum(books(url)["by_status"].values()):
        time.sleep(0.01)


def make_sample(server: ForkServer, folder: Path, kind: str, rows: int) -> Sample:
    """Interrupt a real run about half-way."""
    folder.mkdir()
    wanted = write_input(folder / "pairs.csv", rows)
    with simulator(server, "calm") as url:
        words = ["run", "pairs.csv", "--run-id", kind, "--portal", url, "--rate", "300/s"]
        words += ["--transport", "single", "--existing", "post"]
        if kind == "old":
            end_when(server, rows // 4, url, folder, signal.SIGTERM, *words)
            words = ["resume", kind]
        end_when(
            server, rows // 2, url, folder, signal.SIGTERM if kind == "closed" else signal.SIGKILL, *words
        )
        held = frozenset((o, c) for o, c in books(url, "/links"))
    run = folder / "runs" / kind
    if (run / "ledger.db-wal").exists() == (kind == "closed") or not 0 < len(held) < len(wanted):
        raise SystemExit(f"the {kind} run was not interrupted half-way")
    with (folder / "pairs.csv").open(newline="") as file:
        cells = {str(line): row for line, row in enumerate(csv.reader(file), start=1) if line > 1}
    return Sample(run, held, wanted, cells)
