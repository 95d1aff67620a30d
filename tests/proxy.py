"""A TCP proxy in front of a broker that does to connections what networks do to them."""

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_ONCE = 65_536
_RESET = struct.pack("ii", 1, 0)


class _Line:
    """One connection of a client, and the one that was made for it to the broker."""

    def __init__(self, left: asyncio.StreamWriter, right: asyncio.StreamWriter, budget: int | None) -> None:
        self._ends = left, right
        self._budget = budget
        self.is_silent = False

    def reset(self) -> None:
        for end in self._ends:
            with suppress(OSError):  # it is closed
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()

    def end(self) -> None:
        if self._budget is not None and self._budget <= 0:
            self.reset()
        for end in self._ends:
            end.close()

    async def carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on what comes from one end until it ends."""
        while data := await source.read(_AT_ONCE):
            if self.is_silent:
                continue
            if self._budget is not None:
                data, self._budget = data[: self._budget], self._budget - len(data)
            sink.write(data)
            await sink.drain()
            if self._budget is not None and self._budget <= 0:
                return
        if self.is_silent:  # nobody hears that it has ended
            await asyncio.Event().wait()


class Proxy:
    """Listens on a free port of this machine, while it is entered.

    Args:
        url: of the broker, with credentials if it wants any.

    Attributes:
        budget: gives the bytes that the next connection may carry, both ways together, before it is reset
            in the middle of whatever it carries; None for no bound.
        refuses: whether the next connections are reset at once.
        accepted: how many connections there were.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._lines: set[_Line] = set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.budget: Callable[[], int | None] = lambda: None
        self.refuses = False
        self.accepted = 0

    @property
    def url(self) -> str:
        """The URL of the broker, by way of the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()

    def cut(self) -> int:
        """Reset all connections, at both ends; gives how many there were."""
        lines, self._lines = self._lines, set()
        for line in lines:
            line.reset()
        return len(lines)

    def hush(self) -> int:
        """Let nothing more through on the connections there are, as a dead router; gives how many."""
        for line in self._lines:
            line.is_silent = True
        return len(self._lines)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        assert self._parts.hostname is not None
        there, back = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        line = _Line(writer, back, self.budget())
        self._lines.add(line)
        ways = [asyncio.create_task(line.carry(reader, back)), asyncio.create_task(line.carry(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._lines.discard(line)
            line.end()
