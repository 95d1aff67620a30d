"""Serve the stub on a bare socket protocol, as a process: ``python -m worker.simulator.stub_server``.

It reads HTTP/1.1 as far as common clients write it: a head, and a body of a stated length. Whatever else
comes ends the connection.
"""

import asyncio
import gc
import signal
import sys
from contextlib import suppress

from worker.simulator.stub import Stub, write

_END = b"\r\n\r\n"
_MOST = 64 * 1024 * 1024
"""Bytes of a request."""


class Connection(asyncio.Protocol):
    """One connection; requests that come together are answered in order."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._waiting = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's protocol gets no other
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._waiting = self._waiting + data if self._waiting else data
        while (used := self._answer_first()) > 0:
            self._waiting = self._waiting[used:]
        if used < 0 and self._transport is not None:
            self._transport.close()

    def _answer_first(self) -> int:
        """Bytes of the request that was answered; 0 if none is whole yet, -1 if it is not to be read."""
        waiting = self._waiting
        head_ends = waiting.find(_END)
        if head_ends < 0:
            return 0 if len(waiting) < _MOST else -1
        first, _, head = waiting[:head_ends].decode("latin-1").partition("\r\n")
        head = head.lower()
        length = 0
        if (found := head.find("content-length:")) >= 0:
            text = head[found + 15 :].partition("\r\n")[0].strip()
            length = int(text) if text.isdecimal() else _MOST + 1
        if length > _MOST or "transfer-encoding:" in head or first.count(" ") != 2:  # noqa: PLR2004 - HTTP
            return -1
        end = head_ends + len(_END) + length
        if len(waiting) < end:
            return 0
        method, target, _ = first.split(" ")
        answer = self._stub.answer(method, target, waiting[head_ends + len(_END) : end])
        if answer is not None and self._transport is not None:
            accepted = head.partition("accept-encoding:")[2].partition("\r\n")[0]
            self._transport.write(write(answer, zipped="gzip" in accepted))
            if "connection: close" in head:
                self._transport.close()
        return end


async def serve(stub: Stub) -> asyncio.Server:
    """Listen on a free port of this machine."""
    return await asyncio.get_running_loop().create_server(lambda: Connection(stub), "127.0.0.1", 0)


def address(server: asyncio.Server) -> str:
    """Where it listens, without a slash at the end."""
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _until_told() -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    server = await serve(Stub())
    # What is made from here on lives for one request; the rest need not be looked through again and again.
    gc.collect()
    gc.freeze()
    # Flushed: whoever started us reads this line from a pipe to learn the port.
    print(f"listening on {address(server)}", flush=True)  # noqa: T201 - the one line this program says
    await told.wait()
    server.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_until_told())
    sys.exit(0)
