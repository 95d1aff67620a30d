"""Read and judge an input without a network."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from worker.errors import InputError, OutputError
from worker.judge import key_of
from worker.models import Row
from worker.run.distinct import Distinct
from worker.run.sample import Sample
from worker.sources import OPPORTUNITY, Source


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
def checked(source: Source, limit: int | None, sample: Sample | None = None) -> Iterator[CheckResult]:
    """Judge every row and find the duplicates; what that takes on disk is gone at the end of the block.

    Args:
        source: open.
        limit: rows after which it is read no further; None for all.
        sample: is given every pair, if there is one.

    Raises:
        OutputError: there is no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:
        path = Path(folder) / "faults.jsonl"
        result = CheckResult(source, _faults=path)
        try:
            with path.open("w", encoding="ascii") as faults:
                _check(result, Distinct(Path(folder)), faults, limit, sample)
        except OSError as error:
            where = Path(folder).parent
            raise OutputError(
                f"{where}: {error.strerror}; make room, or name another folder in TMPDIR"
            ) from error
        result.blank = source.blank
        yield result


def _check(
    result: CheckResult, pairs: Distinct, faults: TextIO, limit: int | None, sample: Sample | None
) -> None:
    source = result.source
    add = pairs.add if sample is None else _both(pairs.add, sample.add)
    try:
        for row in islice(source.rows(), limit):
            result.rows += 1
            key = key_of(row)
            if isinstance(key, str):
                result.invalid += 1
                faults.write(f"{json.dumps((row.number, row.line, key, _text(row, key, source)))}\n")
            else:
                add(key)
    except InputError as error:
        result.broken = str(error)
    result.pairs = pairs.count()
    result.duplicates = result.rows - result.invalid - result.pairs


def _both(first: Callable[[int], None], second: Callable[[int], None]) -> Callable[[int], None]:
    def add(key: int) -> None:
        first(key)
        second(key)

    return add


def _text(row: Row, reason: str, source: Source) -> str:
    """The cell that is at fault, or all of them if it is the row."""
    if not row.fault:
        cell = row.opportunity if reason.startswith(OPPORTUNITY.name) else row.contact
        return cell or ""
    delimiter = source.dialect.delimiter
    return delimiter.join(row.cells).rstrip(delimiter)
