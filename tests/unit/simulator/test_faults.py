"""Faults over a socket, and who is dealt one."""

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Callable, Coroutine
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

import pytest

from worker.simulator import Fault, Outage, Portal, Scenario, Throttle
from worker.simulator.faults import Deck
from worker.simulator.routes import Route

Ask = Callable[..., Coroutine[None, None, tuple[str, dict[str, str], bytes]]]

LINK = "/api/2.0/crm/opportunity/1/contact/7"


def who_is_hit(seed: int, order: list[tuple[int, int]]) -> set[tuple[int, int, int]]:
    deck = Deck(seed, (Fault(share=0.2), Fault(kind="reset", share=0.1)))
    asked: dict[tuple[int, int], int] = {}
    hit = set()
    for opportunity, contact in order:
        asked[opportunity, contact] = count = asked.get((opportunity, contact), 0) + 1
        if deck.deal(Route("link", "POST", opportunity, contact), 0):
            hit.add((opportunity, contact, count))
    return hit


def test_who_is_hit_depends_on_the_seed_and_not_on_the_order_of_arrival() -> None:
    order = [(o, c) for o in range(1, 21) for c in range(1, 26)] * 2
    shuffled = order.copy()
    Random(1).shuffle(shuffled)  # noqa: S311 - an order is no secret

    assert who_is_hit(7, order) == who_is_hit(7, shuffled)
    assert who_is_hit(7, order) != who_is_hit(8, order)
    assert 220 < len(who_is_hit(7, order)) < 340  # 28 % of 1000


def dealt(fault: Fault, route: Route, posts: range) -> list[bool]:
    deck = Deck(0, (fault,))
    return [deck.deal(route, number) is not None for number in posts]


def test_a_fault_is_bounded_in_hits_tries_and_time() -> None:
    post = Route("link", "POST", 1, 7)

    assert dealt(Fault(times=2), post, range(1, 5)) == [True, True, False, False]
    assert dealt(Fault(per_pair=1), post, range(1, 4)) == [True, False, False]
    assert dealt(Fault(after=2, until=3), post, range(1, 5)) == [False, True, True, False]
    assert dealt(Fault(only=frozenset({(1, 8)})), post, range(1, 2)) == [False]
    assert dealt(Fault(extension=""), post, range(1, 2)) == [True]
    assert dealt(Fault(extension=".json"), post, range(1, 2)) == [False]
    assert dealt(Fault(share=0.0), post, range(1, 2)) == [False]


@pytest.mark.parametrize(
    ("on", "hit"),
    [
        ("post", {"post"}),
        ("delete", {"delete"}),
        ("get", {"get"}),
        ("login", {"login"}),
        ("any", {"post", "delete", "get", "login"}),
    ],
)
def test_a_fault_hits_the_requests_it_is_meant_for(on: str, hit: set[str]) -> None:
    fault = Scenario.from_toml(f"[[faults]]\non = '{on}'").faults[0]
    routes = {
        "post": Route("link", "POST", 1, 7),
        "delete": Route("link", "DELETE", 1, 7),
        "get": Route("members", "GET", 1),
        "login": Route("login", "POST"),
    }

    assert {name for name, route in routes.items() if dealt(fault, route, range(1, 2)) == [True]} == hit


@pytest.mark.parametrize(
    ("toml", "status", "content_type", "body", "stored"),
    [
        ("kind='status'", "500 Server error", "application/json", b'{"status":1,"statusCode":500,', False),
        ("kind='status'\nstatus=502\nbody='html'", "502 Bad Gateway", "text/html", b"<html>", False),
        (
            "kind='status'\nstatus=504\nbody='empty'\nafter_store=true",
            "504 Gateway Timeout",
            "text/html",
            b"",
            True,
        ),
        ("kind='html_200'", "200 OK", "text/html", b"<html>", False),
        ("kind='empty_200'", "200 OK", "text/html", b"", False),
        ("kind='empty_201'\nafter_store=true", "201 Created", "text/html", b"", True),
        (
            "kind='internal_403'",
            "403 Server error",
            "application/json",
            b'{"status":1,"statusCode":403,',
            False,
        ),
        (
            "kind='forbidden_403'",
            "403 Access denied",
            "application/json",
            b'{"status":1,"statusCode":403,',
            False,
        ),
        ("kind='payment_402'", "402 Payment Required", "text/html", b"", False),
        ("kind='closed_404'", "404 Not Found", "text/html", b"", False),
        ("kind='closed_503'", "503 Service Unavailable", "text/html", b"", False),
        ("kind='ip_403'", "403 Forbidden", "text/html", b"", False),
        ("kind='wrong_id'", "201 Created", "application/json", b'{"count":1,', False),
        ("kind='odd_body'", "201 Created", "application/json", b'{"count":1,', True),
        ("kind='xml_bomb'", "201 Created", "text/xml", b"<!DOCTYPE result", False),
    ],
)
async def test_a_fault_looks_and_stores_as_it_says(
    portal: Portal, ask: Ask, *, toml: str, status: str, content_type: str, body: bytes, stored: bool
) -> None:
    portal.faults = Scenario.from_toml(f"[[faults]]\n{toml}").faults
    got, headers, sent = await ask(portal, "POST", LINK)

    assert (got, headers["content-type"].partition(";")[0]) == (status, content_type)
    assert sent.startswith(body)
    assert bool(sent) is bool(body)
    assert portal.books.holds(1, 7) is stored
    assert "retry-after" not in headers


async def test_the_text_of_an_error_can_be_chosen(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(status=403, message="Доступ запрещён", hresult=-2146233078),)
    _, _, body = await ask(portal, "POST", LINK)

    assert json.loads(body)["error"] == {"message": "Доступ запрещён", "hresult": -2146233078, "data": {}}


@pytest.mark.parametrize("after_store", [False, True])
async def test_a_reset_drops_the_connection_before_or_after_the_link_is_stored(
    portal: Portal, ask: Ask, after_store: bool
) -> None:
    portal.faults = (Fault(kind="reset", after_store=after_store),)
    with pytest.raises(ConnectionResetError):
        await ask(portal, "POST", LINK)

    assert portal.books.holds(1, 7) is after_store
    assert portal.books.by_status[0] == 1


async def test_a_truncated_answer_ends_in_the_middle_of_a_stored_link(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="truncated"),)
    _, headers, body = await ask(portal, "POST", LINK)

    assert 0 < len(body) < int(headers["content-length"])
    assert portal.books.holds(1, 7)


async def test_a_wrong_id_is_that_of_another_contact(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="wrong_id"),)

    assert json.loads((await ask(portal, "POST", LINK))[2])["response"]["id"] == 8


async def test_an_odd_body_has_the_right_id(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="odd_body"),)
    odd = json.loads((await ask(portal, "POST", LINK))[2])["response"]

    assert (odd["id"], odd["isCompany"]) == (7, "perhaps")
    assert b"<id>7</id></response>" in (await ask(portal, "POST", LINK + ".xml"))[2]


async def test_an_oversized_body_has_the_size_asked_for(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="oversized", bytes=300_000),)
    _, headers, body = await ask(portal, "POST", LINK)

    assert len(body) == int(headers["content-length"]) == 300_000


async def test_gzip_junk_claims_to_be_compressed_and_is_not(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="gzip_junk"),)
    _, headers, body = await ask(portal, "POST", LINK, {"Accept-Encoding": "gzip"})

    assert headers["content-encoding"] == "gzip"
    with pytest.raises(zlib.error):
        gzip.decompress(body)


async def test_a_doubled_envelope_is_the_error_twice(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="doubled_envelope"),)
    _, _, body = await ask(portal, "POST", LINK)

    assert body[: len(body) // 2] == body[len(body) // 2 :]


async def test_a_redirect_points_where_it_is_told_to(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="redirect", location="https://elsewhere.example/x"),)
    status, headers, _ = await ask(portal, "POST", LINK)

    assert (status, headers["location"]) == ("302 Found", "https://elsewhere.example/x")


async def test_a_slow_answer_comes_late_but_its_link_is_stored_at_once(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="slow", delay=0.2),)
    began = time.monotonic()
    asking = asyncio.create_task(ask(portal, "POST", LINK))
    await asyncio.sleep(0.1)
    stored_early = portal.books.holds(1, 7)
    status, _, _ = await asking

    assert (status, stored_early) == ("201 Created", True)
    assert time.monotonic() - began >= 0.2


async def test_a_slow_portal_may_also_store_late(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="slow", delay=0.2, after_store=False),)
    asking = asyncio.create_task(ask(portal, "POST", LINK))
    await asyncio.sleep(0.1)
    stored_early = portal.books.holds(1, 7)
    await asking

    assert (stored_early, portal.books.holds(1, 7)) == (False, True)


async def test_a_request_that_hangs_is_in_flight_until_the_client_leaves(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="hang", after_store=True),)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(portal, "POST", LINK), 0.1)
    async with asyncio.timeout(5):
        while portal.books.in_flight:  # noqa: ASYNC110 - the books announce nothing
            await asyncio.sleep(0.01)

    assert portal.books.holds(1, 7)
    assert portal.books.by_status == {0: 1}


async def test_a_refusal_is_not_hidden_by_a_fault_after_the_store(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(kind="reset", after_store=True),)

    assert (await ask(portal, "POST", "/api/2.0/crm/opportunity/1/contact/13"))[0][:3] == "404"


async def test_the_throttle_refuses_what_is_too_much_for_its_window(portal: Portal, ask: Ask) -> None:
    portal.scenario = Scenario(throttle=Throttle(limit=2, window=0.3, retry_after="1"))
    answers = [await ask(portal, "POST", LINK) for _ in range(3)]
    await asyncio.sleep(0.3)
    answers.append(await ask(portal, "POST", LINK))

    assert [status[:3] for status, _, _ in answers] == ["201", "201", "503", "201"]
    assert answers[2][1]["retry-after"] == "1"
    assert answers[2][2].startswith(b"<html>")
    assert portal.books.by_status == {201: 3, 503: 1}


async def test_a_refusal_may_have_no_body_and_no_header(portal: Portal, ask: Ask) -> None:
    portal.scenario = Scenario(throttle=Throttle(limit=1, window=60.0, retry_after="", body="empty"))
    await ask(portal, "POST", LINK)
    status, headers, body = await ask(portal, "POST", LINK)
    assert (status[:3], body, "retry-after" in headers) == ("503", b"", False)


@pytest.mark.parametrize(
    ("announces", "names"),
    [
        ("", set()),
        ("ietf", {"ratelimit", "ratelimit-policy"}),
        ("ratelimit", {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}),
        ("x-ratelimit", {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}),
    ],
)
async def test_what_is_left_of_a_limit_is_told_with_each_answer(
    portal: Portal, ask: Ask, announces: Any, names: set[str]
) -> None:
    portal.scenario = Scenario(throttle=Throttle(limit=2, window=60.0, announces=announces))
    answers = [(await ask(portal, "POST", LINK))[1] for _ in range(3)]
    assert [{name for name in headers if "ratelimit" in name} for headers in answers] == [names] * 3
    if announces == "ietf":
        assert [headers["ratelimit"].partition(";t=")[0] for headers in answers] == [
            f'"default";r={left}' for left in (1, 0, 0)
        ]
        assert {headers["ratelimit-policy"] for headers in answers} == {'"default";q=2;w=60'}
    elif announces:
        (remaining,) = (name for name in names if name.endswith("remaining"))
        assert [headers[remaining] for headers in answers] == ["1", "0", "0"]


@pytest.mark.parametrize("text", ["", "soon", "-5"])
async def test_retry_after_is_sent_as_it_stands(portal: Portal, ask: Ask, text: str) -> None:
    portal.faults = (Fault(status=503, retry_after=text),)

    assert (await ask(portal, "POST", LINK))[1].get("retry-after", "") == text


async def test_retry_after_may_be_a_date(portal: Portal, ask: Ask) -> None:
    portal.faults = (Fault(status=503, retry_after="date:+2"),)
    _, headers, _ = await ask(portal, "POST", LINK)

    assert 1.0 < parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time() <= 3.0


async def test_an_outage_begins_with_its_post_masks_authentication_and_ends(portal: Portal, ask: Ask) -> None:
    portal.scenario = Scenario(outages=(Outage(kind="closed_503", after=2, seconds=0.3),))
    before = await ask(portal, "POST", LINK)
    during = [await ask(portal, "POST", LINK), await ask(portal, "GET", "/api/2.0/crm/contact/7", token=None)]
    await asyncio.sleep(0.3)
    after = await ask(portal, "POST", LINK)

    assert [before[0][:3], *(one[0][:3] for one in during), after[0][:3]] == ["201", "503", "503", "201"]
    assert during[0][2] == b""


async def test_an_outage_of_no_length_never_ends(portal: Portal, ask: Ask) -> None:
    portal.scenario = Scenario(outages=(Outage(kind="reset"),))
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            await ask(portal, "POST", LINK)
