"""What answers where RabbitMQ should, and is something else, is told in our words, which name no object."""

import asyncio

import aio_pika
import pytest
from aiormq.exceptions import ChannelInvalidStateError

from worker.errors import QueueUnavailable
from worker.queues import open_queue, parse_address


async def said_by(url: str) -> str:
    queue = open_queue(parse_address(url), lease=2.0)
    with pytest.raises(QueueUnavailable) as caught:
        await queue.open()
    await queue.close()
    return str(caught.value).removeprefix(f"{url}: ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the connection was lost"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the connection was lost"),
        (b"AMQP\0\0\x09\x01", "what answers does not speak AMQP 0-9-1"),
        (bytes(100), "what answers does not speak AMQP 0-9-1"),
        (b"\x01\0\0\0\0\0\x04\0\x0a\0\x1e\xce", "what answers does not speak AMQP 0-9-1"),
    ],
    ids=["nothing", "http", "another version", "zeros", "a broken frame"],
)
async def test_whatever_answers_it_is_said_in_one_line(data: bytes, said: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(data)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await said_by(f"amqp://127.0.0.1:{port}/?queue=q") == said


@pytest.mark.parametrize("error", [RuntimeError, ChannelInvalidStateError])
async def test_a_channel_that_goes_away_under_a_call_is_a_lost_connection(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*_: object, **__: object) -> None:
        raise error("<aio_pika.channel.Channel object at 0x7f2c706d2110> closed")

    monkeypatch.setattr(aio_pika, "connect", connect)
    assert await said_by("amqp://h/?queue=q") == "the connection was lost"
