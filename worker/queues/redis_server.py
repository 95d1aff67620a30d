"""How a Redis server is spoken to: the connection, its errors, and every change of a queue as one script."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from redis import exceptions as faults
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from worker.errors import QueueError, QueueUnavailable
from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetter, Why

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

# lease in milliseconds, how many at most, where to go on; gives where to go on, milliseconds until the next
# delayed message is due (or -1), and what is now ours: entry, fields, deliveries
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
local found, cursor, most = {{}}, ARGV[5], tonumber(ARGV[4])
for _ = 1, 100 do
  local some = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', most - #found)
  cursor = some[1]
  for _, it in ipairs(some[2]) do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], it[1], it[1], 1, ARGV[2])
    found[#found + 1] = {{it[1], it[2], pending[1][4]}}
  end
  if cursor == '0-0' or #found >= most then break end
end
return {{cursor, due, found}}
"""

# entry...; gives those that are no longer ours
RENEW = f"""{_OWN}
local lost = {{}}
for i = 3, #ARGV do
  if is_own(ARGV[i]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
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
# TLS that cannot come about passes for a lost connection.
_FINAL_WORDS = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")
_PASSING = (
    faults.ConnectionError,
    faults.TimeoutError,
    faults.OutOfMemoryError,
    faults.ReadOnlyError,
    faults.ClusterDownError,
    faults.MasterDownError,
    faults.TryAgainError,
)
# Some have no class of their own, and none has one when a script of an older server runs into it.
_PASSING_WORDS = ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS ", "BUSY ", "LOADING ", "MASTERDOWN ")
_LOST_GROUP_WORDS = ("NOGROUP", "UNBLOCKED")


class LostGroupError(QueueError):
    """The stream or its consumer group is gone, and all that was held with it."""


class Server:
    """A connection to the server of a queue. Nothing is tried twice: whoever calls knows how long to wait.

    A call whose caller is cancelled goes on by itself, for the library sometimes swallows a cancellation.
    """

    def __init__(self, address: QueueAddress) -> None:
        self.address = address
        self._keys = [address.name, f"{address.name}.delayed", address.dead_name]
        self._client: Redis | None = None
        self._calls: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, unless connected."""
        if self._client is not None:
            return
        self._client = Redis.from_url(
            self.address.server,
            protocol=2,  # answers have one shape, whatever the library's version prefers
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_CALL_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_keepalive=True,
        )
        try:
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
        return await self.call(lambda client: client.register_script(script)(self._keys, arguments))

    async def make_group(self, *, with_stream: bool = False) -> None:
        """Make the consumer group unless it is there; it is given all that the stream holds."""
        name, group = self.address.name, self.address.group

        async def make(client: Redis) -> None:
            try:
                await client.xgroup_create(name, group, id="0", mkstream=with_stream)
            except faults.ResponseError as error:
                if "requires the key to exist" in str(error):
                    raise QueueError(f"{self.address.shown}: there is no stream {name}") from error
                if "BUSYGROUP" not in str(error):
                    raise

        await self.call(make)

    async def _work(self, work: Callable[[Redis], Awaitable[Any]]) -> Any:
        if self._client is None:
            raise self._closed()
        try:
            return await work(self._client)
        except faults.RedisError as error:
            raise self._said(error) from error

    def _closed(self) -> QueueUnavailable:
        return QueueUnavailable(f"{self.address.shown}: the connection was closed")

    def _said(self, error: Exception) -> QueueError:
        """What an error of the library means, in one line."""
        text = " ".join(str(error).split()) or "the connection was lost"
        kind: type[QueueError] = QueueError
        if any(word in text for word in _LOST_GROUP_WORDS):
            kind = LostGroupError
        elif isinstance(error, _FINAL) or any(word in text for word in _FINAL_WORDS):
            kind = QueueError
        elif isinstance(error, _PASSING) or any(word in text for word in _PASSING_WORDS):
            kind = QueueUnavailable
        return kind(f"{self.address.shown}: {text}")


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
    for name in (b"data", b"message"):
        if name in fields and (len(fields) == 1 or fields[name].lstrip().startswith(b"{")):
            return entry, fields[name], 0
    flat = {text_of(name): text_of(value) for name, value in fields.items()}
    return entry, json.dumps(flat, ensure_ascii=False).encode(), 0


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
