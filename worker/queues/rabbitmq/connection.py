"""One connection to RabbitMQ: opened when it is needed, given up at the first doubt. Knows no message."""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    ProtocolSyntaxError,
    PublishError,
)
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused
from pamqp.exceptions import PAMQPException

from worker.errors import QueueError, QueueMissing, QueueUnavailable
from worker.queues.address import QueueAddress
from worker.queues.connection_errors import connection_error
from worker.queues.rabbitmq.decoding import read_on

_T = TypeVar("_T")

CALL_SECONDS = 20.0
"""How long the broker may take for a call; under a memory or disk alarm it reads nothing from publishers."""

_CLOSING_SECONDS = 5.0
HEARTBEAT_SECONDS = 20
"""Both ends give a silent peer up after three of them, at the latest."""

# The broker opens each refusal with one of these words.
_FINAL = (
    "ACCESS_REFUSED",
    "NOT_ALLOWED",
    "NOT_FOUND",
    "NOT_IMPLEMENTED",
    "RESOURCE_LOCKED",
)
_IS_STREAM = re.compile(r"of queue type \w*stream")
_CUT_OFF = "Server connection unexpectedly closed"
# What the library raises of itself, in texts that name its objects: when a channel or a connection goes away
# under a call, and when it cannot read what it got.
_GONE = (asyncio.CancelledError, RuntimeError, StopAsyncIteration)
_UNREADABLE = (ProtocolSyntaxError, PAMQPException)
# The same words stand before these, which pass: a node starts up, or somebody else disconnects.
_PASSING = (" is down", "down or inaccessible", " is reached")

# What the libraries have to say is said by our errors; unheard, it would go to the terminal all the same.
for _library in ("aio_pika", "aiormq"):
    logging.getLogger(_library).addHandler(logging.NullHandler())
read_on()


class UnroutableError(QueueMissing):
    """There is no queue of the name that a message was sent to."""


class _Call:
    """One call, from its beginning to its end.

    Attributes:
        channel: that it is made on, once there is one.
        lost: done when that channel is given up; the library itself forgets some calls then.
    """

    def __init__(self) -> None:
        self.channel: AbstractChannel | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Connection:
    """A connection with one channel. Each call opens it anew if it was lost; only closing it ends that.

    A call that is cancelled goes on by itself: the library closes a channel on which a call was cancelled,
    and with it would go every message that is held.

    Args:
        address: of the queue, for the server and for messages.
        purpose: name of the connection in the broker's own lists.
        lost: called as soon as the channel is gone, and every delivery with it.
    """

    def __init__(self, address: QueueAddress, purpose: str, lost: Callable[[], None] = lambda: None) -> None:
        self._address = address
        self._purpose = purpose
        self._lost = lost
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self._calls: dict[asyncio.Task[Any], _Call] = {}
        self._closings: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.generation = 0
        """Number of the present channel; deliveries of an earlier one are void."""
        self.fault: QueueError = QueueUnavailable(f"{address.shown}: not connected")
        """Why the last channel was given up."""
        self._doubtful_until = float("-inf")

    def is_up(self, generation: int) -> bool:
        """Whether the channel of that number still is the present one."""
        return self._channel is not None and not self._channel.is_closed and self.generation == generation

    @property
    def may_live_on(self) -> bool:
        """Whether a connection fell silent so lately that the broker may not have given it up yet.

        Until it does, it keeps what that connection held, and tells nobody.
        """
        return asyncio.get_running_loop().time() < self._doubtful_until

    async def open(self) -> None:
        """Connect, also after a close."""
        self._is_closed = False
        await self.call(_nothing)

    async def call(
        self, work: Callable[[AbstractChannel], Coroutine[Any, Any, _T]], *, extra: float = 0.0
    ) -> _T:
        """Do something on the channel.

        Raises:
            QueueUnavailable: no answer within CALL_SECONDS and ``extra``, or the connection was lost.
            QueueError: the broker refuses it.
        """
        seconds = CALL_SECONDS + extra
        call = _Call()
        task = asyncio.create_task(self._work(work, call))
        self._calls[task] = call
        task.add_done_callback(self._ended)
        either: set[asyncio.Future[Any]] = {task, call.lost}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.cancelled():
            raise QueueUnavailable(f"{self._address.shown}: the connection was closed")
        if task.done():
            return task.result()
        task.cancel()
        if call.lost.done():
            raise self.fault
        error = QueueUnavailable(f"{self._address.shown}: no answer within {seconds:g} s")
        if call.channel is not None:
            self._doubtful_until = asyncio.get_running_loop().time() + 3 * HEARTBEAT_SECONDS
        self._give_up(call.channel, error)
        raise error

    async def on_own_channel(
        self, work: Callable[[AbstractChannel], Coroutine[Any, Any, _T]], *, extra: float = 0.0
    ) -> _T:
        """Do something on a channel of its own; what was fetched there and not settled is given back."""

        async def on_own(_: AbstractChannel) -> _T:
            if self._connection is None:
                raise self.fault
            channel = await self._connection.channel(on_return_raises=True)
            try:
                return await work(channel)
            finally:
                if not channel.is_closed:
                    await channel.close()

        return await self.call(on_own, extra=extra)

    async def message_count(self, queue: str) -> int | None:
        """How many messages wait in a queue; None if there is no such queue."""

        async def count(channel: AbstractChannel) -> int | None:
            try:
                declared = await channel.declare_queue(queue, passive=True)
            except ChannelNotFoundEntity as error:
                if isinstance(_said(self._address, error), QueueUnavailable):
                    raise
                return None
            return declared.declaration_result.message_count

        # A question for a queue that is not there costs the channel it is asked on.
        return await self.on_own_channel(count)

    async def refuse_stream(self, queue: str) -> None:
        """Make sure that a queue is none of type stream, in which nothing is ever acknowledged or moved.

        The broker tells no type. But it refuses a priority that is no number, from whoever wants to consume,
        and in other words if there are no priorities at all.

        Raises:
            QueueError: it is a stream.
        """

        async def ask(channel: AbstractChannel) -> str:
            broker = await channel.get_underlay_channel()
            await broker.basic_qos(prefetch_count=1)
            try:
                await broker.basic_consume(queue, _take_nothing, arguments={"x-priority": "none"})
            except ChannelPreconditionFailed as error:
                return str(error)
            except ChannelAccessRefused:
                pass  # who may only publish cannot ask
            return ""

        if _IS_STREAM.search(await self.on_own_channel(ask)):
            kept = "is a stream, which keeps what is done; a quorum queue is needed"
            raise QueueError(f"{self._address.shown}: {queue} {kept}")

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        self._is_closed = True
        self._give_up(self._channel, QueueUnavailable(f"{self._address.shown}: the connection was closed"))
        await asyncio.gather(*self._closings, return_exceptions=True)
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _work(self, work: Callable[[AbstractChannel], Coroutine[Any, Any, _T]], call: _Call) -> _T:
        try:
            call.channel = await self._open_channel()
            return await work(call.channel)
        except PublishError as error:
            raise UnroutableError(self._address.shown, "queue", str(error.args[1])) from error
        except DeliveryError as error:
            raise QueueUnavailable(f"{self._address.shown}: the queue takes no message just now") from error
        except (*CONNECTION_EXCEPTIONS, asyncio.CancelledError) as error:
            # The library also says with a CancelledError that a channel was closed under a call.
            said = _said(self._address, error)
            self._give_up(call.channel, said)
            raise said from error

    async def _open_channel(self) -> AbstractChannel:
        async with self._opening:
            if self._is_closed:
                raise QueueUnavailable(f"{self._address.shown}: the connection was closed")
            if self._channel is not None and self._channel.is_closed:
                self._give_up(self._channel, self.fault)
            if self._channel is None:
                connection = await aio_pika.connect(
                    self._address.server,
                    heartbeat=HEARTBEAT_SECONDS,
                    client_properties={"connection_name": f"bulklink {self._purpose}"},
                )
                try:
                    channel = await connection.channel(on_return_raises=True)
                    closing = (await channel.get_underlay_channel()).closing
                except BaseException:
                    await _close(connection)
                    raise
                closing.add_done_callback(lambda future: self._closed_by_broker(channel, future))
                self._connection, self._channel = connection, channel
                self.generation += 1
            return self._channel

    def _closed_by_broker(self, channel: AbstractChannel, closing: "asyncio.Future[Any]") -> None:
        error = asyncio.CancelledError() if closing.cancelled() else closing.exception()
        self._give_up(channel, _said(self._address, error or asyncio.CancelledError()))

    def _give_up(self, channel: AbstractChannel | None, fault: QueueError) -> None:
        if channel is None or channel is not self._channel or self._connection is None:
            return
        closing = asyncio.create_task(_close(self._connection))
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)
        self._connection = self._channel = None
        self.fault = fault
        for call in self._calls.values():
            if call.channel is channel and not call.lost.done():
                call.lost.set_result(None)
        self._lost()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        del self._calls[task]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone


async def _take_nothing(_: DeliveredMessage) -> None:
    """What a broker might hand out all the same goes back when the channel is closed."""


async def _nothing(_: AbstractChannel) -> None:
    """Opening the channel was all."""


async def _close(connection: AbstractConnection) -> None:
    closing = asyncio.ensure_future(connection.close())
    await asyncio.wait({closing}, timeout=_CLOSING_SECONDS)
    closing.cancel()
    with suppress(asyncio.CancelledError, *CONNECTION_EXCEPTIONS):
        await closing


def _said(address: QueueAddress, error: BaseException) -> QueueError:
    """What an error of the library means, in one line."""
    if isinstance(error, QueueError):
        return error
    if (fault := connection_error(address, error)) is not None:
        return fault
    text = " ".join(" ".join(str(word) for word in error.args).split())
    if isinstance(error, _GONE) or not text or _CUT_OFF in text:
        text = "the connection was lost"
    if "Connection.OpenOk" in text and "Connection.Close" in text:
        # The library keeps the server's own words to itself when the virtual host is refused.
        return QueueError(f"{address.shown}: no such virtual host, or no access to it")
    if isinstance(error, _UNREADABLE):
        text = "what answers does not speak AMQP 0-9-1"
    if any(word in text for word in _FINAL) and not any(word in text for word in _PASSING):
        return QueueError(f"{address.shown}: {text}")
    return QueueUnavailable(f"{address.shown}: {text}")
