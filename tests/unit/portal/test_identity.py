"""Which product it is and who we are, as an answer tells: with aioresponses in the portal's place."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aioresponses import aioresponses
from pydantic import SecretStr
from yarl import URL

from tests.unit.portal.asked import BASE, Asked
from worker.errors import PortalRefused
from worker.limits.limiter import USER
from worker.portal.auth import Credentials
from worker.portal.identity import User, product_of, user_in_passing, user_of

ERRORS = Path(__file__).parents[2] / "fixtures/portal"
NOBODY = f"{BASE}/api/2.0/crm/opportunity/0/contact?count=1&fields=id"
WHO = f"{BASE}/api/2.0/people/@self?fields=id,displayName,userName,email,isAdmin,isOwner"


@pytest.fixture
def portal() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    async def pass_at_once(_: float) -> None:
        """Tries are made one after the other."""

    monkeypatch.setattr("worker.portal.tries.asyncio.sleep", pass_at_once)
    async with Asked(Credentials(token=SecretStr("secret"))) as opened:
        yield opened


def profile(**members: Any) -> dict[str, Any]:
    return {"count": 1, "status": 0, "statusCode": 200, "response": {"id": "293b", **members}}


def user(name: str, email: str, *, is_admin: bool) -> User:
    return User(name, email, is_admin, "293b")


@pytest.mark.parametrize(
    ("error", "product"),
    [("appserver_error.json", "AppServer"), ("error_404.json", "CommunityServer")],
)
async def test_appserver_is_told_by_an_error_that_names_its_class(
    portal: aioresponses, client: Asked, error: str, product: str
) -> None:
    portal.get(NOBODY, status=404, body=(ERRORS / error).read_bytes(), content_type="application/json")

    assert await product_of(client) == product


async def test_a_portal_that_fails_on_and_on_is_of_no_product(portal: aioresponses, client: Asked) -> None:
    portal.get(NOBODY, status=502, body="<html>", content_type="text/html", repeat=True)

    assert await product_of(client) is None
    assert len(portal.requests["GET", URL(NOBODY)]) == 4


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"displayName": "Zoë", "email": "z@x.example", "isAdmin": True},
            user("Zoë", "z@x.example", is_admin=True),
        ),
        ({"displayName": "Zoë", "isAdmin": False, "isOwner": True}, user("Zoë", "", is_admin=True)),
        ({"displayName": "", "userName": "zoe", "isAdmin": False}, user("zoe", "", is_admin=False)),
        ({"displayName": None, "isAdmin": "yes"}, User("293b", "", None, "293b")),
        ({"displayName": "Zoë", "isAdmin": "true"}, user("Zoë", "", is_admin=True)),
    ],
)
async def test_who_we_are_is_what_the_profile_says(
    portal: aioresponses, client: Asked, members: dict[str, Any], expected: User
) -> None:
    portal.get(WHO, payload=profile(**members))

    assert await user_of(client) == expected


async def test_a_failure_that_passes_is_asked_about_again(portal: aioresponses, client: Asked) -> None:
    portal.get(WHO, status=503)
    portal.get(WHO, exception=TimeoutError())
    portal.get(WHO, payload=profile(displayName="Zoë"))

    assert await user_of(client) == User("Zoë", "", None, "293b")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "<html>no such page</html>"),
        (404, '{"status":1,"statusCode":404,"error":{"message":"Not found","hresult":-2147467259}}'),
        (200, '{"count":1,"status":0,"statusCode":200,"response":[]}'),
    ],
)
async def test_a_portal_that_does_not_tell_who_we_are_keeps_nobody_from_going_on(
    portal: aioresponses, client: Asked, status: int, body: str
) -> None:
    kind = "text/html" if body.startswith("<") else "application/json"
    portal.get(WHO, status=status, body=body, content_type=kind, repeat=True)

    assert await user_of(client) is None


async def test_a_refusal_of_us_is_one(portal: aioresponses, client: Asked) -> None:
    portal.get(WHO, status=401, body="Unauthorized", content_type="text/html")

    with pytest.raises(PortalRefused, match="unauthorized"):
        await user_of(client)


async def test_in_passing_it_is_asked_once_and_whatever_is_said_ends_nothing(
    portal: aioresponses, client: Asked
) -> None:
    limiter = client._limiter
    portal.get(WHO, payload=profile(displayName="Zoë"))
    portal.get(WHO, status=503)
    portal.get(WHO, status=401, body="Unauthorized", content_type="text/html")
    portal.get(WHO, exception=TimeoutError())
    found = [await user_in_passing(client, limiter) for _ in range(4)]

    assert found == [User("Zoë", "", None, "293b"), None, None, None]
    assert len(portal.requests["GET", URL(WHO)]) == 4


async def test_in_passing_it_is_not_asked_while_everyone_is_held_back(
    portal: aioresponses, client: Asked
) -> None:
    limiter = client._limiter
    limiter.hold(USER)
    asking = asyncio.create_task(user_in_passing(client, limiter))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not portal.requests
    portal.get(WHO, payload=profile(displayName="Zoë"))
    limiter.let_go(USER)

    assert await asking == User("Zoë", "", None, "293b")
