"""What can be done to a ledger, as plain SQL on one connection. No threads, no transactions of its own."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worker.json_text import dump_texts, load_texts
from worker.ledger.base import Admitted, Known, Standing
from worker.ledger.intake import Arrival, Delivery, Intake
from worker.ledger.schema import seal
from worker.models import Attempt, Outcome, Pair, PreState, Request, Result, Row, Status, ids_of

MARK = 0.05
"""Seconds of a session that a kill may leave uncounted."""

_UNREAD = PreState.UNREAD


class Store:
    """The statements of one session. Whoever calls decides what makes a transaction.

    Args:
        connection: to the ledger.
        keep: what is kept of a Contact; None for all of it.
    """

    def __init__(self, connection: sqlite3.Connection, keep: Callable[[bytes], bytes] | None = None) -> None:
        self._db = connection
        self._keep = keep
        self._session = 0
        self._began = self._marked = 0.0
        self._cursor = 0
        self._ahead: set[int] = set()  # given together with one further up, and nothing noted yet
        self._intake = Intake(connection)

    def execute(self, sql: str, values: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of ``values``."""
        self._db.executemany(sql, values)

    def begin_session(self) -> int:
        """Count a new stretch of work, by ``run`` or ``resume``.

        What was undone and has no outcome is sent once more, like a row that never was: of one that is gone
        nothing is in doubt, and what was there before it may have changed.
        """
        self._db.execute(
            "UPDATE rows SET sent_at = NULL, session = NULL, pre = NULL WHERE status IS NULL"
            " AND row IN (SELECT row FROM undone WHERE state IN ('removed', 'gone'))"
        )
        self._db.execute(
            "DELETE FROM undone WHERE row IN"
            " (SELECT row FROM undone JOIN rows USING (row) WHERE status IS NULL)"
        )
        cursor = self._db.execute("INSERT INTO sessions (started_at) VALUES (?)", (time.time(),))
        self._session = cursor.lastrowid or 0
        self._began, self._marked = time.monotonic(), 0.0
        return self._session

    def beat(self, seconds: float, paused_seconds: float) -> None:
        """Note how long this session has lasted, for a report after a crash."""
        self._db.execute(
            "UPDATE sessions SET seconds = ?, paused_seconds = ? WHERE session = ?",
            (seconds, paused_seconds, self._session),
        )

    def mark_time(self) -> None:
        """Note that this session has lasted until now; called with each commit, so that a kill loses none.

        Not written each time: that is a page more in the commit.
        """
        elapsed = time.monotonic() - self._began
        if self._session and elapsed - self._marked >= MARK:
            self._marked = elapsed
            self._db.execute(
                "UPDATE sessions SET seconds = max(seconds, ?) WHERE session = ?", (elapsed, self._session)
            )

    def put_meta(self, values: Mapping[str, object]) -> None:
        """Set named facts of the run; values are JSON."""
        self._db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [(name, json.dumps(value)) for name, value in values.items()],
        )

    def drop_meta(self, names: Sequence[str]) -> None:
        """Drop named facts of the run."""
        self._db.executemany("DELETE FROM meta WHERE name = ?", [(name,) for name in names])

    def admit(self, judged: Sequence[tuple[Row, int | str]]) -> Admitted:
        """Take rows in: pairs wait to be claimed; rejects and repeated pairs are settled at once.

        Args:
            judged: rows without a gap, each with the key of its pair, or the reason why it is none.
        """
        if not judged:
            return Admitted()
        now = time.time()
        # Of nothing that is None, here and elsewhere: sqlite3 looks for an adapter of it, value by value.
        pairs: list[tuple[int, int, str, int, int]] = []
        invalid: list[tuple[int, int, str, int, str, float]] = []
        for row, verdict in judged:
            cells = dump_texts(row.cells)
            if isinstance(verdict, str):
                mark = seal(f"{row.line} None{cells}")
                invalid.append((row.number, row.line, cells, mark, verdict, now))
            else:
                mark = seal(f"{row.line} {verdict}{cells}")
                pairs.append((row.number, row.line, cells, verdict, mark))
        self._db.executemany("INSERT INTO rows (row, line, cells, key, seal) VALUES (?, ?, ?, ?, ?)", pairs)
        self._db.executemany(
            "INSERT INTO rows (row, line, cells, seal, status, reason, settled_at)"
            " VALUES (?, ?, ?, ?, 'invalid', ?, ?)",
            invalid,
        )
        # A statement for all of them: one for each would cost more than what it does.
        span = judged[0][0].number, judged[-1][0].number
        first = self._db.execute(
            "INSERT OR IGNORE INTO pairs SELECT key, row FROM rows"
            " WHERE row BETWEEN ? AND ? AND key IS NOT NULL ORDER BY row",
            span,
        ).rowcount
        duplicates = len(pairs) - first
        if duplicates:
            self._db.execute(
                "UPDATE rows SET status = 'duplicate', settled_at = ?, reason = 'same pair as line ' ||"
                " (SELECT first.line FROM pairs p JOIN rows first USING (row) WHERE p.key = rows.key)"
                " WHERE row BETWEEN ? AND ? AND row > (SELECT p.row FROM pairs p WHERE p.key = rows.key)",
                (now, *span),
            )
        return Admitted(first, duplicates, len(invalid))

    def claim(self, limit: int, *, look_first: bool = False) -> list[Pair]:
        """The next pairs without an outcome, in input order, noted as about to be sent.

        Each is given once a session. The note of an earlier session stays: it may be what a crash left
        behind, and a later release by this session must not hide that.

        Args:
            limit: most pairs to give; with ``look_first`` a few more, for those of the last opportunity.
            look_first: give all pairs of an opportunity together, wherever they stand in the input, and note
                nothing yet; :meth:`looked` does, when it is known what the portal holds.
        """
        if look_first:
            return self._claim_together(limit)
        found = self._next(limit)
        self._intend([row for row, *_ in found])
        return [_pair(*one) for one in found]

    def _next(self, limit: int) -> list[tuple[int, int, int, bool, str | None]]:
        """The next rows that wait; with line, key, doubt and pre-state."""
        found = self._db.execute(
            "SELECT row, line, key, sent_at IS NOT NULL, pre FROM rows"
            " WHERE row > ? AND status IS NULL AND session IS NOT ? ORDER BY row LIMIT ?",
            (self._cursor, self._session, limit),
        ).fetchall()
        if found:
            self._cursor = found[-1][0]
        return found

    def _claim_together(self, limit: int) -> list[Pair]:
        given: list[Pair] = []
        while len(given) < limit:
            found = self._next(limit)
            if not found:
                break
            for row, line, key, doubt, pre in found:
                if row in self._ahead:
                    self._ahead.discard(row)
                    continue
                given.append(_pair(row, line, key, doubt, pre))
                if pre is None:
                    given += self._others(row, key >> 32)
                if len(given) >= limit:
                    self._cursor = row
                    break
        return given

    def _others(self, row: int, opportunity_id: int) -> list[Pair]:
        """The pairs of an opportunity that stand further down in the input."""
        first = opportunity_id << 32
        found = self._db.execute(
            "SELECT row, line, rows.key, sent_at IS NOT NULL, pre FROM pairs JOIN rows USING (row)"
            " WHERE pairs.key BETWEEN ? AND ? AND row > ? AND status IS NULL AND pre IS NULL ORDER BY row",
            (first, first | 0xFFFFFFFF, row),
        ).fetchall()
        others = [_pair(*one) for one in found if one[0] not in self._ahead]
        self._ahead.update(pair.row for pair in others)
        return others

    def looked(self, absent: Sequence[int], in_doubt: Sequence[int] = ()) -> None:
        """Note what looks at the members told: rows that are about to be sent for that.

        Args:
            absent: rows whose link is not there.
            in_doubt: rows that may have been sent before, whose link is there or cannot be looked for.
        """
        # Also of a row that an earlier session left in doubt: that it is not there settles the doubt.
        now = time.time()
        self._db.executemany(
            "UPDATE rows SET pre = 'absent', sent_at = ?, session = ? WHERE row = ?",
            [(now, self._session, one) for one in absent],
        )
        self._ahead.difference_update(absent)
        self._intend(in_doubt)

    def note(self, requests: Sequence[Request]) -> None:
        """Note requests that were sent."""
        # Words as plain texts, here and elsewhere: sqlite3 looks for an adapter of what is no plain type.
        self._db.executemany(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self._session,
                    str(r.kind),
                    r.items,
                    len(r.repeated),
                    str(r.result),
                    r.reason,
                    r.http_status,
                    r.seconds,
                )
                for r in requests
            ],
        )
        if repeated := Counter(reason for request in requests for reason in request.repeated):
            self._db.executemany(
                "INSERT INTO repeats VALUES (?, ?)"
                " ON CONFLICT (reason) DO UPDATE SET count = count + excluded.count",
                list(repeated.items()),
            )

    def _intend(self, rows: Sequence[int]) -> None:
        now = time.time()
        self._db.executemany(
            "UPDATE rows SET sent_at = ?, session = ? WHERE row = ? AND sent_at IS NULL",
            [(now, self._session, row) for row in rows],
        )

    def take_in(self, deliveries: Sequence[Delivery], *, look_first: bool = False) -> list[Arrival]:
        """Take messages in, see :meth:`worker.ledger.intake.Intake.take_in`."""
        return self._intake.take_in(deliveries, self._session, look_first=look_first)

    def waiting(self, after: int, limit: int) -> list[tuple[Pair, tuple[str, ...]]]:
        """The pairs without an outcome in the first rows beyond one, in input order, with their cells."""
        found = self._db.execute(
            "SELECT row, line, key, cells FROM rows WHERE row > ? AND status IS NULL ORDER BY row LIMIT ?",
            (after, limit),
        )
        return [(Pair(row, line, *ids_of(key)), load_texts(cells)) for row, line, key, cells in found]

    def count_waiting(self, until: int) -> int:
        """Pairs without an outcome, up to a row."""
        count: int
        (count,) = self._db.execute(
            "SELECT count(*) FROM rows WHERE row <= ? AND status IS NULL", (until,)
        ).fetchone()
        return count

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write the last word on pairs, every failed attempt on the way to it, and the Contacts."""
        now = time.time()
        ok, already_linked = Result.OK, Status.ALREADY_LINKED  # a word of an Enum is a call each time
        rows: list[tuple[object, ...]] = []
        contacts: list[tuple[object, ...]] = []
        for outcome in outcomes:
            attempts, row = outcome.attempts, outcome.pair.row
            plain = len(attempts) == 1 and attempts[0].result is ok  # as nearly all are
            if attempts and not plain:
                self.count(row, attempts)
            status = outcome.status
            pre = "present" if status is already_linked else ""
            rows.append((int(plain), str(status), outcome.reason, outcome.http_status, now, pre, row))
            if body := outcome.body:
                kept = body if self._keep is None else self._keep(body)
                contacts.append((row, bytearray(kept), seal(kept)))
        self._db.executemany(
            "UPDATE rows SET attempts = attempts + ?, status = ?, reason = ?, http_status = ?,"
            " settled_at = ?, pre = coalesce(nullif(?, ''), pre) WHERE row = ?",
            rows,
        )
        self._ahead.difference_update(outcome.pair.row for outcome in outcomes)
        if contacts:
            # As text, though given as bytes: it is UTF-8, and need not be decoded and encoded for that.
            self._db.executemany("INSERT OR REPLACE INTO contacts VALUES (?, CAST(? AS TEXT), ?)", contacts)

    def count(self, row: int, attempts: Sequence[Attempt]) -> None:
        """Add a session's attempts to a row, whether or not they settled it."""
        (before,) = self._db.execute("SELECT attempts FROM rows WHERE row = ?", (row,)).fetchone()
        self._db.executemany(
            "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)",
            [
                (row, self._session, number, one.result, one.reason, one.http_status)
                for number, one in enumerate(attempts, before + 1)
                if one.result is not Result.OK
            ],
        )
        self._db.execute("UPDATE rows SET attempts = ? WHERE row = ?", (before + len(attempts), row))

    def release(self, in_doubt: Sequence[int]) -> None:
        """Take back this session's intents, but for rows whose request may have reached the portal.

        What was seen before them is taken back too: when they are sent one day, it may have changed.
        """
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS doubt (row INTEGER PRIMARY KEY)")
        self._db.executemany("INSERT OR IGNORE INTO doubt VALUES (?)", [(row,) for row in in_doubt])
        self._db.execute(
            "UPDATE rows SET sent_at = NULL, session = NULL, pre = NULL"
            " WHERE status IS NULL AND session = ? AND row NOT IN (SELECT row FROM doubt)",
            (self._session,),
        )

    def standing(self, rows: Sequence[int]) -> list[Standing]:
        """How some rows stand just now; those that were never admitted are left out."""
        sql = "SELECT row, status, reason, http_status, attempts, sent_at IS NOT NULL FROM rows WHERE row = ?"
        found = [one for row in rows for one in self._db.execute(sql, (row,))]
        return [
            Standing(
                row, status and Status(status), reason, http_status, attempts, status is None and bool(sent)
            )
            for row, status, reason, http_status, attempts, sent in found
        ]

    def get_meta(self, name: str) -> Any:
        """A named fact of the run; None if it is not known."""
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def known(self, after: int, limit: int) -> list[Known]:
        """Line, cells and key of the rows beyond one, in input order."""
        found = self._db.execute(
            "SELECT line, cells, key FROM rows WHERE row > ? ORDER BY row LIMIT ?", (after, limit)
        )
        return [(line, load_texts(cells), key) for line, cells, key in found]


def _pair(row: int, line: int, key: int, in_doubt: bool, pre: str | None) -> Pair:
    return Pair(row, line, *ids_of(key), bool(in_doubt), _UNREAD if pre is None else PreState(pre))
