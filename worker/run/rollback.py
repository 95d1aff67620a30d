"""Undo a run: remove the links that it made, and no other."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from worker.errors import LedgerBlocked, WorkerError
from worker.ledger import (
    LedgerReader,
    UndoLedger,
    check,
    count_made,
    links_made,
    undone_counts,
    undone_reasons,
    undone_rows,
)
from worker.models import Undoing
from worker.report.rollback import ROLLBACK_CSV, Rollback
from worker.run.access import Access
from worker.run.advice import named
from worker.run.directory import RunDirectory
from worker.run.files import write_files
from worker.run.lifetime import Lifetime, Stop
from worker.run.links import go_through, opened
from worker.run.log import log_what_is_left
from worker.run.progress import show_often
from worker.run.removal import Removal
from worker.settings import Settings
from worker.sinks import form_of, replaced, write_records
from worker.tally import LinkTally


def count_links(directory: RunDirectory, *, unread: bool) -> tuple[int, int]:
    """How many links a rollback would look for to remove them, and how many it would keep unlooked at.

    Raises:
        LedgerError: the run's ledger is damaged.
    """
    with LedgerReader(directory.ledger) as reader:
        check(reader, directory.ledger)
        known, everything = count_made(reader)
    return (everything, 0) if unread else (known, everything - known)


def roll_back(
    directory: RunDirectory,
    settings: Settings,
    access: Access,
    show: Callable[[LinkTally], None],
) -> Rollback:
    """Remove what is left of the links that a run made, and write rollback.json, rollback.csv and its files.

    Each step is in the run's ledger before the next, so that it can be ended at any time and done again.

    Raises:
        LedgerError: the run's ledger is damaged, or cannot be written.
        StoppedError: a signal ended it; the files say how far it came.
        WorkerError: the portal refuses us or has failed for too long; the files say how far it came.
    """
    total, _ = count_links(directory, unread=settings.unread)
    tally = LinkTally(total=total)
    unread = ("--unread",) if settings.unread else ()
    again = settings.command("rollback", named(directory, settings), *unread)
    started = time.monotonic()

    def tell(note: str) -> None:
        tally.note = note
        show(tally)

    def count(settled: Sequence[Undoing]) -> None:
        tally.done += len(settled)

    async def remove(_: Stop) -> None:
        async with (
            opened(access, tally, show) as (site, log),
            UndoLedger(directory.ledger, create=False, tell=tell) as ledger,
        ):
            removal = Removal(site, ledger, [count, partial(log_what_is_left, log)])
            # Closed before the ledger is: a reader would keep SQLite from folding its side files in.
            with LedgerReader(directory.ledger) as reader:
                links = links_made(reader, unread=settings.unread)
                await go_through(
                    links, site, removal.conclude, [partial(show_often, tally, show, site.limiter)]
                )

    try:
        if not settings.unread:
            asyncio.run(_keep_unread(directory, tell))
        if total:
            Lifetime().run(remove, lambda: again)
    except LedgerBlocked as error:
        with suppress(WorkerError):  # what is in the ledger's way may be in theirs
            _write(directory, settings, tally, time.monotonic() - started)
        raise LedgerBlocked(error.what, again) from error
    except WorkerError:
        _write(directory, settings, tally, time.monotonic() - started)
        raise
    return _write(directory, settings, tally, time.monotonic() - started)


async def _keep_unread(directory: RunDirectory, tell: Callable[[str], None]) -> None:
    async with UndoLedger(directory.ledger, create=False, tell=tell) as ledger:
        await ledger.keep_unread()


def _write(directory: RunDirectory, settings: Settings, tally: LinkTally, seconds: float) -> Rollback:
    with LedgerReader(directory.ledger) as reader:
        left, _ = count_made(reader)
        counts = undone_counts(reader)
        reasons = undone_reasons(reader)
        undone = list(undone_rows(reader))
        records = reader.some_rows([one.row for one in undone])
        write_records(
            directory.path / ROLLBACK_CSV,
            form_of(reader),
            (
                (row, (row.line, one.state, one.http_status, one.reason, row.attempts))
                for row, one in zip(records, undone, strict=True)
            ),
        )
    rollback = Rollback(
        run_id=directory.run_id,
        portal=settings.portal or "",
        rolled_back_at=datetime.now(UTC),
        seconds=round(seconds, 3),
        requests=tally.sent,
        throttled=tally.throttled,
        counts={str(state): count for state, count in counts.items()},
        left=left,
        reasons=reasons,
    )
    path = directory.path / "rollback.json"
    if rollback.requests or not path.exists():  # one that had nothing to do leaves what the last one did
        with replaced(path) as file:
            file.write(rollback.to_json())
    write_files(directory)
    return rollback
