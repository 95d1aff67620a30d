"""Undo a run: remove the links that it made, and no other."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import chain

from worker.dashboard.about import Page
from worker.errors import LedgerBlocked, WorkerError
from worker.ledger import (
    LedgerReader,
    PruneLedger,
    RowRecord,
    UndoLedger,
    check,
    count_made,
    links_made,
    links_to_make_again,
    pruned_links,
    restored_counts,
    undone_counts,
    undone_reasons,
    undone_rows,
)
from worker.operations.unlink import judge_before
from worker.report.rollback import ROLLBACK_CSV, Rollback
from worker.run.access import Access
from worker.run.advice import mend_then, named
from worker.run.directory import RunDirectory
from worker.run.files import write_files
from worker.run.lifetime import Lifetime, Stop
from worker.run.links import SideTask, go_through, opened
from worker.run.log import log_what_is_left
from worker.run.ownership import touched_since
from worker.run.page import page_of
from worker.run.progress import show_often
from worker.run.removal import Removal
from worker.run.restoration import Restoration
from worker.settings import Settings
from worker.sinks import form_of, replaced, row_like, write_records
from worker.site import Site
from worker.tally import Doing, LinkTally


def count_links(directory: RunDirectory, *, unread: bool) -> tuple[int, int]:
    """How many links a rollback would look for to remove them, and how many it would keep unlooked at.

    Raises:
        LedgerError: the run's ledger is damaged.
    """
    with LedgerReader(directory.ledger) as reader:
        check(reader, directory.ledger)
        known, everything = count_made(reader)
    return (everything, 0) if unread else (known, everything - known)


def count_to_make_again(directory: RunDirectory) -> int:
    """How many links a sync has removed, or may have, that a rollback would make again.

    Raises:
        LedgerError: the run's ledger is damaged.
    """
    with LedgerReader(directory.ledger) as reader:
        return sum(1 for _ in links_to_make_again(reader))


def roll_back(
    directory: RunDirectory,
    settings: Settings,
    access: Access,
    show: Callable[[LinkTally], None],
) -> Rollback:
    """Remove what is left of the links that a run made, and write rollback.json, rollback.csv and its files.

    What a sync has removed is made again, after that.

    Each step is in the run's ledger before the next, so that it can be ended at any time and done again.

    Raises:
        LedgerError: the run's ledger is damaged, or cannot be written.
        StoppedError: a signal ended it; the files say how far it came.
        WorkerError: the portal refuses us or has failed for too long; the files say how far it came.
    """
    total, _ = count_links(directory, unread=settings.unread)
    tally = LinkTally(total=total + count_to_make_again(directory), doing=Doing.UNDOING)
    work = _Work(directory, access, tally, show, unread=settings.unread, page=page_of(directory, settings))
    unread = ("--unread",) if settings.unread else ()
    again = settings.command("rollback", named(directory, settings), *unread)
    started = time.monotonic()
    try:
        if not settings.unread:
            asyncio.run(_keep_unread(directory, work.tell))
        if tally.total:
            Lifetime().run(work.undo, lambda: again)
    except LedgerBlocked as error:
        with suppress(WorkerError):  # what is in the ledger's way may be in theirs
            _write(directory, settings, tally, again, time.monotonic() - started)
        raise LedgerBlocked(error.what, again) from error
    except WorkerError:
        _write(directory, settings, tally, again, time.monotonic() - started)
        raise
    return _write(directory, settings, tally, again, time.monotonic() - started)


class _Work:
    """What a rollback does at the portal."""

    def __init__(
        self,
        directory: RunDirectory,
        access: Access,
        tally: LinkTally,
        show: Callable[[LinkTally], None],
        *,
        unread: bool,
        page: Page | None,
    ) -> None:
        self._directory = directory
        self._access = access
        self._tally = tally
        self._show = show
        self._unread = unread
        self._page = page

    async def undo(self, _: Stop) -> None:
        """Remove what was made, then make again what was removed."""
        async with opened(self._access, self._tally, self._show, page=self._page) as (site, log):
            not_ours = await asyncio.to_thread(touched_since, self._directory, self.tell)
            # Readers are closed before the ledger is: they would keep SQLite from folding its side files in.
            async with UndoLedger(self._directory.ledger, create=False, tell=self.tell) as ledger:
                removal = Removal(
                    site,
                    ledger,
                    [self._tally.settled, partial(log_what_is_left, log)],
                    before=partial(judge_before, not_ours=not_ours),
                )
                with LedgerReader(self._directory.ledger) as reader:
                    links = links_made(reader, unread=self._unread)
                    await go_through(links, site, removal.conclude, self._beside(site))
            async with PruneLedger(self._directory.ledger, create=False, tell=self.tell) as ledger:
                restoration = Restoration(site, ledger, self._tally.settled)
                with LedgerReader(self._directory.ledger) as reader:
                    links_gone = links_to_make_again(reader)
                    await go_through(links_gone, site, restoration.conclude, self._beside(site))

    def tell(self, note: str) -> None:
        """Show trouble to the user."""
        self._tally.note = note
        self._show(self._tally)

    def _beside(self, site: Site) -> list[SideTask]:
        return [partial(show_often, self._tally, self._show, site.limiter)]


async def _keep_unread(directory: RunDirectory, tell: Callable[[str], None]) -> None:
    async with UndoLedger(directory.ledger, create=False, tell=tell) as ledger:
        await ledger.keep_unread()


def _write(
    directory: RunDirectory, settings: Settings, tally: LinkTally, again: str, seconds: float
) -> Rollback:
    kept = mend_then(again)
    with LedgerReader(directory.ledger) as reader:
        left, _ = count_made(reader)
        counts = undone_counts(reader)
        reasons = undone_reasons(reader)
        undone = list(undone_rows(reader))
        records = reader.some_rows([one.row for one in undone])
        write_records(
            directory.path / ROLLBACK_CSV,
            form_of(reader),
            chain(
                (
                    (row, (row.line, one.state, one.http_status, one.reason, row.attempts))
                    for row, one in zip(records, undone, strict=True)
                ),
                _made_again(reader),
            ),
            kept=kept,
        )
        restored = restored_counts(reader)
        made_again = any(restored.values()) or count_to_make_again(directory)
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
        restored={str(state): count for state, count in restored.items()} if made_again else {},
    )
    path = directory.path / "rollback.json"
    if rollback.requests or not path.exists():  # one that had nothing to do leaves what the last one did
        with replaced(path, kept=kept) as file:
            file.write(rollback.to_json())
    write_files(directory)
    return rollback


def _made_again(reader: LedgerReader) -> Iterator[tuple[RowRecord, Sequence[object]]]:
    """The links that a sync removed and that were made again, as rows that the input might have had."""
    facts = reader.facts()
    for one in pruned_links(reader):
        if one.restored is not None:
            yield row_like(one, facts), ("", one.restored, None, one.restored_reason, "")
