"""What tests of a queue as supply share: a ledger in virtual time, a broker that is watched, and lanes.

The ledger is a real one that writes in the caller's thread, so that time may be virtual.
"""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.memory_queue import MemoryBroker, MemoryPublisher, MemoryQueue
from worker.errors import QueueError, QueueUnavailable
from worker.ledger import Ledger, LedgerReader, RowRecord, audit
from worker.ledger.intake import Arrival, Delivery
from worker.ledger.ledger import _Job, _resolve
from worker.ledger.store import Store
from worker.models import Attempt, Outcome, Pair, Result, Status
from worker.queues import DeadLetter, Failure, Message
from worker.supply.queue import QueuePlan, QueueSupply
from worker.tally import RunTally

Run = Callable[[Coroutine[Any, Any, Any]], Any]
_T = TypeVar("_T")

PLAN = QueuePlan(prefetch=16, drain=True, idle=0.0, limit=None, max_deliveries=10, retry_delay=30.0)

ENDLESS = 10_000.0
"""Seconds, which pass quickly here, after which nothing more will happen."""

LINKED = Attempt(Result.OK, http_status=201, seconds=0.1, body=b'{"id":88,"displayName":"Zo\xc3\xab"}')
GONE = Attempt(Result.PERMANENT, "not_found", 404)
DOWN = Attempt(Result.TRANSIENT, "unavailable", 503)
LOST = Attempt(Result.AMBIGUOUS, "timeout")

Settle = tuple[Status, Attempt]
OK: Settle = (Status.LINKED, LINKED)
NO: Settle = (Status.REJECTED, GONE)
LATER: Settle = (Status.RETRYABLE, DOWN)
UNKNOWN: Settle = (Status.UNKNOWN, LOST)


class HereLedger(Ledger):
    """Writes in the caller's thread; a gate keeps back the answers, not what they say."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, create=True)
        self.path = path
        self.gate = asyncio.Event()
        self.gate.set()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._db = await self._open()
        self._db.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
        self._store = Store(self._db)
        await self.begin_session()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._db.close()

    async def take_in(self, deliveries: Sequence[Delivery], *, look_first: bool = False) -> list[Arrival]:
        arrivals = await super().take_in(deliveries, look_first=look_first)
        await self.gate.wait()
        return arrivals

    def _put(
        self, work: Callable[[Store], Any] | None, outcomes: Sequence[Outcome] = ()
    ) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        requests, self._requests = self._requests, []
        self._db.execute("BEGIN")
        answers = self._work([_Job(future, requests, work, outcomes)])
        self._db.execute("COMMIT")
        self._loop.call_soon(_resolve, answers)
        return future


class Trouble:
    """What befalls the calls to a broker, one word a call; ``fine`` when all are used up.

    ``away``: nothing happens. ``deaf``: it happens, but its answer does not arrive. ``cut``: the connection
    is lost first, so all that is held is handed out again; ``late``: it is lost after it has happened.
    """

    def __init__(self, words: Iterator[str]) -> None:
        self.words = words
        self.cut: Callable[[], None] = lambda: None

    async def around(
        self, call: Callable[[], Coroutine[Any, Any, _T]], *, lost_if_unheard: bool = False
    ) -> _T:
        word = next(self.words, "fine")
        if word == "deaf" and lost_if_unheard:
            word = "late"
        if word == "cut":
            self.cut()
        if word in {"away", "cut"}:
            raise QueueUnavailable(word)
        answer = await call()
        if word == "late":
            self.cut()
        if word in {"deaf", "late"}:
            raise QueueUnavailable(word)
        return answer


class WitnessQueue(MemoryQueue):
    """Looks, at every word to the broker, what the ledger of another reader says at that moment."""

    def __init__(self, broker: MemoryBroker, ledger: Path, trouble: Trouble) -> None:
        super().__init__(broker)
        self.ledger = ledger
        self.trouble = trouble
        trouble.cut = lambda: broker.give_all_back(self, 0.0)
        self.said: list[tuple[str, str]] = []
        self.delays: list[float] = []
        self.asked: list[int] = []
        self.most_held = 0
        self.refusal = ""
        self.deaths_take = 0.0
        self.sees_no_holders = False
        self.given: dict[str, str] = {}

    def look(self, verb: str, handle: str) -> None:
        """Note the call; a message that is done must have its outcome on disk."""
        if self.refusal == verb:
            raise QueueError("no rights")
        identity = self.given[handle]
        with LedgerReader(self.ledger) as reader:
            found = list(
                reader.query(
                    "SELECT status FROM messages JOIN rows USING (row) WHERE identity = ?", (identity,)
                )
            )
        assert found, f"{verb}: {identity} is in no row"
        # A word about a delivery that is no longer ours, said again because its answer was lost, is ignored.
        if verb != "release" and handle in self._broker._held:
            assert found[0][0] is not None, f"{verb}: {identity} has no outcome"
        self.said.append((verb, identity))

    async def receive(self, most: int, wait: float) -> list[Message]:
        if self.refusal == "receive":
            raise QueueError("no rights")
        self.asked.append(most)
        messages = await self.trouble.around(
            lambda: super(WitnessQueue, self).receive(most, wait),
            lost_if_unheard=True,  # what was given out and not heard of must come again
        )
        self.given.update({message.handle: message.identity for message in messages})
        self.most_held = max(self.most_held, len(self._broker._held))
        assert len(messages) <= most
        return messages

    async def ack(self, handles: Sequence[str]) -> None:
        for handle in handles:
            self.look("ack", handle)
        await self.trouble.around(lambda: super(WitnessQueue, self).ack(handles))

    async def release(self, handle: str, delay: float) -> None:
        self.look("release", handle)
        self.delays.append(delay)
        await self.trouble.around(lambda: super(WitnessQueue, self).release(handle, delay))

    async def dead(self, handle: str, why: Failure) -> None:
        self.look("dead", handle)
        await asyncio.sleep(self.deaths_take)
        await self.trouble.around(lambda: super(WitnessQueue, self).dead(handle, why))

    async def is_drained(self) -> bool:
        if self.sees_no_holders:
            return not (self._broker._waiting or self._broker._delayed)
        return await self.trouble.around(super().is_drained)


class Results(MemoryPublisher):
    """Keeps what is published; ``closed`` when it was."""

    def __init__(self, broker: MemoryBroker, said: list[tuple[str, str]]) -> None:
        super().__init__(broker)
        self.said = said
        self.kept: list[tuple[str, Any]] = []
        self.closed = False

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        await super().publish(messages)
        for identity, body in messages:
            self.said.append(("publish", identity))
            self.kept.append((identity, json.loads(body)))

    async def close(self) -> None:
        self.closed = True


class Desk:
    """A supply with a broker, a ledger, and lanes that settle each pair as its portal says."""

    def __init__(self, ledger: HereLedger, plan: QueuePlan, trouble: Trouble, *, results: bool) -> None:
        self.broker = MemoryBroker()
        self.broker.make()
        self.other = MemoryBroker("results")
        self.ledger = ledger
        self.plan = plan
        self.tally = RunTally()
        self.queue = WitnessQueue(self.broker, ledger.path, trouble)
        self.results = Results(self.other, self.queue.said) if results else None
        self.notes: list[str] = []
        self.sent: list[Pair] = []
        self.portal: Callable[[Pair], Settle] = lambda _: OK
        self.seconds = 0.0
        self.most_open = 0

    async def open(self) -> None:
        await self.queue.open()
        self.supply = QueueSupply(
            self.queue, self.results, self.ledger, self.tally, plan=self.plan, tell=self.notes.append
        )

    def put(self, *messages: tuple[str, object]) -> None:
        """Publish (identity, body) messages; a body that is no bytes becomes JSON."""
        self.broker.put(
            [
                (identity, body if isinstance(body, bytes) else json.dumps(body).encode())
                for identity, body in messages
            ]
        )

    def put_pairs(self, first: int, last: int) -> None:
        self.put(*[(f"m{n}", {"opportunity_id": 1, "contact_id": n}) for n in range(first, last + 1)])

    async def lane(self) -> None:
        while some := await self.supply.take(1):
            (pair,) = some
            self.sent.append(pair)
            self.most_open = max(self.most_open, len(self.supply._open))
            await asyncio.sleep(self.seconds)
            await self.settle(pair, self.portal(pair))

    async def settle(self, pair: Pair, how: Settle) -> None:
        status, attempt = how
        outcome = Outcome(pair, status, (attempt,), attempt.reason, attempt.http_status)
        await self.ledger.settle([outcome])
        self.tally.recorded(outcome)
        await self.supply.settled(outcome)

    async def work(self, lanes: int = 4) -> None:
        """Until the supply has no more, as a run does it; then it is closed."""
        working = [asyncio.create_task(self.lane()) for _ in range(lanes)]
        try:
            async with asyncio.timeout(ENDLESS):
                await self.supply.read()
                await asyncio.gather(*working)
        finally:
            for task in working:
                task.cancel()
            await self.supply.close()

    def reading(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self.supply.read())

    def rows(self) -> list[RowRecord]:
        with LedgerReader(self.ledger.path) as reader:
            assert audit(reader) == []
            return list(reader.rows(list(Status)))

    def states(self) -> Counter[Status]:
        """Rows by state, which the tally must tell alike but for those without an outcome."""
        rows = Counter(row.status for row in self.rows())
        assert {s: n for s, n in self.tally.settled.items() if n} == rows
        assert self.tally.rows == rows.total()
        return rows

    def requeue(self) -> None:
        """As a user does it who puts all dead letters back."""
        self.broker.requeue(10_000)

    def dead(self) -> list[DeadLetter]:
        return self.broker.letters(10_000)


@asynccontextmanager
async def desk_of(
    plan: QueuePlan = PLAN, *words: str, results: bool = False, rest: Iterator[str] | None = None
) -> AsyncIterator[Desk]:
    with tempfile.TemporaryDirectory() as folder:
        async with HereLedger(Path(folder) / "ledger.db") as ledger:
            desk = Desk(ledger, plan, Trouble(rest or iter(words)), results=results)
            await desk.open()
            yield desk


def planned(**changes: Any) -> QueuePlan:
    return QueuePlan(**{**{name: getattr(PLAN, name) for name in PLAN.__slots__}, **changes})


async def later(seconds: float = 0.0) -> None:
    """Until everyone who can go on has done so, and some time has passed."""
    await asyncio.sleep(seconds)
    for _ in range(50):
        await asyncio.sleep(0)
