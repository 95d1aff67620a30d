"""Exchange a user name and a password for a token (contract 6.1 to 6.4)."""

from worker.errors import PortalRefused, PortalUnreachable
from worker.models import Result
from worker.portal.classify import BAD_REQUEST, Answer, Verdict, classify, read_body
from worker.portal.http import Http, Reply
from worker.portal.spelling import Spellings
from worker.portal.tries import Tries, Waiting
from worker.portal.wire import Envelope

_PATH = "authentication"
_AUTHENTICATION_FAILED = -2146233087


async def log_in(http: Http, waiting: Waiting, username: str, password: str) -> str:
    """Log in once, trying again only while the portal does not get to look at the password.

    Raises:
        PortalRefused: it looked, and said no or asked for a second factor.
        PortalError: it is closed, is no portal, or does not answer.
    """
    spellings = Spellings("json")
    tries = Tries(http.origin, waiting)
    while True:
        outcome = await http.call(
            "POST",
            spellings.of(_PATH),
            json={"userName": username, "password": password},
            headers={"Content-Type": "application/json"},
        )
        if isinstance(outcome, Reply):
            read = _read(http.origin, outcome, username)
            if isinstance(read, str):
                tries.end()
                return read
            spellings.learn(_PATH, refused=read.reason == BAD_REQUEST)
            throttled = read.result is Result.THROTTLED
            detail = f"HTTP {outcome.status} {read.reason}: {read.hint}"
            goes_on = await tries.again(outcome.retry_after, throttled=throttled)
        else:
            detail = outcome.detail
            goes_on = not outcome.final and await tries.again(None, throttled=False)
        if not goes_on:
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
        Answer(
            reply.status,
            kind,
            hresult=envelope.hresult,
            message=envelope.error_message,
            retry_after=reply.asks_to_wait,
            proven=sound,
        )
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
