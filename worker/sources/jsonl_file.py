"""A file with a JSON object per line as rows. Judges no id and knows nothing of CSV."""

from collections.abc import Iterator
from typing import NamedTuple

from worker.models import Row
from worker.sources.base import FAULT_LONG_LINE, FAULT_TEXT_LENGTH, ColumnNames, FileSource
from worker.sources.columns import CONTACT, OPPORTUNITY, Id, dropped, locate
from worker.sources.json_object import FaultError, cell_of, read_object
from worker.sources.lines import Block
from worker.sources.making import make_row
from worker.sources.opening import RawInput

MAX_COLUMNS = 200
"""Further keys are read for ids but not kept: a file with a new key in each line must not fill the memory."""

MAX_KEY_LENGTH = 200
"""A longer key is not kept either, for the same reason."""

RAW_COLUMN = "raw"
"""Takes the text of faulty lines that come before any key is known; not a name that could mean an id."""


class _Shape(NamedTuple):
    """What a set of keys means: the keys of the ids, or the fault."""

    opportunity: str | None
    contact: str | None
    fault: str


class JsonlFile(FileSource):
    """Rows of a JSONL file."""

    def __init__(self, raw: RawInput, blocks: Iterator[Block], wanted: ColumnNames) -> None:
        super().__init__(raw)
        self._blocks = blocks
        self._wanted = wanted
        self._columns: dict[str, None] = {}
        self._last_keys: tuple[str, ...] = ()
        self._last_shape = self._judge(())

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys seen so far: the ids of the first object, then the others as they came."""
        return tuple(self._columns)

    def _read(self) -> Iterator[Row]:
        number = 0
        for first, lines, overlong in self._blocks:
            for line, text in enumerate(lines, first):
                if overlong:
                    number += 1
                    yield self._faulty(number, line, text, FAULT_LONG_LINE)
                elif not text.isspace():
                    number += 1
                    yield self._row(number, line, text)

    def _row(self, number: int, line: int, text: str) -> Row:
        try:
            cells = {key: cell_of(value) for key, value in read_object(text).items()}
        except FaultError as error:
            return self._faulty(number, line, text, str(error))
        keys = tuple(cells)
        if keys != self._last_keys:
            self._last_keys, self._last_shape = keys, self._judge(keys)
        opportunity, contact, fault = self._last_shape
        return make_row(
            number,
            line,
            tuple([cells.get(name, "") for name in self._columns]),
            None if opportunity is None else cells[opportunity],
            None if contact is None else cells[contact],
            fault,
        )

    def _judge(self, keys: tuple[str, ...]) -> _Shape:
        """Find the ids among the keys of an object, and give each new key its column."""
        opportunity, no_opportunity = self._find(OPPORTUNITY, keys)
        contact, no_contact = self._find(CONTACT, keys)
        ids = [key for key in (opportunity, contact) if key is not None]
        for key in (*ids, *keys):
            if len(self._columns) >= MAX_COLUMNS:
                break
            if len(key) <= MAX_KEY_LENGTH and (key in ids or not dropped(key)):
                self._columns[key] = None
        return _Shape(opportunity, contact, " and ".join(filter(None, (no_opportunity, no_contact))))

    def _find(self, which: Id, keys: tuple[str, ...]) -> tuple[str | None, str]:
        match locate(which, keys, self._wanted):
            case []:
                return None, f"no {which.name}"
            case [at]:
                return keys[at], ""
            case _:
                return None, f"more than one {which.name}"

    def _faulty(self, number: int, line: int, text: str, fault: str) -> Row:
        if not self._columns:
            self._columns[RAW_COLUMN] = None
        raw = text.rstrip("\r\n")[:FAULT_TEXT_LENGTH]
        return make_row(number, line, (raw, *[""] * (len(self._columns) - 1)), None, None, fault)
