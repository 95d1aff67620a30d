"""A name that was cut in the middle of an emoji costs nobody anything, in either form of answer."""

import json
import re
from collections.abc import AsyncIterator

import pytest
from aioresponses import aioresponses
from pydantic import SecretStr

from tests.unit.portal.asked import BASE, Asked
from worker.models import Result
from worker.portal.auth import Credentials
from worker.portal.wire import WireFormat

ANY = re.compile(rf"^{re.escape(BASE)}/")


@pytest.fixture(params=["json", "xml"])
def wire(request: pytest.FixtureRequest) -> WireFormat:
    form: WireFormat = request.param
    return form


@pytest.fixture
async def client(wire: WireFormat) -> AsyncIterator[Asked]:
    async with Asked(Credentials(token=SecretStr("secret")), wire) as opened:
        yield opened


def answer(wire: WireFormat, names: dict[int, str], *, listed: bool) -> tuple[str, str]:
    """An envelope with contacts of these names, as a server writes it that knows UTF-16 units only."""
    if wire == "json":
        contacts = [{"id": one, "firstName": name, "isCompany": False} for one, name in names.items()]
        response = contacts if listed else contacts[0]
        return json.dumps({"status": 0, "statusCode": 200, "response": response}), "application/json"
    text = "".join(
        f"<response><id>{one}</id><firstName>{name.encode('ascii', 'xmlcharrefreplace').decode()}</firstName>"
        "<isCompany>false</isCompany></response>"
        for one, name in names.items()
    )
    return f"<result><status>0</status><statusCode>200</statusCode>{text}</result>", "text/xml"


async def test_the_link_is_linked_and_its_contact_is_json_that_all_can_read(
    client: Asked, wire: WireFormat
) -> None:
    body, kind = answer(wire, {88: "cut \ud83d"}, listed=False)
    with aioresponses() as portal:
        portal.post(ANY, status=201, body=body, content_type=kind)
        attempt = await client.link()
    assert (attempt.result, attempt.reason) == (Result.OK, "")
    name = json.loads(attempt.body)["firstName"]
    assert name.startswith("cut ")
    assert name.encode()


async def test_the_other_members_of_the_opportunity_are_found_beside_it(
    client: Asked, wire: WireFormat
) -> None:
    body, kind = answer(wire, {87: "\ud83d", 88: "whole", 89: "\ude00\ud83d"}, listed=True)
    with aioresponses() as portal:
        portal.get(ANY, status=200, body=body, content_type=kind)
        look = await client.find(87, 88, 90)
    assert look.result is Result.OK
    assert sorted(look.found) == [87, 88]
