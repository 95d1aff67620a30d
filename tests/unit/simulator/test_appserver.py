"""AppServer's own JSON (contract 2.9), over the wire."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from worker.simulator import Holdings, Portal, Scenario

Ask = Callable[..., Awaitable[tuple[str, dict[str, str], bytes]]]

CRM = "/api/2.0/crm"
SCENARIO = Scenario(
    portal=Holdings(linked=frozenset({(2, 7)}), missing_opportunities=frozenset({9}), product="appserver")
)


async def asked(ask: Ask, method: str, path: str) -> tuple[Any, bytes]:
    async with Portal(SCENARIO) as portal:
        _, _, body = await ask(portal, method, path)
    return json.loads(body), body


async def test_an_error_names_its_class_and_where_it_was_thrown(ask: Ask) -> None:
    said, _ = await asked(ask, "GET", f"{CRM}/opportunity/9/contact")

    assert (said["status"], said["statusCode"]) == (1, 404)
    assert said["error"].keys() == {"message", "type", "stack", "hresult"}
    assert said["error"]["message"] == "The record could not be found"


async def test_an_empty_list_has_its_count_and_nulls_are_dropped(ask: Ask) -> None:
    said, _ = await asked(ask, "GET", f"{CRM}/opportunity/3/contact")
    assert said == {"count": 0, "response": [], "status": 0, "statusCode": 200}

    said, body = await asked(ask, "GET", f"{CRM}/opportunity/2/contact")
    assert said["count"] == 1
    assert "currency" not in said["response"][0]
    assert rb"\/" not in body
    assert body.isascii()


async def test_the_answer_to_a_link_does_not_say_who_made_the_contact_and_when(ask: Ask) -> None:
    said, _ = await asked(ask, "POST", f"{CRM}/opportunity/2/contact/5")
    assert said["statusCode"] == 200
    assert not said["response"].keys() & {"createBy", "created", "about", "industry"}

    said, _ = await asked(ask, "GET", f"{CRM}/opportunity/2/contact")
    assert said["response"][0].keys() >= {"createBy", "created", "about", "industry"}


async def test_a_filtered_list_has_its_total(ask: Ask) -> None:
    said, _ = await asked(ask, "GET", f"{CRM}/contact/filter?count=2&sortBy=id")

    assert (said["count"], said["total"]) == (2, 5000)


async def test_a_bad_token_is_a_401_without_a_word(ask: Ask) -> None:
    async with Portal(SCENARIO) as portal:
        status, headers, body = await ask(portal, "GET", f"{CRM}/contact/1", token="bad")

    assert (status.partition(" ")[0], body) == ("401", b"")
    assert "www-authenticate" not in headers


async def test_xml_is_as_it_was(ask: Ask) -> None:
    async with Portal(SCENARIO) as portal:
        _, _, body = await ask(portal, "GET", f"{CRM}/opportunity/3/contact.xml")

    assert body == b"<result><status>0</status><statusCode>200</statusCode></result>"
