"""Three workers on one queue, one of them killed every 2 s, the broker restarted once; then count.

    python tests/crash/queue_loop.py --broker redis --messages 30000 --seed 1

Of the messages 1 % are poison and 1 % are about contacts that do not exist; the simulated portal answers
now and then with a 500, or stores and resets the connection. At the end the queue must be empty, and:

* lost: pairs asked for that the portal does not hold, messages in no worker's report, and messages to be
  given up that are no dead letters;
* double: links that nobody asked for, dead letters that should not be there, rows counted twice in the
  merged report;
* repeats: POSTs of a pair beyond its first, less those that the portal's own faults asked for. A message
  that is handed out again is looked for before it is sent, so only one that was on its way at that moment
  can be sent twice.

The exit code is 0 only if nothing is lost or double, and the repeats are no more than what the workers held
when they or the broker were killed. What is wrong is told on standard error.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

if __name__ == "__main__":  # then it looks for modules in its own folder only
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.brokers import Broker, NatsServer, RabbitMQServer, RedisServer, running
from tests.crash.kill_books import CALM, FAULTS, OPPORTUNITIES, PLANTED, Portal, portal_of
from tests.forks import Forked, ForkServer
from worker.queues import open_dead_letters, open_publisher, open_queue, parse_address

BROKERS: dict[str, tuple[type[Broker], str]] = {
    "redis": (RedisServer, "stream"),
    "rabbitmq": (RabbitMQServer, "queue"),
    "nats": (NatsServer, "stream"),
}

WORKERS = 3
CONCURRENCY = 8
HELD = 2 * CONCURRENCY
LEASE = "5s"
KILL_EVERY = 2.0
PATIENCE = 900.0


@dataclass
class Plan:
    """What was put on the queue, and what has to become of it."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    pairs: set[tuple[int, int]] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    poison: int = 0


def make_plan(count: int, rng: Random) -> Plan:
    """Messages of which 1 % each is poison and about nobody; every good pair is asked for once."""
    plan = Plan()
    for number in range(count):
        identity = f"m{number}"
        pair = number % OPPORTUNITIES + 1, number // OPPORTUNITIES + 1
        body = json.dumps({"opportunity_id": pair[0], "contact_id": pair[1], "id": identity}).encode()
        if number % 100 == 17:
            body = rng.choice([b"\xff\x00", b"[1, 2]", b"{", b'{"opportunity_id": "x", "contact_id": 1}'])
            plan.poison += 1
            plan.given_up.add(identity)
        elif number % 100 == 34:
            body = json.dumps({"opportunity_id": pair[0], "contact_id": 1_000_000 + number}).encode()
            plan.given_up.add(identity)
        else:
            plan.pairs.add(pair)
        plan.messages.append((identity, body))
    return plan


@dataclass
class Worker:
    """One of the workers, in its latest life."""

    number: int
    lives: int = 0
    process: Forked | None = None


class Crew:
    """Workers that are started again as long as there is work."""

    def __init__(self, folder: Path, url: str, portal: Portal, plant: str | None, server: ForkServer) -> None:
        self.folder = folder
        self._server = server
        self.kills = 0
        self.odd: list[str] = []
        self._url = url
        self._portal = portal
        self._program = [str(PLANTED), plant] if plant else ["worker"]
        self.workers = [Worker(number) for number in range(1, WORKERS + 1)]

    def start(self, worker: Worker) -> None:
        """Begin a life."""
        worker.lives += 1
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
        with (self.folder / f"worker-{worker.number}.err").open("wb") as errors:
            worker.process = Forked(
                self._server,
                *(*self._program, "work", "--drain", "--portal", self._portal.url),
                *(
                    "--transport",
                    "single",
                    "--existing",
                    "post",
                    "--rate",
                    "2000/s",
                    "--concurrency",
                    str(CONCURRENCY),
                    "--lease",
                    LEASE,
                ),
                *("--retry-delay", "1s", "--wait-for-broker", "60s", "--quiet"),
                *("--run-id", f"w{worker.number}-{worker.lives}"),
                cwd=self.folder,
                env={**clean, "BULKLINK_TOKEN": "demo-token", "BULKLINK_QUEUE_URL": self._url},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def kill(self, worker: Worker) -> None:
        """End a life."""
        assert worker.process is not None
        worker.process.send_signal(signal.SIGKILL)
        if self._ended(worker, wait=True) == -signal.SIGKILL:
            self.kills += 1

    def working(self) -> list[Worker]:
        """Those that have not ended by themselves."""
        return [worker for worker in self.workers if self._ended(worker) is None]

    def end(self) -> None:
        """Leave none behind."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()

    def _ended(self, worker: Worker, *, wait: bool = False) -> int | None:
        assert worker.process is not None
        code = worker.process.wait() if wait else worker.process.poll()
        if code not in {None, -signal.SIGKILL, 0, 3, 5}:
            said = (self.folder / f"worker-{worker.number}.err").read_text(errors="replace").strip()
            self.odd.append(f"worker {worker.number} ended with {code}: {said[-500:]}")
        return code

    def report(self) -> dict[str, Any]:
        """The merged report of all lives that came to have a ledger."""
        runs = [path.parent.name for path in sorted(self.folder.glob("runs/w*/ledger.db"))]
        with Forked(
            self._server,
            *("worker", "report", *runs, "--run-id", "merged", "--json", "--quiet"),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            out, err = process.communicate()
        if not out:
            self.odd.append(f"no merged report: {err}")
            return {"counts": {}}
        report: dict[str, Any] = json.loads(out)
        return report


async def publish(url: str, plan: Plan) -> None:
    """Put everything on the queue."""
    publisher = open_publisher(parse_address(url))
    await publisher.open()
    try:
        for begin in range(0, len(plan.messages), 1000):
            await publisher.publish(plan.messages[begin : begin + 1000])
    finally:
        await publisher.close()


async def look(url: str) -> tuple[bool, Counter[str]]:
    """Whether the queue is drained, and how often each identity is among the dead letters."""
    queue, letters = open_queue(parse_address(url), lease=5.0), open_dead_letters(parse_address(url))
    try:
        await queue.open()
        await letters.open()
        found = await letters.letters(100_000)
        return await queue.is_drained(), Counter(letter.identity for letter in found)
    finally:
        await letters.close()
        await queue.close()


def work_it_off(crew: Crew, broker: Broker, portal: Portal, total: int, rng: Random) -> None:
    """Let the workers work, and disturb them."""
    deadline = time.monotonic() + PATIENCE
    restarted = False
    for worker in crew.workers:
        crew.start(worker)
    next_kill = time.monotonic() + KILL_EVERY
    while working := crew.working():
        if time.monotonic() > deadline:
            crew.odd.append("not done in time")
            return
        if not restarted and portal.books()["links"] > total / 3:
            restarted = True
            broker.restart()
        # Near the end the last ones are left in peace: with no one else at work a death would only delay it.
        if time.monotonic() >= next_kill and portal.books()["links"] < 0.95 * total:
            next_kill = time.monotonic() + KILL_EVERY
            victim = rng.choice(working)
            crew.kill(victim)
            crew.start(victim)
        time.sleep(0.05)


@contextmanager
def _crew(folder: Path, url: str, portal: Portal, plant: str | None, server: ForkServer) -> Iterator[Crew]:
    crew = Crew(folder, url, portal, plant, server)
    try:
        yield crew
    finally:
        crew.end()


def main(words: list[str], server: ForkServer) -> int:
    """Do it; gives the exit code. The server starts the workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", choices=BROKERS, required=True)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", help="let the workers have this bug of planted.py")
    options = parser.parse_args(words)
    rng = Random(options.seed)  # noqa: S311 - moments to kill at
    kind, name_key = BROKERS[options.broker]
    plan = make_plan(options.messages, rng)
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-queue-") as name,
        running(kind) as broker,
        portal_of(server, Path(name), CALM + FAULTS) as portal,
    ):
        url = f"{broker.url}?{name_key}=links"
        asyncio.run(publish(url, plan))
        started = time.monotonic()
        with _crew(Path(name), url, portal, options.plant, server) as crew:
            work_it_off(crew, broker, portal, len(plan.pairs), rng)
            seconds = time.monotonic() - started
            drained, dead = asyncio.run(look(url))
            report = crew.report()
        books, held = portal.books(), portal.links()
    lost, double, wrong = judge(plan, crew, report, drained=drained, dead=dead, held=held)
    # A 500 and a reset are answered by another POST; a killed worker's requests are among the resets.
    asked_for = books["by_status"].get("500", 0) + books["by_status"].get("0", 0)
    repeats, bound = max(0, books["repeats"] - asked_for), HELD * (crew.kills + WORKERS)
    sys.stdout.write(
        f"{options.broker}: seed {options.seed}, {options.messages:,} messages, {crew.kills} kills,"
        f" 1 broker restart: lost {lost}, double {double}, repeats {repeats} (bound {bound}),"
        f" {sum(dead.values()):,} dead letters, {seconds:.0f} s\n"
    )
    return 0 if not (lost or double or wrong) and repeats <= bound else 1


def judge(
    plan: Plan,
    crew: Crew,
    report: dict[str, Any],
    *,
    drained: bool,
    dead: Counter[str],
    held: set[tuple[int, int]],
) -> tuple[int, int, int]:
    """How much is lost, double and otherwise wrong."""
    counts = report["counts"]
    rows = counts.get("rows", 0)
    lost = {
        "pairs that the portal does not hold": len(plan.pairs - held),
        "messages in no report": max(0, len(plan.messages) - rows),
        "messages to be given up that are no dead letters": len(plan.given_up - dead.keys()),
    }
    double = {
        "links that nobody asked for": len(held - plan.pairs),
        "dead letters that should not be": len(dead.keys() - plan.given_up),
        "rows beyond the messages": max(0, rows - len(plan.messages)),
    }
    states = {state: count for state, count in counts.items() if state != "rows" and count}
    expected = {
        "linked": len(plan.pairs),
        "invalid": plan.poison,
        "rejected": len(plan.given_up) - plan.poison,
    }
    wrong = {
        "the queue is not drained": int(not drained),
        f"states {states}, expected {expected}": int(states != expected),
        # A worker killed between the dead letter and the acknowledgement leaves it in both.
        "dead letters twice, more than kills": max(0, sum(dead.values()) - len(dead) - crew.kills - WORKERS),
        **dict.fromkeys(crew.odd, 1),
    }
    for what, count in {**lost, **double, **wrong}.items():
        if count:
            sys.stderr.write(f"{what}: {count}\n")
    return sum(lost.values()), sum(double.values()), sum(wrong.values())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="forks-") as meeting, ForkServer(Path(meeting)) as fork_server:
        sys.exit(main(sys.argv[1:], fork_server))
