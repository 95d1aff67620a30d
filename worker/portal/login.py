"""Exchange a user name and a password for a token (contract 6.1 to 6.4)."""

from worker.errors import PortalError, PortalRefused, PortalUnreachable
from worker.limits import Limiter
from worker.models import Kind, Request, Result
from worker.portal.classify import Answer, Verdict, classify, classify_failure, heed_page, read_body
from worker.portal.http import Http, Reply
from worker.portal.spelling import Spellings
from worker.portal.tries import Tries, Waiting
from worker.portal.wire import Envelope
from worker.reasons import BAD_REQUEST

_PATH = "authentication"
_AUTHENTICATION_FAILED = -2146233087


async def log_in(http: Http, limiter: Limiter, waiting: Waiting, username: str, password: str) -> str:
    """Log in once, trying again only while the portal does not get to look at the password.

    Raises:
        PortalRefused: it looked, and said no or asked for a second factor.
        PortalError: it is closed, is no portal, or does not answer.
    """
    spellings = Spellings("json")
    tries = Tries(http.origin, waiting)
    while True:
        address = spellings.of(_PATH)
        async with limiter.slot(past_hold=True) as slot:
            outcome = await http.call(
                "POST",
                address,
                json={"userName": username, "password": password},
                headers={"Content-Type": "application/json"},
            )
            named, final = None, False
            if isinstance(outcome, Reply):
                named = outcome.advice.wait
                try:
                    token, verdict = _read(http.origin, outcome, username)
                except PortalError:
                    slot.observe(_request(Verdict(None, ""), outcome.seconds, outcome.status))
                    raise
                verdict = heed_page(verdict, outcome.body)
                detail = f"HTTP {outcome.status} {verdict.reason}: {verdict.hint}"
                slot.observe(_request(verdict, outcome.seconds, outcome.status, named))
                spellings.learn(_PATH, address, refused=verdict.reason == BAD_REQUEST)
            else:
                token, verdict = None, classify_failure(outcome.kind, sent=False)
                detail, final = outcome.detail, outcome.final
                slot.observe(_request(verdict, outcome.seconds))
        if token is not None:
            tries.end()
            return token
        if final or not await tries.again(named, throttled=verdict.is_pacing):
            raise PortalUnreachable(f"{http.origin}: log-in failed: {detail}")


def _request(
    verdict: Verdict, seconds: float, status: int | None = None, retry_after: float | None = None
) -> Request:
    result = verdict.result or Result.PERMANENT
    return Request(
        Kind.LOGIN,
        result,
        reason=verdict.reason,
        http_status=status,
        retry_after=retry_after,
        seconds=seconds,
    )


def _read(origin: str, reply: Reply, username: str) -> tuple[str | None, Verdict]:
    """The token; None if the log-in did not get through and may be tried again. And what came."""
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
            is_paced=reply.advice.is_paced,
            proven=sound,
            sent=False,
        )
    )
    if verdict.stop is not None:
        raise verdict.stop(f"{origin}: log-in: HTTP {reply.status} {verdict.reason}: {verdict.hint}")
    if verdict.result is Result.PERMANENT:
        raise PortalRefused(f"{origin}: log-in: HTTP {reply.status} {verdict.reason}: {verdict.hint}")
    if verdict.result is not Result.OK:
        return None, verdict
    response = envelope.response if isinstance(envelope.response, dict) else {}
    token = response.get("token")
    if isinstance(token, str) and token:
        return token, verdict
    if response.get("sms") or response.get("tfa"):
        raise PortalRefused(
            f"{origin}: {username} logs in with a second factor, which needs a person:"
            " set BULKLINK_TOKEN, or use a user without one"
        )
    raise PortalRefused(f"{origin}: the log-in as {username} brought no token")
