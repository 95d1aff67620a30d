"""A queue as supply: nothing is acknowledged before it is durable, nothing is lost, nothing is forgotten.

The ledger is a real one that writes in the caller's thread, so that time may be virtual.
"""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Self, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import VirtualLoop
from worker.errors import QueueError, QueueUnavailable, WorkerError
from worker.ledger import WORN_OUT, Ledger, LedgerReader, RowRecord, audit
from worker.ledger.store import Arrival, Delivery, Store
from worker.models import Attempt, Outcome, Pair, Result, Status
from worker.queues import DeadLetter, Message, Why
from worker.queues.memory import MemoryBroker, MemoryPublisher, MemoryQueue
from worker.run.queue_supply import FLUSH_SECONDS, LONGEST_DELAY, QueueOrigin, QueuePlan, QueueSupply
from worker.run.tally import Tally
from worker.sources import MESSAGE_COLUMNS

Run = Callable[[Coroutine[Any, Any, Any]], Any]
_T = TypeVar("_T")

PLAN = QueuePlan(prefetch=16, drain=True, idle=0.0, limit=None, max_deliveries=10, retry_delay=30.0)

ENDLESS = 10_000.0
"""Seconds, which pass quickly here, after which nothing more will happen."""

LINKED = Attempt(1, Result.OK, http_status=201, seconds=0.1, body=b'{"id":88,"displayName":"Zo\xc3\xab"}')
GONE = Attempt(1, Result.PERMANENT, "not_found", 404)
DOWN = Attempt(1, Result.TRANSIENT, "unavailable", 503)
LOST = Attempt(1, Result.AMBIGUOUS, "timeout")

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
        self._db.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here

    async def __aenter__(self) -> Self:
        await self.begin_session()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._db.close()

    async def take_in(self, deliveries: Sequence[Delivery]) -> list[Arrival]:
        arrivals = await super().take_in(deliveries)
        await self.gate.wait()
        return arrivals

    async def _do(self, work: Callable[[Store], _T]) -> _T:
        self._db.execute("BEGIN")
        answer = work(self._store)
        self._db.execute("COMMIT")
        await asyncio.sleep(0)
        return answer


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
        if verb != "release":
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

    async def dead(self, handle: str, why: Why) -> None:
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
        self.tally = Tally()
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
        while (pair := await self.supply.take()) is not None:
            self.sent.append(pair)
            self.most_open = max(self.most_open, len(self.supply._open))
            await asyncio.sleep(self.seconds)
            await self.settle(pair, self.portal(pair))

    async def settle(self, pair: Pair, how: Settle) -> None:
        status, attempt = how
        outcome = Outcome(pair, status, (attempt,), attempt.reason, attempt.http_status)
        await self.ledger.settle(outcome)
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


def test_every_message_is_linked_once_and_acknowledged_after_its_outcome_is_durable(
    virtual_time: Run,
) -> None:
    """The witness fails each call about a message whose row has no outcome for another reader."""

    async def story() -> None:
        async with desk_of() as desk:
            desk.put_pairs(1, 200)
            await desk.work()
            assert desk.states() == {Status.LINKED: 200}
            assert sorted(desk.queue.said) == sorted(("ack", f"m{n}") for n in range(1, 201))
            assert [pair.contact_id for pair in desk.sent] == list(range(1, 201))
            assert desk.broker.is_drained
            assert desk.notes == []
            with LedgerReader(desk.ledger.path) as reader:
                assert reader.meta() == {"columns": [*MESSAGE_COLUMNS], "input_complete": True}

    virtual_time(story())


def test_the_witness_sees_an_acknowledgement_that_comes_too_early(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            desk.put_pairs(1, 1)
            reading = desk.reading()
            pair = await desk.supply.take()
            assert pair is not None
            with pytest.raises(AssertionError, match="m1 has no outcome"):
                await desk.queue.ack(list(desk.queue.given))
            reading.cancel()
            await asyncio.wait({reading})
            await desk.supply.close()

    virtual_time(story())


def test_an_acknowledgement_waits_for_a_ledger_that_is_slow(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False)) as desk:
            desk.put_pairs(1, 1)
            desk.ledger.gate.clear()
            reading = desk.reading()
            taking = asyncio.create_task(desk.supply.take())
            await later(60.0)
            assert not taking.done()
            desk.ledger.gate.set()
            assert await taking == Pair(1, 1, 1, 1)
            await later(60.0)
            assert desk.queue.said == []
            reading.cancel()
            await asyncio.wait({reading})
            await desk.supply.close()
            assert desk.queue.said == [("release", "m1")]

    virtual_time(story())


@pytest.mark.parametrize("prefetch", [1, 2, 3, 16])
def test_never_more_messages_are_open_than_the_prefetch_says(virtual_time: Run, prefetch: int) -> None:
    async def story() -> None:
        async with desk_of(planned(prefetch=prefetch)) as desk:
            desk.seconds = 0.3
            desk.put_pairs(1, 100)
            await desk.work(8)
            assert desk.most_open == prefetch
            assert max(desk.queue.asked) <= prefetch
            assert desk.queue.most_held <= prefetch * 2  # with those whose acknowledgement is on its way
            assert desk.states() == {Status.LINKED: 100}

    virtual_time(story())


def test_nothing_is_received_while_nobody_has_room(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(prefetch=4)) as desk:
            desk.put_pairs(1, 10)
            reading = desk.reading()
            taken = [await desk.supply.take() for _ in range(4)]
            await later(60.0)
            assert len(desk.broker._held) == 4
            first, second, *_ = taken
            assert first is not None
            assert second is not None
            await desk.settle(first, OK)
            await later(60.0)
            assert len(desk.broker._held) == 3  # room for one is not worth a call
            await desk.settle(second, OK)
            await later(60.0)
            assert len(desk.broker._held) == 4
            reading.cancel()
            await asyncio.wait({reading})
            await desk.supply.close()

    virtual_time(story())


@pytest.mark.parametrize("what", ["results", "poison"])
def test_what_waits_to_be_settled_has_a_bound_too(virtual_time: Run, what: str) -> None:
    """Else a broker of results that is away, or a flood of poison, makes one worker hold the whole queue."""

    async def story() -> None:
        async with desk_of(planned(drain=False), results=what == "results") as desk:
            if what == "results":
                desk.other.is_up = False
                desk.put_pairs(1, 5_000)
            else:
                desk.queue.deaths_take = 0.1
                desk.put(*[(f"m{n}", b"poison") for n in range(5_000)])
            working = asyncio.create_task(desk.work())
            await asyncio.sleep(60.0)
            working.cancel()
            await asyncio.wait({working})
            assert desk.queue.most_held <= 1_500

    virtual_time(story())


WORDS = ["away", "deaf", "cut", "late"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("call", range(9))
def test_a_broker_that_fails_in_any_call_loses_and_forgets_nothing(
    virtual_time: Run, word: str, call: int
) -> None:
    async def story() -> None:
        words = [*["fine"] * call, word, word]
        async with desk_of(planned(prefetch=3, retry_delay=1.0), *words) as desk:
            desk.seconds = 0.2
            desk.put_pairs(1, 4)
            desk.put(("poison", b"\xff"), ("gone", {"opportunity_id": 2, "contact_id": 9}))
            tries = Counter[int]()

            def portal(pair: Pair) -> Settle:
                tries[pair.row] += 1
                if pair.opportunity_id == 2:
                    return NO
                return LATER if pair.contact_id == 2 and tries[pair.row] == 1 else OK

            desk.portal = portal
            await desk.work()
            assert desk.states() == {Status.LINKED: 4, Status.REJECTED: 1, Status.INVALID: 1}
            assert {letter.identity for letter in desk.dead()} == {"poison", "gone"}
            # Only the one worth another try was sent twice, however often its delivery was.
            assert sorted(Counter(pair.row for pair in desk.sent).values()) == [1, 1, 1, 1, 2]
            assert desk.broker.is_drained
            assert desk.notes[-1:] == [""]

    virtual_time(story())


@given(words=st.lists(st.sampled_from([*WORDS, "fine", "fine"]), max_size=60), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_befalls_the_broker_each_message_has_one_row_and_one_end(
    words: list[str], seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - for a story

    async def story() -> None:
        plan = planned(prefetch=4, max_deliveries=1_000, retry_delay=1.0)
        async with desk_of(plan, *words, results=True) as desk:
            desk.seconds = 0.05
            desk.put_pairs(1, 12)
            desk.put(("p1", b"[]"), ("p2", b""), ("twin", {"opportunity_id": 1, "contact_id": 3}))
            desk.put_pairs(1, 3)
            done: set[int] = set()

            def portal(pair: Pair) -> Settle:
                assert pair.row not in done, "sent again after its last word"
                how = chance.choice([OK, OK, NO, LATER, UNKNOWN])
                if how in {OK, NO}:
                    done.add(pair.row)
                return how

            desk.portal = portal
            await desk.work()
            rows = desk.rows()
            assert len(rows) == 15
            assert desk.states()[Status.INVALID] == 2
            assert not {row.status for row in rows} & {Status.RETRYABLE, Status.UNKNOWN}
            names = [f"m{n}" for n in range(1, 13)] + ["p1", "p2", "twin"]
            dead = {letter.identity for letter in desk.dead()}
            with LedgerReader(desk.ledger.path) as reader:
                given_up = reader.query(
                    "SELECT identity FROM messages JOIN rows USING (row)"
                    " WHERE status IN ('invalid', 'rejected')"
                )
                assert dead == {identity for (identity,) in given_up}
            assert desk.results is not None
            assert {identity for identity, _ in desk.results.kept} == set(names)
            assert desk.broker.is_drained

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


def test_the_same_message_twice_while_the_first_is_in_flight_is_one_row_and_both_are_settled(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            desk.seconds = 5.0
            body = {"opportunity_id": 1, "contact_id": 1}
            desk.put(("a", body), ("a", body))
            asyncio.get_running_loop().call_later(2.0, desk.put, ("a", body))
            await desk.work()
            assert [pair.row for pair in desk.sent] == [1]
            assert desk.states() == {Status.LINKED: 1}
            assert desk.queue.said == [("ack", "a")] * 3
            assert desk.broker.is_drained

    virtual_time(story())


@pytest.mark.parametrize(("how", "verbs"), [(NO, ["ack", "dead"]), (LATER, ["ack", "release", "ack"])])
def test_of_two_deliveries_in_flight_only_one_goes_to_the_dead_letters_or_back(
    virtual_time: Run, how: Settle, verbs: list[str]
) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            desk.seconds = 5.0
            answers = iter([how, OK])
            desk.portal = lambda _: next(answers)
            body = {"opportunity_id": 1, "contact_id": 1}
            desk.put(("a", body), ("a", body))
            await desk.work()
            assert [verb for verb, _ in desk.queue.said] == verbs
            assert len(desk.dead()) == (how is NO)
            assert desk.broker.is_drained

    virtual_time(story())


def test_a_message_whose_lease_ran_out_while_it_was_in_flight_is_settled_by_its_latest_delivery(
    virtual_time: Run,
) -> None:
    """The broker ignores a handle that is no longer ours: the message must not be left with that one."""

    async def story() -> None:
        async with desk_of() as desk:
            desk.seconds = 5.0
            desk.portal = lambda _: NO
            desk.put_pairs(1, 1)
            asyncio.get_running_loop().call_later(2.0, desk.queue.trouble.cut)
            await desk.work()
            assert len(desk.sent) == 1
            (letter,) = desk.dead()
            assert letter.deliveries == 2
            assert desk.broker.is_drained

    virtual_time(story())


def test_a_redelivery_after_its_settlement_is_acknowledged_without_being_sent(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            desk.put_pairs(1, 1)
            asyncio.get_running_loop().call_later(0.5, desk.put_pairs, 1, 1)
            await desk.work()
            assert len(desk.sent) == 1
            assert desk.queue.said == [("ack", "m1"), ("ack", "m1")]
            assert desk.states() == {Status.LINKED: 1}

    virtual_time(story())


def test_an_outcome_that_comes_between_the_ledgers_answer_and_its_reading_is_found_the_next_time(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of(planned(prefetch=2)) as desk:
            desk.put_pairs(1, 1)
            working = asyncio.create_task(desk.work(0))
            pair = await desk.supply.take()
            assert pair is not None
            desk.ledger.gate.clear()
            desk.put_pairs(1, 1)
            await later(0.1)
            await desk.settle(pair, OK)
            desk.ledger.gate.set()
            await working
            assert desk.queue.said == [("ack", "m1"), ("release", "m1"), ("ack", "m1")]
            assert desk.states() == {Status.LINKED: 1}
            assert desk.broker.is_drained

    virtual_time(story())


def test_what_is_worth_another_try_comes_back_ever_later_and_at_the_bound_it_is_given_up(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of(planned(max_deliveries=8), results=True) as desk:
            desk.portal = lambda _: LATER
            desk.put_pairs(1, 1)
            began = asyncio.get_running_loop().time()
            await desk.work()
            assert desk.queue.delays == [30.0, 60.0, 120.0, 240.0, 480.0, LONGEST_DELAY, LONGEST_DELAY]
            assert asyncio.get_running_loop().time() - began >= sum(desk.queue.delays)
            assert [pair.in_doubt for pair in desk.sent] == [False, *[True] * 7]
            (letter,) = desk.dead()
            assert (letter.why, letter.deliveries) == (Why("unavailable", "retryable", 503, 1), 8)
            assert desk.states() == {Status.RETRYABLE: 1}
            assert desk.rows()[0].attempts == 8
            assert desk.results is not None
            assert [body["status"] for _, body in desk.results.kept] == ["retryable"]

    virtual_time(story())


def test_what_is_unknown_is_looked_for_before_it_is_sent_again(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            answers = iter([UNKNOWN, OK])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 1)
            await desk.work()
            assert [pair.in_doubt for pair in desk.sent] == [False, True]
            assert desk.states() == {Status.LINKED: 1}
            assert desk.dead() == []

    virtual_time(story())


def test_a_message_that_another_worker_had_is_looked_for_before_it_is_sent(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            other = MemoryQueue(desk.broker, lease=30.0)
            await other.open()
            desk.put_pairs(1, 2)
            assert len(await other.receive(1, 1.0)) == 1
            other.die()
            await desk.work()
            assert [(pair.contact_id, pair.in_doubt) for pair in desk.sent] == [(2, False), (1, True)]

    virtual_time(story())


def test_a_message_that_comes_worn_out_is_given_up_without_being_sent(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(max_deliveries=2)) as desk:
            desk.put_pairs(1, 1)
            for _ in range(2):
                other = MemoryQueue(desk.broker, lease=0.0)
                await other.open()
                assert len(await other.receive(1, 1.0)) == 1
                other.die()
            await desk.work()
            assert desk.sent == []
            (letter,) = desk.dead()
            assert (letter.why, letter.deliveries) == (Why(WORN_OUT, "retryable"), 3)

    virtual_time(story())


def test_what_can_never_be_a_link_goes_to_the_dead_letters_with_its_reason(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            desk.portal = lambda _: NO
            poison = [b"", b"\xff\x00", b"[1]", b'{"contact_id": 2}', bytes(100_000)]
            desk.put(*[(f"p{n}", body) for n, body in enumerate(poison)])
            desk.put(("gone", {"opportunity_id": 1, "contact_id": 9}))
            await desk.work()
            letters = {letter.identity: letter for letter in desk.dead()}
            assert [letters[f"p{n}"].body for n in range(5)] == poison
            assert [letters[f"p{n}"].why for n in range(5)] == [
                Why("not valid JSON", "invalid"),
                Why("not valid JSON", "invalid"),
                Why("not a JSON object", "invalid"),
                Why("no opportunity_id", "invalid"),
                Why("message larger than 64 KiB", "invalid"),
            ]
            assert letters["gone"].why == Why("not_found", "rejected", 404, 1)
            assert len(letters) == 6
            assert len(desk.sent) == 1
            assert desk.states() == {Status.INVALID: 5, Status.REJECTED: 1}

    virtual_time(story())


def test_nesting_that_no_one_can_write_back_is_poison_too(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            deep = b"[" * 300 + b"]" * 300
            desk.put(("deep", b'{"opportunity_id": 1, "contact_id": 2, "id": ' + deep + b"}"))
            desk.put_pairs(1, 1)
            await desk.work()
            assert sum(desk.states().values()) == 2
            assert desk.broker.is_drained

    virtual_time(story())


def test_another_message_for_a_pair_that_waits_is_a_duplicate_and_done(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(results=True) as desk:
            desk.seconds = 5.0
            body = {"opportunity_id": 1, "contact_id": 1}
            desk.put(("a", body), ("b", body))
            await desk.work()
            assert desk.states() == {Status.LINKED: 1, Status.DUPLICATE: 1}
            assert len(desk.sent) == 1
            assert desk.dead() == []
            assert desk.results is not None
            kept = {identity: (said["status"], said["reason"]) for identity, said in desk.results.kept}
            assert kept == {"a": ("linked", ""), "b": ("duplicate", "same pair as line 1")}

    virtual_time(story())


@pytest.mark.parametrize("limit", [1, 7, 16, 40])
def test_the_limit_counts_messages_and_the_rest_stays_on_the_queue(virtual_time: Run, limit: int) -> None:
    async def story() -> None:
        async with desk_of(planned(limit=limit, drain=False)) as desk:
            desk.put_pairs(1, 1)
            desk.put_pairs(1, 50)
            desk.put(("poison", b"{"))
            await desk.work()
            assert desk.states().total() == limit
            assert len(desk.broker._waiting) == 52 - limit - (limit > 1)
            assert desk.broker._held == {}

    virtual_time(story())


def test_without_a_drain_it_waits_for_more(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False)) as desk:
            working = asyncio.create_task(desk.work())
            for minute in range(1, 4):
                await asyncio.sleep(60.0)
                assert not working.done()
                desk.put_pairs(minute, minute)
            await asyncio.sleep(60.0)
            assert desk.states() == {Status.LINKED: 3}
            assert desk.broker.is_drained
            working.cancel()
            await asyncio.wait({working})

    virtual_time(story())


def test_a_drain_waits_for_what_is_open_or_delayed(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            desk.seconds = 100.0
            answers = iter([LATER, OK])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 1)
            began = asyncio.get_running_loop().time()
            await desk.work()
            assert asyncio.get_running_loop().time() - began >= 230.0
            assert desk.states() == {Status.LINKED: 1}

    virtual_time(story())


def test_a_drain_waits_for_what_another_worker_holds_and_takes_it_over_if_that_one_dies(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            other = MemoryQueue(desk.broker, lease=30.0)
            await other.open()
            desk.put_pairs(1, 3)
            held = await other.receive(2, 1.0)
            working = asyncio.create_task(desk.work())
            await asyncio.sleep(60.0)
            assert not working.done()
            await other.ack([held[0].handle])
            await asyncio.sleep(60.0)
            assert not working.done()
            other.die()
            await working
            assert sorted(pair.contact_id for pair in desk.sent) == [2, 3]
            assert desk.broker.is_drained

    virtual_time(story())


def test_a_drain_waits_until_the_broker_has_heard_of_every_outcome(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(results=True) as desk:
            desk.other.is_up = False
            desk.put_pairs(1, 3)
            working = asyncio.create_task(desk.work())
            await asyncio.sleep(60.0)
            assert not working.done()
            assert desk.states() == {Status.LINKED: 3}
            assert desk.queue.said == []
            desk.other.is_up = True
            await working
            assert desk.broker.is_drained

    virtual_time(story())


def test_where_others_cannot_be_seen_the_queue_must_look_empty_for_a_while(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(idle=10.0)) as desk:
            working = asyncio.create_task(desk.work())
            for number in range(1, 4):
                await asyncio.sleep(8.0)
                assert not working.done()
                desk.put_pairs(number, number)
            began = asyncio.get_running_loop().time()
            await working
            assert 10.0 <= asyncio.get_running_loop().time() - began <= 13.0
            assert desk.states() == {Status.LINKED: 3}

    virtual_time(story())


def test_where_holders_cannot_be_seen_a_drain_still_waits_for_what_we_hold_ourselves(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of(planned(idle=10.0)) as desk:
            desk.queue.sees_no_holders = True
            desk.seconds = 100.0
            answers = iter([LATER, OK])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 1)
            await desk.work()
            assert desk.states() == {Status.LINKED: 1}
            assert desk.broker.is_drained

    virtual_time(story())


def test_where_holders_cannot_be_seen_a_drain_still_waits_for_what_is_not_settled(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(idle=10.0), results=True) as desk:
            desk.queue.sees_no_holders = True
            desk.other.is_up = False
            answers = iter([NO, OK])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 2)
            working = asyncio.create_task(desk.work())
            await asyncio.sleep(120.0)
            assert not working.done()
            desk.other.is_up = True
            await working
            assert len(desk.dead()) == 1
            assert desk.broker.is_drained

    virtual_time(story())


@pytest.mark.parametrize("verb", ["receive", "ack", "dead", "release"])
def test_a_broker_that_refuses_ends_the_reading_and_the_lanes(virtual_time: Run, verb: str) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False)) as desk:
            desk.queue.refusal = verb
            answers = iter([OK, NO, LATER])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 3)
            with pytest.raises(QueueError, match="no rights") as caught:
                await asyncio.wait_for(desk.work(), 60.0)
            assert type(caught.value) is QueueError
            assert await desk.supply.take() is None
            # All are handed out again, but for those that the broker was told about before.
            assert desk.broker._held == {}
            assert len(desk.broker._waiting) + len(desk.broker._delayed) >= 1

    virtual_time(story())


def test_a_reading_that_is_cancelled_lets_the_lanes_end(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False)) as desk:
            reading = desk.reading()
            taking = [asyncio.create_task(desk.supply.take()) for _ in range(3)]
            await later(60.0)
            assert not any(task.done() for task in taking)
            reading.cancel()
            assert await asyncio.gather(*taking) == [None] * 3
            await desk.supply.close()

    virtual_time(story())


def test_close_gives_back_what_is_open_and_settles_what_has_an_outcome(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False)) as desk:
            desk.put_pairs(1, 5)
            reading = desk.reading()
            taken = [await desk.supply.take() for _ in range(3)]
            assert taken[0] is not None
            await desk.settle(taken[0], OK)
            assert taken[1] is not None
            await desk.settle(taken[1], NO)
            reading.cancel()
            await asyncio.wait({reading})
            await desk.supply.close()
            assert sorted(desk.queue.said) == [
                ("ack", "m1"),
                ("dead", "m2"),
                *[("release", f"m{n}") for n in (3, 4, 5)],
            ]
            assert set(desk.queue.delays) == {0.0}
            again = MemoryQueue(desk.broker)
            await again.open()
            messages = await again.receive(10, 1.0)
            assert [message.identity for message in messages] == ["m3", "m4", "m5"]

    virtual_time(story())


def test_close_waits_only_so_long_for_a_broker_that_is_away_and_never_raises(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False), results=True) as desk:
            desk.put_pairs(1, 5)
            reading = desk.reading()
            pair = await desk.supply.take()
            assert pair is not None
            await desk.settle(pair, OK)
            desk.broker.is_up = desk.other.is_up = False
            reading.cancel()
            await asyncio.wait({reading})
            began = asyncio.get_running_loop().time()
            await desk.supply.close()
            assert asyncio.get_running_loop().time() - began == pytest.approx(FLUSH_SECONDS, abs=0.1)
            assert desk.queue.said == []
            assert desk.results is not None
            assert desk.results.closed
            assert len(asyncio.all_tasks()) == 1
            # The row is linked and the message comes again, to whoever looks before he sends.
            desk.broker.is_up = True
            again = MemoryQueue(desk.broker)
            await again.open()
            assert {message.deliveries for message in await again.receive(10, 1.0)} == {2}

    virtual_time(story())


def test_close_before_any_reading_disconnects(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(results=True) as desk:
            await desk.supply.close()
            assert desk.results is not None
            assert desk.results.closed
            with pytest.raises(QueueUnavailable, match="closed"):
                await desk.queue.is_drained()

    virtual_time(story())


def test_each_last_word_is_published_before_the_broker_hears_of_it(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(results=True) as desk:
            answers = {1: iter([OK]), 2: iter([NO]), 3: iter([LATER, OK])}
            desk.portal = lambda pair: next(answers[pair.contact_id])
            desk.put_pairs(1, 2)
            desk.put(("m3", {"opportunity_id": 1, "contact_id": 3, "id": "order-7"}))
            desk.put(("poison", b'{"opportunity_id": 5, "id": 12}'))
            await desk.work()
            assert desk.results is not None
            names = ["id", "opportunity_id", "contact_id", "status", "reason", "http_status", "attempts"]
            contact = json.loads(LINKED.body)
            assert [(identity, [*said.values()]) for identity, said in desk.results.kept] == [
                ("poison", ["12", None, None, "invalid", "no contact_id", None, 0, None]),
                ("m1", ["m1", 1, 1, "linked", "", 201, 1, contact]),
                ("m2", ["m2", 1, 2, "rejected", "not_found", 404, 1, None]),
                ("m3", ["order-7", 1, 3, "linked", "", 201, 1, contact]),
            ]
            assert all([*said] == [*names, "contact"] for _, said in desk.results.kept)
            for identity in ("m1", "m2", "poison"):
                verbs = [verb for verb, name in desk.queue.said if name == identity]
                assert verbs[0] == "publish"
            assert [verb for verb, name in desk.queue.said if name == "m3"] == ["release", "publish", "ack"]

    virtual_time(story())


def test_a_result_is_published_once_with_its_contact_also_if_the_message_comes_again(
    virtual_time: Run,
) -> None:
    """Whoever keeps the latest word by its identity would lose the Contact to a copy that has none."""

    async def story() -> None:
        async with desk_of(results=True) as desk:
            desk.put_pairs(1, 1)
            asyncio.get_running_loop().call_later(0.5, desk.put_pairs, 1, 1)
            await desk.work()
            assert desk.results is not None
            assert [said["contact"] for _, said in desk.results.kept] == [json.loads(LINKED.body)]

    virtual_time(story())


class Origin:
    """An origin whose brokers may be away, and what came of opening it."""

    def __init__(self, wait_for: float, ledger: HereLedger) -> None:
        self.broker, self.other = MemoryBroker("links"), MemoryBroker("results")
        self.broker.make()
        self.queue = MemoryQueue(self.broker)
        self.results = Results(self.other, [])
        self.notes: list[str] = []
        self.ledger = ledger
        self.origin = QueueOrigin(
            "redis://host/0?stream=links", self.queue, self.results, plan=PLAN, wait_for=wait_for
        )

    async def open(self) -> QueueSupply:
        return await self.origin.supply(self.ledger, Tally(), self.notes.append)


@asynccontextmanager
async def origin_of(wait_for: float) -> AsyncIterator[Origin]:
    with tempfile.TemporaryDirectory() as folder:
        async with HereLedger(Path(folder) / "ledger.db") as ledger:
            yield Origin(wait_for, ledger)


def test_an_origin_opens_the_queue_and_the_results(virtual_time: Run) -> None:
    async def story() -> None:
        async with origin_of(0.0) as one:
            assert one.origin.facts == {
                "input_path": "redis://host/0?stream=links",
                "input_name": "redis://host/0?stream=links",
                "input_kind": "queue",
            }
            supply = await one.open()
            assert await one.queue.is_drained()
            await supply.close()
            one.origin.close()
            assert one.results.closed

    virtual_time(story())


@pytest.mark.parametrize("which", ["queue", "results"])
def test_an_origin_waits_for_a_broker_only_as_long_as_it_may_and_leaves_nothing_open(
    virtual_time: Run, which: str
) -> None:
    async def story() -> None:
        async with origin_of(60.0) as one:
            (one.broker if which == "queue" else one.other).is_up = False
            began = asyncio.get_running_loop().time()
            with pytest.raises(QueueUnavailable):
                await one.open()
            assert 40.0 <= asyncio.get_running_loop().time() - began <= 60.0
            assert len(one.notes) > 5
            one.broker.is_up = True
            with pytest.raises(QueueUnavailable, match="closed"):
                await one.queue.is_drained()
            if which == "results":  # which may hold half a connection
                assert one.results.closed

    virtual_time(story())


def test_an_origin_goes_on_when_the_broker_comes(virtual_time: Run) -> None:
    async def story() -> None:
        async with origin_of(60.0) as one:
            one.broker.is_up = False
            asyncio.get_running_loop().call_later(20.0, setattr, one.broker, "is_up", True)  # noqa: FBT003
            supply = await one.open()
            assert one.notes[-1] == ""
            await supply.close()

    virtual_time(story())


def test_a_queue_that_is_not_there_is_no_reason_to_wait(virtual_time: Run) -> None:
    async def story() -> None:
        async with origin_of(60.0) as one:
            one.broker._exists = False
            with pytest.raises(QueueError, match="there is no queue links"):
                await one.open()
            assert one.notes == []

    virtual_time(story())


async def test_a_whole_run_over_a_ledger_with_its_thread(tmp_path: Path) -> None:
    """In real time, for the thread; all else above is virtual."""
    broker = MemoryBroker()
    broker.make()
    broker.put([(f"m{n}", b'{"opportunity_id":1,"contact_id":%d}' % n) for n in range(1, 101)])
    queue = MemoryQueue(broker)
    tally = Tally()
    async with Ledger(tmp_path / "ledger.db", create=True) as ledger, queue:
        await ledger.begin_session()
        supply = QueueSupply(queue, None, ledger, tally, plan=PLAN, tell=lambda _: None)

        async def lane() -> None:
            while (pair := await supply.take()) is not None:
                outcome = Outcome(pair, Status.LINKED, (LINKED,), "", 201)
                await ledger.settle(outcome)
                tally.recorded(outcome)
                await supply.settled(outcome)

        lanes = [asyncio.create_task(lane()) for _ in range(8)]
        try:
            await supply.read()
            await asyncio.gather(*lanes)
        finally:
            with suppress(WorkerError):
                await supply.close()
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert audit(reader) == []
        assert reader.counts()[Status.LINKED] == 100
    assert broker.is_drained
