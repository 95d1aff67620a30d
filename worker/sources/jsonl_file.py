"""A file with a JSON object per line as rows. Judges no id and knows nothing of CSV."""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from worker.errors import UsageError
from worker.models import Dialect, Row
from worker.sources.base import FAULT_LONG_LINE, FAULT_TEXT_LENGTH, Chosen, ColumnNames, FileSource
from worker.sources.columns import (
    CONTACT,
    OPPORTUNITY,
    Id,
    contradict,
    dropped,
    is_blank,
    locate,
    number_of,
    rivals,
    shown,
)
from worker.sources.json_object import FaultError, cell_of, contradicts_itself, read_object
from worker.sources.lines import Text, line_end
from worker.sources.opening import RawInput

MAX_COLUMNS = 200
"""Further keys are read for ids but not kept: a file with a new key in each line must not fill the memory."""

MAX_KEY_LENGTH = 200
"""A longer key is not kept either, for the same reason."""

RAW_COLUMN = "raw"
"""Takes the text of faulty lines that come before any key is known; not a name that could mean an id."""


class _Shape(NamedTuple):
    """What a set of keys means: the keys of the ids, or the fault.

    Attributes:
        rivals: keys that name an id, too, each after that of the one chosen.
    """

    opportunity: str | None
    contact: str | None
    fault: str
    rivals: tuple[tuple[str, str], ...] = ()


class JsonlFile(FileSource):
    """Rows of a JSONL file.

    Raises:
        UsageError: a column is wanted by its number, and keys have none.
    """

    format = "jsonl"

    def __init__(self, raw: RawInput, text: Text, wanted: ColumnNames) -> None:
        super().__init__(raw)
        for role, name in wanted.items():
            if name.startswith("#") and number_of(name):
                raise UsageError(f"--columns {role}={name}: keys of JSON have no number; give the name")
        self.dialect = Dialect(encoding=text.encoding, bom=text.bom, line_end=line_end(text.first.lines[:1]))
        self._blank = text.first.line - 1
        self._ids: dict[str, Chosen] = {}
        self._blocks = chain((text.first,), text.blocks)
        self._wanted = wanted
        self._columns: dict[str, None] = {}
        self._last_keys: tuple[str, ...] = ()
        self._last_shape = self._judge(())

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys seen so far: the ids of the first object, then the others as they came."""
        return tuple(self._columns)

    @property
    def ids(self) -> dict[str, Chosen]:
        """The keys that hold the ids in the last object of another shape, by role."""
        return self._ids

    @property
    def blank(self) -> int:
        """Lines without any text, and objects without any in their values, so far; they are no rows."""
        return self._blank

    def _read(self) -> Iterator[Row]:
        number = 0
        for first, lines, overlong in self._blocks:
            for line, text in enumerate(lines, first):
                if overlong:
                    number += 1
                    yield self._faulty(number, line, text, FAULT_LONG_LINE)
                elif text.isspace():
                    self._blank += 1
                else:
                    row = self._row(number + 1, line, text)
                    if row is None:
                        self._blank += 1
                    else:
                        number += 1
                        yield row

    def _row(self, number: int, line: int, text: str) -> Row | None:
        """The row of an object; None if it has keys, and no text under any of them."""
        try:
            cells = {key: cell_of(value) for key, value in read_object(text).items()}
        except FaultError as error:
            return self._faulty(number, line, text, str(error))
        keys = tuple(cells)
        if keys != self._last_keys:
            self._last_keys, self._last_shape = keys, self._judge(keys)
        opportunity, contact, fault, others = self._last_shape
        asked = None if opportunity is None else cells[opportunity]
        # The first is cheaper than asking whether all are blank, and true if they are.
        if not (asked and "!" <= asked <= "\x7f") and cells and is_blank(cells.values()):
            return None
        if doubt := _contradiction(cells, others) or _repetition(text, opportunity, contact):
            fault, asked, contact = fault or doubt, None, None
        kept = tuple([cells.get(name, "") for name in self._columns])
        return Row(number, line, kept, asked, None if contact is None else cells[contact], fault)

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
        found = ((OPPORTUNITY, opportunity), (CONTACT, contact))
        places = {name: place for place, name in enumerate(self._columns)}
        self._ids |= {
            which.role: Chosen(key, places[key], None)
            for which, key in found
            if key is not None and key in places
        }
        others = tuple(
            (key, keys[at])
            for which, key in found
            if key is not None and which.role not in self._wanted
            for at in rivals(which, keys, keys.index(key))
        )
        return _Shape(opportunity, contact, " and ".join(filter(None, (no_opportunity, no_contact))), others)

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
        return Row(number, line, (raw, *[""] * (len(self._columns) - 1)), None, None, fault)


def _repetition(text: str, *ids: str | None) -> str:
    """That the key of an id stands in the text with different values; empty if none does."""
    for key in ids:
        if key is not None and contradicts_itself(text, key):
            return f"{shown([key])} stands twice"
    return ""


def _contradiction(cells: dict[str, str], others: tuple[tuple[str, str], ...]) -> str:
    """That two keys hold different ids of the same kind; empty if none do."""
    for key, rival in others:
        if contradict(cells[key], cells[rival]):
            return f"{shown([key])} and {shown([rival])} differ"
    return ""
