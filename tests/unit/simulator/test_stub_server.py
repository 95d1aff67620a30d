"""The stub on a socket, as clients of all kinds come to it."""

import asyncio
import gzip
import signal
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from worker.simulator.stub import Stub
from worker.simulator.stub_server import address, serve

LINK = "/api/2.0/crm/opportunity/7/contact/"
POST = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=1"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await serve(Stub())
    async with server:
        yield urlsplit(address(server)).port or 0


async def answers(port: int, *pieces: bytes) -> bytes:
    """Send pieces one by one; gives all that comes back until the other end hangs up, or says no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    try:
        while data := await asyncio.wait_for(reader.read(65_536), 0.2):
            got += data
    except TimeoutError:
        pass
    writer.close()
    await writer.wait_closed()
    return got


async def test_requests_that_come_together_or_in_pieces_are_answered_in_order(port: int) -> None:
    both = (POST.format(f"{LINK}1") + POST.format(f"{LINK}2")).encode()

    for pieces in ([both], [both[:10], both[10:40], both[40:150], both[150:]]):
        got = await answers(port, *pieces)

        assert got.count(b"HTTP/1.1 201 Created\r\n") == 2
        assert 0 < got.index(b'"id":1}') < got.index(b'"id":2}')


@pytest.mark.parametrize(
    "head",
    [
        "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked",
        "POST /x HTTP/1.1\r\nContent-Length: many",
        "POST /x HTTP/1.1\r\nContent-Length: 99999999999",
        "nonsense",
    ],
)
async def test_what_it_does_not_read_ends_the_connection(port: int, head: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}\r\n\r\n".encode())

    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()


async def test_who_asks_for_it_gets_gzip_and_the_end_of_the_connection(port: int) -> None:
    head = f"POST {LINK}5 HTTP/1.1\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode())

    got = await asyncio.wait_for(reader.read(), 5)

    assert b'"id":5}' in gzip.decompress(got.partition(b"\r\n\r\n")[2])
    writer.close()
    await writer.wait_closed()


async def test_as_a_process_it_says_where_it_listens_and_leaves_when_told() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker.simulator.stub_server", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().removeprefix("listening on ").strip()
    async with aiohttp.ClientSession() as session, session.post(f"{url}{LINK}5") as answer:
        status = answer.status
    process.send_signal(signal.SIGTERM)

    assert status == 201
    assert await process.wait() == 0
