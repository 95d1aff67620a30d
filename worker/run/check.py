"""Read and judge an input without a network."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from worker.errors import InputError
from worker.judge import judge
from worker.ledger import Admitted, Ledger
from worker.models import Reject, Row
from worker.sources import OPPORTUNITY, Source
from worker.supply.ingest import CHUNK, chunks


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that can never be a pair: where it stands, why, and the text that shows it."""

    row: int
    line: int
    reason: str
    text: str


@dataclass(slots=True)
class CheckResult:
    """What an input holds.

    Attributes:
        source: what was read, closed by whoever opened it.
        blank: lines and rows without any text; they are no rows.
        broken: where and why the input broke off; empty if it was read to its end.
    """

    source: Source
    rows: int = 0
    blank: int = 0
    pairs: int = 0
    duplicates: int = 0
    invalid: int = 0
    broken: str = ""
    _faults: Path = Path()

    def faults(self) -> Iterator[Fault]:
        """Every invalid row, in input order; they are on disk, for there may be millions."""
        with self._faults.open(encoding="ascii") as file:
            for line in file:
                yield Fault(*json.loads(line))


@contextmanager
def checked(source: Source, limit: int | None) -> Iterator[CheckResult]:
    """Judge every row, and find the duplicates, in a ledger that is thrown away at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:
        path = Path(folder) / "faults.jsonl"
        result = CheckResult(source, _faults=path)
        with path.open("w", encoding="ascii") as faults:
            asyncio.run(_check(result, Path(folder) / "ledger.db", faults, limit))
        result.blank = source.blank
        yield result


async def _check(result: CheckResult, ledger_path: Path, faults: TextIO, limit: int | None) -> None:
    source = result.source
    async with Ledger(ledger_path, create=True) as ledger:
        try:
            for rows in chunks(islice(source.rows(), limit), CHUNK):
                judged = [(row, judge(row)) for row in rows]
                admitted: Admitted = await ledger.admit(judged)
                result.rows += len(rows)
                result.pairs += admitted.pairs
                result.duplicates += admitted.duplicates
                result.invalid += admitted.invalid
                for row, verdict in judged:
                    if isinstance(verdict, Reject):
                        fault = (row.number, row.line, verdict.reason, _text(row, verdict.reason, source))
                        faults.write(f"{json.dumps(fault)}\n")
        except InputError as error:
            result.broken = str(error)


def _text(row: Row, reason: str, source: Source) -> str:
    """The cell that is at fault, or all of them if it is the row."""
    if not row.fault:
        cell = row.opportunity if reason.startswith(OPPORTUNITY.name) else row.contact
        return cell or ""
    delimiter = source.dialect.delimiter
    return delimiter.join(row.cells).rstrip(delimiter)
