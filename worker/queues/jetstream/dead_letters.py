"""Where the messages of a stream of NATS rest that were given up."""

from uuid import uuid4

from nats.js import JetStreamContext
from nats.js import errors as js_faults
from nats.js.api import RawStreamMsg

from worker.queues.address import QueueAddress
from worker.queues.base import DeadLetter
from worker.queues.jetstream.connection import Connection
from worker.queues.jetstream.messages import NATS_ID, dead_letter_of, requeued_headers
from worker.queues.jetstream.publisher import Outgoing, publish_all
from worker.queues.jetstream.topology import dead_letter_stream

_LETTERS_AT_ONCE = 100
# No such message, or it could not be deleted for that reason.
_IS_GONE = {10037, 10057}


class JetStreamDeadLetters:
    """See :class:`worker.queues.base.DeadLetters`."""

    def __init__(self, address: QueueAddress) -> None:
        self._connection = Connection(address)
        self._stream = str(dead_letter_stream(address).name)

    async def open(self) -> None:
        """Connect."""
        await self._connection.open()
        try:
            await self._connection.stream(self._stream)
        except BaseException:
            await self._connection.close()
            raise

    async def letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, ``most`` at most; they stay where they are."""
        return [self._letter_of(raw) for raw in await self._oldest(most)]

    async def requeue(self, most: int) -> int:
        """Put the oldest back on the queue as new messages with their old identity; gives how many."""
        moved = 0
        while moved < most:
            page = await self._oldest(min(_LETTERS_AT_ONCE, most - moved))
            if not page:
                break
            room = await self._connection.most_bytes()
            back: list[Outgoing] = []
            for raw in page:
                # Not its old id, which the server may remember; but if we are cut off, the same as next time.
                nats_id = f"{(raw.headers or {}).get(NATS_ID) or uuid4().hex}.again"
                letter = self._letter_of(raw)
                back.append((requeued_headers(letter, nats_id, room), letter.body))
            await publish_all(self._connection, await self._connection.subject(), back)
            for raw in page:
                await self._forget(raw)
            moved += len(page)
        return moved

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._connection.close()

    async def _oldest(self, most: int) -> list[RawStreamMsg]:
        page: list[RawStreamMsg] = []
        after = 0
        while len(page) < most and (raw := await self._next(after + 1)) is not None:
            page.append(raw)
            after = raw.seq or after + 1
        return page

    async def _next(self, sequence: int) -> RawStreamMsg | None:
        async def read(js: JetStreamContext) -> RawStreamMsg | None:
            try:
                return await js.get_msg(
                    self._stream, seq=sequence, subject=self._connection.address.dead_name, next=True
                )
            except js_faults.NotFoundError:
                return None

        return await self._connection.ask(read)

    async def _forget(self, raw: RawStreamMsg) -> None:
        async def delete(js: JetStreamContext) -> None:
            try:
                await js.delete_msg(self._stream, raw.seq or 0)
            except js_faults.APIError as error:
                if error.err_code not in _IS_GONE:
                    raise

        await self._connection.ask(delete)

    def _letter_of(self, raw: RawStreamMsg) -> DeadLetter:
        return dead_letter_of(raw, f"{self._stream}.{raw.seq}")
