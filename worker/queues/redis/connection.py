"""How a Redis server is spoken to: the connection, its errors, and every change of a queue as one script."""

import asyncio
import codecs
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from redis import exceptions as faults
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from worker.errors import QueueError, QueueMissing, QueueUnavailable
from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetter, Why
from worker.queues.connection_errors import connection_fault

# KEYS of all scripts: the stream, its delayed messages, its dead letters.
# ARGV of those that begin with this: group, consumer, then what the script says.
_OWN = """
local function is_own(entry)
  return #redis.call('XPENDING', KEYS[1], ARGV[1], entry, entry, 1, ARGV[2]) == 1
end
local function forget(entry)
  redis.call('XACK', KEYS[1], ARGV[1], entry)
  redis.call('XDEL', KEYS[1], entry)
end
local function time()
  local now = redis.call('TIME')
  return now[1] * 1000 + now[2] / 1000
end
"""

# In all of them the copy is made first: a server without memory refuses it, and then nothing has changed.

# entry...
ACK = f"""{_OWN}
for i = 3, #ARGV do
  if is_own(ARGV[i]) then forget(ARGV[i]) end
end
"""

# milliseconds, then for each: entry, identity, body, deliveries
RELEASE = f"""{_OWN}
for i = 4, #ARGV, 4 do
  local entry, id, body, deliveries = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if is_own(entry) then
    if tonumber(ARGV[3]) > 0 then
      local due = string.format('%.3f', time() + ARGV[3])
      redis.call('ZADD', KEYS[2], due, cmsgpack.pack({{entry, id, body, deliveries}}))
    else
      redis.call('XADD', KEYS[1], '*', 'id', id, 'body', body, 'deliveries', deliveries)
    end
    forget(entry)
  end
end
"""

# entry, then the fields of the letter
DEAD = f"""{_OWN}
if is_own(ARGV[3]) then
  local now = redis.call('TIME')
  local at = string.format('%d.%06d', now[1], now[2])
  redis.call('XADD', KEYS[3], '*', 'dead_at', at, unpack(ARGV, 4))
  forget(ARGV[3])
end
"""

# for each: entry, identity, body, deliveries. Of what was trimmed away while we hold it; it cannot be lost
# between the two steps, for we would ask again.
RESTORE = f"""{_OWN}
for i = 3, #ARGV, 4 do
  if is_own(ARGV[i]) then
    redis.call('XADD', KEYS[1], '*', 'id', ARGV[i + 1], 'body', ARGV[i + 2], 'deliveries', ARGV[i + 3])
    forget(ARGV[i])
  end
end
"""

# lease in milliseconds, how many at most, where to go on; gives where to go on, milliseconds until the next
# delayed message is due (or -1), what is now ours: entry, fields, deliveries; and the entries that were held
# for too long, and trimmed away. (XAUTOCLAIM would forget those that were trimmed away even if they are held
# by a worker that lives, and can put them back.)
TEND = f"""{_OWN}
local now = time()
local upto = string.format('%.3f', now)
for _, packed in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', upto, 'LIMIT', 0, 500)) do
  local it = cmsgpack.unpack(packed)
  redis.call('XADD', KEYS[1], '*', 'id', it[2], 'body', it[3], 'deliveries', it[4])
  redis.call('ZREM', KEYS[2], packed)
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local due = first[2] and math.max(0, math.ceil(first[2] - now)) or -1
local found, gone, most = {{}}, {{}}, tonumber(ARGV[4])
local some = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[5], '+', most)
for _, it in ipairs(some) do
  local got = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], it[1])
  if #got > 0 then
    found[#found + 1] = {{it[1], got[1][2], it[4] + 1}}
  else
    redis.call('XACK', KEYS[1], ARGV[1], it[1])
    gone[#gone + 1] = it[1]
  end
end
return {{#some == most and '(' .. some[most][1] or '-', due, found, gone}}
"""

# entry...; gives those that are no longer ours, and those that are, but were trimmed away. The latter are not
# claimed: that would make the server forget them.
RENEW = f"""{_OWN}
local lost, trimmed = {{}}, {{}}
for i = 3, #ARGV do
  if not is_own(ARGV[i]) then
    lost[#lost + 1] = ARGV[i]
  elseif #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0 then
    trimmed[#trimmed + 1] = ARGV[i]
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
return {{lost, trimmed}}
"""

# where to go on, how many entries; counts those that the group has passed and nobody holds: they came before
# it. Gives where to go on, empty at the end, and how many there were.
OUTSIDE = """
local last = '0-0'
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == ARGV[1] then last = group['last-delivered-id'] end
end
local count, cursor = 0, ''
local entries = redis.call('XRANGE', KEYS[1], ARGV[3], last, 'COUNT', ARGV[4])
for _, entry in ipairs(entries) do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1) == 0 then count = count + 1 end
end
if #entries == tonumber(ARGV[4]) then cursor = '(' .. entries[#entries][1] end
return {cursor, count}
"""

# gives 1 or 0
IS_DRAINED = """
if redis.call('XPENDING', KEYS[1], ARGV[1])[1] > 0 or redis.call('ZCARD', KEYS[2]) > 0 then return 0 end
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == ARGV[1] then
    local after = '(' .. group['last-delivered-id']
    return #redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1) == 0 and 1 or 0
  end
end
return 0
"""

# Forgets this consumer, and those that were killed a day ago. One that holds something must stay: what it
# holds would be forgotten with it.
LEAVE = """
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local it = {}
  for i = 1, #flat, 2 do it[flat[i]] = flat[i + 1] end
  if it['pending'] == 0 and (it['name'] == ARGV[2] or it['idle'] > 86400000) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], it['name'])
  end
end
"""

# how many; gives how many there were
REQUEUE = """
local letters = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', ARGV[1])
for _, letter in ipairs(letters) do
  local it = {}
  for i = 1, #letter[2], 2 do it[letter[2][i]] = letter[2][i + 1] end
  redis.call('XADD', KEYS[1], '*', 'id', it['id'] or letter[1], 'body', it['body'] or '')
  redis.call('XDEL', KEYS[3], letter[1])
end
return #letters
"""

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


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the parts of a queue are: the stream, its delayed messages, its dead letters."""

    stream: str
    delayed: str
    dead: str

    @classmethod
    def of(cls, name: str, *, cluster: bool) -> Self:
        """Keys of a queue; in a cluster all go where the stream is, or no script could use them together.

        What stands in braces decides where a key goes, and a name without braces goes where it would in them.
        """
        stem = f"{{{name}}}" if cluster and "{" not in name else name
        return cls(name, f"{stem}.delayed", f"{stem}.dead")


class Server:
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
        self._client = Redis.from_url(self.address.server, **options)
        try:
            await self.call(lambda client: client.ping())
            hello = await self.call(_hello)
            self._version = text_of(hello.get(b"version", b""))
            self._is_cluster = hello.get(b"mode") == b"cluster"
            self.keys = Keys.of(self.address.name, cluster=self._is_cluster)
            if self._is_cluster:
                await self._client.aclose()
                # It has all commands that we use, and finds the node that each belongs to.
                self._client = cast("Redis", RedisCluster.from_url(self.address.server, **options))
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
        fault = connection_fault(self.address, error)
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


def text_of(value: bytes) -> str:
    """As text, whatever it is."""
    return value.decode(errors="backslashreplace")


def number_of(value: bytes | None) -> int:
    """As a number; 0 if it is none."""
    return int(value) if value is not None and value.isdigit() else 0


def content_of(entry: str, fields: Mapping[bytes, bytes]) -> tuple[str, bytes, int]:
    """Identity, body and earlier deliveries of an entry of the stream, whoever added it."""
    if b"body" in fields:
        identity = text_of(fields.get(b"id", b"")) or entry
        return identity, fields[b"body"], number_of(fields.get(b"deliveries"))
    for name in (b"data", b"message", b"payload"):
        if name in fields and (len(fields) == 1 or _is_object(fields[name])):
            return entry, fields[name], 0
    flat = {text_of(name): text_of(value) for name, value in fields.items()}
    return entry, json.dumps(flat, ensure_ascii=False).encode(), 0


def _is_object(value: bytes) -> bool:
    return value.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def letter_fields(identity: str, body: bytes, why: Why, deliveries: int) -> Sequence[str | bytes | int]:
    """Fields of a dead letter: name, value, name, value..."""
    http_status = "" if why.http_status is None else why.http_status
    return (
        *("id", identity, "body", body, "reason", why.reason, "status", why.status),
        *("http_status", http_status, "attempts", why.attempts, "deliveries", deliveries),
    )


def letter_of(entry: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """A dead letter as it was written, whoever wrote it."""
    status = fields.get(b"http_status")
    return DeadLetter(
        identity=text_of(fields.get(b"id", b"")) or entry,
        body=fields.get(b"body", b""),
        why=Why(
            reason=text_of(fields.get(b"reason", b"")),
            status=text_of(fields.get(b"status", b"")),
            http_status=number_of(status) if status else None,
            attempts=number_of(fields.get(b"attempts")),
        ),
        deliveries=number_of(fields.get(b"deliveries")),
        # Without a time of its own it has that of its entry.
        dead_at=float(fields.get(b"dead_at") or int(entry.partition("-")[0]) / 1_000),
    )
