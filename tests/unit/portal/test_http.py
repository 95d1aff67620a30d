"""The transport against real sockets: what mocks cannot show."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest

from worker.portal import http as http_module
from worker.portal.http import Failure, Http, Reply
from worker.portal.throttle_headers import Advice
from worker.simulator import Portal, Scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LINK = "crm/opportunity/1/contact/2"
TOKEN = {"Authorization": "demo-token"}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(serve: Serve) -> "AsyncIterator[str]":
    """A server that answers as ``serve`` does, to the byte."""

    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await serve(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*handlers)


def answering(answer: bytes, seen: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(request)
        writer.write(answer)
        await writer.drain()

    return serve


async def call(url: str, seconds: float = 5.0) -> Reply | Failure:
    async with Http(url, timeout=seconds) as http:
        return await http.call("POST", LINK, headers=TOKEN)


async def test_a_post_without_a_body_says_so_and_names_no_type_of_it() -> None:
    """Without a Content-Length the portal's listener answers 411; with a JSON type, it parses the body."""
    seen: list[bytes] = []
    async with raw_server(answering(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", seen)) as url:
        reply = await call(url)

    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (201, b"{}")
    request = seen[0].lower()
    assert b"\r\ncontent-length: 0\r\n" in request
    assert b"content-type" not in request
    assert b"cookie" not in request


async def test_no_cookie_comes_back_to_the_portal_that_set_it() -> None:
    """A stale cookie may outlive a token (contract 6.6)."""
    seen: list[bytes] = []
    cookie = b"Set-Cookie: asc_auth_key=old; path=/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    answer = b"HTTP/1.1 201 Created\r\n" + cookie
    async with raw_server(answering(answer, seen)) as url, Http(url, timeout=5.0) as http:
        for _ in range(2):
            await http.call("GET", LINK, headers=TOKEN)

    assert len(seen) == 2
    assert b"asc_auth_key" not in seen[1]


async def test_a_redirect_is_an_answer_and_the_token_stays_here() -> None:
    async with raw_server(answering(b"")) as elsewhere:
        answer = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with raw_server(answering(answer)) as url:
            reply = await call(url)

    assert isinstance(reply, Reply)
    assert reply.status == 307


async def test_a_header_of_many_kilobytes_is_read() -> None:
    """Proxies add cookies and policies; aiohttp by itself reads up to 8 KB."""
    policy = b"Content-Security-Policy: " + b"x" * 60_000
    answer = b"HTTP/1.1 201 Created\r\n" + policy + b"\r\nContent-Length: 2\r\n\r\n{}"
    async with raw_server(answering(answer)) as url:
        reply = await call(url)

    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (201, b"{}")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "disconnected"),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{", "payload"),
        (b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk", "payload"),
        (b"this is not HTTP\r\n\r\n", "payload"),
    ],
)
async def test_half_an_answer_is_told_by_how_far_it_got(answer: bytes, kind: str) -> None:
    async with raw_server(answering(answer)) as url:
        failure = await call(url)

    assert isinstance(failure, Failure)
    assert failure.kind == kind


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_kept_connection_that_is_lost_is_told_and_the_request_is_not_sent_again(method: str) -> None:
    """aiohttp would send a GET or a DELETE again by itself: outside the rate, and uncounted."""
    seen: list[bytes] = []

    async def once_per_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        seen.append(await reader.readuntil(b"\r\n\r\n"))

    async with raw_server(once_per_connection) as url, Http(url, timeout=5.0) as http:
        first = await http.call(method, LINK, headers=TOKEN)
        second = await http.call(method, LINK, headers=TOKEN)

    assert isinstance(first, Reply)
    assert isinstance(second, Failure)
    assert second.kind == "disconnected"
    assert len(seen) == 2


def test_aiohttp_still_has_the_switch_for_sending_again() -> None:
    """It is a private name: if it goes, what replaces it has to be set instead."""
    assert "_retry_connection" in aiohttp.ClientSession.ATTRS


async def test_no_answer_is_waited_for_as_long_as_said_and_no_longer() -> None:
    clock = asyncio.get_running_loop().time
    async with Portal(Scenario.from_toml('[[faults]]\nkind = "hang"')) as portal:
        began = clock()
        failure = await call(portal.url, seconds=0.3)
        waited = clock() - began

    assert isinstance(failure, Failure)
    assert failure.kind == "timeout"
    assert failure.seconds <= waited  # to connect is in the time that was said, and not in its own
    assert 0.28 <= waited < 2.0


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "MAX_BODY", 100_000)
    async with Portal(Scenario.from_toml('[[faults]]\nkind = "oversized"\nbytes = 400_000')) as portal:
        failure = await call(portal.url)

    assert isinstance(failure, Failure)
    assert failure.kind == "too_large"


@pytest.mark.parametrize(
    ("url", "detail"),
    [("http://127.0.0.1:1", "Connection refused"), ("http://portal.invalid", "no connection")],
)
async def test_a_portal_that_cannot_be_reached_is_named_plainly(url: str, detail: str) -> None:
    failure = await call(url)

    assert isinstance(failure, Failure)
    assert (failure.kind, failure.final) == ("connect", False)
    assert detail in failure.detail


async def test_plain_http_where_tls_is_expected_is_no_connection() -> None:
    async def at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with raw_server(at_once) as url:
        failure = await call(url.replace("http://", "https://"))

    assert isinstance(failure, Failure)
    assert (failure.kind, failure.final) == ("connect", True)
    assert "it answers, but not with TLS" in failure.detail


async def test_retry_after_is_read_against_the_portals_own_clock() -> None:
    headers = b"Date: Tue, 01 Jan 2030 00:00:00 GMT\r\nRetry-After: Tue, 01 Jan 2030 00:00:09 GMT\r\n"
    answer = b"HTTP/1.1 503 Wait\r\n" + headers + b"Content-Length: 0\r\n\r\n"
    async with raw_server(answering(answer)) as url:
        reply = await call(url)

    assert isinstance(reply, Reply)
    assert reply.advice == Advice(9.0, is_paced=True)
