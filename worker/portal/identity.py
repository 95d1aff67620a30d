"""Which product a portal is, and whom it takes us for: questions that change nothing there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from worker.errors import PortalError
from worker.limits import Limiter
from worker.models import Kind, Result
from worker.portal.calls import HARMLESS, Call, Read, read_answer
from worker.portal.classify import read_body
from worker.portal.client import PortalClient
from worker.reasons import RENEWED

Product = Literal["CommunityServer", "AppServer"]

WHO = Call(
    "GET", "people/@self", {"fields": "id,displayName,userName,email,isAdmin,isOwner"}, dispensable=True
)
"""The profile of whoever asks. ``id`` is among the fields, for the portal keeps contracts without (5.6)."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom a portal takes us for.

    Attributes:
        name: as people read it.
        email: empty if it is not told.
        is_admin: sees whatever there is, of an owner as well; None if it is not told.
        id: by which the portal knows them.
    """

    name: str
    email: str
    is_admin: bool | None
    id: str = ""


async def product_of(client: PortalClient) -> Product | None:
    """The product, by its answer about an opportunity that is none; None if there is no answer.

    AppServer's errors name their class, those of a CommunityServer never do (contract 2.2, 2.9).

    Raises:
        PortalError: the portal refuses us, is closed, is no portal, or only throttles us for too long.
    """
    read = await _asked(client, HARMLESS, partial(read_answer, None))
    if read is None or read.envelope is None:
        return None
    return "CommunityServer" if read.envelope.error_type is None else "AppServer"


async def user_of(client: PortalClient) -> User | None:
    """Who we are there; None if that is not told, which keeps nobody from linking.

    Raises:
        PortalError: the portal refuses us, is closed, or only throttles us for too long.
    """
    return user_in(await _asked(client, WHO, read_profile))


async def user_in_passing(client: PortalClient, limiter: Limiter) -> User | None:
    """The same, asked once, like anything that is sent: held back with all others, and no reason to end."""
    try:
        await client.ready()
        async with limiter.slot() as slot:
            finding = await client.send(WHO, read_profile, Kind.PROBE)
            slot.observe(finding.request(Kind.PROBE))
    except PortalError:  # whatever it is, what is sent for a pair meets it, too
        return None
    return user_in(finding.read)


def user_in(read: Read | None) -> User | None:
    """Whom the answer to :data:`WHO` names; None if it is no profile."""
    profile = None if read is None or read.envelope is None else read.envelope.response
    if read is None or read.proof is None or not isinstance(profile, Mapping):
        return None
    name = _text(profile, "displayName") or _text(profile, "userName")
    rights = [_flag(profile, "isAdmin"), _flag(profile, "isOwner")]
    is_admin = True if True in rights else rights[0]
    return User(name or _text(profile, "id"), _text(profile, "email"), is_admin, _text(profile, "id"))


async def _asked(client: PortalClient, call: Call, read: Callable[[str | None, bytes], Read]) -> Read | None:
    """Ask, as often as the probe does, until there is an answer; None if there is none, or no such route."""
    tries = client.tries()
    while True:
        finding = await client.ask(call, read)
        verdict = finding.verdict
        if verdict.reason == RENEWED:
            continue
        is_answer = verdict.result in (Result.OK, Result.PERMANENT)
        if is_answer or verdict.stop is not None or finding.final:
            tries.end()
            return finding.read if is_answer else None
        if not await tries.again(finding.retry_after, throttled=verdict.is_pacing):
            return None


def read_profile(content_type: str | None, body: bytes) -> Read:
    """Read the answer to :data:`WHO`."""
    kind, envelope = read_body(content_type, body)
    sound = envelope is not None and envelope.error_message is None
    is_profile = sound and envelope is not None and isinstance(envelope.response, Mapping)
    return Read(kind, envelope, envelope if is_profile else None)


def _text(profile: Mapping[str, object], name: str) -> str:
    value = profile.get(name)
    return value if isinstance(value, str) else ""


def _flag(profile: Mapping[str, object], name: str) -> bool | None:
    value = profile.get(name)
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else None
