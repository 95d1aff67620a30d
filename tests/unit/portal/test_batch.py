"""Many operations in one request, against whatever a portal may send back."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any
from urllib.parse import parse_qs, quote_plus

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from worker.errors import PortalClosed, WrongBaseUrl
from worker.limits import Limiter
from worker.limits.batch_size import BatchSize
from worker.models import Ask, Attempt, Exchange, Kind, Result
from worker.operations.base import MOST_LOST
from worker.operations.policy import RetryPolicy
from worker.portal.auth import Credentials
from worker.portal.batch import Batch, FirstBatch, first_batch
from worker.portal.client import PortalClient
from worker.portal.http import Failure, Reply
from worker.portal.identity import User
from worker.quantities import Rate

ASKS = tuple(Ask(Kind.LINK, number % 3 + 1, (number + 10,)) for number in range(8))
NOT_FOUND = {"status": 1, "statusCode": 404, "error": {"message": "Not found", "hresult": -2147467259}}


PROFILE = {"count": 1, "status": 0, "statusCode": 200, "response": {"id": "293b", "displayName": "Zoë"}}


def linked(contact_id: int) -> dict[str, Any]:
    return {"count": 1, "status": 0, "statusCode": 201, "response": {"id": contact_id, "isCompany": False}}


def item(name: object, status: int, data: object) -> dict[str, Any]:
    return {"name": name, "status": status, "data": orjson.dumps(data).decode()}


def good(number: int) -> dict[str, Any]:
    return item(str(number), 201, linked(ASKS[number].contact_ids[0]))


def reply(items: object, status: int = 201, **more: object) -> Reply:
    body = orjson.dumps({"count": 1, "status": 0, "statusCode": status, "response": items, **more})
    return Reply(status, {"Content-Type": "application/json; charset=UTF-8"}, body, 0.5)


def page(status: int, body: bytes = b"<html>no</html>") -> Reply:
    return Reply(status, {"Content-Type": "text/html"}, body, 0.5)


class Wire:
    """Answers as told, and keeps what was sent."""

    origin = "https://portal.example"

    def __init__(self, *answers: Reply | Failure) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    async def call(self, method: str, path: str, **options: Any) -> Reply | Failure:
        self.sent.append((method, path, options))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class World:
    """A batch transport over a wire."""

    def __init__(self, *answers: Reply | Failure, size: int = 8) -> None:
        limiter = Limiter(Rate(100_000, 1.0), 1, max_pause=1.0, rng=Random(0))  # noqa: S311 - jitter
        credentials = Credentials(token=SecretStr("secret"))
        self.client = PortalClient(Wire.origin, credentials, limiter, wire="json", timeout=5.0)
        self.wire = Wire(*answers)
        self.client._http = self.wire  # type: ignore[assignment]  # no sockets here
        self.forbidden: list[str] = []
        self.size = BatchSize(size, longest=3.0)
        self.batch = Batch(self.client, self.size, self.forbid)

    def forbid(self, why: str) -> None:
        self.forbidden.append(why)

    async def send(self, asks: Sequence[Ask] = ASKS) -> Exchange:
        async with self.batch.ready(asks):
            return await self.batch.send(asks)


def results(exchange: Exchange) -> list[Result]:
    return [attempt.result for attempt in exchange.attempts]


async def test_a_batch_is_one_form_with_relative_addresses_names_and_a_body_for_each_write() -> None:
    world = World(reply([good(number) for number in range(8)]))
    look = Ask(Kind.LOOK, 5, (1, 2))
    asks = (ASKS[0], look, Ask(Kind.UNLINK, 6, (7,)))
    await world.send(asks)
    ((method, path, options),) = world.wire.sent
    assert (method, path, options["params"]) == ("POST", "batch", {"fields": "name,status,data"})
    assert options["headers"] == {
        "Authorization": "secret",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept-Encoding": "gzip",
    }
    (items,) = parse_qs(options["data"].decode())["batch"]
    assert options["data"] == b"batch=" + quote_plus(items).encode()
    assert orjson.loads(items) == [
        {
            "name": "0",
            "relativeUrl": "api/2.0/crm/opportunity/1/contact/10",
            "method": "POST",
            "body": "_=1",
        },
        {
            "name": "1",
            "relativeUrl": "api/2.0/crm/opportunity/5/contact?filterBy=id&filterOp=equals&filterValue=1,2",
            "method": "GET",
        },
        {
            "name": "2",
            "relativeUrl": "api/2.0/crm/opportunity/6/contact/7",
            "method": "DELETE",
            "body": "_=1",
        },
    ]


async def test_each_item_is_judged_as_it_would_be_alone() -> None:
    items = [good(number) for number in range(8)]
    items[2] = item("2", 404, NOT_FOUND)
    items[3] = item("3", 500, {**NOT_FOUND, "statusCode": 500})
    items[4] = item("4", 201, linked(999))
    exchange = await World(reply(items)).send()
    assert results(exchange) == [
        *[Result.OK] * 2,
        Result.PERMANENT,
        Result.AMBIGUOUS,
        Result.AMBIGUOUS,
        *[Result.OK] * 3,
    ]
    assert [a.reason for a in exchange.attempts[2:5]] == ["not_found", "server_error", "wrong_id"]
    # They have answers of their own, so what befell them is their own.
    assert not any(attempt.shared for attempt in exchange.attempts)
    assert (exchange.request.kind, exchange.request.items, exchange.request.result) == (
        *(Kind.BATCH, 8),
        Result.OK,
    )


@pytest.mark.parametrize(
    ("answer", "result", "reason"),
    [
        (Failure("timeout", "no answer", 5.0), Result.AMBIGUOUS, "timeout"),
        (Failure("connect", "no connection", 0.0), Result.TRANSIENT, "cannot_connect"),
        (page(502), Result.AMBIGUOUS, "gateway_error"),
        (page(500), Result.AMBIGUOUS, "server_page"),
        (Reply(500, {}, orjson.dumps(NOT_FOUND) * 2, 0.5), Result.AMBIGUOUS, "server_error"),
        (reply(None, 200, error={"message": "no batch specified"}), Result.AMBIGUOUS, "error_in_success"),
        (page(400), Result.TRANSIENT, "bad_request"),
        (page(429), Result.THROTTLED, "throttled"),
    ],
)
async def test_what_befalls_the_whole_befalls_each_and_none_has_an_answer_of_its_own(
    answer: Reply | Failure, result: Result, reason: str
) -> None:
    exchange = await World(answer).send()
    assert set(results(exchange)) == {result}
    assert {(a.reason, a.shared) for a in exchange.attempts} == {(reason, True)}
    assert exchange.request.result is result


async def test_a_portal_that_fails_most_of_a_batch_is_one_that_fails() -> None:
    items = [item(str(n), 500, {**NOT_FOUND, "statusCode": 500}) for n in range(4)]
    exchange = await World(reply([*items, *(good(n) for n in range(4, 8))])).send()
    assert (exchange.request.result, exchange.request.reason) == (Result.AMBIGUOUS, "server_error")


async def test_a_route_that_is_refused_is_given_up_and_nothing_is_burned() -> None:
    world = World(page(404), reply({"id": 10}))
    exchange = await world.send()
    assert set(results(exchange)) == {Result.THROTTLED}
    assert exchange.request.result is not Result.THROTTLED  # nobody is to be held back for it
    assert world.forbidden == ["the portal stopped taking batches: HTTP 404 no_such_route"]
    assert world.batch.size == 1


@pytest.mark.parametrize(
    "answer",
    [Failure("connect", "no connection", 0.0), Failure("disconnected", "lost", 0.01), page(502), page(429)],
)
async def test_a_batch_that_broke_off_however_soon_makes_none_larger(answer: Reply | Failure) -> None:
    world = World(answer, size=200)
    for _ in range(20):
        await world.send()
        assert world.size.size <= 20


async def test_an_answer_that_is_too_large_makes_batches_smaller_for_good() -> None:
    world = World(Failure("too_large", "answer above", 0.5), reply([good(number) for number in range(8)]))
    exchange = await world.send()
    assert [attempt.shared for attempt in exchange.attempts] == [True] * 8
    assert world.batch.size == 4
    for _ in range(20):
        await world.send()
    assert world.batch.size == 4


async def test_a_refusal_of_the_whole_is_no_word_on_any_of_its_pairs() -> None:
    denied = {"status": 1, "error": {"message": "No", "hresult": -2146233078}}
    world = World(Reply(403, {}, orjson.dumps(denied), 0.1))
    exchange = await world.send()
    assert {attempt.result for attempt in exchange.attempts} == {Result.THROTTLED}
    assert (len(world.forbidden), world.batch.size) == (1, 1)


async def test_that_a_route_is_refused_is_told_once_by_however_many_batches() -> None:
    world = World(page(404))
    await asyncio.gather(*(world.batch.send(ASKS) for _ in range(3)))
    assert len(world.forbidden) == 1


@pytest.mark.parametrize("refusal", [page(413), page(403)])
async def test_a_batch_that_a_proxy_finds_too_large_makes_batches_smaller_and_burns_nothing(
    refusal: Reply,
) -> None:
    """Firewalls let so many bytes through, and refuse what is larger with 413, or 403 and a page."""
    world = World(refusal, reply([good(number) for number in range(4)]))
    exchange = await world.send()
    assert set(results(exchange)) == {Result.THROTTLED}
    assert exchange.request.result is not Result.THROTTLED
    assert (world.forbidden, world.batch.size) == ([], 4)
    assert set(results(await world.send(ASKS[:4]))) == {Result.OK}
    for _ in range(20):
        await world.send(ASKS[:4])
    assert world.batch.size == 4


@pytest.mark.parametrize("refusal", [page(413), page(403)])
async def test_a_batch_no_larger_than_one_that_was_taken_is_not_refused_for_its_size(refusal: Reply) -> None:
    world = World(reply([good(number) for number in range(8)]), refusal)
    await world.send()
    await world.send(ASKS[:6])
    assert (len(world.forbidden), world.batch.size) == (1, 1)


@pytest.mark.parametrize("refusal", [page(413), page(403)])
async def test_batches_that_are_refused_however_small_are_given_up_after_a_few(refusal: Reply) -> None:
    world = World(refusal)
    while world.batch.size > 1:
        await world.send(ASKS[: world.batch.size])
    assert (len(world.forbidden), len(world.wire.sent)) == (1, 3)


LOST = (
    Failure("disconnected", "lost", 0.01),
    Failure("payload", "cut", 0.1),
    Failure("timeout", "no answer", 5.0),
    page(400),
    page(500),
    page(502),
    page(200),
    Reply(201, {}, b"", 0.1),
    reply(None, 200, error={"message": "no batch specified"}),
    reply([None] * 8),
    reply([{**good(number), "name": number} for number in range(8)]),
    reply([item(str(n), 500, {**NOT_FOUND, "statusCode": 500}) for n in range(8)]),
)
ALONE = Reply(201, {}, orjson.dumps(linked(10)), 0.1)


async def lose(world: World, lost: Reply | Failure, alone: Reply | Failure, most: int = 40) -> int:
    """Send until batches are given up; gives how many of them went, of so many requests at most."""
    batches = 0
    for _ in range(most):
        is_alone = world.batch.size == 1
        world.wire.answers = [alone if is_alone else lost]
        batches += not is_alone
        await world.send(ASKS[:1] if is_alone else ASKS)
        if world.forbidden:
            break
    return batches


@pytest.mark.parametrize("lost", LOST)
async def test_batches_that_get_lost_while_requests_of_one_are_answered_are_given_up_before_pairs_are(
    lost: Reply | Failure,
) -> None:
    world = World()
    assert await lose(world, lost, ALONE) < MOST_LOST
    (why,) = world.forbidden
    assert why.startswith("batches fail, requests of one do not: ")
    assert world.batch.size == 1


@pytest.mark.parametrize("throttled", [page(503), page(429)])
async def test_to_be_throttled_neither_ends_batches_nor_makes_them_smaller(throttled: Reply) -> None:
    """Under a limit a batch that comes too early is refused, and one that was waited for is taken."""
    world = World()
    size = world.batch.size
    for number in range(40):
        is_alone = world.batch.size == 1
        taken = ALONE if is_alone else reply([good(number) for number in range(8)])
        world.wire.answers = [throttled if number % 3 < 2 else taken]
        await world.send(ASKS[:1] if is_alone else ASKS)
    assert (world.forbidden, world.batch.size) == ([], size)


@pytest.mark.parametrize("throttled", [page(503), page(429)])
async def test_batches_that_are_refused_after_each_pause_where_requests_of_one_are_not_are_given_up(
    throttled: Reply,
) -> None:
    """Before their pairs are: those are tried twenty times, if others get through."""
    world = World()
    assert await lose(world, throttled, ALONE) == 10 < RetryPolicy().max_unexplained
    (why,) = world.forbidden
    assert why.startswith(f"batches fail, requests of one do not: HTTP {throttled.status} ")


@pytest.mark.parametrize("throttled", [page(503), page(429)])
async def test_a_portal_that_throttles_requests_of_one_as_well_has_its_batches_again_when_it_is_free(
    throttled: Reply,
) -> None:
    world = World()
    size = world.batch.size
    await lose(world, throttled, throttled)
    assert world.forbidden == []
    if world.batch.size == 1:
        world.wire.answers = [ALONE]
        await world.send(ASKS[:1])
    assert world.batch.size == size


@pytest.mark.parametrize("lost", LOST)
async def test_a_portal_that_fails_requests_of_one_as_well_takes_batches_again_when_it_is_back(
    lost: Reply | Failure,
) -> None:
    world = World()
    await lose(world, lost, page(502))
    assert world.forbidden == []
    world.wire.answers = [ALONE]
    while world.batch.size == 1:
        await world.send(ASKS[:1])
    world.wire.answers = [reply([good(number) for number in range(8)])]
    await world.send()
    assert await lose(world, lost, ALONE, most=4) == 3
    assert world.forbidden == []


async def test_batches_that_get_through_once_they_are_small_enough_are_not_given_up() -> None:
    """A proxy may cut off what takes long, or an item in fifty may break its batch off."""
    world, sizes = World(size=200), []
    for _ in range(60):
        size = world.batch.size
        answered = reply([good(number) for number in range(min(size, 8))])
        world.wire.answers = [ALONE if size == 1 else answered if size <= 5 else page(504)]
        await world.send((ASKS * 25)[:size])
        sizes.append(size)
    assert world.forbidden == []
    assert sizes[:5] == [20, 20, 1, 10, 1]
    assert sum(size > 1 for size in sizes) > 40


async def test_batches_that_are_lost_together_make_those_after_them_smaller_once() -> None:
    world = World(page(502), size=200)
    answer = world.wire.call

    async def call(*words: Any, **options: Any) -> Reply | Failure:
        await asyncio.sleep(0.01)  # all of them are on their way by then
        return await answer(*words, **options)

    world.wire.call = call  # type: ignore[method-assign]
    for _ in range(2):
        await asyncio.gather(*(world.batch.send(ASKS) for _ in range(4)))
    assert world.size.size == 10


async def test_a_portal_that_refuses_us_ends_the_run() -> None:
    with pytest.raises(PortalClosed):
        await World(page(402, b"")).send()


async def test_an_item_that_speaks_of_us_ends_nothing_but_the_next_request_goes_alone() -> None:
    """The others of the batch were carried out; alone the same answer ends the run in order."""
    items = [good(number) for number in range(8)]
    items[5] = item("5", 404, {**NOT_FOUND, "error": {"message": "Method not found"}})
    world = World(
        reply(items),
        Reply(404, {}, orjson.dumps({"status": 1, "error": {"message": "Method not found"}}), 0.1),
    )
    exchange = await world.send()
    # As if it had not been sent: nothing was done for it, so it is not in doubt when the run ends.
    assert exchange.attempts[5].result is Result.THROTTLED
    assert exchange.request.result is Result.OK
    assert world.batch.size == 1
    with pytest.raises(WrongBaseUrl):
        await world.send(ASKS[5:6])


async def test_one_operation_goes_as_a_request_of_its_own() -> None:
    world = World(Reply(201, {}, orjson.dumps(linked(10)), 0.1))
    exchange = await world.send(ASKS[:1])
    assert world.wire.sent[0][:2] == ("POST", "crm/opportunity/1/contact/10")
    assert exchange.request.kind is Kind.LINK


async def test_batches_that_had_to_be_as_small_as_one_grow_again_once_those_are_answered_soon() -> None:
    world = World(Reply(201, {}, orjson.dumps(linked(10)), 0.01), size=200)
    for _ in range(2):
        world.size.observe(world.size.size, 100.0)
    assert world.batch.size == 1
    for _ in range(3):
        await world.send(ASKS[:1])
    assert world.batch.size == 2


@pytest.mark.parametrize(
    "answer",
    [
        Failure("connect", "no connection", 0.0),
        Failure("disconnected", "lost", 0.01),
        Failure("timeout", "no answer", 5.0),
        page(502),
        page(429),
        Reply(201, {}, orjson.dumps(linked(10)), 4.0),
    ],
)
async def test_batches_of_one_stay_so_while_those_fail_or_are_slow(answer: Reply | Failure) -> None:
    world = World(answer, size=200)
    for _ in range(2):
        world.size.observe(world.size.size, 100.0)
    for _ in range(20):
        await world.send(ASKS[:1])
    assert world.batch.size == 1


async def test_one_that_happened_to_be_alone_says_nothing_of_the_size() -> None:
    world = World(Reply(201, {}, orjson.dumps(linked(10)), 0.01), size=200)
    for _ in range(20):
        await world.send(ASKS[:1])
    assert world.batch.size == 20


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply([item("0", 404, NOT_FOUND), item("1", 200, PROFILE)]), ""),
        (reply([item("0", 404, NOT_FOUND), item("1", 404, NOT_FOUND)]), ""),
        (reply([item("0", 404, NOT_FOUND), None]), ""),
        (reply([item("0", 404, NOT_FOUND), item("1", 200, [7])]), ""),
        (page(404), "HTTP 404 no_such_route"),
        (page(403), "HTTP 403 blocked_by_proxy"),
        (reply([None]), "HTTP 201 no_item"),
        (reply([item(0, 404, NOT_FOUND), item(1, 200, PROFILE)]), "HTTP 201 no_item"),
        (reply([item("1", 200, PROFILE), item("0", 404, NOT_FOUND)]), "HTTP 201 no_item"),
        (reply(None, 200, error={"message": "no batch specified"}), "HTTP 200 error_in_success"),
        (Failure("timeout", "no answer in time", 5.0), "no answer in time timeout"),
    ],
)
async def test_the_probe_says_what_came_instead_of_a_batch(answer: Reply | Failure, why: str) -> None:
    assert (await first_batch(World(answer).client)).why_not == why


async def test_whose_the_token_is_comes_with_the_probe() -> None:
    world = World(reply([item("0", 404, NOT_FOUND), item("1", 200, PROFILE)]))
    assert (await first_batch(world.client)).user == User("Zoë", "", None, "293b")
    assert len(world.wire.sent) == 1
    nobody = World(reply([item("0", 404, NOT_FOUND), item("1", 500, NOT_FOUND)]))
    assert await first_batch(nobody.client) == FirstBatch("", None)


@pytest.mark.parametrize(
    "broken",
    [page(500), Reply(500, {}, orjson.dumps(NOT_FOUND) * 2, 0.1), reply([item("0", 404, NOT_FOUND)])],
)
async def test_a_portal_that_does_not_tell_whose_the_token_is_may_take_batches_all_the_same(
    broken: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pass_at_once(_: float) -> None:
        """Tries are made one after the other."""

    monkeypatch.setattr("worker.portal.tries.asyncio.sleep", pass_at_once)
    world = World(broken, reply([item("0", 404, NOT_FOUND)]))
    assert await first_batch(world.client) == FirstBatch("", None)
    sent = [parse_qs(options["data"].decode())["batch"][0] for _, _, options in world.wire.sent]
    assert [len(orjson.loads(items)) for items in sent] == [2, 1]


_ITEMS = st.one_of(
    st.sampled_from([good(number) for number in range(8)]),
    st.sampled_from([item(str(n), 404, NOT_FOUND) for n in range(8)]),
    st.builds(
        item,
        st.sampled_from([None, "0", "1", "7", "8", 3]),
        st.sampled_from([201, 200, 500, "x"]),
        st.just(linked(12)),
    ),
    st.none(),
    st.just("odd"),
    st.just({"name": "1", "status": 201}),
    st.just({"name": "1", "status": 201, "data": "<html>"}),
)


def _proves(attempt: Attempt, number: int, shown: object) -> bool:
    """Whether this item, in this place, shows that its pair is linked."""
    return attempt.result is not Result.OK or shown == good(number)


@given(
    items=st.lists(_ITEMS, max_size=12) | st.permutations([good(number) for number in range(8)]),
    status=st.sampled_from([200, 201, 202, 404, 500]),
    more=st.sampled_from([{}, {"error": {"message": "no batch specified"}}]),
    twice=st.booleans(),
)
@settings(max_examples=400)
async def test_whatever_comes_back_no_pair_is_called_linked_whose_own_item_does_not_show_it(
    items: list[Any], status: int, more: dict[str, Any], twice: bool
) -> None:
    answer = reply(items, status, **more)
    if twice:
        answer = Reply(answer.status, answer.headers, answer.body * 2, answer.seconds)
    exchange = await World(answer).send()
    assert len(exchange.attempts) == len(ASKS)
    for number, attempt in enumerate(exchange.attempts):
        shown = items[number] if number < len(items) else None
        assert _proves(attempt, number, shown)
        assert attempt.result is not Result.OK or not (twice or more)
