"""The client's calls, with aioresponses in the portal's place: what is sent, and what each answer becomes."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aioresponses import CallbackResult, aioresponses
from pydantic import SecretStr
from yarl import URL

from tests.unit.portal.asked import BASE, Asked
from worker.errors import PortalClosed, PortalError, PortalRefused, PortalUnreachable, WrongBaseUrl
from worker.models import MAX_ID, Kind, Result
from worker.operations.look import MOST_SOUGHT
from worker.portal.auth import Credentials

API = f"{BASE}/api/2.0"
LINK = f"{API}/crm/opportunity/1234/contact/88"
MEMBERS = re.compile(rf"^{re.escape(API)}/crm/opportunity/\d+/contact\?")
JSON = "application/json; charset=UTF-8"
ACCESS_DENIED = {"status": 1, "statusCode": 403, "error": {"message": "No", "hresult": -2146233078}}
NOT_FOUND = {"status": 1, "statusCode": 404, "error": {"message": "Not found", "hresult": -2147467259}}


def contact(contact_id: int = 88, **more: Any) -> dict[str, Any]:
    return {"firstName": "Contact", "lastName": str(contact_id), "isCompany": False, "id": contact_id, **more}


def envelope(response: Any, status: int = 201) -> dict[str, Any]:
    return {"count": 1, "status": 0, "statusCode": status, "response": response}


@pytest.fixture
def portal() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture
async def client() -> AsyncIterator[Asked]:
    async with Asked(Credentials(token=SecretStr("secret"))) as opened:
        yield opened


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits are noted instead of waited."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("worker.portal.tries.asyncio.sleep", note)
    return waits


def sent(portal: aioresponses, method: str, url: str) -> list[dict[str, Any]]:
    return [call.kwargs for call in portal.requests[method, URL(url)]]


async def test_a_link_is_one_post_with_the_bare_token_and_brings_the_contact_as_sent(
    portal: aioresponses, client: Asked
) -> None:
    portal.post(LINK, status=201, payload=envelope(contact(odd="kept")), content_type=JSON)

    attempt = await client.link()

    assert (attempt.result, attempt.reason, attempt.http_status) == (Result.OK, "", 201)
    assert json.loads(attempt.body) == contact(odd="kept")
    (call,) = sent(portal, "POST", LINK)
    assert dict(call["headers"]) == {
        "User-Agent": "bulklink",
        "Accept-Encoding": "identity",
        "Authorization": "secret",
    }
    assert call["allow_redirects"] is False


async def test_a_contact_of_odd_shape_is_a_link_all_the_same(portal: aioresponses, client: Asked) -> None:
    portal.post(LINK, status=201, payload=envelope({"id": 88, "isCompany": "perhaps"}), content_type=JSON)

    attempt = await client.link()

    assert attempt.result is Result.OK
    assert json.loads(attempt.body) == {"id": 88, "isCompany": "perhaps"}


@pytest.mark.parametrize(
    ("status", "answer", "result", "reason"),
    [
        (201, {"payload": envelope(contact(89))}, Result.AMBIGUOUS, "wrong_id"),
        (200, {"body": "<html>", "content_type": "text/html"}, Result.AMBIGUOUS, "html_200"),
        (404, {"payload": NOT_FOUND, "content_type": JSON}, Result.PERMANENT, "not_found"),
        (500, {"payload": {**NOT_FOUND, "statusCode": 500}}, Result.AMBIGUOUS, "server_error"),
        (502, {"body": "<html>", "content_type": "text/html"}, Result.AMBIGUOUS, "gateway_error"),
        (503, {"body": "", "headers": {"Retry-After": "7"}}, Result.THROTTLED, "throttled"),
        (503, {"body": "", "headers": {"Retry-After": "soon"}}, Result.THROTTLED, "throttled"),
        (429, {"body": "slow down"}, Result.THROTTLED, "throttled"),
    ],
)
async def test_an_expected_failure_is_a_value(
    portal: aioresponses,
    client: Asked,
    status: int,
    answer: dict[str, Any],
    result: Result,
    reason: str,
) -> None:
    portal.post(LINK, status=status, **answer)

    attempt = await client.link()

    assert (attempt.result, attempt.reason, attempt.http_status) == (result, reason, status)
    assert attempt.body == b""
    (request,) = client.told
    assert (request.kind, request.items, request.result, request.reason) == (Kind.LINK, 1, result, reason)
    assert request.retry_after == (7.0 if "7" in str(answer.get("headers")) else None)


async def test_what_appserver_says_of_a_link_that_is_there_is_an_answer_of_a_portal_at_work(
    portal: aioresponses, client: Asked
) -> None:
    error = {"message": "An error occurred", "type": "DbUpdateException", "stack": "", "hresult": -2146233088}
    portal.post(LINK, status=500, payload={"status": 1, "statusCode": 500, "error": error})

    attempt = await client.link()

    assert (attempt.result, attempt.reason, attempt.http_status) == (Result.AMBIGUOUS, "perhaps_linked", 500)
    (request,) = client.told
    assert (request.result, request.reason) == (Result.PERMANENT, "perhaps_linked")


async def test_the_same_of_a_look_is_a_failure(portal: aioresponses, client: Asked) -> None:
    error = {"message": "An error occurred", "type": "TimeoutException", "stack": "", "hresult": -2146233088}
    portal.get(MEMBERS, status=500, payload={"status": 1, "statusCode": 500, "error": error})

    attempt = await client.find(88)

    assert (attempt.result, attempt.reason) == (Result.AMBIGUOUS, "server_error")
    assert client.told[0].result is Result.TRANSIENT


async def test_no_answer_in_time_is_ambiguous(portal: aioresponses, client: Asked) -> None:
    portal.post(LINK, timeout=True)

    attempt = await client.link()

    assert (attempt.result, attempt.reason, attempt.http_status) == (Result.AMBIGUOUS, "timeout", None)


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, {"body": "Unauthorized", "content_type": "text/html"}, PortalRefused),
        (402, {"body": ""}, PortalClosed),
        (404, {"body": ""}, PortalClosed),
        (404, {"body": "<html>", "content_type": "text/html"}, WrongBaseUrl),
        (302, {"body": "", "headers": {"Location": "https://elsewhere.example/login"}}, WrongBaseUrl),
    ],
)
async def test_an_answer_about_us_ends_the_run_and_shows_no_token(
    portal: aioresponses, client: Asked, status: int, answer: dict[str, Any], error: type[PortalError]
) -> None:
    portal.post(LINK, status=status, **answer)

    with pytest.raises(error) as caught:
        await client.link()

    assert BASE in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(sent(portal, "POST", LINK)) == 1


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://elsewhere.example/login?user=me#x", "It leads to https://elsewhere.example/login."),
        (f"{BASE}/auth.aspx?refererUrl=1", f"It leads to {BASE}/auth.aspx."),
        ("/auth.aspx", f"It leads to {BASE}/auth.aspx."),
        ("https://me:pw@elsewhere.example/", "It leads to https://elsewhere.example/."),
        ("http://[half", "as the base URL."),
        ("https://elsewhere.example/secre%74", "as the base URL."),
    ],
)
async def test_a_redirect_is_told_with_where_it_leads_and_nothing_secret(
    portal: aioresponses, client: Asked, location: str, told: str
) -> None:
    """Of one to the same host, the host alone says nothing: the path is what is wrong, or the scheme."""
    portal.post(LINK, status=302, headers={"Location": location})

    with pytest.raises(WrongBaseUrl) as caught:
        await client.link()

    assert str(caught.value).endswith(told)
    assert "pw" not in str(caught.value)


async def test_unlink_is_a_delete_of_the_same_path(portal: aioresponses, client: Asked) -> None:
    portal.delete(LINK, status=200, payload=envelope(contact(), 200), content_type=JSON)

    (attempt,) = (await client.exchange(Kind.UNLINK, 88)).attempts
    assert attempt.result is Result.OK
    assert len(sent(portal, "DELETE", LINK)) == 1


async def test_many_are_sought_in_one_request_and_each_found_one_comes_with_its_contact(
    portal: aioresponses, client: Asked
) -> None:
    portal.get(MEMBERS, status=200, payload=envelope([contact(89), contact(88)], 200), content_type=JSON)

    look = await client.find(88, 89, 90)

    assert (look.result, look.strangers) == (Result.OK, 0)
    assert {one: json.loads(body) for one, body in look.found.items()} == {n: contact(n) for n in (88, 89)}
    ((_, url), _) = next(iter(portal.requests.items()))
    assert {name: url.query[name] for name in ("filterBy", "filterOp", "filterValue")} == {
        "filterBy": "id",
        "filterOp": "equals",
        "filterValue": "88,89,90",
    }


@pytest.mark.parametrize(
    ("status", "answer", "result", "reason"),
    [
        (200, {"payload": envelope({"id": 5}), "content_type": JSON}, Result.OK, ""),
        (404, {"payload": NOT_FOUND, "content_type": JSON}, Result.PERMANENT, "not_found"),
        (404, {"body": "<html>", "content_type": "text/html"}, Result.AMBIGUOUS, "no_such_route"),
        (403, {"body": "<html>", "content_type": "text/html"}, Result.AMBIGUOUS, "blocked_by_proxy"),
    ],
)
@pytest.mark.parametrize(("side", "ids"), [("contact", (0, 5)), ("opportunity", (5,))])
async def test_whether_something_exists_is_a_get_whose_refusal_ends_nothing(
    portal: aioresponses,
    client: Asked,
    status: int,
    answer: dict[str, Any],
    result: Result,
    reason: str,
    side: str,
    ids: tuple[int, ...],
) -> None:
    portal.get(f"{BASE}/api/2.0/crm/{side}/5?fields=id", status=status, **answer)
    opportunity_id, *contact_ids = ids
    exchange = await client.exchange(Kind.EXISTS, *contact_ids, opportunity_id=opportunity_id)
    assert (exchange.attempts[0].result, exchange.attempts[0].reason) == (result, reason)
    assert exchange.request.kind is Kind.EXISTS


async def test_members_that_nobody_sought_are_strangers(portal: aioresponses, client: Asked) -> None:
    """AppServer ignores filters (contract 5.5)."""
    portal.get(MEMBERS, status=200, payload=envelope([contact(n) for n in (1, 88, 7)], 200))

    look = await client.find(88)

    assert (list(look.found), look.strangers) == ([88], 2)


@pytest.mark.parametrize(
    ("status", "answer", "result", "of_request"),
    [
        (404, {"payload": NOT_FOUND}, Result.PERMANENT, Result.PERMANENT),
        (200, {"body": "<html>", "content_type": "text/html"}, Result.AMBIGUOUS, Result.TRANSIENT),
        (500, {"body": ""}, Result.AMBIGUOUS, Result.TRANSIENT),
        (403, {"payload": ACCESS_DENIED}, Result.AMBIGUOUS, Result.PERMANENT),
        (429, {"body": ""}, Result.THROTTLED, Result.THROTTLED),
    ],
)
async def test_members_that_cannot_be_read_are_not_an_empty_list(
    portal: aioresponses,
    client: Asked,
    status: int,
    answer: dict[str, Any],
    result: Result,
    of_request: Result,
) -> None:
    portal.get(MEMBERS, status=status, **answer)

    look = await client.find(88, 89)

    assert (look.result, look.found) == (result, {})
    assert [request.result for request in client.told] == [of_request]


async def test_the_probe_takes_the_apis_own_404_for_health(portal: aioresponses, client: Asked) -> None:
    portal.get(MEMBERS, status=404, payload=NOT_FOUND)

    await client.probe()

    ((method, url), _) = next(iter(portal.requests.items()))
    assert (method, url.path) == ("GET", "/api/2.0/crm/opportunity/0/contact")


async def test_the_probe_tries_again_as_told_and_gives_up_in_the_end(
    portal: aioresponses, client: Asked, no_sleep: list[float]
) -> None:
    portal.get(MEMBERS, status=503, body="", headers={"Retry-After": "3"})
    portal.get(MEMBERS, status=502, body="<html>", content_type="text/html", repeat=True)

    with pytest.raises(PortalUnreachable, match="HTTP 502"):
        await client.probe()

    assert client.pauses == [3.0]
    assert [wait for wait in no_sleep if wait > 0.1] == [3.0, 1.0, 2.0, 4.0]
    assert [(request.kind, request.items) for request in client.told] == [(Kind.PROBE, 0)] * 5


async def test_the_probe_passes_only_on_the_apis_own_envelope(
    portal: aioresponses, client: Asked, no_sleep: list[float]
) -> None:
    odd: tuple[Any, ...] = ({"status": 0}, {"status": 0, "response": "fine"}, {"status": "ok"}, [])
    for answer in odd:
        portal.get(MEMBERS, status=200, payload=answer, content_type=JSON)

    with pytest.raises(PortalUnreachable, match="HTTP 200"):
        await client.probe()

    assert [wait for wait in no_sleep if wait > 0.1] == [0.5, 1.0, 2.0]


PAGE: dict[str, Any] = {"body": "<html>", "content_type": "text/html"}


async def test_a_page_that_says_400_is_asked_again_and_then_under_the_other_spelling(
    portal: aioresponses, client: Asked
) -> None:
    """Mono refuses a few good addresses (contract 10.4)."""
    portal.post(LINK, status=400, **PAGE, repeat=True)
    portal.post(f"{LINK}.json", status=201, payload=envelope(contact()), content_type=JSON)

    attempts = [await client.link() for _ in range(3)]

    assert [attempt.result for attempt in attempts] == [Result.TRANSIENT, Result.TRANSIENT, Result.OK]
    assert attempts[0].reason == "bad_request"
    assert (len(sent(portal, "POST", LINK)), len(sent(portal, "POST", f"{LINK}.json"))) == (2, 1)


async def test_the_probe_takes_the_other_spelling_before_it_gives_up(
    portal: aioresponses, client: Asked, no_sleep: list[float]
) -> None:
    other = re.compile(rf"^{re.escape(API)}/crm/opportunity/0/contact\.json\?")
    for _ in range(2):
        portal.get(MEMBERS, status=400, **PAGE)
    portal.get(other, status=404, payload=NOT_FOUND)
    await client.probe()

    for _ in range(2):  # the one that worked comes first now
        portal.get(other, status=400, **PAGE)
    portal.get(MEMBERS, status=400, **PAGE)
    with pytest.raises(WrongBaseUrl, match="HTTP 400 bad_request"):
        await client.probe()

    assert [wait for wait in no_sleep if wait > 0.1] == [0.5, 1.0] * 2


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ("<html>400 The plain HTTP request was sent to HTTPS port", "wants https:// at this port"),
        ("<html>400 No required SSL certificate was sent", "see --client-cert"),
        ("<html>400 The SSL certificate error", "see --client-cert"),
        ("<html>400 Bad Request", "check the base URL"),
    ],
)
@pytest.mark.parametrize("logs_in", [False, True])
async def test_what_a_page_says_of_tls_is_told(
    portal: aioresponses, no_sleep: list[float], page: str, wanted: str, logs_in: bool
) -> None:
    for method in ("GET", "POST"):
        portal.add(re.compile(".*"), method, status=400, body=page, content_type="text/html", repeat=True)
    token = Credentials(token=SecretStr("secret"))
    user = Credentials(username="user@portal.example", password=SecretStr("word"))
    async with Asked(user if logs_in else token) as client:
        with pytest.raises(PortalError, match=wanted):
            await client.probe()

    assert no_sleep


async def test_a_log_in_that_a_page_refuses_is_tried_under_the_other_spelling_too(
    portal: aioresponses, no_sleep: list[float]
) -> None:
    portal.post(f"{API}/authentication", status=400, **PAGE, repeat=True)
    portal.post(f"{API}/authentication.json", status=201, payload=envelope({"token": "secret"}))
    portal.get(MEMBERS, status=404, payload=NOT_FOUND)
    credentials = Credentials(username="user@portal.example", password=SecretStr("word"))
    async with Asked(credentials) as client:
        await client.probe()

    assert [wait for wait in no_sleep if wait > 0.1] == [0.5, 1.0]
    assert [request.kind for request in client.told] == [Kind.LOGIN] * 3 + [Kind.PROBE]


@pytest.mark.parametrize("is_at_work", [False, True])
async def test_a_log_in_that_fails_ends_a_run_at_its_start_and_is_waited_for_in_the_middle(
    portal: aioresponses, no_sleep: list[float], *, is_at_work: bool
) -> None:
    """A token that runs out just when the portal is being restarted."""
    logged_in = {"status": 201, "payload": envelope({"token": "secret"})}
    if is_at_work:
        portal.post(f"{API}/authentication", **logged_in)
    for _ in range(6):
        portal.post(f"{API}/authentication", status=502, **PAGE)
    portal.post(f"{API}/authentication", **logged_in)
    portal.get(MEMBERS, status=404, payload=NOT_FOUND, repeat=True)
    async with Asked(Credentials(username="user@portal.example", password=SecretStr("word"))) as client:
        if not is_at_work:
            with pytest.raises(PortalUnreachable, match="log-in failed: HTTP 502"):
                await client.probe()
            return
        await client.probe()
        assert client._tokens.refused("secret")
        client._tokens._logged_in_at = float("-inf")  # as if that log-in were long ago
        await client.probe()

    assert [wait for wait in no_sleep if wait > 0.1] == [0.5, 1.0, 2.0, 30.0, 30.0, 30.0]


async def test_no_query_is_longer_than_the_portal_takes(portal: aioresponses, client: Asked) -> None:
    """From 2,048 characters on it is a 400 with a page (contract 10.3)."""
    portal.get(re.compile(".*"), status=200, payload={"status": 0, "statusCode": 200, "response": []})

    await client.exchange(Kind.LOOK, *(MAX_ID - n for n in range(MOST_SOUGHT)), opportunity_id=MAX_ID)

    ((_, url), _) = next(iter(portal.requests.items()))
    assert len(url.query["filterValue"].split(",")) == MOST_SOUGHT
    assert len(url.raw_query_string) < 2_048


async def test_no_path_ends_in_a_slash(portal: aioresponses) -> None:
    """Behind the vendor's nginx that is no route (contract 10.1)."""
    portal.get(MEMBERS, status=404, payload=NOT_FOUND, repeat=True)
    portal.post(re.compile(".*"), status=404, payload=NOT_FOUND, repeat=True)
    credentials = Credentials(token=SecretStr("secret"))
    async with Asked(credentials) as client:
        await client.probe()
        await client.find(88)
        await client.link()

    assert [url.path for _, url in portal.requests if url.path.endswith("/")] == []
    assert len(portal.requests) == 3


async def test_a_token_that_runs_out_is_renewed_and_the_pair_is_not_blamed(portal: aioresponses) -> None:
    tokens = iter(["first", "second"])
    asked: list[Any] = []

    def log_in(_: URL, **options: Any) -> CallbackResult:
        asked.append((options["json"], options["headers"]["Content-Type"]))
        return CallbackResult(status=201, payload=envelope({"token": next(tokens)}))

    def link(_: URL, headers: dict[str, str], **__: Any) -> CallbackResult:
        if headers["Authorization"] == "second" or not sent(portal, "POST", LINK)[1:]:
            return CallbackResult(status=201, payload=envelope(contact()))
        return CallbackResult(status=401, body="Unauthorized", content_type="text/html")

    portal.post(f"{API}/authentication", callback=log_in, repeat=True)
    portal.post(LINK, callback=link, repeat=True)
    credentials = Credentials(username="user@portal.example", password=SecretStr("word"))
    async with Asked(credentials) as client:
        attempts = [await client.link()]
        client._tokens._logged_in_at = float("-inf")  # as if the first log-in were long ago
        attempts += [await client.link() for _ in range(2)]

    assert [attempt.result for attempt in attempts] == [Result.OK, Result.THROTTLED, Result.OK]
    assert attempts[1].reason == "token_renewed"
    # That is an answer of a portal at work: nobody is held back for it.
    assert client.pauses == []
    links = [request.result for request in client.told if request.kind is Kind.LINK]
    assert links == [Result.OK, Result.PERMANENT, Result.OK]
    assert sum(request.kind is Kind.LOGIN for request in client.told) == 2
    body = {"userName": "user@portal.example", "password": "word"}
    assert asked == [(body, "application/json")] * 2


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (500, {"payload": {"status": 1, "error": {"message": "No", "hresult": -2146233087}}}, "check name"),
        (201, {"payload": envelope({"token": None, "sms": True})}, "second factor"),
        (201, {"payload": envelope({"token": None, "tfa": True})}, "second factor"),
        (201, {"payload": envelope({})}, "brought no token"),
        (400, {"payload": {**NOT_FOUND, "statusCode": 400}}, "bad_argument"),
    ],
)
async def test_a_log_in_that_is_refused_is_asked_once_and_explained(
    portal: aioresponses, status: int, answer: dict[str, Any], message: str
) -> None:
    portal.post(f"{API}/authentication", status=status, **answer)
    credentials = Credentials(username="user@portal.example", password=SecretStr("word"))
    async with Asked(credentials) as client:
        with pytest.raises(PortalRefused, match=re.compile(message, re.IGNORECASE)) as caught:
            await client.link()

    assert "word" not in str(caught.value).replace("password", "")
    assert len(sent(portal, "POST", f"{API}/authentication")) == 1


async def test_the_xml_wire_asks_for_the_xml_route(portal: aioresponses) -> None:
    portal.post(
        f"{LINK}.xml",
        status=201,
        body="<result><status>0</status><response><isCompany>false</isCompany><id>88</id></response></result>",
        content_type="text/xml",
    )
    credentials = Credentials(token=SecretStr("secret"))
    async with Asked(credentials, "xml") as client:
        attempt = await client.link()

    assert (attempt.result, json.loads(attempt.body)) == (Result.OK, {"isCompany": False, "id": 88})
