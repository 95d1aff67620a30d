"""Send one request and bring back the whole answer, or how far it got. Knows nothing of what it means.

It keeps no cookies (a stale one may outlive a token, contract 6.6), follows no redirect (the token would go
to another host), sends nothing a second time, reads no more of an answer than ``MAX_BODY``, and checks
certificates.
"""

import os
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp.connector import Connection
from yarl import URL

from worker.portal.classify import FailureKind
from worker.portal.throttle_headers import NO_ADVICE, Advice, read_advice
from worker.portal.tls import breach, distrust, refuses_our_certificate

API = "api/2.0"
CONNECT_TIMEOUT = 10.0
_SHOWN = 200
"""Characters of an address that somebody sent us."""

MAX_BODY = 4 * 1024 * 1024
"""Bytes; a full page of members is below it, and a Contact far below."""
PROXY_WANTS_A_PASSWORD = 407
MAX_HEADER = 65_536
"""Bytes of one line; proxies add cookies and policies of more than 8 KB."""


class Reply(msgspec.Struct, frozen=True):
    """A whole answer.

    Attributes:
        seconds: from the first byte sent to the last byte received.
        advice: what its headers say about our pace.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    advice: Advice = NO_ADVICE


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
    seconds: float = 0.0
    final: bool = False


class Http:
    """Connections to one portal. Use as an async context manager.

    Args:
        base: address of the portal, without ``/api/2.0``.
        timeout: seconds for one request, connecting included.
        tls: whom we trust, and who we are; None for what the system trusts.
        proxy: URL of a proxy to go through, with credentials if it wants any.
    """

    def __init__(
        self, base: str, *, timeout: float, tls: ssl.SSLContext | None = None, proxy: str | None = None
    ) -> None:
        self._tls = tls
        self._proxy = proxy
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
        self._session = aiohttp.ClientSession(
            request_class=_Timed,
            # Without a limit: who may send at all is decided by permits, whose number can change.
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True),
            proxy=self._proxy,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            # Compressing two kilobytes costs both ends more than it saves.
            headers={"User-Agent": "bulklink", "Accept-Encoding": "identity"},
            # A Content-Type of aiohttp's choice would decide how the portal reads the empty body (1.6).
            skip_auto_headers=["Content-Type"],
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
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
        _CLOCK.set(clock)
        url = self._base.joinpath(path)
        try:
            async with self._session.request(method, url, allow_redirects=False, **options) as response:
                body = await _capped(response)
                seconds = clock.seconds
                advice = read_advice(response.status, response.headers, time.time())
                return Reply(response.status, response.headers, body, seconds, advice)
        except aiohttp.ClientHttpProxyError as error:
            if error.status == PROXY_WANTS_A_PASSWORD:
                return Reply(error.status, error.headers or {}, b"", clock.seconds)
            failure = _no_connection(error)
        except aiohttp.ClientConnectorError as error:
            failure = _no_connection(error)
        except (_TooLargeError, TimeoutError, aiohttp.ClientError) as error:
            failure = _no_whole_answer(error)
        return replace(failure, seconds=clock.seconds)


@dataclass(slots=True)
class _Clock:
    """Runs from the first byte sent; until then, from when the request was asked for."""

    started: float

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


_CLOCK: ContextVar[_Clock] = ContextVar("clock of the request that this task makes")


class _Timed(aiohttp.ClientRequest):
    """A request that notes when it leaves; aiohttp's own tracing costs as much as a fifth of the request."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        _CLOCK.get().started = time.perf_counter()
        return await super().send(conn)


def _no_connection(error: aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError) -> Failure:
    match error:
        case aiohttp.ClientHttpProxyError():
            is_ours = error.status < 500  # noqa: PLR2004 - HTTP
            return Failure("connect", f"the proxy does not connect us (HTTP {error.status})", final=is_ours)
        case aiohttp.ClientConnectorCertificateError():
            return Failure("connect", distrust(error.certificate_error), final=True)
        case aiohttp.ClientConnectorSSLError():
            return Failure("connect", breach(error.os_error), final=True)
        case aiohttp.ClientProxyConnectionError():
            return Failure("connect", f"no connection to the proxy ({_cause(error)})")
    return Failure("connect", f"no connection ({_cause(error)})")


def _no_whole_answer(error: Exception) -> Failure:
    match error:
        case _TooLargeError():
            return Failure("too_large", f"answer above {MAX_BODY} bytes")
        case aiohttp.ConnectionTimeoutError():
            return Failure("connect", f"no connection ({_cause(error)})")
        case TimeoutError():
            return Failure("timeout", "no answer in time")
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return Failure("payload", f"broken answer ({type(error).__name__})")
        case aiohttp.ClientOSError() if refuses_our_certificate(error.__cause__):
            # With TLS 1.3 it does so when we believe the handshake to be over. Still an open question is what
            # became of a request on its way.
            return Failure("disconnected", breach(error.__cause__), final=True)
    return Failure("disconnected", f"connection lost ({type(error).__name__})")


class _TooLargeError(Exception):
    """The answer passed ``MAX_BODY``."""


async def _capped(response: aiohttp.ClientResponse) -> bytes:
    content, chunks, size = response.content, [], 0
    while not content.at_eof():
        chunk = await content.readany()
        size += len(chunk)
        if size > MAX_BODY:
            # Closed, not released: the rest is not worth reading, and the connection is spent.
            response.close()
            raise _TooLargeError
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _cause(error: Exception) -> str:
    cause = getattr(error, "os_error", None) or error
    # asyncio's own text repeats the address; the number has the plain words.
    number = getattr(cause, "errno", None)
    plain = os.strerror(number) if number and number > 0 else getattr(cause, "strerror", None)
    return plain or type(cause).__name__
