"""What every source promises, and the part of it that all files share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, TypeAlias

from worker.models import Dialect, Row
from worker.sources.opening import RawInput

ColumnNames: TypeAlias = Mapping[str, str]
"""``{"opportunity": NAME, "contact": NAME}``, either or both: the columns that hold the ids."""

FAULT_TEXT_LENGTH = 500
"""Characters of an unreadable record that are kept: enough to find it by, whatever its size."""

FAULT_LONG_LINE = "line longer than 1 MiB"


class Chosen(NamedTuple):
    """A column that holds an id.

    Attributes:
        name: its name, or the key in a JSONL file.
        place: its position in :attr:`Source.columns`, from 0 on.
        number: its number in the file, from 1 on; None for a key, which has none.
    """

    name: str
    place: int
    number: int | None


class Source(Protocol):
    """Numbered rows of one input, read once, in order, without holding them."""

    @property
    def name(self) -> str:
        """Base name of the path; ``-`` for standard input or a pipe."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the cells in ``Row.cells``, in order.

        It may grow while a JSONL file is read, never change otherwise: a row has a cell for each column
        that was known when it was read. Cells beyond the header make a row of a CSV file faulty, and
        come after those.
        """

    @property
    def ids(self) -> Mapping[str, Chosen]:
        """The columns that hold the ids, by role; those of a JSONL file show up as it is read."""

    @property
    def has_header(self) -> bool:
        """Whether its columns are named in it, as keys are; if not, their names are ours."""

    @property
    def format(self) -> Literal["csv", "jsonl", "xlsx"]:
        """Lines of cells, an object a line, or rows of a sheet."""

    @property
    def sheet(self) -> str:
        """The sheet of a workbook that is read; empty if it is none."""

    @property
    def dialect(self) -> Dialect:
        """How it is written."""

    @property
    def blank(self) -> int:
        """Lines and rows without any text, so far; they are no rows."""

    def rows(self) -> Iterator[Row]:
        """All rows, in input order. Always the same iterator: a second call goes on, it does not restart.

        Raises:
            InputError: the input breaks off while being read; the rows before remain valid.
        """

    def digest(self) -> str:
        """SHA-256, in hex, of the raw bytes read so far; of the whole file once ``rows()`` is exhausted."""

    def close(self) -> None:
        """Close the file. Standard input stays open: it is the caller's."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FileSource(ABC):
    """A source over one :class:`RawInput`, which it owns; the format is up to the subclass.

    Attributes:
        has_header: its columns are named in it.
        format: lines of cells, an object a line, or rows of a sheet.
        sheet: the one of a workbook that is read.
        dialect: how it is written.
    """

    has_header: bool = True
    format: Literal["csv", "jsonl", "xlsx"]
    sheet: str = ""
    dialect: Dialect

    def __init__(self, raw: RawInput) -> None:
        self._raw = raw
        self._rows = self._read()

    @property
    def name(self) -> str:
        """Base name of the path; ``-`` for standard input or a pipe."""
        return self._raw.name

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the cells in ``Row.cells``, in order."""

    @property
    @abstractmethod
    def ids(self) -> Mapping[str, Chosen]:
        """The columns that hold the ids, by role."""

    @property
    @abstractmethod
    def blank(self) -> int:
        """Lines and rows without any text, so far; they are no rows."""

    @abstractmethod
    def _read(self) -> Iterator[Row]:
        """Read the rows, once."""

    def rows(self) -> Iterator[Row]:
        """All rows, in input order; always the same iterator."""
        return self._rows

    def digest(self) -> str:
        """SHA-256, in hex, of the raw bytes read so far."""
        return self._raw.digest()

    def close(self) -> None:
        """Close the file, unless it is standard input."""
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
