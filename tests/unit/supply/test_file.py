"""A file as what a run reads: held back until it has enough rows, and what is said of one that is gone."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.dealt import now
from tests.unit.judged import judged
from tests.unit.lanes import Run
from tests.unit.supply.queue_desk import HereLedger
from worker.errors import TooFewRows
from worker.models import Pair
from worker.sources import open_source
from worker.supply import ingest
from worker.supply.feed import HORIZON
from worker.supply.file import LONGEST_REST, REST, STDIN_GONE, FileInput, FileSupply
from worker.tally import RunTally


def input_of(folder: Path, rows: int, min_rows: int | None = None) -> FileInput:
    path = folder / "pairs.csv"
    path.write_text("opportunity_id,contact_id\n" + "".join(f"1,{n}\n" for n in range(1, rows + 1)))
    source = open_source(str(path), columns=None, delimiter=None)
    return FileInput(str(path), source, complete=False, look_first=False, limit=None, min_rows=min_rows)


async def everything(supply: FileSupply) -> list[int]:
    reading = asyncio.create_task(supply.read())
    rows: list[int] = []
    while pairs := await supply.take(7):
        rows += [pair.row for pair in pairs]
    await reading
    return rows


@pytest.mark.parametrize("min_rows", [None, 1, 20])
async def test_all_rows_are_read_and_come_in_their_order(tmp_path: Path, min_rows: int | None) -> None:
    tally = RunTally()
    one = input_of(tmp_path, 20, min_rows)
    async with HereLedger(tmp_path / "ledger.db") as ledger:
        supply = await one.open(ledger, tally, print)
        assert await everything(supply) == list(range(1, 21))
    one.close()
    assert (tally.rows, tally.complete) == (20, True)


async def test_an_input_with_fewer_rows_than_expected_is_refused_before_any_is_handed_out(
    tmp_path: Path,
) -> None:
    one = input_of(tmp_path, 3, 4)
    async with HereLedger(tmp_path / "ledger.db") as ledger:
        with pytest.raises(TooFewRows, match="only 3 rows, expected are 4 or more"):
            await one.open(ledger, RunTally(), print)
    one.close()


CHUNKS = 50


@pytest.mark.parametrize(
    ("most", "chunk_takes", "whole"),
    [
        (1, 0.01, CHUNKS * 0.01 * (1 + REST)),
        (1, 10.0, CHUNKS * (10.0 + LONGEST_REST)),
        (10, 0.01, CHUNKS * 0.01),
        (0, 0.01, CHUNKS * 0.01),
    ],
    ids=["some are taken", "some are taken, and a pipe is slow", "all are waited for", "none is taken"],
)
def test_reading_rests_only_while_pairs_are_taken_and_none_is_waited_for(
    virtual_time: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    chunk_takes: float,
    whole: float,
) -> None:
    async def at_work(work: Callable[[], object]) -> object:
        await asyncio.sleep(chunk_takes)
        return work()

    monkeypatch.setattr(ingest, "offload", at_work)
    monkeypatch.setattr(ingest, "CHUNK", 10)
    one = input_of(tmp_path, CHUNKS * 10)
    tally = RunTally()

    async def take(supply: FileSupply) -> None:
        while most and not tally.complete:
            await supply.take(most)
            if most == 1:
                await asyncio.sleep(chunk_takes / 2)

    async def story() -> None:
        async with HereLedger(tmp_path / "ledger.db") as ledger:
            supply = await one.open(ledger, tally, print)
            taking = asyncio.create_task(take(supply))
            began = now()
            await supply.read()
            assert now() - began == pytest.approx(whole, rel=0.05)
            await taking

    virtual_time(story())
    one.close()
    assert (tally.rows, tally.complete) == (CHUNKS * 10, True)


@pytest.mark.parametrize(("rows", "waits"), [(0, 30.0), (HORIZON, 0.0)])
def test_rows_of_earlier_sessions_are_known_before_an_opportunity_is_looked_at(
    virtual_time: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, waits: float
) -> None:
    async def at_work(work: Callable[[], object]) -> object:
        await asyncio.sleep(10)
        return work()

    monkeypatch.setattr(ingest, "offload", at_work)
    one = input_of(tmp_path, 5)
    one._look_first = True

    async def story() -> None:
        async with HereLedger(tmp_path / "ledger.db") as ledger:
            await ledger.admit([judged(Pair(1, 2, 1, 1), "1", "1")])
            supply = await one.open(ledger, RunTally(rows=rows), print)
            reading = asyncio.create_task(supply.read())
            began = now()
            first, *_ = await supply.take(1)
            assert first.row == 1
            assert now() - began == pytest.approx(waits)
            reading.cancel()

    virtual_time(story())
    one.close()


def test_rows_of_standard_input_that_nobody_has_read_are_lost(virtual_time: Run, tmp_path: Path) -> None:
    def gone(*, complete: bool) -> FileInput:
        return FileInput("-", None, complete=complete, look_first=False, limit=None)

    assert (gone(complete=False).lost, gone(complete=True).lost) == (STDIN_GONE, "")

    async def story() -> None:
        async with HereLedger(tmp_path / "ledger.db") as ledger:
            supply = await gone(complete=False).open(ledger, RunTally(), print)
            assert await everything(supply) == []

    virtual_time(story())
