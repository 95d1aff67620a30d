"""Messages of a pull consumer: an inbox of our own, into which one request at a time lets them flow.

The library's ``fetch`` is not used: what comes after its time-out, or while it is cancelled, is easily lost.
"""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from worker.queues.jetstream.connection import Connection

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

_ANSWER_SECONDS = 2.0
_CLOSING_SECONDS = 2

ENDED = ("404", "408")
LOST = "lost"
SILENT = "silent"


class PullSubscription:
    """Takes what comes, whether or not anybody waits for it.

    Args:
        take: called with each message.
    """

    def __init__(self, take: Callable[[Msg], None]) -> None:
        self._take = take
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._number = 0
        self._left = 0
        self._end = ""
        self._news = asyncio.Event()

    async def subscribe(self, client: Client) -> None:
        """Begin with a new connection."""
        self._inbox = client.new_inbox()
        self._left = 0
        self._subscription = await client.subscribe(
            f"{self._inbox}.*", cb=self._hear, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def _start_over(self, client: Client) -> None:
        await self.drain()
        await self.subscribe(client)

    def lose(self) -> None:
        """The connection was lost: nothing more will come."""
        self._subscription = None
        if self._left > 0:
            self._left, self._end = 0, LOST
        self._news.set()

    async def drain(self) -> None:
        """Let nothing more in; what is on its way has been taken when this returns."""
        subscription: Any = self._subscription
        self._subscription = None
        if subscription is not None:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await subscription.drain()

    async def fetch(self, connection: Connection, consumer: str, most: int, seconds: float) -> str:
        """Ask for messages, unless a request is still open, and wait until it is over.

        Args:
            connection: to the server that is asked.
            consumer: STREAM.CONSUMER.
            most: that many messages end it.
            seconds: for which it waits for messages; 0 to be content with those that are there.

        Returns:
            How it ended: "" if all have come, the server's status and words, ``LOST`` or ``SILENT``.
        """
        if self._left <= 0:
            await self._request(connection, consumer, most, seconds)
        try:
            async with asyncio.timeout(seconds + _ANSWER_SECONDS):
                while self._left > 0:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            # A request that is not answered has no end; it must not be served when nobody waits for it.
            self._left, self._end = 0, SILENT
            await connection.run(self._start_over)
        return self._end

    async def _request(self, connection: Connection, consumer: str, most: int, seconds: float) -> None:
        request: dict[str, int | bool] = {"batch": most}
        if seconds > 0:
            request["expires"] = max(1, int(seconds * 1_000_000_000))
        else:
            request["no_wait"] = True

        async def send(client: Client) -> None:
            self._number += 1
            self._left, self._end = most, ""
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{consumer}"
            await client.publish(subject, json.dumps(request).encode(), f"{self._inbox}.{self._number}")

        await connection.run(send)

    async def _hear(self, it: Msg) -> None:
        if it.reply.startswith("$JS.ACK."):
            self._left -= 1
            self._take(it)
        elif it.subject == f"{self._inbox}.{self._number}":
            headers = it.headers or {}
            self._left = 0
            self._end = f"{headers.get('Status', '')} {headers.get('Description', '')}".strip()
        self._news.set()
