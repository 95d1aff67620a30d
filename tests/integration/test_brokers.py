"""One broker for all processes that run tests: there as long as one of them needs it, and gone afterwards."""

import multiprocessing
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.brokers import RedisServer, shared

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def use(folder: Path, told: "Connection") -> None:
    with shared(RedisServer, folder) as url:
        told.send(url)
        told.recv()
        told.send(answers(url))
        told.recv()
    told.send(None)


def answers(url: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100) == b"+PONG\r\n"
    except ConnectionError:
        return False


def test_processes_share_a_broker_until_the_last_one_leaves(tmp_path: Path) -> None:
    """Whoever started it, and whoever leaves first."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        ends = []
        for _ in range(3):
            mine, theirs = spawn.Pipe()
            stack.enter_context(mine)
            process = spawn.Process(target=use, args=(tmp_path, theirs))
            process.start()
            stack.callback(process.join)
            ends.append(mine)

        urls = {end.recv() for end in ends}
        (url,) = urls
        for end in ends:
            end.send("look")
            assert end.recv()
            end.send("leave")
            end.recv()

    assert not answers(url)
    assert list(tmp_path.glob("*/url")) == []


def test_who_comes_after_the_last_one_gets_a_new_one(tmp_path: Path) -> None:
    with shared(RedisServer, tmp_path) as first:
        assert answers(first)
    with shared(RedisServer, tmp_path) as second:
        assert answers(second)
    assert not answers(second)
