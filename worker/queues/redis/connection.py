"""A connection to a Redis server, or to all nodes of a cluster, and what its errors mean."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis import exceptions as faults
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from worker.errors import QueueError, QueueMissing, QueueUnavailable
from worker.queues.address import QueueAddress
from worker.queues.connection_errors import connection_error
from worker.queues.redis.messages import text_of
from worker.queues.redis.scripts import IS_DRAINED
from worker.queues.redis.topology import Keys

_CALL_SECONDS = 10.0
_CONNECT_SECONDS = 5.0

_FINAL = (
    faults.AuthenticationError,
    faults.AuthenticationWrongNumberOfArgsError,
    faults.AuthorizationError,
    faults.NoPermissionError,
)
_PASSING = (
    faults.ConnectionError,
    faults.TimeoutError,
    faults.OutOfMemoryError,
    faults.ReadOnlyError,
    faults.ClusterDownError,
    faults.MasterDownError,
    faults.TryAgainError,
    faults.MovedError,
    faults.AskError,
)
# Some have no class of their own, and none has one when a script of an older server runs into it.
_PASSING_WORDS = ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS ", "BUSY ", "LOADING ", "MASTERDOWN ")
_LOST_GROUP_WORDS = ("NOGROUP", "UNBLOCKED")
_LOST = "the connection was lost"
_CROWDED = "max number of clients reached"
_OLDEST = 7
"""Major version of the first server whose answers we understand."""


class LostGroupError(QueueError):
    """The stream or its consumer group is gone, and all that was held with it."""


class Connection:
    """A connection to the server of a queue. Nothing is tried twice: whoever calls knows how long to wait.

    A call whose caller is cancelled goes on by itself, for the library sometimes swallows a cancellation.

    Attributes:
        address: of the queue.
        keys: of the queue; known for certain once connected.
    """

    def __init__(self, address: QueueAddress) -> None:
        self.address = address
        self.keys = Keys.of(address.name, cluster=False)
        self._version = ""
        self._is_cluster = False
        self._client: Redis | None = None
        self._calls: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, unless connected; to all of a cluster, if the server belongs to one."""
        if self._client is not None:
            return
        options: dict[str, Any] = {
            "protocol": 2,  # answers have one shape, whatever the library's version prefers
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": _CALL_SECONDS,
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_keepalive": True,
        }
        one = self._client = Redis.from_url(self.address.server, **options)
        try:
            await self.call(lambda client: client.ping())
            hello = await self.call(_hello)
            self._version = text_of(hello.get(b"version", b""))
            self._is_cluster = hello.get(b"mode") == b"cluster"
            self.keys = Keys.of(self.address.name, cluster=self._is_cluster)
            if self._is_cluster and self._client is one:
                # It has all commands that we use, and finds the node that each belongs to.
                self._client = cast("Redis", RedisCluster.from_url(self.address.server, **options))
                await one.aclose()
                await self.call(lambda client: client.ping())
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        client, self._client = self._client, None
        if client is None:
            return
        for call in self._calls:
            call.cancel()
        # It takes the connections away from calls that go on all the same.
        closing = asyncio.create_task(client.aclose())
        await asyncio.wait({closing, *self._calls}, timeout=_CONNECT_SECONDS)
        _hear(closing)

    async def call(self, work: Callable[[Redis], Awaitable[Any]]) -> Any:
        """Ask the server; the answer has no type that the library could vouch for.

        Raises:
            LostGroupError: there is no such consumer group.
        """
        task = asyncio.create_task(self._work(work))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        task.add_done_callback(_hear)
        await asyncio.wait({task})
        if task.cancelled():
            raise self._closed()
        return task.result()

    async def run(self, script: str, *arguments: str | bytes | int) -> Any:
        """Let the server run a script; it does nothing else in between.

        Raises:
            LostGroupError: there is no such consumer group.
        """
        keys = [self.keys.stream, self.keys.delayed, self.keys.dead]
        return await self.call(lambda client: client.register_script(script)(keys, arguments))

    async def make_group(self, *, with_stream: bool = False) -> None:
        """Make the consumer group unless it is there; it is given all that the stream holds.

        Raises:
            QueueMissing: there is no stream, and none is to be made.
            QueueError: the server is too old.
        """
        name, group = self.address.name, self.address.group
        major = self._version.partition(".")[0]
        if major.isdigit() and int(major) < _OLDEST:
            too_old = f"Redis {self._version} is too old; {_OLDEST}.0 or newer is needed"
            raise QueueError(f"{self.address.shown}: {too_old}")

        async def make(client: Redis) -> None:
            try:
                await client.xgroup_create(name, group, id="0", mkstream=with_stream)
            except faults.ResponseError as error:
                if "requires the key to exist" in str(error):
                    raise QueueMissing(self.address.shown, "stream", name) from error
                if "BUSYGROUP" not in str(error):
                    raise

        await self.call(make)

    async def check_scripts(self) -> None:
        """Let a script touch all keys of the queue, as those of workers do.

        Raises:
            QueueError: this server does not let them; that only we have not the right to is none.
        """
        try:
            await self.run(IS_DRAINED, self.address.group)
        except QueueUnavailable:
            raise
        except QueueError as error:
            if isinstance(error.__cause__, faults.NoPermissionError):
                return
            name = self.address.name
            advice = "" if "{" in name else f"; a name in braces may help: stream={{{name}}}"
            raise QueueError(f"{error}; no worker could work on this stream{advice}") from error

    async def _work(self, work: Callable[[Redis], Awaitable[Any]]) -> Any:
        if self._client is None:
            raise self._closed()
        try:
            return await work(self._client)
        except (faults.RedisError, faults.RedisClusterException) as error:  # the latter is none of the former
            raise self._said(error) from error

    def _closed(self) -> QueueUnavailable:
        return QueueUnavailable(f"{self.address.shown}: the connection was closed")

    def _said(self, error: Exception) -> QueueError:
        """What an error of the library means, in one line."""
        fault = connection_error(self.address, error)
        if self._is_cluster and (
            isinstance(fault, QueueUnavailable) or type(error) is faults.RedisClusterException
        ):
            return QueueUnavailable(f"{self.address.shown}: a node of the cluster cannot be reached")
        if fault is not None:
            return fault
        text = " ".join(str(error).split()) or _LOST
        kind: type[QueueError] = QueueError
        # Those that are of these very types are the library's own; what the server says has a type below.
        if type(error) is faults.ConnectionError and _CROWDED not in text:
            text = _LOST
        elif type(error) is faults.TimeoutError:
            text = "the server does not answer"
        elif isinstance(error, faults.InvalidResponse):
            text = f"what answers at {self.address.endpoint} is no Redis"
        if any(word in text for word in _LOST_GROUP_WORDS):
            kind = LostGroupError
        elif isinstance(error, _FINAL):
            kind = QueueError
        elif isinstance(error, _PASSING) or any(word in text for word in _PASSING_WORDS):
            kind = QueueUnavailable
        return kind(f"{self.address.shown}: {text}")


async def _hello(client: Redis) -> dict[bytes, Any]:
    """What the server says of itself; nothing if it is none that does."""
    try:
        answer: Any = await client.execute_command("HELLO")  # type: ignore[no-untyped-call]  # it has no types
    except faults.ResponseError:
        return {}
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=False))


def _hear(task: "asyncio.Task[Any]") -> None:
    if task.done() and not task.cancelled():
        task.exception()  # whoever asked may be gone
