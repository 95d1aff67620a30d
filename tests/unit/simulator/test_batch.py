"""The batch over a socket: how it is sent, what becomes of its items, what the books say (contract 7, 10)."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from worker.simulator import Auth, Holdings, Latency, Portal, Scenario, Throttle

Ask = Callable[..., Awaitable[tuple[str, dict[str, str], bytes]]]

BATCH = "/api/2.0/batch"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MEMBERS = "api/2.0/crm/opportunity/1/contact?fields=id&sortBy=id"


def link(contact: int, opportunity: int = 1, **others: Any) -> dict[str, Any]:
    url = f"api/2.0/crm/opportunity/{opportunity}/contact/{contact}?fields=id"
    return {"name": f"{opportunity}-{contact}", "relativeUrl": url, "method": "POST", "body": "_=1", **others}


def form(items: object) -> bytes:
    return f"batch={quote(json.dumps(items))}".encode()


async def post(
    ask: Ask, portal: Portal, items: object, query: str = "", **options: Any
) -> tuple[str, dict[str, str], bytes]:
    return await ask(portal, "POST", BATCH + query, FORM, form(items), **options)


def results(body: bytes) -> list[Any]:
    shown: list[Any] = json.loads(body)["response"]
    return shown


def statuses(body: bytes) -> list[int | None]:
    return [one and one["status"] for one in results(body)]


def ids(data: str) -> list[int]:
    return [one["id"] for one in json.loads(data)["response"]]


MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="batch"\r\n\r\n'
    + json.dumps([link(7), link(8)]).encode()
    + b"\r\n--x--\r\n"
)
INDEXED = "&".join(
    f"[{index}]{mark}={quote(value, safe='')}"
    for index, contact in enumerate((7, 8))
    for mark, value in (
        ("[relativeUrl]" if index else ".relativeUrl", link(contact)["relativeUrl"]),
        ("[method]", "POST"),
        ("[body]", "_=1"),
        ("[name]", f"1-{contact}"),
    )
).encode()


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        (BATCH, FORM, form([link(7), link(8)])),
        (f"{BATCH}.json", FORM, form([link(7), link(8)])),
        (BATCH, {"Content-Type": "multipart/form-data; boundary=x"}, MULTIPART),
        (BATCH, FORM, INDEXED),
        (f"{BATCH}?{form([link(7), link(8)]).decode()}", {}, b""),
    ],
)
async def test_a_batch_is_taken_in_each_of_its_encodings(
    portal: Portal, ask: Ask, path: str, headers: dict[str, str], body: bytes
) -> None:
    status, _, said = await ask(portal, "POST", path, headers, body)

    assert (status, [one["name"] for one in results(said)]) == ("201 Created", ["1-7", "1-8"])
    assert portal.books.links()[:2] == [(1, 7), (1, 8)]


async def test_a_batch_by_get_needs_no_bodies_and_answers_200(portal: Portal, ask: Ask) -> None:
    item = {"relativeUrl": "api/2.0/crm/opportunity/1/contact/7", "method": "POST"}
    status, _, said = await ask(portal, "GET", f"{BATCH}?{form([item]).decode()}")

    assert (status, statuses(said)) == ("200 OK", [201])
    assert json.loads(said)["statusCode"] == 200


async def test_an_item_without_a_body_fails_alone_but_a_get(portal: Portal, ask: Ask) -> None:
    """Contract 10.11: Mono's rule of the dummy body."""
    bare = [link(7, body=""), link(7, method="DELETE", body=None), {"relativeUrl": MEMBERS}]
    json_body = link(8, body="{}", bodyContentType="application/json; charset=utf-8")
    status, _, said = await post(ask, portal, [*bare, json_body])

    assert (status, statuses(said)) == ("201 Created", [500, 500, 200, 201])
    assert json.loads(results(said)[0]["data"])["error"]["message"] == "The request body is incomplete."
    assert (1, 7) not in portal.books.links()


async def test_items_are_carried_out_in_their_order_and_see_what_was_done_before(
    portal: Portal, ask: Ask
) -> None:
    look = {"relativeUrl": MEMBERS}
    items = [
        {**look, "name": "last", "order": 2},
        {**look, "name": "first"},
        link(7),
        link(8, order=1),
        link(7, order=1, method="DELETE", name="undo"),
    ]
    said = results((await post(ask, portal, items))[2])

    assert [one["name"] for one in said] == ["first", "1-7", "1-8", "undo", "last"]
    assert (ids(said[0]["data"]), ids(said[-1]["data"])) == ([], [8])


async def test_the_data_of_an_item_is_the_body_of_the_single_call(portal: Portal, ask: Ask) -> None:
    paths = [f"/api/2.0/crm/opportunity/1/contact/{end}" for end in ("2", "13", "0", "2147483648", "7.xml")]
    alone = [await ask(portal, "POST", path) for path in paths]
    items = [{"relativeUrl": path, "method": "post", "body": "_=1"} for path in paths]
    said = results((await post(ask, portal, items))[2])

    assert [one["data"].encode() for one in said] == [body for _, _, body in alone]
    assert [str(one["status"]) for one in said] == [status[:3] for status, _, _ in alone]
    assert [one["headers"]["content-Type"] for one in said] == [got["content-type"] for _, got, _ in alone]
    assert "name" not in said[0]


@pytest.mark.parametrize(
    ("item", "status"),
    [
        ({"relativeUrl": "nosuch"}, None),
        ({"relativeUrl": "api/2.0/crm/opportunity/1/contact/abc", "method": "POST", "body": "_=1"}, None),
        ({"relativeUrl": "api/2.0/crm/opportunity/1/contact/7"}, None),
        ({"relativeUrl": "api/2.0//crm/opportunity/1/contact"}, None),
        ({"relativeUrl": "api/2.0/crm/opportunity/1/contact/"}, 200),
        ({"RelativeURL": "/api/2.0/crm/opportunity/1/contact#x"}, 200),
        ({"relativeUrl": "api/2.0/crm/opportunity/1/contact?x=" + "x" * 3000}, 200),
        ({"relativeUrl": "api/2.0/batch", "method": "POST", "body": "_=1"}, 404),
        ({"relativeUrl": "api/2.0/authentication", "method": "POST", "body": "_=1"}, 500),
        ({"relativeUrl": "api/2.0/crm", "method": "OPTIONS"}, 200),
    ],
)
async def test_an_item_passes_the_routes_of_the_site_and_not_nginx(
    portal: Portal, ask: Ask, item: dict[str, str], status: int | None
) -> None:
    """A slash at the end is nginx's matter, and so is the length of a query (contract 1.3, 10.1, 10.3)."""
    outer, _, said = await post(ask, portal, [item])

    assert (outer, statuses(said)) == ("201 Created", [status])


async def test_names_are_texts_and_may_repeat(portal: Portal, ask: Ask) -> None:
    said = results((await post(ask, portal, [link(7, name=17), link(8, name="17")]))[2])

    assert [one["name"] for one in said] == ["17", "17"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (FORM, b"batch=%5B%5D"),
        (FORM, b"batch=null"),
        (FORM, b"batch="),
        (FORM, b"[1][relativeUrl]=api/2.0/crm"),
        ({"Content-Type": "application/json"}, json.dumps([link(7)]).encode()),
        ({}, b""),
    ],
)
async def test_nothing_usable_is_a_200_with_an_error(
    portal: Portal, ask: Ask, headers: dict[str, str], body: bytes
) -> None:
    status, _, said = await ask(portal, "POST", BATCH, headers, body)

    assert (status, said) == (
        "200 OK",
        b'{"status":0,"error":{"message":"no batch specified","hresult":-2146233079,"data":{}}}',
    )
    assert portal.books.stored == 0


@pytest.mark.parametrize(
    "text",
    [
        "[{",
        json.dumps({"a": link(7)}),
        json.dumps([link(7), 8]),
        json.dumps([link(7), link(8, body={"a": 1})]),
        json.dumps([link(7), link(8, order="soon")]),
    ],
)
async def test_what_cannot_be_read_is_a_page_and_nothing_is_done(portal: Portal, ask: Ask, text: str) -> None:
    status, headers, _ = await ask(portal, "POST", BATCH, FORM, f"batch={quote(text)}".encode())

    assert (status, headers["content-type"]) == ("500 Internal Server Error", "text/html")
    assert portal.books.stored == 0


async def test_a_form_of_too_many_keys_is_not_read(portal: Portal, ask: Ask) -> None:
    """Contract 7.2."""
    body = form([link(7)]) + b"&a=1" * 5000

    assert (await ask(portal, "POST", BATCH, FORM, body))[0] == "500 Internal Server Error"


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (link(8, relativeUrl=None), "Object reference not set to an instance of an object"),
        (link(8, relativeUrl="https://x.example/api/2.0/batch"), "'~/https:' is not a valid virtual path."),
        (link(8, bodyContentType="application/json"), "Value cannot be null.\nParameter name: name"),
        (link(8, bodyContentType="nonsense"), "The specified content type is invalid."),
        ({"relativeUrl": f"{MEMBERS}&updatedSince=soon"}, "String was not recognized as a valid DateTime."),
    ],
)
@pytest.mark.parametrize("extension", ["", ".xml"])
async def test_an_item_that_breaks_the_batch_leaves_the_earlier_ones_done(
    portal: Portal, ask: Ask, breaks: dict[str, Any], message: str, extension: str
) -> None:
    """Contract 10.13: and the error comes twice, which no reader can take for an answer."""
    body = form([link(7), breaks, link(9)])
    status, _, said = await ask(portal, "POST", BATCH + extension, FORM, body)

    assert status == "500 Server error"
    assert said[: len(said) // 2] == said[len(said) // 2 :]
    if not extension:
        assert json.loads(said[: len(said) // 2])["error"]["message"] == message
    assert [one for one in portal.books.links() if one[0] == 1] == [(1, 7)]
    assert portal.books.visits[-1].items == 1


async def test_with_a_null_item_nothing_is_done_at_all(portal: Portal, ask: Ask) -> None:
    status, _, said = await post(ask, portal, [link(7), None, link(8)])

    assert status == "500 Server error"
    assert said.count(b"Object reference not set") == 2
    assert (portal.books.items, portal.books.stored) == (0, 0)


async def test_more_than_a_thousand_are_done_and_a_thousand_are_shown(portal: Portal, ask: Ask) -> None:
    body = json.loads((await post(ask, portal, [link(one) for one in range(100, 1101)]))[2])

    assert (body["count"], body["total"], len(body["response"])) == (1000, 1001, 1000)
    assert len([one for one in portal.books.links() if one[0] == 1]) == portal.books.items == 1001


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?fields=name,status,data", [["name", "status", "data"]] * 2),
        ("?fields=name,status", [["name", "status"]] * 2),
        ("?count=1", [["name", "status", "headers", "data"]]),
        ("?sortBy=name&sortOrder=descending&fields=name", [["name"]] * 2),
    ],
)
async def test_the_outer_query_is_about_the_list_of_results(
    portal: Portal, ask: Ask, query: str, shown: list[list[str]]
) -> None:
    _, _, said = await post(ask, portal, [link(7), link(8)], query)

    assert [list(one) for one in results(said)] == shown
    assert results(said)[0]["name"] == ("1-8" if "descending" in query else "1-7")
    assert portal.books.stored == 2


async def test_as_xml_the_results_are_siblings_and_null_is_empty(portal: Portal, ask: Ask) -> None:
    items = [link(7), {"relativeUrl": "nosuch"}]
    _, headers, said = await ask(portal, "POST", f"{BATCH}.xml?fields=name,data", FORM, form(items))

    assert headers["content-type"] == "text/xml; charset=UTF-8"
    assert said == (
        b"<result><count>2</count><status>0</status><statusCode>201</statusCode><response><name>1-7</name>"
        b'<data>{"count":1,"status":0,"statusCode":201,"response":{"id":7}}</data></response>'
        b"<response /></result>"
    )


async def test_a_batch_is_compressed_many_times_over(portal: Portal, ask: Ask) -> None:
    body = form([link(one) for one in range(100, 200)])
    headers = {**FORM, "Accept-Encoding": "gzip, deflate"}
    _, got, said = await ask(portal, "POST", BATCH, headers, body)

    assert got["content-encoding"] == "gzip"
    assert int(got["content-length"]) == len(said) < len(gzip.decompress(said)) / 5


async def test_a_bad_token_is_a_401_for_the_whole(portal: Portal, ask: Ask) -> None:
    status, _, said = await post(ask, portal, [link(7)], token="nonsense")

    assert (status, said, portal.books.items) == ("401 Unauthorized", b"Unauthorized", 0)


async def test_what_a_user_may_not_see_is_a_404_inside_and_the_others_go_on(ask: Ask) -> None:
    """Contract 10.18."""
    scenario = Scenario(portal=Holdings(private_contacts=frozenset({7})), auth=Auth(limited_token="of-bob"))
    async with Portal(scenario) as portal:
        _, _, said = await post(ask, portal, [link(7), link(8)], token="of-bob")

    assert statuses(said) == [404, 201]


async def test_a_limit_counts_a_batch_as_one_request(ask: Ask) -> None:
    async with Portal(Scenario(throttle=Throttle(limit=2, window=60.0))) as portal:
        answers = [await post(ask, portal, [link(one) for one in range(1, 51)]) for _ in range(3)]

    assert [status[:3] for status, _, _ in answers] == ["201", "201", "503"]
    assert portal.books.items == 100


async def test_a_token_wears_out_by_requests_and_not_by_items(ask: Ask) -> None:
    async with Portal(Scenario(auth=Auth(expires_after_requests=2))) as portal:
        answers = [await post(ask, portal, [link(1), link(2), link(3)]) for _ in range(3)]

    assert [status[:3] for status, _, _ in answers] == ["201", "201", "401"]


async def test_the_books_tell_requests_from_items(portal: Portal, ask: Ask) -> None:
    await post(ask, portal, [link(7), link(7), {"relativeUrl": MEMBERS}, {"relativeUrl": "nosuch"}])
    await ask(portal, "POST", "/api/2.0/crm/opportunity/1/contact/7")
    books = portal.books

    assert (books.requests, books.batches, books.items) == (2, 1, 4)
    assert (books.posts, books.repeated(), len(books.arrivals)) == (3, [(1, 7, 3)], 2)
    assert [(one.kind, one.items, one.status) for one in books.visits] == [
        ("batch", 4, 201),
        ("link", 0, 201),
    ]
    assert [(one.kind, one.contact, one.status) for one in books.item_visits] == [
        ("link", 7, 201),
        ("link", 7, 201),
        ("members", 0, 200),
    ]
    assert books.by_status == {201: 2}


async def test_a_batch_takes_its_fixed_part_and_each_item_its_own(ask: Ask) -> None:
    latency = Latency(seconds=0.1, item_seconds=0.02, workers=1)
    loop = asyncio.get_running_loop()
    async with Portal(Scenario(latency=latency)) as portal:
        began = loop.time()
        await asyncio.gather(*(post(ask, portal, [link(one) for one in range(1, 6)]) for _ in range(2)))
        took = loop.time() - began

    assert took >= 2 * (0.1 + 5 * 0.02)  # one worker, one batch at a time


async def half_sent(portal: Portal, body: bytes, sent: int) -> None:
    """Begin a batch, and hang up after so many bytes of it."""
    address = urlsplit(portal.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {BATCH} HTTP/1.1\r\nHost: x\r\nAuthorization: demo-token\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\n".encode() + body[:sent])
    await writer.drain()
    async with asyncio.timeout(5):
        while not portal.books.in_flight:  # noqa: ASYNC110 - the books announce nothing
            await asyncio.sleep(0.005)
    writer.close()


async def at_rest(portal: Portal) -> None:
    async with asyncio.timeout(5):
        while portal.books.in_flight:  # noqa: ASYNC110 - the books announce nothing
            await asyncio.sleep(0.005)


async def test_when_the_client_has_left_the_rest_is_still_done() -> None:
    """Contract 10.14."""
    async with Portal(Scenario(latency=Latency(item_seconds=0.005))) as portal:
        body = form([link(one) for one in range(1, 31)])
        await half_sent(portal, body, len(body))
        stored_when_left = portal.books.stored
        await at_rest(portal)

    assert stored_when_left < 30
    assert len(portal.books.links()) == 30


async def test_an_upload_that_is_cut_short_does_nothing(portal: Portal) -> None:
    body = form([link(one) for one in range(1, 31)])
    await half_sent(portal, body, len(body) // 2)
    await at_rest(portal)

    assert (portal.books.batches, portal.books.items, portal.books.by_status) == (1, 0, {0: 1})


async def test_a_batch_may_be_larger_than_a_megabyte(portal: Portal, ask: Ask) -> None:
    status, _, said = await post(ask, portal, [link(7, after="x" * 1_200_000)])

    assert (status, statuses(said)) == ("201 Created", [201])


@pytest.mark.parametrize(("method", "said"), [("POST", "405 Method Not Allowed"), ("GET", "404 Not Found")])
async def test_appserver_has_no_batch(ask: Ask, method: str, said: str) -> None:
    """Contract 7.8: nginx answers, before anybody looks at the token."""
    async with Portal(Scenario(portal=Holdings(product="appserver"))) as portal:
        status, headers, _ = await ask(portal, method, BATCH, FORM, form([link(7)]), token=None)

    assert (status, headers["content-type"]) == (said, "text/html")
