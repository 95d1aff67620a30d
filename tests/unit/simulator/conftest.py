"""A portal on a real socket, and a client so plain that it hides nothing of the answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import pytest

from worker.simulator import Holdings, Portal, Scenario

Answer = tuple[str, dict[str, str], bytes]


@pytest.fixture
async def portal() -> AsyncIterator[Portal]:
    holdings = Holdings(
        opportunities=100,
        contacts=3000,
        missing_contacts=frozenset({13}),
        missing_opportunities=frozenset({99}),
        dangling_contacts=frozenset({15}),
        linked=frozenset({(2, 15), (2, 7), (2, 9)}),
        primary={2: 7},
    )
    async with Portal(Scenario(portal=holdings)) as running:
        yield running


@pytest.fixture
def ask() -> Callable[..., Awaitable[Answer]]:
    """Send one request over a socket of its own; give status line, headers in lower case, and raw body."""

    async def send(
        portal: Portal,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        token: str | None = "demo-token",  # noqa: S107 - opens a simulator
        with_length: bool = True,
    ) -> Answer:
        address = urlsplit(portal.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
        lines += [f"Authorization: {token}"] if token else []
        lines += [f"Content-Length: {len(body)}"] if with_length else []
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            answer = await reader.read()
        finally:
            writer.close()
        head, _, rest = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        named = dict(field.split(": ", 1) for field in fields)
        return status.partition(" ")[2], {name.lower(): value for name, value in named.items()}, rest

    return send
