"""Rows on their way into the ledger: all that can be read, and after a stop only those of the same input.

Real time, for the ledger has a thread of its own.
"""

import asyncio
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
import zstandard

from worker.errors import InputError
from worker.ledger import Ledger, LedgerReader
from worker.sources import open_source
from worker.supply.ingest import CHUNK, ingest
from worker.tally import RunTally

HEADER = "opportunity_id,contact_id,note\n"


class Desk:
    """One ledger and the input that is read into it, session after session."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "ledger.db"
        self.input = folder / "pairs.csv"

    def read(self, *, limit: int | None = None, columns: dict[str, str] | None = None) -> RunTally:
        """One session."""
        return asyncio.run(self._read(limit, columns))

    async def _read(self, limit: int | None, columns: dict[str, str] | None) -> RunTally:
        tally = RunTally()
        with open_source(str(self.input), columns=columns, delimiter=None) as source:
            async with Ledger(self.ledger, create=not self.ledger.exists()) as ledger:
                await ledger.begin_session()
                await ingest(source, ledger, AsyncMock(), tally, limit)
        return tally

    def breaks_off(self, text: str = "cut short") -> str:
        with pytest.raises(InputError, match=text) as caught:
            self.read()
        return str(caught.value)

    def lines(self) -> list[int]:
        with LedgerReader(self.ledger) as reader:
            return [line for (line,) in reader.query("SELECT line FROM rows ORDER BY row")]

    def meta(self) -> dict[str, Any]:
        with LedgerReader(self.ledger) as reader:
            return reader.meta()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def whole(count: int) -> str:
    return HEADER + "".join(
        f"{number},{number * 7919 % 10007 + 1},note {number}\n" for number in range(1, count + 1)
    )


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_every_whole_line_before_a_break_is_a_row(desk: Desk, compress: Callable[[bytes], bytes]) -> None:
    """Not only those of whole chunks: the last chunk before the break is a part of one."""
    desk.input.write_bytes(compress(whole(30_000).encode())[:-20_000])
    error = desk.breaks_off()
    last = int(re.findall(r"after line (\d+)", error)[0])
    assert (last - 1) % CHUNK, "the break is to lie within a chunk"
    assert desk.lines() == list(range(2, last + 1))


def test_a_break_in_the_first_chunk_leaves_the_rows_before_it(desk: Desk) -> None:
    desk.input.write_bytes(b"\xff\xfe" + whole(3).encode("utf-16-le") + b"\x00\xd8x\x00")
    assert desk.breaks_off("is not valid UTF-16").endswith("(after line 4)")
    assert desk.lines() == [2, 3, 4]


def test_a_broken_off_input_is_gone_on_with_when_it_is_whole(desk: Desk) -> None:
    desk.input.write_bytes(gzip.compress(whole(5000).encode())[:-3000])
    desk.breaks_off()
    assert 0 < len(desk.lines()) < 5000
    desk.input.write_bytes(gzip.compress(whole(5000).encode()))
    desk.read()
    assert desk.lines() == list(range(2, 5002))
    assert desk.meta()["input_complete"] is True


CHANGES: dict[str, Callable[[str], str]] = {
    "a cell of the first row": lambda text: text.replace("note 1\n", "note one\n"),
    "a cell in the middle": lambda text: text.replace("note 700\n", "note 7000\n"),
    "the id of a row": lambda text: text.replace("\n1300,", "\n1301,"),
    "a blank line more": lambda text: text.replace("\n900,", "\n\n900,"),
    "a row less": lambda text: re.sub(r"\n800,.*", "", text),
    "two rows exchanged": lambda text: re.sub(r"(\n800,.*)(\n801,.*)", r"\2\1", text),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_anywhere_in_what_was_read_is_noticed(desk: Desk, change: str) -> None:
    """The last row read is still the same in most of them."""
    desk.input.write_text(whole(1500))
    desk.read(limit=1400)
    changed = CHANGES[change](whole(1500))
    assert changed != whole(1500)
    desk.input.write_text(changed)
    row = {"a cell of the first row": 1, "a cell in the middle": 700, "the id of a row": 1300}.get(change)
    with pytest.raises(
        InputError, match=rf"^pairs.csv: row {row or ''}.*is not what it was when this run began"
    ):
        desk.read()
    assert len(desk.lines()) == 1400

    desk.input.write_text(whole(1500))
    desk.read()
    assert len(desk.lines()) == 1500


def test_columns_that_were_exchanged_above_the_same_cells_are_noticed(desk: Desk) -> None:
    desk.input.write_text(whole(20))
    desk.read(limit=10)
    desk.input.write_text(whole(20).replace("opportunity_id,contact_id", "contact_id,opportunity_id"))
    with pytest.raises(InputError) as caught:
        desk.read()
    assert str(caught.value) == (
        "pairs.csv: the columns are not what they were when this run began: opportunity_id, contact_id, note;"
        " now contact_id, opportunity_id, note. All done so far is kept: put the input back as it was"
        " and go on, or run the new one by itself"
    )
    assert len(desk.lines()) == 10


def test_other_columns_of_the_same_file_are_noticed(desk: Desk) -> None:
    """Not the file has changed, but what it is taken for."""
    desk.input.write_text(whole(20))
    desk.read(limit=10)
    with pytest.raises(InputError, match=r"row 1 .*is not what it was"):
        desk.read(columns={"opportunity": "contact_id", "contact": "opportunity_id"})


def test_an_input_that_ends_before_what_was_read_is_noticed(desk: Desk) -> None:
    desk.input.write_text(whole(20))
    desk.read(limit=10)
    desk.input.write_text(whole(7))
    with pytest.raises(InputError, match=r"pairs.csv: ends after row 7, but this run has read 10 rows of it"):
        desk.read()


def test_what_was_not_read_yet_may_change(desk: Desk) -> None:
    desk.input.write_text(whole(20))
    desk.read(limit=10)
    desk.input.write_text(whole(11) + "x,y,z\n")
    desk.read()
    assert len(desk.lines()) == 12


def test_a_limit_that_was_reached_already_is_no_change(desk: Desk) -> None:
    desk.input.write_text(whole(20))
    desk.read(limit=10)
    desk.read(limit=5)
    desk.read(limit=12)
    assert len(desk.lines()) == 12


def test_columns_of_jsonl_that_showed_up_late_are_the_same_columns(desk: Desk, tmp_path: Path) -> None:
    """The ledger may know columns of rows that it has not: they are noted before the rows."""
    desk.input = tmp_path / "pairs.jsonl"
    rows = [{"opportunity_id": n, "contact_id": n, **({"late": 1} if n > 5 else {})} for n in range(1, 11)]
    desk.input.write_text("".join(json.dumps(row) + "\n" for row in rows))
    desk.read(limit=8)
    desk.read(limit=9)
    changed = [{"contact_id": n, "opportunity_id": n, "new": 1} for n in range(1, 11)]
    desk.input.write_text("".join(json.dumps(row) + "\n" for row in changed))
    with pytest.raises(InputError, match=r"row 1 .*is not what it was"):
        desk.read()
