"""Read the input into the ledger, ahead of the sending and whatever its pace: the disk is the buffer."""

from collections.abc import Iterator
from itertools import islice

from worker.errors import InputError
from worker.ledger import Ledger
from worker.models import Row
from worker.plan import judge
from worker.run.feed import Feed
from worker.run.offload import offload
from worker.run.tally import Tally
from worker.sources import Source

CHUNK = 500


async def ingest(source: Source, ledger: Ledger, feed: Feed, tally: Tally, limit: int | None) -> None:
    """Admit all rows of ``source`` that the ledger does not hold yet, the first ``limit`` at most.

    Raises:
        InputError: the input broke off, or is another than the one this run began with.
    """
    rows = islice(source.rows(), limit)
    await skip_read(rows, source, ledger)
    columns: tuple[str, ...] = ()
    while chunk := await offload(lambda: list(islice(rows, CHUNK))):
        # Before the rows they name: files made after a crash must not guess which cell is which.
        if source.columns != columns:  # those of a JSONL file show up one by one
            columns = source.columns
            await ledger.put_meta(columns=columns)
        tally.admitted(await ledger.admit([(row, judge(row)) for row in chunk]))
        feed.more()
    digest = source.digest() if limit is None else None  # of a part it would say nothing
    await ledger.put_meta(columns=source.columns, input_complete=True, input_sha256=digest)
    tally.complete = True


async def skip_read(rows: Iterator[Row], source: Source, ledger: Ledger) -> None:
    """Go past the rows that an earlier session has read, and make sure that they are the same."""
    last = await ledger.last_row()
    if last is None:
        return
    number, cells = last
    found = await offload(lambda: next(islice(rows, number - 1, None), None))
    if found is None or found.cells[: len(cells)] != cells:
        raise InputError(f"{source.name}: row {number} is not what it was when this run began")
