"""Read the input into the ledger, ahead of the sending and whatever its pace: the disk is the buffer."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice

from worker.errors import InputError
from worker.judge import key_of
from worker.ledger import Known, Ledger
from worker.models import Row
from worker.quantities import counted
from worker.sources import Source, shown
from worker.supply.offload import offload
from worker.tally import RunTally

CHUNK = 1000
"""Rows that are taken in together. More would keep outcomes waiting for the ledger; fewer cost more each."""

_COMPARED = 2000
"""Rows that are looked up in the ledger at once, to compare them with those of the input."""

_WAY_OUT = "All done so far is kept: put the input back as it was and go on, or run the new one by itself"


async def ingest(
    source: Source, ledger: Ledger, more: Callable[[int], Awaitable[None]], tally: RunTally, limit: int | None
) -> None:
    """Admit all rows of ``source`` that the ledger does not hold yet, the first ``limit`` at most.

    Args:
        source: the input.
        ledger: where they go.
        more: told how many new ones are in it; reading goes on when it returns.
        tally: counts them.
        limit: None for all.

    Raises:
        InputError: the input broke off, and the rows before it are admitted; or it is another than the one
            this run began with.
    """
    read = await go_past_read(source, ledger, more)
    rows = chunks(islice(source.rows(), None if limit is None else max(0, limit - read)), CHUNK)
    columns: tuple[str, ...] = ()

    def next_judged() -> list[tuple[Row, int | str]]:
        return [(row, key_of(row)) for row in next(rows, [])]

    while judged := await offload(next_judged):
        # Before the rows they name: files made after a crash must not guess which cell is which.
        if source.columns != columns:  # those of a JSONL file show up one by one
            columns = source.columns
            await ledger.put_meta(**form_facts(source))
        tally.admitted(await ledger.admit(judged))
        await more(len(judged))
    digest = source.digest() if limit is None else None  # of a part it would say nothing
    await ledger.put_meta(
        **form_facts(source), input_complete=True, input_sha256=digest, input_blank=source.blank
    )
    tally.complete = True


def form_facts(source: Source) -> dict[str, object]:
    """What the ledger is told of the form of an input, so that the files of the run can be written alike."""
    return {"columns": source.columns, "ids": source.ids, "dialect": asdict(source.dialect)}


def chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """The rows in lists; where the input breaks off, those before the break come first.

    Raises:
        InputError: the input broke off.
    """
    while True:
        chunk: list[Row] = []
        try:
            chunk.extend(islice(rows, size))  # what came before an exception stays in the list
        except InputError:
            if chunk:
                yield chunk
            raise
        if not chunk:
            return
        yield chunk


async def go_past_read(source: Source, ledger: Ledger, more: Callable[[int], Awaitable[None]]) -> int:
    """Go past the rows that earlier sessions have read, and give how many they are.

    ``more`` is told of some after the other that none is new; reading goes on when it returns.

    Each of them is compared with what the ledger holds: its line, its cells, and the pair that they make, so
    that other ``--columns`` for the same file are noticed, too.

    Raises:
        InputError: the input is not what it was, or cannot be read so far.
    """
    read = 0
    while known := await ledger.known(read, _COMPARED):
        await _compare_columns(source, ledger)
        await offload(partial(_compare_rows, source, read, known))
        read += len(known)
        await more(0)
    if read:
        await _compare_columns(source, ledger)  # those of a JSONL file are there only now
    return read


async def _compare_columns(source: Source, ledger: Ledger) -> None:
    was = await ledger.fact("columns")
    now = list(source.columns)
    # They are noted before the rows they name, so the ledger may know more of them than the rows say.
    if was is not None and now != was[: len(now)]:
        raise InputError(
            f"{shown([source.name])}: the columns are not what they were when this run began:"
            f" {shown(was)}; now {shown(now)}. {_WAY_OUT}"
        )


def _compare_rows(source: Source, read: int, known: Sequence[Known]) -> None:
    rows = source.rows()
    for number, was in enumerate(known, read + 1):
        row = next(rows, None)
        if row is None:
            before = counted(read + len(known), "row")
            fault = f"ends after row {number - 1}, but this run has read {before} of it"
        elif (row.line, row.cells, _key(row)) != was:
            fault = f"row {number} (line {row.line}) is not what it was when this run began"
        else:
            continue
        raise InputError(f"{shown([source.name])}: {fault}. {_WAY_OUT}")


def _key(row: Row) -> int | None:
    key = key_of(row)
    return None if isinstance(key, str) else key
