"""Exchange a user name and a password for a token (contract 6.1 to 6.4)."""

import asyncio

from worker.errors import PortalRefused, PortalUnreachable
from worker.models import Result
from worker.portal.classify import BAD_REQUEST, Answer, Verdict, classify, read_body
from worker.portal.http import Http, Reply
from worker.portal.spelling import Spellings
from worker.portal.wire import Envelope

TRIES = 4
"""Requests that are about no pair are sent so often before we give up."""

_PATH = "authentication"
_AUTHENTICATION_FAILED = -2146233087
_LONGEST_PAUSE = 60.0


def pause_after(named: float | None, number: int) -> float:
    """Seconds before the next try of a request that is about no pair; ``named`` is what Retry-After said."""
    return min(0.5 * 2.0**number if named is None else named, _LONGEST_PAUSE)


async def log_in(http: Http, username: str, password: str) -> str:
    """Log in once, trying again only while the portal does not get to look at the password.

    Raises:
        PortalRefused: it looked, and said no or asked for a second factor.
        PortalError: it is closed, is no portal, or does not answer.
    """
    detail = ""
    spellings = Spellings("json")
    for number in range(TRIES):
        outcome = await http.call(
            "POST",
            spellings.of(_PATH),
            json={"userName": username, "password": password},
            headers={"Content-Type": "application/json"},
        )
        named = None
        if isinstance(outcome, Reply):
            named = outcome.retry_after
            token = _read(http.origin, outcome, username)
            if isinstance(token, str):
                return token
            spellings.learn(_PATH, refused=token.reason == BAD_REQUEST)
            detail = f"HTTP {outcome.status} {token.reason}: {token.hint}"
        else:
            detail = outcome.detail
            if outcome.final:
                break
        if number < TRIES - 1:
            await asyncio.sleep(pause_after(named, number))
    raise PortalUnreachable(f"{http.origin}: log-in failed: {detail}")


def _read(origin: str, reply: Reply, username: str) -> str | Verdict:
    """The token; what came instead if the log-in did not get through and may be tried again."""
    kind, envelope = read_body(reply.headers.get("Content-Type"), reply.body)
    if envelope is None:
        envelope = Envelope("json")
    elif envelope.hresult == _AUTHENTICATION_FAILED:
        # A wrong password is a 500 like any fault of the portal; only the number tells (contract 6.2). What
        # the portal says about it is not shown: it may repeat the password.
        raise PortalRefused(
            f"{origin}: log-in as {username} failed. Check name and password;"
            " after more than 5 tries in a minute the portal wants a minute without any"
        )
    sound = envelope.response is not None and envelope.error_message is None
    verdict = classify(
        Answer(reply.status, kind, hresult=envelope.hresult, message=envelope.error_message, proven=sound)
    )
    if verdict.stop is not None:
        raise verdict.stop(f"{origin}: log-in: HTTP {reply.status} {verdict.reason}: {verdict.hint}")
    if verdict.result is Result.PERMANENT:
        raise PortalRefused(f"{origin}: log-in: HTTP {reply.status} {verdict.reason}: {verdict.hint}")
    if verdict.result is not Result.OK:
        return verdict
    response = envelope.response if isinstance(envelope.response, dict) else {}
    token = response.get("token")
    if isinstance(token, str) and token:
        return token
    if response.get("sms") or response.get("tfa"):
        raise PortalRefused(
            f"{origin}: {username} logs in with a second factor, which needs a person:"
            " set BULKLINK_TOKEN, or use a user without one"
        )
    raise PortalRefused(f"{origin}: the log-in as {username} brought no token")
