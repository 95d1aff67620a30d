"""What every broker promises: messages are leased, and go for good only when we say so."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message.

    Attributes:
        handle: names this delivery to the queue that gave it.
        identity: the same for each delivery of one message, to whichever worker: what its publisher named
            it, else what the broker calls it. Messages with different bodies may share one, for publishers
            name them as they like.
        body: as it was published.
        deliveries: how often it was handed out, this time included.
        life: another one each time that it was put back from the dead letters, and the same for each delivery
            from then on; empty before.
    """

    handle: str
    identity: str
    body: bytes
    deliveries: int
    life: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was given up.

    Attributes:
        reason: a stable word, or a sentence for a message that is no pair.
        status: the state of its row.
        http_status: of the answer that decided; None if there was none.
        attempts: requests made for it by the worker that gave it up.
    """

    reason: str
    status: str
    http_status: int | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up.

    Attributes:
        dead_at: when, in seconds since the epoch.
    """

    identity: str
    body: bytes
    failure: Failure
    deliveries: int
    dead_at: float


class Queue(Protocol):
    """Messages to work on. Used by one task at a time per method; methods may overlap.

    While open it keeps the lease of every message it gave out alive by itself, until that message is
    acknowledged, released or dead. A message whose holder died is handed out again: after the lease, or as
    soon as the broker sees that the connection is gone.

    Every method may raise QueueUnavailable: the broker cannot be reached just now, nothing is known to have
    changed, and the same call may be made again; it reconnects. It raises QueueError if no repetition can
    help: wrong credentials, no such queue, no rights.

    A handle that is no longer ours, because its lease ran out or the connection was lost, is ignored by
    ``ack``, ``release`` and ``dead``: the broker hands that message out again.
    """

    @property
    def name(self) -> str:
        """Name of the stream or queue, without any credentials."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people must be told of, a line each: messages that no worker is handed, or that are gone.

        It may change with each call that is made; it is still there after ``close``.
        """

    async def open(self) -> None:
        """Connect, and make sure that the queue is there; makes no queue."""

    async def receive(self, most: int, wait: float) -> list[Message]:
        """The next messages, ``most`` at most; empty if none comes within ``wait`` seconds."""

    async def ack(self, handles: Sequence[str]) -> None:
        """These are done; they will never be handed out again."""

    async def release(self, handle: str, delay: float) -> None:
        """Give it back unfinished; it is handed out again, but not before ``delay`` seconds have passed."""

    async def dead(self, handle: str, failure: Failure) -> None:
        """Move it to the dead letters, and then acknowledge it: a crash in between may leave it in both."""

    async def is_drained(self) -> bool:
        """Nothing waits, nothing is delayed, and nobody holds anything, as far as the broker can tell."""

    async def close(self) -> None:
        """Disconnect; what is still held is handed out again. Never raises, may be called twice."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Publisher(Protocol):
    """Puts messages on a queue, which it makes if it is not there. Raises as :class:`Queue` does."""

    async def open(self) -> None:
        """Connect, and make the queue if there is none."""

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (identity, body) messages, in order; returns when the broker has confirmed every one.

        Another body under the same identity is another message. An identity that is longer than the broker
        can hold is handed out shorter; different ones stay different, and the same stays the same.
        """

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""


class DeadLetters(Protocol):
    """The dead letters of a queue. Raises as :class:`Queue` does."""

    async def open(self) -> None:
        """Connect."""

    async def letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, ``most`` at most; they stay where they are."""

    async def requeue(self, most: int) -> int:
        """Put the oldest back on the queue as new messages with their old identity; gives how many.

        Each begins a life of its own, see :class:`Message`, which tells it from what is only handed out
        again. Each is on the queue before it leaves the dead letters: a crash in between leaves it in both.
        """

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
