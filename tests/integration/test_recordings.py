"""The simulator against what the vendor's own server answered, over a socket, request by request."""

import gzip
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
from lxml import etree
from yarl import URL

from tests.recordings.portal_wire import SCENARIO, Exchange, exchanges
from worker.simulator import Holdings, Portal
from worker.simulator.people import People

DIFFERENCES: Mapping[int, str] = {
    67: "pages hold other members: none is promised an order (contract 5.1), and ours differs on purpose",
    68: "the same",
}
"""Where the simulator answers otherwise, and why it may. Besides: the ids, not the people, are the same."""

_NOT_COMPARED = {"date", "server", "etag", "connection", "content-length", "set-cookie"}
_OPPORTUNITY = re.compile(r"opportunity/0*(\d+)/contact", re.IGNORECASE)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
    ) as opened:
        yield opened


async def test_the_simulator_answers_as_the_vendors_server_did(session: aiohttp.ClientSession) -> None:
    differing = {}
    async with Portal(SCENARIO) as portal:
        for exchange in exchanges():
            recorded, ours = expected(exchange), await replayed(exchange, portal, session)
            if recorded != ours:
                differing[exchange.n] = (exchange.title, recorded, ours)

    unjustified = [row for n, row in differing.items() if n not in DIFFERENCES]
    assert not unjustified, "\n\n".join("\n".join(map(str, row)) for row in unjustified)
    assert set(differing) == set(DIFFERENCES)


def expected(exchange: Exchange) -> dict[str, Any]:
    fields, links = exchange.fields, exchange.links_after
    body = b"<html>" if exchange.answer is None else exchange.answer.encode()
    return {
        **head(f"{exchange.status} {exchange.reason}", fields),
        "body": essence_of(body, fields["content-type"], exchange.target),
        **({} if links is None else {"links": links}),
    }


async def replayed(exchange: Exchange, portal: Portal, session: aiohttp.ClientSession) -> dict[str, Any]:
    url = URL(portal.url + exchange.target, encoded=True)
    data = exchange.body or None
    async with session.request(exchange.method, url, headers=exchange.headers, data=data) as answer:
        body = await answer.read()
    fields = {name.lower(): value for name, value in answer.headers.items()}
    if "content-encoding" in fields:
        body = gzip.decompress(body)
    links = exchange.links_after
    if links is not None:
        links = frozenset(portal.books.members(changed_by(exchange)))
    return {
        **head(f"{answer.status} {answer.reason}", fields),
        "body": essence_of(body, fields["content-type"], exchange.target),
        **({} if links is None else {"links": links}),
    }


def changed_by(exchange: Exchange) -> int:
    return int(_OPPORTUNITY.findall(unquote(exchange.target + exchange.body.decode()))[-1])


def head(status: str, fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        "status": status,
        "sets a cookie": "set-cookie" in fields,
        "fields": {name: value for name, value in fields.items() if name not in _NOT_COMPARED},
    }


def essence_of(body: bytes, content_type: str, target: str) -> Any:
    """What must be the same of a body: the envelope and all errors word by word, of people their ids."""
    is_sorted = "sortBy" in target
    if body.startswith(b"{"):
        texts, decoder = [], json.JSONDecoder()
        text = body.decode()
        while text:  # a broken batch is an error written twice
            value, end = decoder.raw_decode(text)
            texts.append(essence(value, is_sorted=is_sorted))
            text = text[end:]
        return content_type, texts
    if body.startswith(b"<result>"):
        return content_type, essence(tree(etree.fromstring(body)), is_sorted=is_sorted)
    return "a page" if body.startswith(b"<html>") else body


def tree(element: etree._Element) -> Any:
    if not len(element):
        return element.text
    members: dict[str, Any] = {}
    for child in element:
        value = tree(child)
        if child.tag in members:
            before = members[child.tag]
            members[child.tag] = [*(before if isinstance(before, list) else [before]), value]
        else:
            members[child.tag] = value
    return members


def essence(value: Any, *, is_sorted: bool) -> Any:
    match value:
        case {"isCompany": is_company, "id": number}:
            return "company" if is_company in {True, "true"} else "person", number
        case {"members": members, "id": number}:
            return "opportunity", number, essence(members, is_sorted=False)
        case {"token": _} | {"displayName": _}:
            return list(value), value.get("id")
        case dict():
            return [(name, member_essence(name, one, is_sorted=is_sorted)) for name, one in value.items()]
        case list():
            made = [essence(one, is_sorted=is_sorted) for one in value]
            # Members come in any order; results of a batch do not.
            is_batch = any(isinstance(one, dict) and "status" in one for one in value)
            return made if is_sorted or is_batch else sorted(made, key=str)
        case _:
            return value


def member_essence(name: str, value: Any, *, is_sorted: bool) -> Any:
    if name == "eTag":
        return len(value)
    if name == "data" and isinstance(value, str) and value[:1] in {"{", "<"}:
        return essence_of(value.encode(), "", "")
    return essence(value, is_sorted=is_sorted)


# -- The people that we invent, beside those that were recorded ----------------------------------------------


def recorded_entities(member: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def look(value: Any) -> None:
        match value:
            case {"data": str(data)} if data.startswith("{"):
                look(json.loads(data))
            case dict():
                found.extend([value] if member in value and "createBy" in value else [])
                look(value.get("response"))
            case list():
                for one in value:
                    look(one)

    for exchange in exchanges():
        if (exchange.answer or "").startswith("{") and "}{" not in (exchange.answer or ""):
            look(json.loads(exchange.answer or ""))
    return found


def kinds(entities: list[dict[str, Any]]) -> dict[str, set[str]]:
    made: dict[str, set[str]] = {}
    for entity in entities:
        for name, value in entity.items():
            made.setdefault(name, set()).add(type(value).__name__)
    return made


def differences_of_shape(recorded: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[str]:
    """Members of a recorded object that none of ours has so, and members of all of ours that it lacks."""
    known = kinds(ours)
    always = {name for name in known if all(name in one for one in ours)}
    return [
        *(
            f"{name} is {said}, not {known.get(name)}"
            for name, said in kinds(recorded).items()
            if not said <= known.get(name, set())
        ),
        *(f"{name} is missing" for one in recorded for name in always - one.keys()),
    ]


@pytest.mark.parametrize("is_company", [True, False])
def test_our_contacts_have_the_members_that_recorded_ones_have(is_company: bool) -> None:
    people = People(Holdings())
    recorded = [one for one in recorded_entities("isCompany") if one["isCompany"] is is_company]
    ours = [made for one in range(1, 400) for made in (people.single(one), people.listed(one))]

    assert len(recorded) >= 3
    assert not differences_of_shape(recorded, [one for one in ours if one["isCompany"] is is_company])


def test_our_opportunities_have_the_members_that_a_recorded_one_has() -> None:
    people = People(Holdings(primary={1: 7}))
    (recorded,) = recorded_entities("bidValue")
    ours = [people.opportunity(one, [3]) for one in range(1, 200)]

    assert not differences_of_shape([recorded], ours)
    assert set(kinds(ours)) - recorded.keys() == {"contact"}  # it had none (contract 10.7)
    assert list(recorded) == [name for name in ours[1] if name != "contact"]
