"""The API over a socket: statuses, headers and exact bodies."""

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from worker.simulator import Auth, Holdings, Latency, Portal, Scenario

Ask = Callable[..., Awaitable[tuple[str, dict[str, str], bytes]]]

NOT_FOUND = b'{"status":1,"statusCode":404,"error":{"message":"Not found","hresult":-2147467259,"data":{}}}'
API = "/api/2.0"


def response(body: bytes) -> Any:
    return json.loads(body)["response"]


def error(body: bytes) -> tuple[str, int]:
    said = json.loads(body)["error"]
    return said["message"], said["hresult"]


async def test_a_linked_company_is_answered_byte_for_byte_as_in_the_contract(
    portal: Portal, ask: Ask
) -> None:
    status, headers, body = await ask(portal, "POST", f"{API}/crm/opportunity/1/contact/120")

    photo = r"\/Products\/CRM\/HttpHandlers\/filehandler.ashx?action=contactphotoulr&cid=120&isc=True&ps="
    assert status == "201 Created"
    assert headers["content-type"] == "application/json; charset=UTF-8"
    assert body.decode() == (
        '{"count":1,"status":0,"statusCode":201,"response":{"companyName":"Company 120","addresses":[],'
        '"createBy":{"id":"293bb997-28d8-4be0-8547-6eb50add0000","displayName":"Employee 0",'
        r'"avatarSmall":null,"profileUrl":"https:\/\/portal.example\/Products\/People\/Profile.aspx?user=employee.0"},'
        '"created":"2023-01-09T00:00:00.0000000+02:00","about":"","industry":"","commonData":[],'
        '"customFields":[{"entityId":0,"label":"Details","fieldValue":"","fieldType":4,"position":0,"mask":"",'
        f'"id":6}}],"haveLateTasks":false,"smallFotoUrl":"{photo}1","mediumFotoUrl":"{photo}2",'
        '"displayName":"Company 120","isCompany":true,"isPrivate":false,"isShared":true,"shareType":1,'
        '"currency":null,"canEdit":true,"canDelete":true,"id":120}}'
    )
    assert portal.books.holds(1, 120)


async def test_xml_is_one_line_without_declaration_and_empty_lists(portal: Portal, ask: Ask) -> None:
    status, headers, body = await ask(portal, "POST", f"{API}/crm/opportunity/1/contact/120.xml")

    photo = (
        "/Products/CRM/HttpHandlers/filehandler.ashx?action=contactphotoulr&amp;cid=120&amp;isc=True&amp;ps="
    )
    assert (status, headers["content-type"]) == ("201 Created", "text/xml; charset=UTF-8")
    assert body.decode() == (
        "<result><count>1</count><status>0</status><statusCode>201</statusCode><response>"
        "<companyName>Company 120</companyName><createBy><id>293bb997-28d8-4be0-8547-6eb50add0000</id>"
        "<displayName>Employee 0</displayName><avatarSmall />"
        "<profileUrl>https://portal.example/Products/People/Profile.aspx?user=employee.0</profileUrl></createBy>"
        "<created>2023-01-09T00:00:00.0000000+02:00</created><about></about><industry></industry>"
        "<customFields><entityId>0</entityId><label>Details</label><fieldValue></fieldValue>"
        "<fieldType>4</fieldType><position>0</position><mask></mask><id>6</id></customFields>"
        f"<haveLateTasks>false</haveLateTasks><smallFotoUrl>{photo}1</smallFotoUrl>"
        f"<mediumFotoUrl>{photo}2</mediumFotoUrl><displayName>Company 120</displayName>"
        "<isCompany>true</isCompany><isPrivate>false</isPrivate><isShared>true</isShared>"
        "<shareType>1</shareType><currency /><canEdit>true</canEdit><canDelete>true</canDelete><id>120</id>"
        "</response></result>"
    )


async def test_a_newline_in_a_text_travels_escaped_in_json_and_bare_in_xml(portal: Portal, ask: Ask) -> None:
    _, _, as_json = await ask(portal, "GET", f"{API}/crm/contact/2.json")
    _, _, as_xml = await ask(portal, "GET", f"{API}/crm/contact/2.xml")

    assert rb'"about":"Said \"call back\" & left\u000aat stand 2"' in as_json
    assert b'<about>Said "call back" &amp; left\nat stand 2</about>' in as_xml
    assert "Rīga".encode() in as_json


async def test_linking_again_answers_the_same_and_changes_nothing(portal: Portal, ask: Ask) -> None:
    first = await ask(portal, "POST", f"{API}/crm/opportunity/1/contact/5")
    second = await ask(portal, "POST", f"{API}/crm/opportunity/1/contact/5")

    assert (first[0], first[2]) == (second[0], second[2])
    assert (portal.books.stored, portal.books.created, portal.books.repeats) == (2, 1, 1)


async def test_unlinking_answers_200_with_the_contact_even_if_there_was_no_link(
    portal: Portal, ask: Ask
) -> None:
    for contact in (9, 10):
        status, _, body = await ask(portal, "DELETE", f"{API}/crm/opportunity/2/contact/{contact}")
        assert (status, response(body)["id"]) == ("200 OK", contact)

    assert portal.books.links() == [(2, 7), (2, 15)]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("pair", "status", "said"),
    [
        (
            "0/contact/5",
            "400 Invalid arguments",
            ("Value does not fall within the expected range.", -2147024809),
        ),
        (
            "1/contact/0",
            "400 Invalid arguments",
            ("Value does not fall within the expected range.", -2147024809),
        ),
        (
            "1/contact/2147483648",
            "400 Invalid arguments",
            ("Value was either too large or too small for an Int32.", -2146233066),
        ),
        ("1/contact/13", "404 The record could not be found", ("Not found", -2147467259)),
        ("1/contact/15", "404 The record could not be found", ("Not found", -2147467259)),
        ("1/contact/3001", "404 The record could not be found", ("Not found", -2147467259)),
        ("99/contact/5", "404 The record could not be found", ("Not found", -2147467259)),
        ("101/contact/5", "404 The record could not be found", ("Not found", -2147467259)),
    ],
)
async def test_a_pair_that_cannot_be_is_refused_and_not_stored(
    portal: Portal, ask: Ask, *, method: str, pair: str, status: str, said: tuple[str, int]
) -> None:
    got, headers, body = await ask(portal, method, f"{API}/crm/opportunity/{pair}")

    assert (got, error(body)) == (status, said)
    assert headers["content-type"] == "application/json; charset=UTF-8"
    assert portal.books.stored == portal.books.removed == 0


async def test_members_of_opportunity_0_are_not_found_while_the_opportunity_is_a_bad_argument(
    portal: Portal, ask: Ask
) -> None:
    members = await ask(portal, "GET", f"{API}/crm/opportunity/0/contact")

    assert (members[0][:3], members[2]) == ("404", NOT_FOUND)
    assert (await ask(portal, "GET", f"{API}/crm/opportunity/0"))[0][:3] == "400"
    assert (await ask(portal, "GET", f"{API}/crm/contact/0"))[0][:3] == "400"
    assert (await ask(portal, "GET", f"{API}/crm/opportunity/99"))[2] == NOT_FOUND


async def test_no_members_is_an_empty_list_without_a_count(portal: Portal, ask: Ask) -> None:
    assert (await ask(portal, "GET", f"{API}/crm/opportunity/1/contact"))[2] == (
        b'{"status":0,"statusCode":200,"response":[]}'
    )


async def test_members_are_listed_with_the_primary_contact_marked(portal: Portal, ask: Ask) -> None:
    _, _, body = await ask(portal, "GET", f"{API}/crm/opportunity/2/contact")

    assert {one["id"]: one["canEdit"] for one in response(body)} == {7: False, 9: True, 15: True}
    assert json.loads(body)["count"] == 3


async def test_chosen_members_are_checked_in_one_small_reply(portal: Portal, ask: Ask) -> None:
    query = "?filterBy=id&filterOp=equals&filterValue=7,8,9&fields=id&sortBy=id"
    as_json = await ask(portal, "GET", f"{API}/crm/opportunity/2/contact{query}")
    as_xml = await ask(portal, "GET", f"{API}/crm/opportunity/2/contact.xml{query}")

    assert as_json[2] == b'{"count":2,"status":0,"statusCode":200,"response":[{"id":7},{"id":9}]}'
    assert as_xml[2] == (
        b"<result><count>2</count><status>0</status><statusCode>200</statusCode>"
        b"<response><id>7</id></response><response><id>9</id></response></result>"
    )


async def test_many_members_come_in_pages_and_the_next_index_is_one_too_high(
    portal: Portal, ask: Ask
) -> None:
    for contact in range(100, 1200):
        portal.books.link(3, contact)
    path = f"{API}/crm/opportunity/3/contact?fields=id&count=5000&startIndex="
    first = json.loads((await ask(portal, "GET", path + "0"))[2])
    second = json.loads((await ask(portal, "GET", path + "1000"))[2])

    assert [first[key] for key in ("count", "nextIndex", "total")] == [1000, 1001, 1100]
    assert [second[key] for key in ("count", "startIndex", "total")] == [100, 1000, 1100]
    assert {one["id"] for one in first["response"] + second["response"]} == set(range(100, 1200))


async def test_fields_cut_a_single_answer_down(portal: Portal, ask: Ask) -> None:
    assert (await ask(portal, "POST", f"{API}/crm/opportunity/1/contact/7?fields=ID"))[2] == (
        b'{"count":1,"status":0,"statusCode":201,"response":{"id":7}}'
    )


async def test_filter_routes_walk_everything_by_id(portal: Portal, ask: Ask) -> None:
    contacts = json.loads(
        (await ask(portal, "GET", f"{API}/crm/contact/filter?sortBy=id&count=3&startIndex=11&fields=id"))[2]
    )
    newest = response((await ask(portal, "GET", f"{API}/crm/contact/filter?count=1&fields=id"))[2])
    deals = json.loads((await ask(portal, "GET", f"{API}/crm/opportunity/filter?contactid=9"))[2])

    assert [one["id"] for one in contacts["response"]] == [12, 14, 15]
    assert (contacts["startIndex"], contacts["total"]) == (11, 2999)
    assert newest == [{"id": 3000}]
    assert (deals["total"], deals["response"][0]["title"]) == (1, "Opportunity 2")


async def test_an_opportunity_shows_its_members(portal: Portal, ask: Ask) -> None:
    deal = response((await ask(portal, "GET", f"{API}/crm/opportunity/2"))[2])

    assert (deal["id"], deal["contact"]["id"]) == (2, 7)
    assert {one["id"] for one in deal["members"]} == {7, 9, 15}


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("GET", f"{API}/crm/opportunity/1/contact/2", "404 Not Found"),
        ("PUT", f"{API}/crm/opportunity/1/contact/2", "405 Method Not Allowed"),
        ("PATCH", f"{API}/crm/opportunity/1/contact/2", "405 Method Not Allowed"),
        ("DELETE", f"{API}/crm/opportunity/1", "405 Method Not Allowed"),
        ("POST", f"{API}/crm/opportunity/1/contact/2.XML", "500 Internal Server Error"),
        ("POST", f"{API}/crm/opportunity/1/contact/two", "500 Internal Server Error"),
        ("GET", "/", "404 Not Found"),
        ("POST", f"{API}/crm/opportunity/1/contact/2/", "404 Not Found"),
        ("GET", f"{API}/crm/opportunity/2/contact?updatedSince=soon", "500 Internal Server Error"),
    ],
)
async def test_what_is_not_routed_is_a_page_of_the_site_with_a_status_by_its_verb(
    portal: Portal, ask: Ask, method: str, path: str, said: str
) -> None:
    """Contract 10.1, 10.2; what nginx or the date trips over has its own."""
    status, headers, body = await ask(portal, method, path)

    assert (status, headers["content-type"]) == (said, "text/html")
    assert body.startswith(b"<html>")
    assert portal.books.stored == 0


async def test_a_query_of_2048_characters_is_a_page_and_one_less_passes(portal: Portal, ask: Ask) -> None:
    """Contract 10.3: it is refused before anybody is asked who he is."""
    path = f"{API}/crm/opportunity/2/contact?"

    assert (await ask(portal, "GET", path + "x" * 2047))[0] == "200 OK"
    assert (await ask(portal, "GET", path + "x" * 2048, token=None))[0] == "400 Bad Request"


async def test_nginx_merges_slashes(portal: Portal, ask: Ask) -> None:
    assert (await ask(portal, "POST", "//api/2.0//crm/opportunity/1/contact/2"))[0] == "201 Created"


async def test_what_is_private_is_missing_to_a_user_who_is_no_administrator(ask: Ask) -> None:
    """Contract 4.5, 5.1: it looks as if it was not there, and is left out of lists."""
    holdings = Holdings(
        linked=frozenset({(1, 7), (1, 8)}),
        private_contacts=frozenset({8}),
        private_opportunities=frozenset({2}),
    )
    async with Portal(Scenario(portal=holdings, auth=Auth(limited_token="of-bob"))) as portal:
        for method, path in (
            ("POST", "/crm/opportunity/2/contact/7"),
            ("POST", "/crm/opportunity/1/contact/8"),
            ("GET", "/crm/opportunity/2/contact"),
            ("GET", "/crm/opportunity/2"),
            ("GET", "/crm/contact/8"),
        ):
            assert (await ask(portal, method, API + path, token="of-bob"))[2] == NOT_FOUND
            assert (await ask(portal, method, API + path))[0][0] == "2"
        members = (await ask(portal, "GET", f"{API}/crm/opportunity/1/contact", token="of-bob"))[2]
        contacts = f"{API}/crm/contact/filter?count=1"
        totals = [
            json.loads((await ask(portal, "GET", contacts, token=token))[2])["total"]
            for token in ("of-bob", "demo-token")
        ]

    assert [one["id"] for one in response(members)] == [7]
    assert totals == [4999, 5000]


async def test_a_token_in_the_query_opens_and_sets_no_cookie(portal: Portal, ask: Ask) -> None:
    path = f"{API}/crm/contact/7?asc_auth_key=demo-token"
    status, headers, _ = await ask(portal, "GET", path, token=None)

    assert status == "200 OK"
    assert "set-cookie" not in headers


async def test_the_first_reads_of_a_kind_race_and_all_but_one_fail(ask: Ask) -> None:
    """Contract 10.5: alone, it only takes longer; later, and of another kind, nothing happens."""
    chosen = f"{API}/crm/opportunity/1/contact?filterBy=id&filterOp=equals&filterValue="
    async with Portal(Scenario(latency=Latency(compile_seconds=0.1))) as portal:
        first = await asyncio.gather(*(ask(portal, "GET", f"{chosen}{one}") for one in range(1, 6)))
        later = await asyncio.gather(*(ask(portal, "GET", f"{chosen}{one}") for one in range(1, 6)))
        portal.reset()
        plain = await ask(portal, "GET", f"{API}/crm/opportunity/1/contact")
        alone = await ask(portal, "GET", chosen + "1")

    assert sorted(status[:3] for status, _, _ in first) == ["200", "500", "500", "500", "500"]
    assert {error(body) for status, _, body in first if status[:3] == "500"} == {
        ("An item with the same key has already been added.", -2147024809)
    }
    assert {status for status, _, _ in [*later, plain, alone]} == {"200 OK"}


async def test_options_needs_no_token(portal: Portal, ask: Ask) -> None:
    status, headers, body = await ask(portal, "OPTIONS", f"{API}/anything", token=None)

    assert (status, body) == ("200 OK", b"")
    assert "DELETE" in headers["access-control-allow-methods"]


async def test_a_post_without_a_length_is_taken(portal: Portal, ask: Ask) -> None:
    """Contract 10.6."""
    status, *_ = await ask(portal, "POST", f"{API}/crm/opportunity/1/contact/2", with_length=False)

    assert (status, portal.books.holds(1, 2)) == ("201 Created", True)


@pytest.mark.parametrize(
    ("content_type", "sent", "status"),
    [
        ("application/json", b"", "201"),
        ("application/json; charset=utf-8", b"{}", "201"),
        ("application/json", b"null", "201"),
        ("application/json", b"[1]", "400"),
        ("application/json", b"{", "400"),
        ("text/xml", b"", "500"),
        ("nonsense", b"", "500"),
        ("application/x-www-form-urlencoded", b"contactid=99", "201"),
    ],
)
async def test_a_body_that_nobody_needs_is_parsed_all_the_same(
    portal: Portal, ask: Ask, content_type: str, sent: bytes, status: str
) -> None:
    headers = {"Content-Type": content_type}
    got, _, _ = await ask(portal, "POST", f"{API}/crm/opportunity/1/contact/2", headers, sent)

    assert got[:3] == status
    assert portal.books.holds(1, 2) is (status == "201")


@pytest.mark.parametrize(
    ("accepted", "is_zipped"),
    [("gzip, deflate", True), ("deflate,gzip", True), ("deflate, gzip", False), ("gzip;q=1", False)],
)
async def test_only_an_unpadded_gzip_token_compresses(
    portal: Portal, ask: Ask, accepted: str, is_zipped: bool
) -> None:
    path, headers = f"{API}/crm/opportunity/1/contact/7?fields=id", {"Accept-Encoding": accepted}
    _, got, body = await ask(portal, "POST", path, headers)

    assert ("content-encoding" in got) is is_zipped
    assert response(gzip.decompress(body) if is_zipped else body) == {"id": 7}


async def test_errors_are_never_compressed(portal: Portal, ask: Ask) -> None:
    headers = {"Accept-Encoding": "gzip"}

    assert (await ask(portal, "POST", f"{API}/crm/opportunity/1/contact/13", headers))[2] == NOT_FOUND


async def test_each_reply_of_the_api_forbids_caching_and_sets_the_cookie(portal: Portal, ask: Ask) -> None:
    one = (await ask(portal, "GET", f"{API}/crm/contact/7", token="Bearer demo-token"))[1]
    two = (await ask(portal, "GET", f"{API}/crm/contact/7"))[1]
    by_cookie = {"Cookie": "asc_auth_key=demo-token"}
    three = (await ask(portal, "GET", f"{API}/crm/contact/7", by_cookie, token=None))[1]

    assert one["cache-control"] == "private, max-age=0"
    assert one["etag"] != two["etag"]
    assert one["set-cookie"] == "asc_auth_key=demo-token; path=/; HttpOnly"
    assert "set-cookie" not in three


async def test_a_bad_token_is_plain_text_and_a_challenge_only_if_one_was_sent(
    portal: Portal, ask: Ask
) -> None:
    path = f"{API}/crm/opportunity/1/contact/7"
    status, headers, body = await ask(portal, "POST", path, token="Bearer nonsense")
    bare = await ask(portal, "POST", path, token=None)
    stale = await ask(portal, "POST", path, {"Cookie": "asc_auth_key=old"}, token=None)

    assert (status, body) == ("401 Unauthorized", b"Unauthorized")
    assert headers["content-type"].startswith("text/html")
    assert headers["www-authenticate"] == 'Basic Realm="127.0.0.1"'
    assert "www-authenticate" not in bare[1]
    assert stale[1]["set-cookie"].startswith("asc_auth_key=;")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"userName":"user@portal.example","password":"demo-password"}'),
        ("application/x-www-form-urlencoded", b"USERNAME=user%40portal.example&password=demo-password"),
    ],
)
async def test_a_login_gives_a_token_that_works(
    portal: Portal, ask: Ask, content_type: str, body: bytes
) -> None:
    headers = {"Content-Type": content_type}
    status, got, answer = await ask(portal, "POST", f"{API}/authentication.json", headers, body, token=None)
    token, expires = response(answer)["token"], response(answer)["expires"]

    assert status == "201 Created"
    assert got["set-cookie"].startswith(f"asc_auth_key={token};")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", expires)
    assert (await ask(portal, "GET", f"{API}/crm/contact/7", token=token))[0] == "200 OK"


async def test_bad_credentials_are_a_500_and_too_many_lock_out(portal: Portal, ask: Ask) -> None:
    headers = {"Content-Type": "application/json"}
    body = b'{"userName":"user@portal.example","password":"wrong"}'
    answers = [
        await ask(portal, "POST", f"{API}/authentication", headers, body, token=None) for _ in range(6)
    ]

    assert {status for status, _, _ in answers} == {"500 Server error"}
    assert error(answers[4][2]) == ("User authentication failed", -2146233087)
    assert error(answers[5][2]) == ("Login Fail. Too many attempts", -2146233087)


@pytest.mark.parametrize(
    ("two_factor", "said"),
    [
        ("sms", rb'{"token":null,"expires":"[^"]+","sms":true,"phoneNoise":"[^"]+"}'),
        ("tfa", rb'{"token":null,"tfa":true}'),
    ],
)
async def test_a_second_factor_is_a_201_without_a_token(ask: Ask, two_factor: str, said: bytes) -> None:
    text = f"[auth]\ntwo_factor = '{two_factor}'"
    body = b"userName=user%40portal.example&password=demo-password"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with Portal(Scenario.from_toml(text)) as portal:
        status, got, answer = await ask(portal, "POST", f"{API}/authentication", headers, body, token=None)

    assert status == "201 Created"
    assert re.search(said, answer)
    assert "set-cookie" not in got


async def test_a_used_up_token_is_refused_over_the_wire(ask: Ask) -> None:
    async with Portal(Scenario(auth=Auth(expires_after_requests=1))) as portal:
        answers = [await ask(portal, "GET", f"{API}/crm/contact/7") for _ in range(2)]

    assert [status for status, _, _ in answers] == ["200 OK", "401 Unauthorized"]


async def test_appserver_links_once_lists_everyone_and_unlinks_everyone(ask: Ask) -> None:
    """What makes an undo by DELETE impossible there (contract 2.9, 4.2, 4.4, 5.5)."""
    holdings = Holdings(linked=frozenset({(2, 7), (2, 9), (3, 7)}), product="appserver")
    async with Portal(Scenario(portal=holdings)) as portal:
        first, _, body = await ask(portal, "POST", f"{API}/crm/opportunity/2/contact/5")
        again, *_ = await ask(portal, "POST", f"{API}/crm/opportunity/2/contact/5")
        assert (first, response(body)["id"], again) == ("200 OK", 5, "500 Server error")

        chosen = f"{API}/crm/opportunity/2/contact?filterBy=id&filterValue=5&count=1&fields=id"
        _, _, body = await ask(portal, "GET", chosen)
        assert sorted(one["id"] for one in response(body)) == [5, 7, 9]
        assert len(response(body)[0]) > 1

        status, *_ = await ask(portal, "DELETE", f"{API}/crm/opportunity/2/contact/5")
        assert (status, portal.books.links()) == ("200 OK", [(3, 7)])


async def test_who_asks_is_told_who_that_is(ask: Ask) -> None:
    async with Portal(Scenario(auth=Auth(limited_token="other"))) as portal:
        _, _, body = await ask(portal, "GET", f"{API}/people/@self")
        assert (response(body)["displayName"], response(body)["isAdmin"]) == ("Demo User", True)
        assert response(body)["email"] == "user@portal.example"
        _, _, body = await ask(portal, "GET", f"{API}/people/@self?fields=id,isadmin", token="other")
        assert response(body).keys() == {"id", "isAdmin"}
        assert not response(body)["isAdmin"]
        status, *_ = await ask(portal, "GET", f"{API}/people/@self", token="bad")
        assert status.startswith("401")
