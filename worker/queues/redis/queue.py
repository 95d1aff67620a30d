"""Redis Streams as queues: a consumer group whose workers renew their leases; needs Redis 7.0 or newer."""

import asyncio
import math
import os
import shlex
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from worker.errors import QueueError, QueueUnavailable
from worker.queues.address import QueueAddress
from worker.queues.base import Failure, Message
from worker.queues.redis.connection import Connection, LostGroupError
from worker.queues.redis.messages import dead_letter_fields, message_of, text_of
from worker.queues.redis.scripts import (
    ACK,
    CLAIM,
    COUNT_SKIPPED,
    DEAD,
    IS_DRAINED,
    RELEASE,
    REMOVE_CONSUMER,
    RENEW,
    RESTORE,
)

_AT_ONCE = 500
_PAGES = 200
"""Of entries that may lie outside the group; a stream that holds more of them is not counted to its end."""

_NAMED = 10
# How long a message may be due, or a lease have run out, before a worker who waits looks again.
_CLAIM_SECONDS = 1.0
_CLOSING_SECONDS = 5.0


class RedisQueue:
    """A stream of Redis, see :class:`worker.queues.base.Queue`.

    The stream belongs to one consumer group: what is acknowledged is deleted, so that it does not grow. A
    message that is released becomes a new entry; until then, if it is delayed, it is in NAME.delayed. Only
    the server's clock counts.
    """

    def __init__(self, address: QueueAddress, lease: float) -> None:
        self._connection = Connection(address)
        self._lease = lease
        self._consumer = ""
        # By entry. A handle is an entry and a number, for the same entry may come to us again.
        self._held: dict[str, Message] = {}
        self._numbers = count(1)
        self._fetched: deque[Message] = deque()
        self._fetching: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._is_open = False
        self._claim_at = 0.0
        self._cursor = b"-"
        self._skipped = 0
        self._trimmed: list[str] = []

    @property
    def name(self) -> str:
        """Name of the stream."""
        return self._connection.address.name

    @property
    def warnings(self) -> tuple[str, ...]:
        """Entries that came before the group, and entries that were trimmed away before they were done."""
        address = self._connection.address
        said = []
        if self._skipped:
            more = "at least " if self._skipped >= _PAGES * _AT_ONCE else ""
            server = address.shown.partition("?")[0]
            said.append(
                f"{address.shown}: {more}{_entries(self._skipped)} came before the group {address.group},"
                " for no worker to be handed; to take them in:"
                f" redis-cli -u {server} XGROUP SETID {shlex.quote(self.name)} {address.group} 0"
            )
        if self._trimmed:
            names = ", ".join(self._trimmed[:_NAMED]) + (", ..." if len(self._trimmed) > _NAMED else "")
            said.append(
                f"{address.shown}: {_entries(len(self._trimmed))} trimmed away before they were done,"
                f" and lost: {names}"
            )
        return tuple(said)

    async def open(self) -> None:
        """Connect, and make sure that the stream is there; the group is made if it is not."""
        await self._connection.open()
        try:
            await self._connection.make_group()
            await self._count_skipped()
        except QueueError:
            await self._connection.close()
            raise
        if not self._is_open:
            self._consumer = f"{os.getpid()}-{uuid4().hex}"
            self._claim_at = 0.0
            self._renewing = asyncio.create_task(self._renew())
            self._is_open = True

    async def receive(self, most: int, wait: float) -> list[Message]:
        """The next messages, ``most`` at most; empty if none comes within ``wait`` seconds."""
        if most < 1:
            return []
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        is_over = False
        while self._is_open:
            if (messages := self._next(most)) or is_over:
                return messages
            left = max(end - loop.time(), 0.0)
            is_new = self._fetching is None
            if self._fetching is None:
                self._fetching = asyncio.create_task(self._fetch(most, left))
                self._fetching.add_done_callback(_hear)
            fetching = self._fetching
            # Goes on if our caller is cancelled: what it brings is leased to us, and for the next receive.
            await asyncio.wait({fetching}, timeout=None if is_new else left)
            is_over = loop.time() >= end
            if fetching.done():
                if self._fetching is fetching:
                    self._fetching = None
                if not fetching.cancelled():
                    fetching.result()
        raise QueueUnavailable(f"{self._connection.address.shown}: the connection was closed")

    async def ack(self, handles: Sequence[str]) -> None:
        """These are done; they will never be handed out again."""
        ours = [handle for handle in handles if self._is_held(handle)]
        for start in range(0, len(ours), _AT_ONCE):
            some = ours[start : start + _AT_ONCE]
            await self._settle(ACK, *map(_entry, some))
            self._drop(some)

    async def release(self, handle: str, delay: float) -> None:
        """Give it back unfinished; it is handed out again, but not before ``delay`` seconds have passed."""
        if self._is_held(handle):
            message = self._held[_entry(handle)]
            await self._settle(RELEASE, math.ceil(delay * 1_000), *_copy(message, message.deliveries))
            self._drop([handle])
            self._claim_at = min(self._claim_at, asyncio.get_running_loop().time() + max(delay, 0.0))

    async def dead(self, handle: str, failure: Failure) -> None:
        """Move it to the dead letters, both at once."""
        if self._is_held(handle):
            message = self._held[_entry(handle)]
            fields = dead_letter_fields(message.identity, message.body, failure, message.deliveries)
            await self._settle(DEAD, _entry(handle), *fields)
            self._drop([handle])

    async def is_drained(self) -> bool:
        """Nothing waits, nothing is delayed, and nobody holds anything."""
        if not await self._settle(IS_DRAINED):
            return False
        await self._count_skipped()
        return True

    async def close(self) -> None:
        """Disconnect; what is still held is handed out again. Never raises, may be called twice."""
        was_open, self._is_open = self._is_open, False
        try:
            if was_open and self._fetching is not None:
                # It ends soon by itself; cut off, it might leave us with messages that we do not know of.
                await asyncio.wait({self._fetching}, timeout=_CLOSING_SECONDS)
            if was_open:
                with suppress(QueueError, TimeoutError):
                    async with asyncio.timeout(_CLOSING_SECONDS):
                        await self._give_all_back()
        finally:
            tasks = [task for task in (self._fetching, self._renewing) if task is not None]
            self._fetching = self._renewing = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._forget()
            await self._connection.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _fetch(self, most: int, wait: float) -> None:
        loop = asyncio.get_running_loop()
        address = self._connection.address
        try:
            if loop.time() >= self._claim_at:
                most -= await self._claim(most)
            if most <= 0:
                return
            seconds = min(wait, self._claim_at - loop.time()) if not self._fetched else 0.0
            block = max(1, int(seconds * 1_000)) if seconds > 0 else None
            answer = await self._connection.call(
                lambda client: client.xreadgroup(
                    address.group, self._consumer, {address.name: ">"}, count=most, block=block
                )
            )
            for _, entries in answer or ():
                for entry, fields in entries:
                    self._take(text_of(entry), fields, 1)
        except LostGroupError:
            await self._regroup()

    async def _claim(self, most: int) -> int:
        """What was delayed comes back, and so does what others have held for too long."""
        lease = math.ceil(self._lease * 1_000)
        arguments = (self._connection.address.group, self._consumer, lease, most, self._cursor)
        self._cursor, due, found, gone = await self._connection.run(CLAIM, *arguments)
        self._trimmed += map(text_of, gone)
        pause = min(_CLAIM_SECONDS, self._lease / 4) if self._cursor == b"-" else 0.0
        if due >= 0:
            pause = min(pause, due / 1_000)
        self._claim_at = asyncio.get_running_loop().time() + pause
        for entry, flat, times in found:
            self._take(text_of(entry), dict(zip(flat[::2], flat[1::2], strict=True)), times)
        return len(found)

    def _take(self, entry: str, fields: dict[bytes, bytes], times: int) -> None:
        message = message_of(entry, fields, f"{entry}/{next(self._numbers)}", times)
        self._held[entry] = message
        self._fetched.append(message)

    def _next(self, most: int) -> list[Message]:
        messages: list[Message] = []
        while self._fetched and len(messages) < most:
            message = self._fetched.popleft()
            if self._is_held(message.handle):
                messages.append(message)
        return messages

    async def _renew(self) -> None:
        pause = self._lease / 3
        while True:
            await asyncio.sleep(pause)
            try:
                held = list(self._held.values())
                for start in range(0, len(held), _AT_ONCE):
                    some = {_entry(message.handle): message for message in held[start : start + _AT_ONCE]}
                    lost, trimmed = await self._settle(RENEW, *some) or ((), ())
                    back = [some[text_of(entry)] for entry in trimmed]
                    if back:
                        # Handed out again while we work on it, which the ledger bears; else, were we to die,
                        # nobody would have it.
                        copies = [part for message in back for part in _copy(message, message.deliveries)]
                        await self._settle(RESTORE, *copies)
                    self._drop([message.handle for message in back])
                    self._drop([some[text_of(entry)].handle for entry in lost])
                pause = self._lease / 3
            except QueueError:
                # Whoever makes the next call is told. Until the lease is over nothing is lost.
                pause = self._lease / 10

    async def _count_skipped(self) -> None:
        cursor, total = "-", 0
        for _ in range(_PAGES):
            following, count = await self._settle(COUNT_SKIPPED, cursor, _AT_ONCE) or (b"", 0)
            cursor, total = text_of(following), total + count
            if not cursor:
                break
        self._skipped = total

    async def _give_all_back(self) -> None:
        unseen = {message.handle for message in self._fetched}
        held = list(self._held.values())
        for start in range(0, len(held), _AT_ONCE):
            copies: list[str | bytes | int] = []
            for message in held[start : start + _AT_ONCE]:
                copies += _copy(message, message.deliveries - (message.handle in unseen))
            await self._settle(RELEASE, 0, *copies)
        await self._settle(REMOVE_CONSUMER)

    async def _settle(self, script: str, *arguments: str | bytes | int) -> Any:
        try:
            return await self._connection.run(
                script, self._connection.address.group, self._consumer, *arguments
            )
        except LostGroupError:
            await self._regroup()

    async def _regroup(self) -> None:
        """What nobody has acknowledged is handed out again, in a new group."""
        self._forget()
        await self._connection.make_group()

    def _is_held(self, handle: str) -> bool:
        message = self._held.get(_entry(handle))
        return message is not None and message.handle == handle

    def _drop(self, handles: Sequence[str]) -> None:
        for handle in handles:
            if self._is_held(handle):
                del self._held[_entry(handle)]

    def _forget(self) -> None:
        self._held.clear()
        self._fetched.clear()
        self._cursor = b"-"


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def _entry(handle: str) -> str:
    return handle.partition("/")[0]


def _copy(message: Message, deliveries: int) -> tuple[str, str, bytes, int, str]:
    return _entry(message.handle), message.identity, message.body, deliveries, message.life


def _hear(fetching: "asyncio.Task[None]") -> None:
    if not fetching.cancelled():
        fetching.exception()  # whoever waited for it may be gone
