"""Ways to a portal: a TLS front before it, an HTTP proxy on the way, and certificates to go with them."""

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_OPENSSL = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, each in a file."""

    pem: Path
    key: Path

    @property
    def with_key(self) -> Path:
        """Both in one file."""
        both = self.pem.with_suffix(".both.pem")
        both.write_bytes(self.pem.read_bytes() + self.key.read_bytes())
        return both


def authority(folder: Path, name: str = "authority") -> Certificate:
    """Make an authority of our own."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    extra = ["-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl(*_OPENSSL.split(), *extra, "-keyout", str(made.key), "-out", str(made.pem))
    return made


def signed(folder: Path, by: Certificate, name: str, *hosts: str) -> Certificate:
    """Make a certificate that the authority signs."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    names = ",".join(hosts) or f"DNS:{name}"
    extra = [
        "-subj",
        f"/CN={name}",
        "-addext",
        f"subjectAltName={names}",
        "-addext",
        "basicConstraints=CA:FALSE",
    ]
    signer = ["-CA", str(by.pem), "-CAkey", str(by.key)]
    _openssl(*_OPENSSL.split(), *extra, *signer, "-keyout", str(made.key), "-out", str(made.pem))
    return made


def _openssl(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@contextmanager
def loop_aside() -> "Iterator[Aside]":
    """A loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Aside(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


class Aside:
    """Runs coroutines on a loop in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)


class _Server:
    """Listens on a free port of this machine, while it is entered."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.serve(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()


class Front(_Server):
    """Ends the TLS of its callers before a portal that has none.

    Args:
        target: port of the portal.
        certificate: its own.
        wants: authority of the certificates that callers have to show; None if they need none.
    """

    def __init__(self, target: int, certificate: Certificate, wants: Certificate | None = None) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate.pem, certificate.key)
        if wants is not None:
            tls.verify_mode = ssl.CERT_REQUIRED
            tls.load_verify_locations(wants.pem)
        super().__init__(tls)
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, *await asyncio.open_connection("127.0.0.1", self._target))


@contextmanager
def strict(certificate: Certificate, wants: Certificate, version: ssl.TLSVersion) -> Iterator[int]:
    """A server that ends every handshake in which it is not shown a certificate, and says so; its port.

    In a thread: asyncio drops the connection without a word.
    """
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate.pem, certificate.key)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(wants.pem)
    tls.maximum_version = version

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            held = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            with suppress(OSError):
                held.do_handshake()
            with socket.socket(fileno=held.detach()) as rest, suppress(OSError):
                rest.settimeout(5)
                rest.shutdown(socket.SHUT_WR)
                while rest.recv(4096):  # closed with something unread, the alert would be lost
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)


class HttpProxy(_Server):
    """A forward proxy that knows one host, whatever its name.

    Args:
        target: port of that host.
        refusal: status of its answers; 0 to let everything through.
        password: the Proxy-Authorization that it wants; empty if it wants none.

    Attributes:
        heard: first line of each request, and its Proxy-Authorization if it has any.
    """

    def __init__(self, target: int, refusal: int = 0, password: str = "") -> None:
        super().__init__()
        self._password = password
        self._target = target
        self._refusal = refusal
        self.heard: list[tuple[str, str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().splitlines()
            fields = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            self.heard.append((first, fields.get("proxy-authorization", "")))
            refusal = self._refusal or (407 if self.heard[-1][1] != self._password else 0)
            if refusal:
                writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % refusal)
                continue
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            if first.startswith("CONNECT "):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await _join(reader, writer, there, back)
                return
            method, url, version = first.split(" ")
            path = "/" + url.split("/", 3)[3]
            back.write("\r\n".join([f"{method} {path} {version}", *lines]).encode() + b"\r\n" + body)
            answer = await there.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in answer.lower().splitlines()
                if line.startswith(b"content-length")
            )
            writer.write(answer + await there.readexactly(length))
            back.close()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there: asyncio.StreamReader,
    back: asyncio.StreamWriter,
) -> None:
    ways = [asyncio.create_task(_carry(reader, back)), asyncio.create_task(_carry(there, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        back.close()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        sink.write(data)
        await sink.drain()
