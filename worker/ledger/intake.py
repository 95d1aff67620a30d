"""Messages of a queue on their way into the ledger: each is one row, however often it comes.

What makes a message is its identity and its pair together: publishers name messages, and some give the same
name to many.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from worker.json_text import dump_texts
from worker.ledger.schema import seal
from worker.models import Pair, PreState, Reject, Row, Status, ids_of

_DIGEST_BYTES = 7  # SQLite keeps integers of eight, with a sign
_Intent = tuple[float | None, int | None]  # when, and in which session

_GIVEN_UP = {Status.REJECTED, Status.DUPLICATE}
"""Last words that a message keeps, until it is put back from the dead letters: here, or by another worker."""

WORN_OUT = "too_many_deliveries"
"""Reason of a message that was handed out again and again, and never settled."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to be taken in, already judged.

    Attributes:
        row: its cells; number and line are given by the ledger.
        again: it was handed out before, so whoever had it then may have sent it.
        worn_out: it was handed out so often that it is not to be sent again.
        life: another one each time that it was put back from the dead letters; empty if it never was.
    """

    identity: str
    row: Row
    verdict: Pair | Reject
    again: bool = False
    worn_out: bool = False
    life: str = ""

    @property
    def content(self) -> int:
        """What it is about: the key of its pair; of what is no pair, a number below 0 for its cells."""
        if isinstance(self.verdict, Pair):
            return self.verdict.key
        digest = hashlib.blake2b(json.dumps(self.row.cells).encode(), digest_size=_DIGEST_BYTES).digest()
        return -1 - int.from_bytes(digest)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the ledger says of a message that came.

    Attributes:
        row: its row; the same for each delivery of one message.
        status: its last word so far, which is taken back if there is a pair to send; None if it has none.
        reason: of its status.
        pair: to be sent now, its intent is noted; None if there is nothing to send, or it is being sent.
        fresh: it was never seen before.
        instead_of: the last word that was taken back for ``status``; None if there was none.
    """

    row: int
    status: Status | None
    reason: str
    pair: Pair | None
    fresh: bool
    instead_of: Status | None = None


class Intake:
    """Takes messages in, as plain SQL on the ledger's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._last: int | None = None

    def take_in(self, deliveries: Sequence[Delivery], session: int, *, look_first: bool) -> list[Arrival]:
        """Take messages in, each of them once, and note those to be sent as about to be.

        A message that comes again is the row that it was: the same identity with the same pair. If its last
        word was that another try is worth it, it gets that try. If it was given up, it gets one each time it
        was put back from the dead letters, and none for being handed out again. A pair that waits for its
        outcome in another row makes a duplicate; one that is settled does not, for the link may have been
        removed since, and is asked for again.

        Args:
            deliveries: the messages.
            session: which their intents bear.
            look_first: note no intents yet.
        """
        intent = (None, None) if look_first else (time.time(), session)
        return [self._take_in(delivery, intent) for delivery in deliveries]

    def _take_in(self, delivery: Delivery, intent: _Intent) -> Arrival:
        if self._last is None:
            (self._last,) = self._db.execute("SELECT coalesce(max(row), 0) FROM rows").fetchone()
        fresh = self._db.execute(
            "INSERT OR IGNORE INTO messages VALUES (?, ?, ?)",
            (delivery.identity, delivery.content, self._last + 1),
        )
        if fresh.rowcount:
            self._last += 1
            self._is_new_life(self._last, delivery)
            return self._enter(delivery, self._last, intent)
        return self._meet_again(delivery, intent)

    def _enter(self, delivery: Delivery, row: int, intent: _Intent) -> Arrival:
        verdict = delivery.verdict
        key: int | None = None
        status: Status | None = None
        reason = ""
        if isinstance(verdict, Reject):
            status, reason = Status.INVALID, verdict.reason
        else:
            key = verdict.key
            status, reason = self._hold(key, row)
            if status is None and delivery.worn_out:
                status, reason = Status.RETRYABLE, WORN_OUT
        waits = status is None
        cells = dump_texts(delivery.row.cells)
        self._db.execute(
            "INSERT INTO rows (row, line, cells, key, seal, status, reason, settled_at, sent_at, session)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row, row, cells, key, seal(f"{row} {key}{cells}"), status, reason),
                *((None, *intent) if waits else (time.time(), None, None)),
            ),
        )
        pair = Pair(row, row, *ids_of(key), delivery.again) if waits and key is not None else None
        return Arrival(row, status, reason, pair, fresh=True)

    def _hold(self, key: int, row: int) -> tuple[Status | None, str]:
        """Make ``row`` the one that asks for the pair, unless another one does just now."""
        if self._db.execute("INSERT OR IGNORE INTO pairs VALUES (?, ?)", (key, row)).rowcount:
            return None, ""
        other, status = self._db.execute(
            "SELECT p.row, r.status FROM pairs p JOIN rows r USING (row) WHERE p.key = ?", (key,)
        ).fetchone()
        if status is None:
            return Status.DUPLICATE, f"same pair as line {other}"
        self._db.execute("UPDATE pairs SET row = ? WHERE key = ?", (row, key))
        return None, ""

    def _meet_again(self, delivery: Delivery, intent: _Intent) -> Arrival:
        row, status, reason, key, pre = self._db.execute(
            "SELECT row, status, reason, key, pre FROM messages JOIN rows USING (row)"
            " WHERE identity = ? AND content = ?",
            (delivery.identity, delivery.content),
        ).fetchone()
        if self._is_new_life(row, delivery) and status in _GIVEN_UP and not delivery.worn_out:
            return self._live_again(delivery, row, Status(status), reason, intent)
        if status not in {Status.RETRYABLE, Status.UNKNOWN} or delivery.worn_out:
            return Arrival(row, status and Status(status), reason, None, fresh=False)
        self._db.execute(
            "UPDATE rows SET status = NULL, reason = '', http_status = NULL, settled_at = NULL,"
            " sent_at = coalesce(?, sent_at), session = coalesce(?, session) WHERE row = ?",
            (*intent, row),
        )
        doubt = delivery.again or status == Status.UNKNOWN
        pair = Pair(row, row, *ids_of(key), doubt, PreState(pre or PreState.UNREAD))
        return Arrival(row, Status(status), reason, pair, fresh=False)

    def _is_new_life(self, row: int, delivery: Delivery) -> bool:
        """Note which life of a message this is; whether it was not taken in before, and is not the first."""
        if not delivery.life:
            return False
        noted = self._db.execute("INSERT OR IGNORE INTO lives VALUES (?, ?)", (row, delivery.life))
        return noted.rowcount > 0

    def _live_again(
        self, delivery: Delivery, row: int, before: Status, reason: str, intent: _Intent
    ) -> Arrival:
        """Take in one that was given up as if it had never been sent: no link is there because of it."""
        assert isinstance(delivery.verdict, Pair)  # noqa: S101 - what is none is invalid, whatever its life
        key = delivery.verdict.key
        status, why = self._hold(key, row)
        waits = status is None
        self._db.execute(
            "UPDATE rows SET status = ?, reason = ?, http_status = NULL, settled_at = ?, sent_at = ?,"
            " session = ?, pre = NULL WHERE row = ?",
            (status, why, *((None, *intent) if waits else (time.time(), None, None)), row),
        )
        if status is not None:
            return Arrival(row, status, why, None, fresh=False, instead_of=before)
        return Arrival(row, before, reason, Pair(row, row, *ids_of(key), delivery.again), fresh=False)
