"""Read a ledger: what reports and output files are made of. Changes nothing."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from worker.errors import LedgerError, NeverBegan
from worker.json_text import load_texts
from worker.ledger.schema import connect, seal
from worker.ledger.trouble import damaged, trouble
from worker.models import Kind, Result, Status
from worker.reasons import CONTACT_MISSING, OPPORTUNITY_MISSING

_EXAMPLES = 5

_STATES = {str(status): status for status in Status}
"""The same as calling Status, at a tenth of the cost."""

_STANDS = """l.row NOT IN (SELECT row FROM undone WHERE state IN ('removed', 'gone'))
        AND l.row NOT IN (SELECT again.row FROM
            (SELECT key, max(u.settled_at) AS at FROM undone u JOIN rows USING (row)
                WHERE u.state IN ('removed', 'gone') GROUP BY key) gone
            CROSS JOIN rows again USING (key) WHERE again.settled_at <= gone.at)
        AND ifnull(opportunity_id << 32 | contact_id, 0) NOT IN (SELECT key FROM prunes
            WHERE state IN ('removed', 'gone') AND coalesce(restored, '') NOT IN ('restored', 'there'))"""
"""Nothing has removed the link of this row since: no rollback, also of another row that names it, and no sync
that is merged with it."""

_LINES_OF_LINKS = f"""
    SELECT CAST('{{"row":' || coalesce((SELECT number FROM origins o WHERE o.row = l.row), l.row)
        || ',"line":' || line || ',"opportunity_id":' || opportunity_id || ',"contact_id":' || contact_id
        || ',"status":"' || status || '","contact":' AS BLOB), CAST(c.body AS BLOB)
    FROM links l LEFT JOIN contacts c ON c.row = l.row AND ?
    WHERE status IN ('linked', 'already_linked') AND {_STANDS} ORDER BY l.row"""  # noqa: S608 - constants

_ROWS = f"""
    SELECT coalesce((SELECT number FROM origins o WHERE o.row = l.row), row), line, cells,
        opportunity_id, contact_id, status, reason, http_status, attempts FROM links l
    WHERE status IN (SELECT value FROM json_each(?)) AND (NOT ? OR {_STANDS}) ORDER BY l.row"""  # noqa: S608 - same

_GOOD = (Status.LINKED, Status.ALREADY_LINKED, Status.DUPLICATE)


class RowRecord(NamedTuple):
    """A row as the ledger knows it; a tuple, for a frozen dataclass takes four times as long to make.

    Attributes:
        opportunity_id: None for an invalid row; so is ``contact_id``.
    """

    row: int
    line: int
    cells: tuple[str, ...]
    opportunity_id: int | None
    contact_id: int | None
    status: Status
    reason: str
    http_status: int | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Cause:
    """Rows that failed alike.

    Attributes:
        ids: of what is missing, those that most rows name, each with their number.
    """

    reason: str
    http_status: int | None
    count: int
    example_lines: tuple[int, ...]
    ids: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was sent, over all sessions.

    Attributes:
        attempts: HTTP requests, whatever they were for.
        retries: links that were asked for again.
        looks: requests for members, and whether something exists.
        batches: requests that carried several operations.
        items: operations, over all requests.
    """

    attempts: int
    retries: int
    retries_by_reason: dict[str, int]
    looks: int
    batches: int
    items: int
    throttled: int
    latency_ms: dict[str, float]


class LedgerReader:
    """A read-only view of a run's ledger, one consistent moment of it.

    Raises:
        NeverBegan: on opening, if whoever made it was killed before it had tables.
        LedgerError: on opening or reading, if the file is no sound ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            is_there = path.is_file()
        except OSError as error:  # in the folder of another user
            raise LedgerError(f"{path}: {error.strerror}") from error
        if not is_there:
            raise LedgerError(f"{path}: no such ledger")
        self._db = connect(path, mode="ro")
        self._db.create_function("seal", 1, seal, deterministic=True)

    def __enter__(self) -> Self:
        self._db.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def meta(self) -> dict[str, Any]:
        """All named facts of the run."""
        rows = self.query("SELECT name, value FROM meta WHERE name <> 'schema_version'")
        try:
            return {name: json.loads(value) for name, value in rows}
        except ValueError as error:
            raise damaged(self.path, "a fact of the run is no JSON") from error

    def facts(self) -> dict[str, Any]:
        """The named facts of a run that has begun.

        Raises:
            NeverBegan: it was killed before they were written.
            LedgerError: it is damaged.
        """
        facts = self.meta()
        if "run_id" not in facts:
            raise NeverBegan(self.path)
        for name in ("portal", "input_path", "input_name", "settings"):  # written in one transaction
            if name not in facts:
                raise damaged(self.path, f"it does not say its {name}")
        return facts

    def counts(self) -> dict[Status, int]:
        """Rows by state; every state is there, and they sum to the rows read.

        Raises:
            LedgerError: they do not, so nothing that the ledger says can be trusted.
        """
        found = dict(self.query("SELECT status, count(*) FROM links GROUP BY 1"))
        counts = {status: found.get(status, 0) for status in Status}
        (last,) = next(self.query("SELECT coalesce(max(row), 0) FROM rows"))
        if sum(counts.values()) != last:
            raise damaged(self.path, f"{sum(counts.values()):,} rows have a state, {last:,} were read")
        return counts

    def most_cells(self, status: Status) -> int:
        """Cells of the row that has most, of those in a state; 0 if there is none."""
        most: int
        (most,) = next(
            self.query(
                "SELECT coalesce(max(json_array_length(cells)), 0) FROM rows WHERE status = ?", (status,)
            )
        )
        return most

    def some_rows(self, rows: Sequence[int]) -> Iterator[RowRecord]:
        """The rows of these numbers, in input order, one at a time."""
        found = self.query(
            "SELECT row, line, cells, opportunity_id, contact_id, status, reason, http_status, attempts"
            " FROM links WHERE row IN (SELECT value FROM json_each(?)) ORDER BY row",
            (json.dumps(rows),),
        )
        return map(_record, found)

    def rows(self, statuses: Sequence[Status], *, standing: bool = False) -> Iterator[RowRecord]:
        """Rows in these states, in input order, one at a time.

        Args:
            statuses: the states.
            standing: without those whose link was removed since.

        Those of a retry have the numbers that they have in the run that read them first.
        """
        wanted = json.dumps(statuses)
        found = self.query(
            _ROWS,
            (wanted, standing),
        )
        yield from map(_record, found)

    def lines_of_links(self, *, contacts: bool) -> Iterator[bytes]:
        """Links that stand, in input order, each as a line of JSON, with its Contact as it came.

        SQLite makes all but the Contact: as Python texts they would be decoded, copied and encoded again.

        Args:
            contacts: null stands for each of them if not.
        """
        found = self.query(_LINES_OF_LINKS, (contacts,))
        return (b"%b%b}\n" % (before, contact or b"null") for before, contact in found)

    def causes(self) -> list[Cause]:
        """Failed rows grouped by reason and HTTP status, most frequent first."""
        groups = self.query(
            "SELECT reason, http_status, count(*) AS n FROM links"
            " WHERE status NOT IN (?, ?, ?) GROUP BY 1, 2 ORDER BY n DESC, reason",
            _GOOD,
        )
        counts = {(reason, http_status): count for reason, http_status, count in groups}
        lines = self._examples(counts)
        return [
            Cause(reason, http_status, count, lines[reason, http_status], self._ids(reason))
            for (reason, http_status), count in counts.items()
        ]

    def _examples(
        self, counts: Mapping[tuple[str, int | None], int]
    ) -> dict[tuple[str, int | None], tuple[int, ...]]:
        """The first lines of each cause, by one walk through the rows, however many causes there are."""
        found: dict[tuple[str, int | None], tuple[int, ...]] = dict.fromkeys(counts, ())
        missing = sum(min(count, _EXAMPLES) for count in counts.values())
        rows = self.query(
            "SELECT reason, http_status, line FROM links WHERE status NOT IN (?, ?, ?) ORDER BY row", _GOOD
        )
        for reason, http_status, line in rows:
            if len(lines := found[reason, http_status]) < _EXAMPLES:
                found[reason, http_status] = (*lines, line)
                missing -= 1
                if not missing:
                    break
        return found

    def _ids(self, reason: str) -> tuple[tuple[int, int], ...]:
        if reason not in {OPPORTUNITY_MISSING, CONTACT_MISSING}:
            return ()
        found = self.query(
            "SELECT iif(?, opportunity_id, contact_id), count(*) FROM links"
            " WHERE status = ? AND reason = ? GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
            (reason == OPPORTUNITY_MISSING, Status.REJECTED, reason, _EXAMPLES),
        )
        return tuple(found)

    def sessions(self) -> list[tuple[float, float, float]]:
        """Start (epoch seconds), length and paused time of each session, in order."""
        return list(self.query("SELECT started_at, seconds, paused_seconds FROM sessions ORDER BY session"))

    def traffic(self) -> Traffic:
        """Requests, retries and latencies, from the requests of every session."""
        attempts, retries, looks, batches, items, throttled = next(
            self.query(
                "SELECT count(*), coalesce(sum(repeated), 0), coalesce(sum(kind IN (?, ?)), 0),"
                " coalesce(sum(kind = ?), 0), coalesce(sum(items), 0), coalesce(sum(result = ?), 0)"
                " FROM requests",
                (Kind.LOOK, Kind.EXISTS, Kind.BATCH, Result.THROTTLED),
            )
        )
        by_reason = dict(self.query("SELECT reason, count FROM repeats ORDER BY 2 DESC, 1"))
        return Traffic(attempts, retries, by_reason, looks, batches, items, throttled, self._latency())

    def _latency(self) -> dict[str, float]:
        (count,) = next(self.query("SELECT count(*) FROM latencies"))
        wanted = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
        rank = {name: min(count - 1, int(share * count)) for name, share in wanted.items()}
        at: dict[int, float] = {}
        for index, (value,) in enumerate(self.query("SELECT seconds FROM latencies ORDER BY 1")):
            if index in rank.values():
                at[index] = round(value * 1000, 1)
        return {name: at.get(index, 0.0) for name, index in rank.items()}

    def query(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        """Rows of any query, one at a time."""
        try:
            # Not "yield from": a generator that is dropped would close a cursor of a closed connection.
            for row in self._db.execute(sql, values):  # noqa: UP028 - see above
                yield row
        except sqlite3.Error as error:
            raise trouble(self.path, error) from error


def _record(values: Sequence[Any]) -> RowRecord:
    row, line, cells, opportunity, contact, status, *rest = values
    return RowRecord(row, line, load_texts(cells), opportunity, contact, _STATES[status], *rest)
