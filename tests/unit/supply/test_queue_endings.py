"""What becomes of a message: linked, tried again, given up, a duplicate; and what is published of it."""

import asyncio
import json

from tests.memory_queue import MemoryQueue
from tests.unit.supply.queue_desk import LATER, LINKED, NO, OK, UNKNOWN, Run, desk_of, planned
from worker.ledger import WORN_OUT
from worker.models import Status
from worker.queues import Failure
from worker.supply.queue import LONGEST_DELAY


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
            assert (letter.failure, letter.deliveries) == (Failure("unavailable", "retryable", 503, 1), 8)
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
            assert (letter.failure, letter.deliveries) == (Failure(WORN_OUT, "retryable"), 3)

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
            assert [letters[f"p{n}"].failure for n in range(5)] == [
                Failure("not valid JSON", "invalid"),
                Failure("not valid JSON", "invalid"),
                Failure("not a JSON object", "invalid"),
                Failure("no opportunity_id", "invalid"),
                Failure("message larger than 64 KiB", "invalid"),
            ]
            assert letters["gone"].failure == Failure("not_found", "rejected", 404, 1)
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
