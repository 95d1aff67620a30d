"""Send one request and bring back the whole answer, or how far it got. Knows nothing of what it means.

It keeps no cookies (a stale one may outlive a token, contract 6.6), follows no redirect (the token would go
to another host), sends nothing a second time, reads no more of an answer than ``MAX_BODY``, and checks
certificates.
"""

import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from worker.portal.classify import FailureKind, parse_retry_after

API = "api/2.0"
CONNECT_TIMEOUT = 10.0
_SHOWN = 200
"""Characters of an address that somebody sent us."""

MAX_BODY = 4 * 1024 * 1024
"""Bytes; a full page of members is below it, and a Contact far below."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer.

    Attributes:
        seconds: from the first byte sent to the last byte received.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def retry_after(self) -> float | None:
        """Seconds that the answer asks to wait; None if it names no time."""
        value = self.headers.get("Retry-After")
        return parse_retry_after(value, date=self.headers.get("Date"), now=time.time())

    @property
    def asks_to_wait(self) -> float | None:
        """The same, but 0 for a time that cannot be read: only a portal in maintenance sends none (3.4)."""
        return self.retry_after or (0.0 if "Retry-After" in self.headers else None)


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer came.

    Attributes:
        kind: how far it got.
        detail: the same for a person.
        final: no repetition can mend it.
    """

    kind: FailureKind
    detail: str
    seconds: float
    final: bool = False


class Http:
    """Connections to one portal. Use as an async context manager.

    Args:
        base: address of the portal, without ``/api/2.0``.
        timeout: seconds for one request, connecting included.
    """

    def __init__(self, base: str, *, timeout: float) -> None:
        self._base = URL(f"{base}/{API}/", encoded=True)
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(CONNECT_TIMEOUT, timeout))

    @property
    def origin(self) -> str:
        """The portal, as messages name it."""
        return str(self._base.origin())

    def target(self, location: str) -> str | None:
        """Where a redirect leads, without what may be secret in it: None if that is no address."""
        try:
            url = self._base.join(URL(location))
            return f"{url.origin()}{url.raw_path}"[:_SHOWN]
        except ValueError:  # whoever redirects us may send anything
            return None

    async def __aenter__(self) -> Self:
        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(_note_sent)
        self._session = aiohttp.ClientSession(
            trace_configs=[tracing],
            # Without a limit: who may send at all is decided by permits, whose number can change.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            # Compressing two kilobytes costs both ends more than it saves.
            headers={"User-Agent": "bulklink", "Accept-Encoding": "identity"},
            # A Content-Type of aiohttp's choice would decide how the portal reads the empty body (1.6).
            skip_auto_headers=["Content-Type"],
        )
        # Or aiohttp sends a GET or a DELETE again by itself when a kept connection turns out to be lost:
        # beside the rate, and uncounted. There is no public switch; a test fails if this name goes.
        self._session._retry_connection = False  # noqa: SLF001 - same
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, **options: Any) -> Reply | Failure:
        """One request; ``path`` is below the API's root, ``options`` are aiohttp's."""
        clock = _Clock(time.perf_counter())
        kind: FailureKind
        final = False
        try:
            async with self._session.request(
                method, self._base.joinpath(path), allow_redirects=False, trace_request_ctx=clock, **options
            ) as response:
                body = await _capped(response)
                return Reply(response.status, response.headers, body, clock.seconds)
        except _TooLargeError:
            kind, detail = "too_large", f"answer above {MAX_BODY} bytes"
        except aiohttp.ClientConnectorCertificateError as error:
            kind, detail, final = "connect", f"its certificate is not trusted ({_cause(error)})", True
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            kind, detail = "connect", f"no connection ({_cause(error)})"
        except TimeoutError:
            kind, detail = "timeout", "no answer in time"
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            kind, detail = "payload", f"broken answer ({type(error).__name__})"
        except aiohttp.ClientError as error:
            kind, detail = "disconnected", f"connection lost ({type(error).__name__})"
        return Failure(kind, detail, clock.seconds, final)


@dataclass(slots=True)
class _Clock:
    """Runs from the first byte sent; until then, from when the request was asked for."""

    started: float

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


async def _note_sent(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
    context.trace_request_ctx.started = time.perf_counter()


class _TooLargeError(Exception):
    """The answer passed ``MAX_BODY``."""


async def _capped(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            # Closed, not released: the rest is not worth reading, and the connection is spent.
            response.close()
            raise _TooLargeError
        chunks.append(chunk)
    return b"".join(chunks)


def _cause(error: Exception) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    # asyncio's own text repeats the address; the number has the plain words.
    number = getattr(cause, "errno", None)
    plain = os.strerror(number) if number and number > 0 else getattr(cause, "strerror", None)
    return plain or type(cause).__name__
