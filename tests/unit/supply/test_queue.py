"""A queue as supply: nothing is acknowledged before it is durable, nothing is lost, nothing is forgotten."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import VirtualLoop
from tests.memory_queue import MemoryBroker, MemoryQueue
from tests.unit.supply.queue_desk import (
    ENDLESS,
    LATER,
    LINKED,
    NO,
    OK,
    PLAN,
    UNKNOWN,
    Desk,
    Run,
    Settle,
    desk_of,
    later,
    planned,
)
from worker.errors import QueueError, QueueUnavailable, WorkerError
from worker.ledger import Ledger, LedgerReader, audit
from worker.models import Ask, Attempt, Kind, Outcome, Pair, PreState, Request, Result, Status
from worker.operations.base import Again
from worker.operations.compare import Pairs, compare, looks
from worker.operations.policy import RetryPolicy
from worker.queues import Failure
from worker.sources import MESSAGE_COLUMNS
from worker.supply.queue import FLUSH_SECONDS, QueueSupply
from worker.tally import RunTally

if TYPE_CHECKING:
    from worker.operations.look import Told


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


def test_the_same_message_id_on_other_pairs_loses_none_and_each_has_its_own_result(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(results=True) as desk:
            bodies = [{"opportunity_id": 7, "contact_id": n} for n in (1, 2, 3)]
            desk.put(*[("order-7", body) for body in [*bodies, *bodies, {"opportunity_id": 7}]])
            await desk.work()
            assert sorted(pair.contact_id for pair in desk.sent) == [1, 2, 3]
            assert desk.states() == {Status.LINKED: 3, Status.INVALID: 1}
            assert desk.results is not None
            told = [(name, said["contact_id"], said["status"]) for name, said in desk.results.kept]
            assert sorted(told, key=str) == [
                *(("order-7", n, "linked") for n in (1, 2, 3)),
                ("order-7", None, "invalid"),
            ]
            assert desk.broker.is_drained

    virtual_time(story())


def test_the_witness_sees_an_acknowledgement_that_comes_too_early(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            desk.put_pairs(1, 1)
            reading = desk.reading()
            await desk.supply.take(1)
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
            taking = asyncio.create_task(desk.supply.take(1))
            await later(60.0)
            assert not taking.done()
            desk.ledger.gate.set()
            assert await taking == [Pair(1, 1, 1, 1)]
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
            (first,), (second,), *_ = [await desk.supply.take(1) for _ in range(4)]
            await later(60.0)
            assert len(desk.broker._held) == 4
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


@example(
    words=["deaf", "late", "fine", "deaf", "fine", "fine", "fine", "fine", "late", "deaf", "fine"], seed=33
)
@given(words=st.lists(st.sampled_from([*WORDS, "fine", "fine"]), max_size=60), seed=st.integers(0, 99))
@settings(max_examples=60)
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
                if how in (OK, NO):
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


def test_what_is_put_back_from_the_dead_letters_while_a_worker_runs_is_tried_anew(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False, limit=2), results=True) as desk:
            answers = iter([NO, NO, OK, OK])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 1)
            loop = asyncio.get_running_loop()
            for at in (10.0, 20.0):
                loop.call_later(at, desk.requeue)
            loop.call_later(30.0, desk.put_pairs, 2, 2)
            await desk.work()
            assert [pair.contact_id for pair in desk.sent] == [1, 1, 1, 2]
            assert desk.states() == {Status.LINKED: 2}
            assert desk.queue.said == [
                *[("publish", "m1"), ("dead", "m1")] * 2,
                *[("publish", "m1"), ("ack", "m1"), ("publish", "m2"), ("ack", "m2")],
            ]
            assert desk.dead() == []
            assert desk.broker.is_drained

    virtual_time(story())


def test_what_is_put_back_and_only_handed_out_again_then_is_not_sent_a_second_time(virtual_time: Run) -> None:
    """The connection was lost between the outcome and its acknowledgement."""

    async def story() -> None:
        async with desk_of() as desk:
            desk.portal = lambda _: NO
            desk.put_pairs(1, 1)
            await desk.work()
            desk.requeue()
            desk.queue.trouble.words = iter(["fine", "fine", "cut"])
            await desk.open()
            await desk.work()
            assert [verb for verb, _ in desk.queue.said] == ["dead"] * 4
            assert len(desk.sent) == 2
            (letter,) = desk.dead()
            assert letter.deliveries == 2
            assert desk.states() == {Status.REJECTED: 1}

    virtual_time(story())


def test_of_two_messages_for_a_pair_that_are_put_back_one_is_a_duplicate_and_counted_so(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of(planned(prefetch=4), results=True) as desk:
            desk.portal = lambda _: NO
            body = {"opportunity_id": 1, "contact_id": 1}
            for name in "ab":
                desk.put((name, body))
                await desk.work()
                await desk.open()
            assert desk.states() == {Status.REJECTED: 2}
            desk.requeue()
            desk.portal, desk.seconds = lambda _: OK, 1.0
            await desk.work()
            assert desk.states() == {Status.LINKED: 1, Status.DUPLICATE: 1}
            assert desk.results is not None
            assert [(name, said["status"]) for name, said in desk.results.kept[2:]] == [
                ("b", "duplicate"),
                ("a", "linked"),
            ]
            assert desk.broker.is_drained

    virtual_time(story())


def test_a_message_that_comes_anew_before_its_outcome_is_told_has_a_second_one(virtual_time: Run) -> None:
    """The ledger knows that it was rejected; each of its lives is settled, and by its own end."""

    async def story() -> None:
        async with desk_of(planned(drain=False, prefetch=4)) as desk:
            desk.put_pairs(1, 1)
            working = asyncio.create_task(desk.work(0))
            (first,) = await desk.supply.take(1)
            status, attempt = NO
            outcome = Outcome(first, status, (attempt,), attempt.reason, attempt.http_status)
            await desk.ledger.settle([outcome])

            other = MemoryQueue(desk.broker)  # another worker gives up what was published twice
            desk.put_pairs(1, 1)
            desk.broker.bury(other, desk.broker.take(other, 1)[0].handle, Failure("not_found", "rejected"))
            desk.requeue()
            (second,) = await desk.supply.take(1)
            assert second.row == first.row
            desk.tally.recorded(outcome)
            await desk.supply.settled(outcome)
            await desk.settle(second, OK)
            await later(1.0)
            assert desk.queue.said == [("ack", "m1"), ("dead", "m1")]
            assert desk.states() == {Status.LINKED: 1}
            assert desk.broker.is_drained
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working

    virtual_time(story())


def test_an_outcome_that_comes_between_the_ledgers_answer_and_its_reading_is_found_the_next_time(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of(planned(prefetch=2)) as desk:
            desk.put_pairs(1, 1)
            working = asyncio.create_task(desk.work(0))
            (pair,) = await desk.supply.take(1)
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
            assert await desk.supply.take(1) == ()
            # All are handed out again, but for those that the broker was told about before.
            assert desk.broker._held == {}
            assert len(desk.broker._waiting) + len(desk.broker._delayed) >= 1

    virtual_time(story())


def test_a_reading_that_is_cancelled_lets_the_lanes_end(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False)) as desk:
            reading = desk.reading()
            taking = [asyncio.create_task(desk.supply.take(1)) for _ in range(3)]
            await later(60.0)
            assert not any(task.done() for task in taking)
            reading.cancel()
            assert await asyncio.gather(*taking) == [()] * 3
            await desk.supply.close()

    virtual_time(story())


def test_close_gives_back_what_is_open_and_settles_what_has_an_outcome(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False)) as desk:
            desk.put_pairs(1, 5)
            reading = desk.reading()
            (first,), (second,), _ = [await desk.supply.take(1) for _ in range(3)]
            await desk.settle(first, OK)
            await desk.settle(second, NO)
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
            (pair,) = await desk.supply.take(1)
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


class Members:
    """What the portal says of its members: those with these contacts are there, others not."""

    def __init__(self, *there: int) -> None:
        self.there = there
        self.missing = False
        self.script: deque[Attempt] = deque()
        self.sought: list[list[int]] = []

    async def find(self, ask: Ask) -> Attempt:
        self.sought.append(list(ask.contact_ids))
        await asyncio.sleep(0.01)
        if self.script:
            return self.script.popleft()
        if self.missing:
            return Attempt(Result.PERMANENT, "not_found", 404)
        found = {one: b'{"id":%d}' % one for one in ask.contact_ids if one in self.there}
        return Attempt(Result.OK, http_status=200, found=found)


async def looked_for(desk: Desk, members: Members, pairs: Sequence[Pair]) -> AsyncIterator[Pair]:
    """Look for these pairs as a run does; gives those that are to be sent."""
    unread = [pair for pair in pairs if pair.pre is PreState.UNREAD]
    for look in looks(unread, RetryPolicy(), Random(0)):  # noqa: S311 - spreads backoffs
        step: Again | Told[Pairs] = Again()
        while isinstance(step, Again):
            attempt = await members.find(look.ask())
            desk.ledger.note(Request(Kind.LOOK, attempt.result, 1))
            step = look.take(attempt)
        compared = compare(step)
        await desk.ledger.looked(compared.absent, compared.in_doubt)
        await desk.ledger.settle(compared.settled)
        for outcome in compared.settled:
            desk.tally.recorded(outcome)
            await desk.supply.settled(outcome)
        for pair in compared.to_link:
            yield pair
    for pair in pairs:
        if pair.pre is not PreState.UNREAD:
            yield pair


async def look_and_work(desk: Desk, members: Members, lanes: int = 4) -> None:
    """As the desk works, but each lane looks before it sends."""

    async def lane() -> None:
        while pairs := await desk.supply.take(100):
            async for pair in looked_for(desk, members, pairs):
                desk.sent.append(pair)
                await desk.settle(pair, desk.portal(pair))

    working = [asyncio.create_task(lane()) for _ in range(lanes)]
    try:
        async with asyncio.timeout(ENDLESS):
            await desk.supply.read()
            await asyncio.gather(*working)
    finally:
        for task in working:
            task.cancel()
        await desk.supply.close()


def test_as_many_are_given_at_once_as_were_asked_for_and_have_come_in_order_and_each_once(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False, prefetch=8)) as desk:
            desk.put_pairs(1, 6)
            reading = desk.reading()
            had = [await desk.supply.take(most) for most in (1, 2, 9)]
            assert [[pair.contact_id for pair in some] for some in had] == [[1], [2, 3], [4, 5, 6]]
            reading.cancel()
            await asyncio.wait({reading})
            assert await desk.supply.take(9) == ()
            await desk.supply.close()

    virtual_time(story())


@pytest.mark.parametrize(("look_first", "status"), [(True, Status.NOT_ATTEMPTED), (False, Status.UNKNOWN)])
def test_messages_are_noted_as_about_to_be_sent_at_once_unless_it_is_to_be_looked_first(
    virtual_time: Run, status: Status, *, look_first: bool
) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False, look_first=look_first)) as desk:
            desk.put_pairs(1, 3)
            reading = desk.reading()
            assert len(await desk.supply.take(1)) == 1
            assert [row.status for row in desk.rows()] == [status] * 3
            reading.cancel()
            await asyncio.wait({reading})
            await desk.supply.close()

    virtual_time(story())


def test_messages_whose_links_are_there_are_acknowledged_with_their_contacts_and_never_sent(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of(planned(look_first=True), results=True) as desk:
            desk.put_pairs(1, 10)
            members = Members(2, 5, 7)
            await look_and_work(desk, members)
            assert desk.states() == {Status.LINKED: 7, Status.ALREADY_LINKED: 3}
            assert {pair.contact_id for pair in desk.sent} == {1, 3, 4, 6, 8, 9, 10}
            assert {pair.pre for pair in desk.sent} == {PreState.ABSENT}
            assert members.sought == [list(range(1, 11))]
            assert desk.results is not None
            told = {name: result for name, result in desk.results.kept if name in {"m2", "m5", "m7"}}
            assert {name: (result["status"], result["contact"]) for name, result in told.items()} == {
                f"m{one}": ("already_linked", {"id": one}) for one in (2, 5, 7)
            }
            assert Counter(verb for verb, _ in desk.queue.said) == {"publish": 10, "ack": 10}
            assert desk.broker.is_drained

    virtual_time(story())


def test_messages_of_an_opportunity_that_is_not_there_are_dead_and_never_sent(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(look_first=True)) as desk:
            desk.put_pairs(1, 3)
            members = Members()
            members.missing = True
            await look_and_work(desk, members)
            assert desk.states() == {Status.REJECTED: 3}
            assert desk.sent == []
            assert sorted(letter.identity for letter in desk.dead()) == ["m1", "m2", "m3"]

    virtual_time(story())


def test_a_message_whose_look_cannot_be_read_comes_again_and_is_looked_for_again(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(look_first=True)) as desk:
            desk.put_pairs(1, 1)
            members = Members()
            members.script.extend([Attempt(Result.AMBIGUOUS, "unavailable", 503)] * 3)
            await look_and_work(desk, members)
            assert len(members.sought) == 4
            assert desk.queue.said == [("release", "m1"), ("ack", "m1")]
            assert desk.states() == {Status.LINKED: 1}
            assert [pair.pre for pair in desk.sent] == [PreState.ABSENT]

    virtual_time(story())


@pytest.mark.parametrize("earlier", ["someone else had it", "its look could not be read"])
def test_a_message_in_doubt_whose_link_is_there_has_its_intent_on_disk_before_a_lane_gets_it(
    virtual_time: Run, earlier: str
) -> None:
    async def story() -> None:
        async with desk_of(planned(look_first=True)) as desk:
            desk.put_pairs(1, 1)
            members = Members(1)
            if earlier == "someone else had it":
                other = MemoryQueue(desk.broker)
                await other.open()
                (message,) = await other.receive(1, 1.0)
                await other.release(message.handle, 0.0)
            else:
                members.script.extend([Attempt(Result.AMBIGUOUS, "unavailable", 503)] * 3)
            intents: list[bool] = []

            def portal(pair: Pair) -> Settle:
                with LedgerReader(desk.ledger.path) as reader:
                    sent = reader.query("SELECT sent_at IS NOT NULL FROM rows WHERE row = ?", (pair.row,))
                    intents.append(next(sent) == (1,))
                return OK

            desk.portal = portal
            await look_and_work(desk, members)
            assert intents == [True] * len(desk.sent)
            assert desk.states().total() == 1  # and the ledger agrees with itself

    virtual_time(story())


async def test_a_whole_run_over_a_ledger_with_its_thread(tmp_path: Path) -> None:
    """In real time, for the thread; all else above is virtual."""
    broker = MemoryBroker()
    broker.make()
    broker.put([(f"m{n}", b'{"opportunity_id":1,"contact_id":%d}' % n) for n in range(1, 101)])
    queue = MemoryQueue(broker)
    tally = RunTally()
    async with Ledger(tmp_path / "ledger.db", create=True) as ledger, queue:
        await ledger.begin_session()
        supply = QueueSupply(queue, None, ledger, tally, plan=PLAN, tell=lambda _: None)

        async def lane() -> None:
            while some := await supply.take(1):
                (pair,) = some
                outcome = Outcome(pair, Status.LINKED, (LINKED,), "", 201)
                await ledger.settle([outcome])
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
