"""A connection to a NATS server, what its errors mean, and an end to every wait. Knows no message."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from nats import errors as faults
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_faults
from nats.js.api import StreamConfig, StreamInfo

from worker.errors import QueueError, QueueMissing, QueueUnavailable
from worker.queues.address import QueueAddress
from worker.queues.connection_errors import connection_error

CALL_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_PAUSE_SECONDS = 0.25
"""So long after a connection could not be made, nobody tries to make another."""

_FINAL_WORDS = ("authorization violation", "authorization failed", "authentication", "permissions violation")
_FINAL = (
    faults.MaxPayloadError,
    faults.BadSubjectError,
)
# JetStream is not enabled: on this server, for this account.
_NO_JETSTREAM = {10039, 10076}
# Not enough resources, memory or storage; the stream is full.
_FULL = {10023, 10028, 10047, 10077}
_STATUS_UNAVAILABLE = 503

# What the library has to say is said by our errors; unheard, it would go to the terminal all the same.
logging.getLogger("nats").addHandler(logging.NullHandler())

_T = TypeVar("_T")
_Connected = tuple[Client, "asyncio.Future[None]"]


class Connection:
    """A connection to the server of a queue, made again by whichever call finds it lost.

    The library's own way to reconnect is not used: meanwhile it would keep what is published to itself.

    Args:
        address: of the queue.
        on_connect: called with each new connection, before anybody else uses it.
        on_lost: called when one is lost.
    """

    def __init__(
        self,
        address: QueueAddress,
        on_connect: Callable[[Client], Awaitable[None]] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self._on_connect = on_connect
        self._on_lost = on_lost
        self._connection: _Connected | None = None
        self._js: JetStreamContext | None = None
        self._is_open = False
        self._knows_jetstream = False
        self._one_at_a_time = asyncio.Lock()
        self._failed_at = float("-inf")
        self._complaint: Exception | None = None

    async def open(self) -> None:
        """Connect, unless connected."""
        self._is_open = True
        try:
            await self._connected()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        self._is_open = False
        await self._drop()

    async def run(
        self, act: Callable[[Client], Coroutine[Any, Any, _T]], seconds: float = CALL_SECONDS
    ) -> _T:
        """Let something be done with the connection, for so many seconds at most.

        Raises:
            QueueUnavailable: it was not done in time, or the connection was lost.
            QueueError: the server says no.
        """
        client, lost = await self._connected()
        acting = asyncio.create_task(act(client))
        try:
            either: set[asyncio.Future[Any]] = {acting, lost}
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if acting.done() and not acting.cancelled():
                return self._result(acting, client)
            if lost.done():
                raise self.error(self._cause(client.last_error or faults.ConnectionClosedError()))
            # Whatever this server may still answer, nobody would know to what.
            self._lose(client)
            raise self.error(self._cause(TimeoutError()))
        finally:
            if not acting.done():
                acting.cancel()
                acting.add_done_callback(_hear)
                await asyncio.wait({acting}, timeout=_CLOSE_SECONDS)

    async def ask(self, question: Callable[[JetStreamContext], Coroutine[Any, Any, _T]]) -> _T:
        """As :meth:`run`, for JetStream."""

        async def act(_: Client) -> _T:
            assert self._js is not None  # noqa: S101 - made with the connection
            return await question(self._js)

        answer = await self.run(act, CALL_SECONDS * 2)
        self._knows_jetstream = True
        return answer

    async def stream(self, name: str) -> StreamInfo | None:
        """What is known of a stream; None if there is none."""

        async def info(js: JetStreamContext) -> StreamInfo | None:
            try:
                return await js.stream_info(name)
            except js_faults.NotFoundError:
                return None

        return await self.ask(info)

    async def make_stream(self, config: StreamConfig) -> StreamInfo:
        """Make a stream unless it is there."""
        if (found := await self.stream(str(config.name))) is not None:
            return found
        return await self.ask(lambda js: js.add_stream(config))

    async def subject(self) -> str:
        """On which messages for the queue are published.

        Raises:
            QueueError: there is no such stream, or it takes none in particular.
        """
        info = await self.stream(self.address.name)
        if info is None:
            raise self.no_stream()
        for subject in info.config.subjects or ():
            if not {"*", ">"} & set(subject.split(".")):
                return subject
        raise QueueError(f"{self.address.shown}: the stream has no subject without a wildcard")

    async def most_bytes(self) -> int:
        """The size of the largest message that the server takes, headers included."""
        client, _ = await self._connected()
        return client.max_payload

    def no_stream(self) -> QueueError:
        """The stream is not there."""
        return QueueMissing(self.address.shown, "stream", self.address.name)

    def error(self, error: BaseException) -> QueueError:
        """What an error of the library means, in one line."""
        if (fault := connection_error(self.address, error)) is not None:
            return fault
        kind: type[QueueError] = QueueUnavailable
        text = " ".join(str(error).split()).removeprefix("nats: ") or type(error).__name__
        if isinstance(error, js_faults.APIError):
            text = error.description or text
            is_busy = error.code == _STATUS_UNAVAILABLE or error.err_code in _FULL
            has_none = error.err_code in _NO_JETSTREAM
            if error.err_code is None and isinstance(error, js_faults.ServiceUnavailableError):
                # Nobody listens to such a question.
                is_busy, has_none = True, not self._knows_jetstream
                text = "JetStream does not answer"
            if has_none:
                text = "JetStream is not enabled on this server"
            kind = QueueUnavailable if is_busy and not has_none else QueueError
        elif isinstance(error, _FINAL) or any(word in text.lower() for word in _FINAL_WORDS):
            kind = QueueError
        elif isinstance(error, TimeoutError):
            text = "the server does not answer"
        elif "expecting INFO" in text:  # it hung up before it said anything
            text = "the connection was lost"
        return kind(f"{self.address.shown}: {text}")

    def _result(self, acting: "asyncio.Task[_T]", client: Client) -> _T:
        try:
            return acting.result()
        except TimeoutError as error:
            self._lose(client)
            raise self.error(self._cause(error)) from error
        except (faults.Error, OSError) as error:
            raise self.error(error) from error

    def _cause(self, otherwise: BaseException) -> BaseException:
        """What the server said on its own, such as that we have no rights; it answers nothing then."""
        return self._complaint or otherwise

    async def _connected(self) -> _Connected:
        async with self._one_at_a_time:
            if not self._is_open:
                raise QueueUnavailable(f"{self.address.shown}: the connection was closed")
            if self._connection is not None:
                client, lost = self._connection
                if client.is_connected and not lost.done():
                    return self._connection
            await self._drop()
            if asyncio.get_running_loop().time() < self._failed_at + _PAUSE_SECONDS:
                raise self.error(self._cause(faults.NoServersError()))
            try:
                return await self._connect()
            except BaseException:
                self._failed_at = asyncio.get_running_loop().time()
                await self._drop()
                raise

    async def _connect(self) -> _Connected:
        client = Client()

        async def complain(error: Exception) -> None:
            self._complaint = error

        async def end() -> None:
            self._lose(client)

        connection = self._connection = client, asyncio.get_running_loop().create_future()
        self._complaint = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await client.connect(
                    **_server_of(self.address.server),
                    name="bulklink",
                    error_cb=complain,
                    closed_cb=end,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=int(_CONNECT_SECONDS),
                    ping_interval=10,
                )
                if self.address.server.startswith("tls:") and not _is_secret(client):
                    raise QueueError(f"{self.address.shown}: the server speaks no TLS")
                self._watch(client)
                self._js = client.jetstream(timeout=CALL_SECONDS)
                if self._on_connect is not None:
                    await self._on_connect(client)
        except (faults.Error, OSError, TimeoutError) as error:
            raise self.error(self._cause(error)) from error
        return connection

    def _watch(self, client: Client) -> None:
        """Notice when the library stops reading: where it fails in closing, it tells nobody."""

        def stopped(task: "asyncio.Task[Any]") -> None:
            _hear(task)
            self._lose(client)

        for name in ("_reading_task", "_flusher_task", "_ping_interval_task"):
            task: asyncio.Task[Any] | None = getattr(client, name, None)
            if task is not None:
                task.add_done_callback(stopped)

    def _lose(self, client: Client) -> None:
        if self._connection is not None and self._connection[0] is client:
            lost = self._connection[1]
            if not lost.done():
                lost.set_result(None)
                if self._on_lost is not None:
                    self._on_lost()

    async def _drop(self) -> None:
        if self._connection is None:
            return
        client, _ = self._connection
        self._lose(client)
        self._connection = None
        with suppress(faults.Error, OSError, TimeoutError, AttributeError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()
        _give_up(client)
        await asyncio.sleep(0)


def _server_of(url: str) -> dict[str, Any]:
    """Server and credentials, as the library takes them: it does not decode what a URL encodes."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.username is None:
        return {"servers": bare}
    if parts.password is None:
        return {"servers": bare, "token": unquote(parts.username)}
    return {"servers": bare, "user": unquote(parts.username), "password": unquote(parts.password)}


def _is_secret(client: Client) -> bool:
    """Whether the connection is encrypted; the library lets the server choose, whatever the URL asks for."""
    writer = _writer_of(client)
    return writer is not None and writer.get_extra_info("ssl_object") is not None


def _give_up(client: Client) -> None:
    """End what closing leaves if the server no longer reads: it waits for that, with all else still to do."""
    for subscription in list(getattr(client, "_subs", {}).values()):
        subscription._stop_processing()  # noqa: SLF001 - it has no public way that sends nothing
    writer = _writer_of(client)
    if writer is not None:
        writer.transport.abort()


def _writer_of(client: Client) -> asyncio.StreamWriter | None:
    transport = getattr(client, "_transport", None)
    writer: asyncio.StreamWriter | None = getattr(transport, "_io_writer", None)
    return writer


def _hear(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # whoever waited for it is gone
