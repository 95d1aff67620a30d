"""What the portal answers, as a value: status, headers, body, and how the connection ends.

Nothing is sent here; ``sending`` does that.
"""

import math
import time
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Literal

from worker.simulator import wire

Ending = Literal["whole", "half", "reset", "hang"]
"""What becomes of the body: sent whole, cut in the middle, or nothing sent at all."""

Origin = Literal["api", "site", "elsewhere"]
"""Who wrote an answer: the API, the rest of the portal, or a proxy or cloud in front of it."""

JSON = "application/json; charset=UTF-8"
XML = "text/xml; charset=UTF-8"
HTML = "text/html"

ASPNET = "4.0.30319"
API_CACHING = "private, max-age=0"
SITE_CACHING = "private"

# .NET's numbers of the errors (contract 1.5, 6.2, 9.3).
HTTP_ERROR = -2147467259
OVERFLOW = -2146233066
BAD_ARGUMENT = -2147024809
INVALID_OPERATION = -2146233079
AUTHENTICATION = -2146233087
OTHER_ERROR = -2146233088
XML_ERROR = -2146232000
FORMAT_ERROR = -2146233033
NULL_REFERENCE = -2147467261
NO_METHOD = -2146233069

_CORS = (
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE"),
    ("Access-Control-Allow-Headers", "origin, authorization, accept, content-type"),
    ("Access-Control-Max-Age", "1728000"),
)
_PHRASES = {
    400: "Invalid arguments",
    403: "Access denied",
    404: "The record could not be found",
    500: "Server error",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        status: HTTP status.
        body: as it stands, before compression.
        content_type: header of that name.
        reason: reason phrase; None for the standard one.
        headers: further headers.
        ending: what becomes of it on the way.
        delay: seconds that it is held back.
        items: how many items of a batch were carried out, for the books.
        origin: who wrote it; only the API compresses, and each has its own caching headers (contract 8).
    """

    status: int
    body: bytes = b""
    content_type: str = HTML
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    ending: Ending = "whole"
    delay: float = 0.0
    items: int = 0
    origin: Origin = "elsewhere"

    @property
    def is_api(self) -> bool:
        """Whether the API wrote it."""
        return self.origin == "api"


def success(body: bytes, status: int, *, xml: bool) -> Reply:
    """Answer with a written envelope."""
    return Reply(status, body, XML if xml else JSON, origin="api")


def error(status: int, message: str, hresult: int, *, xml: bool, reason: str | None = None) -> Reply:
    """Answer with an error in the envelope, and .NET's phrase in the status line (contract 3.2)."""
    body = wire.failure(status, message, hresult, xml=xml)
    phrase = reason or _PHRASES.get(status)
    return Reply(status, body, XML if xml else JSON, phrase, origin="api")


def doubled(reply: Reply) -> Reply:
    """Write an answer twice over, as the portal does when a batch breaks (contract 7.6)."""
    return replace(reply, body=reply.body * 2)


def not_found(*, xml: bool) -> Reply:
    """Answer that an entity is missing or not visible; the two cannot be told apart (contract 4.5)."""
    return error(404, "Not found", HTTP_ERROR, xml=xml)


def overflow(*, xml: bool) -> Reply:
    """Answer that an id is above 2147483647 (contract 1.5)."""
    return error(400, "Value was either too large or too small for an Int32.", OVERFLOW, xml=xml)


def bad_argument(*, xml: bool) -> Reply:
    """Answer that an id is 0 (contract 1.5)."""
    return error(400, "Value does not fall within the expected range.", BAD_ARGUMENT, xml=xml)


def page(status: int, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Answer with a page for people: from the site, proxy or cloud, never from the API (contract 3.4)."""
    phrase = phrase_of(status)
    title = f"{status} {phrase}"
    text = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    return Reply(status, text.encode(), headers=headers)


def site_page(status: int) -> Reply:
    """Answer with a page of the portal itself."""
    return replace(page(status), origin="site")


def unrouted(method: str) -> Reply:
    """Answer what has no route, which depends on the verb (contract 10.2)."""
    return site_page({"GET": 404, "HEAD": 404, "POST": 500}.get(method, 405))


def options() -> Reply:
    """Answer that other sites may ask; no token needed (contract 1.7)."""
    return Reply(200, headers=_CORS, origin="site")


def empty(status: int, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Answer without a body, as the checks of the portal's state do (contract 3.4)."""
    return Reply(status, headers=headers)


def unauthorized(host: str, *, had_header: bool, clear_cookie: bool) -> Reply:
    """Answer that the token is not good: plain text, called HTML (contract 3.4)."""
    headers: tuple[tuple[str, str], ...] = ()
    if had_header:
        headers += (("WWW-Authenticate", f'Basic Realm="{host.partition(":")[0]}"'),)
    if clear_cookie:
        headers += (("Set-Cookie", "asc_auth_key=; expires=Thu, 01-Jan-1970 00:00:00 GMT; path=/"),)
    return Reply(401, b"Unauthorized", headers=headers, origin="site")


def retry_after(text: str) -> tuple[tuple[str, str], ...]:
    """Write the header of that name: ``date:+2`` is an HTTP date ahead, all else is sent as it stands."""
    if not text:
        return ()
    if text.startswith("date:"):
        # Rounded up: the date has whole seconds, and the past would be no wait at all.
        text = formatdate(math.ceil(time.time() + float(text.removeprefix("date:"))), usegmt=True)
    return (("Retry-After", text),)


def quota(form: str, limit: int, window: float, remaining: int, reset: float) -> tuple[tuple[str, str], ...]:
    """Write what is left of a limit, in one of the forms of ``Throttle.announces``."""
    if form == "ietf":
        left = ("RateLimit", f'"default";r={remaining};t={reset:.3f}')
        return (("RateLimit-Policy", f'"default";q={limit};w={window:g}'), left)
    if form == "ratelimit":
        prefix, until = "RateLimit", f"{reset:.3f}"
    else:
        prefix, until = "X-RateLimit", f"{(time.time() + reset) * 1000:.0f}"
    names = (("Limit", str(limit)), ("Remaining", str(remaining)), ("Reset", until))
    return tuple((f"{prefix}-{name}", value) for name, value in names)


def phrase_of(status: int) -> str:
    """Give the standard reason phrase, also for a status that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
