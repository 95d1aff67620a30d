"""What every broker promises to a worker, sentence by sentence of worker.queues.base."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from tests.contracts.conftest import LEASE, Lab
from worker.errors import QueueMissing, QueueUnavailable
from worker.queues import Failure, Message, Queue

LONG = 30.0
"""Seconds of a lease that does not run out while a test lasts."""

# What a broker may need to notice something, and a busy machine to run it.
MARGIN = 10.0

FAILURE = Failure('no pair: "x"\n\u00fc\u20ac', "rejected", 404, 3)


async def publish(lab: Lab, *messages: tuple[str, bytes]) -> None:
    await (await lab.publisher()).publish(messages)


async def publish_numbers(lab: Lab, count: int) -> list[str]:
    identities = [f"m{number}" for number in range(count)]
    await publish(lab, *((identity, identity.encode()) for identity in identities))
    return identities


async def take(queue: Queue, count: int, *, within: float = MARGIN) -> list[Message]:
    """That many messages, or those that came in time."""
    messages: list[Message] = []
    end = time.monotonic() + within
    while len(messages) < count and (left := end - time.monotonic()) > 0:
        messages += await queue.receive(count - len(messages), min(left, 1.0))
    return messages


async def take_one(queue: Queue, *, within: float = MARGIN) -> Message:
    (message,) = await take(queue, 1, within=within)
    return message


async def nothing_comes(queue: Queue, seconds: float = 2.5 * LEASE) -> bool:
    return await take(queue, 1, within=seconds) == []


async def eventually(question: Callable[[], Awaitable[bool]]) -> bool:
    """Whether the answer becomes yes; brokers may need a moment to see what they were told."""
    end = time.monotonic() + MARGIN
    while not (answer := await question()) and time.monotonic() < end:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0.05)
    return answer


async def test_messages_come_in_order_and_as_they_were_published(lab: Lab) -> None:
    published = [(f"m{number}", f"body {number}".encode()) for number in range(1_500)]
    await publish(lab, *published)
    messages = await take(await lab.queue(lease=LONG), 1_500)
    assert [(message.identity, message.body) for message in messages] == published
    assert {message.deliveries for message in messages} == {1}
    assert len({message.handle for message in messages}) == 1_500


async def test_a_second_batch_comes_after_the_first(lab: Lab) -> None:
    publisher = await lab.publisher()
    await publisher.publish([("1", b"a")])
    await publisher.publish([])
    await publisher.publish([("2", b"b"), ("3", b"c")])
    messages = await take(await lab.queue(), 3)
    assert [message.identity for message in messages] == ["1", "2", "3"]


async def test_messages_that_share_an_identity_are_all_handed_out_and_rest_apart(lab: Lab) -> None:
    """Publishers name messages as they like: three contacts of order-7 are three messages."""
    bodies = [b'{"opportunity_id":7,"contact_id":%d}' % contact for contact in (1, 2, 3)]
    await publish(lab, *(("order-7", body) for body in bodies))
    queue, letters = await lab.queue(), await lab.dead_letters()
    messages = await take(queue, 3)
    assert [(message.identity, message.body) for message in messages] == [("order-7", b) for b in bodies]
    for message in messages:
        await queue.dead(message.handle, FAILURE)
    assert [letter.body for letter in await letters.letters(10)] == bodies
    assert await letters.requeue(10) == 3
    assert sorted(message.body for message in await take(queue, 3)) == bodies


@pytest.mark.parametrize(
    "body",
    [bytes(range(256)), b"", b"\xff\x00" * 500_000, b"\r\n$5\r\n", "\u00fc\u20ac\U0001f600".encode()],
    ids=["binary", "empty", "a million bytes", "like a protocol", "text"],
)
async def test_a_body_may_be_any_bytes_on_every_path(lab: Lab, body: bytes) -> None:
    await publish(lab, ("id \u00fc: 1", body))
    queue, letters = await lab.queue(), await lab.dead_letters()

    async def is_whole() -> str:
        message = await take_one(queue)
        assert (message.identity, message.body) == ("id \u00fc: 1", body)
        return message.handle

    await queue.release(await is_whole(), 0.0)
    await queue.release(await is_whole(), 0.2)
    await queue.dead(await is_whole(), FAILURE)
    (letter,) = await letters.letters(10)
    assert (letter.identity, letter.body) == ("id \u00fc: 1", body)
    assert await letters.requeue(10) == 1
    await queue.ack([await is_whole()])


async def test_an_identity_may_be_of_any_length_and_different_ones_stay_different(lab: Lab) -> None:
    names = ["n" * 255, "n" * 256, *("n" * 10_000 + end for end in "ab"), "\u00fc\u20ac" * 100]
    await publish(lab, *((name, b"body") for name in (*names, names[-1])))
    queue, letters = await lab.queue(), await lab.dead_letters()
    messages = await take(queue, len(names), within=MARGIN)
    found = [message.identity for message in messages]
    assert found[0] == names[0]
    assert len(set(found)) == len(names)
    for name, identity in zip(names, found, strict=True):
        assert identity[:70] == name[:70]
    for message in messages:
        await queue.dead(message.handle, FAILURE)
    for message in await queue.receive(1, 1.0):  # where a broker does not swallow what was published twice
        assert message.identity == found[-1]
        await queue.ack([message.handle])
    assert [letter.identity for letter in await letters.letters(10)] == found
    assert await letters.requeue(10) == len(names)
    assert {message.identity for message in await take(queue, len(names))} == set(found)


async def test_receive_gives_no_more_than_was_asked_for(lab: Lab) -> None:
    identities = await publish_numbers(lab, 10)
    queue = await lab.queue()
    first = await queue.receive(3, MARGIN)
    assert 1 <= len(first) <= 3
    rest = await take(queue, 10 - len(first))
    assert [message.identity for message in first + rest] == identities


async def test_receive_gives_up_after_the_wait(lab: Lab) -> None:
    await lab.publisher()
    queue = await lab.queue()
    for wait in (0.0, 0.5, 1.5):
        began = time.monotonic()
        assert await queue.receive(5, wait) == []
        assert wait - 0.05 <= time.monotonic() - began <= wait + MARGIN / 2


async def test_receive_does_not_wait_for_more_than_there_is(lab: Lab) -> None:
    await publish_numbers(lab, 2)
    queue = await lab.queue()
    began = time.monotonic()
    assert await queue.receive(50, MARGIN)
    assert time.monotonic() - began < MARGIN / 2


async def test_receive_without_any_wait_finds_what_is_there(lab: Lab) -> None:
    await publish_numbers(lab, 1)
    queue = await lab.queue()
    assert await eventually(lambda: found(queue))


async def found(queue: Queue) -> bool:
    return bool(await queue.receive(1, 0.0))


async def test_a_message_that_comes_during_the_wait_ends_it(lab: Lab) -> None:
    publisher, queue = await lab.publisher(), await lab.queue()
    began = time.monotonic()
    receiving = asyncio.create_task(queue.receive(5, MARGIN))
    await asyncio.sleep(0.5)
    await publisher.publish([("late", b"x")])
    assert [message.identity for message in await receiving] == ["late"]
    assert time.monotonic() - began < MARGIN / 2


async def test_other_calls_do_not_wait_for_a_receive(lab: Lab) -> None:
    await publish_numbers(lab, 3)
    queue = await lab.queue()
    one, two, three = await take(queue, 3)
    receiving = asyncio.create_task(queue.receive(1, MARGIN))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await queue.ack([one.handle])
    await queue.dead(two.handle, FAILURE)
    assert not await queue.is_drained()
    assert time.monotonic() - began < MARGIN / 2
    await queue.release(three.handle, 0.2)
    assert [message.identity for message in await receiving] == [three.identity]


async def test_what_is_acknowledged_never_comes_again(lab: Lab) -> None:
    await publish_numbers(lab, 30)
    queue = await lab.queue()
    handles = [message.handle for message in await take(queue, 30)]
    await queue.ack([])
    await queue.ack(handles[:1])
    await queue.ack(handles)
    await queue.close()
    other = await lab.queue()
    assert await nothing_comes(other)
    assert await other.is_drained()
    assert await (await lab.dead_letters()).letters(10) == []


async def test_a_released_message_comes_after_its_delay_and_not_before(lab: Lab) -> None:
    await publish(lab, ("x", b"body"))
    queue, other = await lab.queue(), await lab.queue()
    message = await take_one(queue)
    began = time.monotonic()
    await queue.release(message.handle, 1.5)
    again = await take_one(other)
    assert 1.5 <= time.monotonic() - began < MARGIN
    assert (again.identity, again.body, again.deliveries) == ("x", b"body", 2)
    assert again.handle != message.handle


async def test_a_delay_outlives_the_worker_that_asked_for_it(lab: Lab) -> None:
    await publish(lab, ("x", b"body"))
    queue = await lab.queue()
    began = time.monotonic()
    await queue.release((await take_one(queue)).handle, 2.0)
    await queue.close()
    again = await take_one(await lab.queue())
    assert time.monotonic() - began >= 2.0
    assert (again.identity, again.deliveries) == ("x", 2)


async def test_a_short_delay_is_not_kept_by_a_long_one(lab: Lab) -> None:
    await publish_numbers(lab, 2)
    queue = await lab.queue()
    one, two = await take(queue, 2)
    await queue.release(one.handle, 60.0)
    await queue.release(two.handle, 0.5)
    assert (await take_one(queue, within=5.0)).identity == two.identity


async def test_without_delay_a_released_message_comes_at_once(lab: Lab) -> None:
    await publish(lab, ("x", b"body"))
    queue, other = await lab.queue(lease=LONG), await lab.queue(lease=LONG)
    message = await take_one(queue)
    for deliveries in range(2, 7):
        await queue.release(message.handle, 0.0)
        message = await take_one(other, within=3.0)
        assert (message.identity, message.body, message.deliveries) == ("x", b"body", deliveries)
        queue, other = other, queue


async def test_a_dead_message_is_a_letter_and_no_longer_on_the_queue(lab: Lab) -> None:
    await publish(lab, ("x", b"\x00body"))
    queue, letters = await lab.queue(), await lab.dead_letters()
    await queue.release((await take_one(queue)).handle, 0.0)
    await queue.dead((await take_one(queue)).handle, FAILURE)
    (letter,) = await letters.letters(10)
    assert (letter.identity, letter.body, letter.deliveries) == ("x", b"\x00body", 2)
    assert letter.failure == FAILURE
    assert abs(letter.dead_at - time.time()) < MARGIN
    assert await nothing_comes(queue)
    assert await queue.is_drained()


async def test_a_message_may_die_without_ever_having_been_sent(lab: Lab) -> None:
    await publish(lab, ("x", b""))
    queue = await lab.queue()
    await queue.dead((await take_one(queue)).handle, Failure("no pair", "invalid"))
    (letter,) = await (await lab.dead_letters()).letters(10)
    assert letter.failure == Failure("no pair", "invalid", None, 0)


async def test_there_may_be_no_letters(lab: Lab) -> None:
    await lab.publisher()
    letters = await lab.dead_letters()
    assert await letters.letters(10) == []
    assert await letters.requeue(10) == 0


async def test_looking_at_letters_leaves_them_where_they_are(lab: Lab) -> None:
    identities = await publish_numbers(lab, 5)
    queue, letters = await lab.queue(), await lab.dead_letters()
    for message in await take(queue, 5):
        await queue.dead(message.handle, FAILURE)
    for most in (3, 3, 10, 5):
        assert [letter.identity for letter in await letters.letters(most)] == identities[:most]
    assert {letter.deliveries for letter in await letters.letters(5)} == {1}


async def test_requeued_letters_are_new_messages_with_their_old_identity(lab: Lab) -> None:
    identities = await publish_numbers(lab, 5)
    queue, letters = await lab.queue(), await lab.dead_letters()
    for message in await take(queue, 5):
        await queue.dead(message.handle, FAILURE)
    assert await letters.requeue(2) == 2
    assert [letter.identity for letter in await letters.letters(10)] == identities[2:]
    back = await take(queue, 2)
    assert [(message.identity, message.body, message.deliveries) for message in back] == [
        (identity, identity.encode(), 1) for identity in identities[:2]
    ]
    assert await letters.requeue(10) == 3
    assert await letters.letters(10) == []
    await queue.ack([message.handle for message in back])
    rest = await take(queue, 3)
    assert [message.identity for message in rest] == identities[2:]
    await queue.dead(rest[0].handle, Failure("again", "rejected"))
    (letter,) = await letters.letters(10)
    assert (letter.identity, letter.failure.reason, letter.deliveries) == (identities[2], "again", 1)


async def test_however_many_letters_are_put_back_none_stays_behind(lab: Lab) -> None:
    """One that did would be put back a second time, as another message."""
    identities = await publish_numbers(lab, 130)
    queue, letters = await lab.queue(lease=LONG), await lab.dead_letters()
    for message in await take(queue, 130):
        await queue.dead(message.handle, FAILURE)
    assert await letters.requeue(1_000) == 130
    assert await letters.letters(10) == []
    assert await letters.requeue(1_000) == 0
    again = await take(queue, 130)
    assert sorted(message.identity for message in again) == sorted(identities)
    assert not await queue.receive(1, 0.2)


async def test_each_requeue_begins_a_life_that_every_later_delivery_bears(lab: Lab) -> None:
    """Else nobody could tell what is to be tried anew from what is only handed out again."""
    await publish(lab, ("x", b"body"))
    queue, letters = await lab.queue(), await lab.dead_letters()
    lives: list[set[str]] = []
    for _ in range(3):
        message = await take_one(queue)
        seen = {message.life}
        for delay in (0.0, 0.2, 0.2, 0.0):
            await queue.release(message.handle, delay)
            message = await take_one(queue)
            seen.add(message.life)
        await queue.close()
        queue = await lab.queue()
        message = await take_one(queue)
        lives.append({*seen, message.life})
        await queue.dead(message.handle, FAILURE)
        assert await letters.requeue(10) == 1
    assert lives[0] == {""}
    assert [len(seen) for seen in lives] == [1, 1, 1]
    assert len(set.union(*lives)) == 3


async def test_a_life_goes_on_when_its_worker_is_killed(lab: Lab) -> None:
    await publish(lab, ("x", b"body"))
    queue, letters = await lab.queue(), await lab.dead_letters()
    await queue.dead((await take_one(queue)).handle, FAILURE)
    assert await letters.requeue(10) == 1
    message = await take_one(queue)
    await queue.release(message.handle, 0.0)
    await queue.close()
    await lab.die_with(1)
    again = await take_one(await lab.queue(), within=LEASE + MARGIN)
    assert (again.life, again.deliveries) == (message.life, 3)
    assert again.life != ""


async def test_what_a_killed_worker_held_goes_to_another(lab: Lab) -> None:
    identities = await publish_numbers(lab, 5)
    # Long enough to have renewed its leases, which is no delivery.
    assert await lab.die_with(3, after=1.5 * LEASE) == identities[:3]
    queue = await lab.queue()
    messages = await take(queue, 5, within=LEASE + MARGIN)
    assert {message.identity: message.deliveries for message in messages} == {
        identity: 2 if identity in identities[:3] else 1 for identity in identities
    }
    assert {message.body for message in messages} == {identity.encode() for identity in identities}
    await queue.ack([message.handle for message in messages])
    assert await eventually(queue.is_drained)


async def test_deliveries_count_up_however_a_message_comes_back(lab: Lab) -> None:
    await publish_numbers(lab, 1)
    await lab.die_with(1)
    queue = await lab.queue()
    message = await take_one(queue, within=LEASE + MARGIN)
    assert message.deliveries == 2
    await queue.release(message.handle, 0.2)
    message = await take_one(queue)
    assert message.deliveries == 3
    await queue.close()
    assert await lab.die_with(1) == [message.identity]
    last = await take_one(await lab.queue(), within=LEASE + MARGIN)
    assert last.deliveries == 5


async def test_a_live_worker_keeps_its_messages_far_longer_than_a_lease(lab: Lab) -> None:
    await publish_numbers(lab, 3)
    queue, other = await lab.queue(), await lab.queue()
    messages = await take(queue, 3)
    assert await nothing_comes(other, 4 * LEASE)
    assert await nothing_comes(queue, 1.0)
    await queue.ack([message.handle for message in messages])
    assert await eventually(other.is_drained)


async def test_a_queue_is_drained_only_when_nothing_waits_is_held_or_delayed(lab: Lab) -> None:
    publisher = await lab.publisher()
    queue, other = await lab.queue(), await lab.queue()
    assert await queue.is_drained()
    await publisher.publish([("x", b"")])
    assert not await queue.is_drained()
    message = await take_one(queue)
    assert not await queue.is_drained()
    if lab.knows_what_others_hold:
        assert not await other.is_drained()
    await queue.release(message.handle, 1.0)
    assert not await queue.is_drained()
    message = await take_one(queue)
    await queue.ack([message.handle])
    assert await eventually(queue.is_drained)
    assert await eventually(other.is_drained)


async def test_dead_letters_do_not_keep_a_queue_from_being_drained(lab: Lab) -> None:
    await publish_numbers(lab, 1)
    queue = await lab.queue()
    await queue.dead((await take_one(queue)).handle, FAILURE)
    assert await eventually(queue.is_drained)


async def test_a_handle_that_is_no_longer_ours_is_ignored(lab: Lab) -> None:
    await publish(lab, ("x", b"body"))
    queue, other, letters = await lab.queue(), await lab.queue(), await lab.dead_letters()
    stale = await take_one(queue)
    await queue.release(stale.handle, 0.0)
    message = await take_one(other)

    await queue.ack([stale.handle, "nonsense"])
    await queue.dead(stale.handle, FAILURE)
    await queue.release(stale.handle, 0.0)
    assert await letters.letters(10) == []
    assert await nothing_comes(queue)

    # Not acknowledged by any of these: it comes again when its holder gives it back.
    await other.release(message.handle, 0.0)
    last = await take_one(queue)
    assert last.deliveries == 3
    await queue.ack([last.handle])
    await queue.release(last.handle, 0.0)
    await queue.dead(last.handle, FAILURE)
    assert await nothing_comes(queue)
    assert await letters.letters(10) == []


async def test_a_stale_handle_does_not_name_a_later_delivery_to_the_same_worker(lab: Lab) -> None:
    await publish(lab, ("x", b"body"))
    queue, letters = await lab.queue(), await lab.dead_letters()
    stale = await take_one(queue)
    await queue.release(stale.handle, 0.0)
    await take_one(queue)
    await queue.ack([stale.handle])
    await queue.dead(stale.handle, FAILURE)
    assert await letters.letters(10) == []
    await queue.close()
    assert (await take_one(await lab.queue())).deliveries == 3


async def test_close_gives_back_what_is_held(lab: Lab) -> None:
    identities = await publish_numbers(lab, 5)
    queue, other = await lab.queue(lease=LONG), await lab.queue(lease=LONG)
    held = await take(queue, 3)
    await queue.ack([held[0].handle])
    await queue.close()
    messages = await take(other, 4)
    assert sorted(message.identity for message in messages) == sorted(identities[1:])
    assert {message.identity: message.deliveries for message in messages} == {
        "m1": 2,
        "m2": 2,
        "m3": 1,
        "m4": 1,
    }


async def test_everything_may_be_closed_twice_or_without_having_been_open(lab: Lab) -> None:
    for closable in (lab.new_queue(), lab.new_publisher(), lab.new_dead_letters()):
        await closable.close()
    for opened in (await lab.publisher(), await lab.queue(), await lab.dead_letters()):
        await opened.close()
        await opened.close()
    for closable in lab.nowhere():
        with suppress(QueueUnavailable):
            await closable.open()
        await closable.close()


async def test_a_closed_queue_can_be_opened_again(lab: Lab) -> None:
    await publish_numbers(lab, 1)
    queue = await lab.queue(lease=LONG)
    await take_one(queue)
    await queue.close()
    await queue.open()
    assert (await take_one(queue)).deliveries == 2


async def test_a_queue_is_a_context(lab: Lab) -> None:
    await publish_numbers(lab, 1)
    async with lab.new_queue(lease=LONG) as queue:
        assert queue.name == lab.name
        await take_one(queue)
    assert (await take_one(await lab.queue(lease=LONG))).deliveries == 2


async def test_to_open_a_queue_makes_none(lab: Lab) -> None:
    for _ in range(2):
        queue = lab.new_queue()
        with pytest.raises(QueueMissing, match=f"{lab.name}; 'bulklink publish' makes it") as caught:
            await queue.open()
        await queue.close()
        assert not isinstance(caught.value, QueueUnavailable)
        assert "\n" not in str(caught.value)
        assert lab.secret is None or f":{lab.secret}" not in str(caught.value)


async def test_a_broker_that_does_not_answer_is_unavailable(lab: Lab) -> None:
    for openable in lab.nowhere():
        with pytest.raises(QueueUnavailable) as caught:
            await openable.open()
        await openable.close()
        assert "\n" not in str(caught.value)
        assert lab.secret is None or f":{lab.secret}" not in str(caught.value)


async def test_to_open_a_publisher_again_loses_nothing(lab: Lab) -> None:
    identities = await publish_numbers(lab, 3)
    queue = await lab.queue()
    (first,) = await take(queue, 1)
    await lab.publisher()
    rest = await take(queue, 2)
    assert [message.identity for message in [first, *rest]] == identities
    assert await nothing_comes(queue)


async def test_workers_share_a_queue_without_sharing_a_message(lab: Lab) -> None:
    identities = await publish_numbers(lab, 400)
    queues = [await lab.queue(lease=LONG) for _ in range(3)]
    seen: list[str] = []

    async def work(queue: Queue) -> None:
        while len(seen) < 400:
            messages = await queue.receive(10, 0.5)
            seen.extend(message.identity for message in messages)
            await asyncio.sleep(0.01)
            await queue.ack([message.handle for message in messages])

    async with asyncio.timeout(60):
        await asyncio.gather(*map(work, queues))
    assert Counter(seen) == Counter(identities)
    assert await eventually(queues[0].is_drained)


async def test_a_receive_that_is_cancelled_loses_nothing(lab: Lab) -> None:
    publisher, queue = await lab.publisher(), await lab.queue(lease=LONG)
    seen: list[str] = []
    for number in range(40):
        receiving = asyncio.create_task(queue.receive(5, 2.0))
        await asyncio.sleep(0.002 * (number % 5))
        publishing = asyncio.create_task(publisher.publish([(f"m{number}", b"")]))
        await asyncio.sleep(0.002 * (number % 7))
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            seen += [message.identity for message in await receiving]
        await publishing
    seen += [message.identity for message in await take(queue, 40 - len(seen))]
    assert sorted(seen) == sorted(f"m{number}" for number in range(40))
