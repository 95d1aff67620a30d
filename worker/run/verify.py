"""Prove what a run claims: every link that it says is there is at the portal, and none that was removed."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from typing import Any

from worker.dispatch import Finished
from worker.errors import LedgerBlocked
from worker.ledger import (
    Ledger,
    LedgerReader,
    RowRecord,
    check,
    claims,
    count_claims,
    pruned_claims,
    pruned_links,
)
from worker.operations.base import Operation
from worker.report.verification import EXAMPLES, VERIFY_CSV, NotAsClaimed, Verification
from worker.run.access import Access
from worker.run.advice import mend_then, named
from worker.run.directory import RunDirectory
from worker.run.files import write_report
from worker.run.lifetime import Lifetime, Stop
from worker.run.links import go_through, opened
from worker.run.page import page_of
from worker.run.progress import show_often
from worker.settings import Settings
from worker.sinks import form_of, replaced, row_like, write_records
from worker.tally import Doing, LinkTally

THERE = "there"
GONE = "gone"
MISSING = "missing"
BACK = "there_again"
UNREAD = "unread"


def verify(
    directory: RunDirectory,
    settings: Settings,
    access: Access,
    show: Callable[[LinkTally], None],
) -> Verification:
    """Look for every link that a run claims, and write verify.json and verify.csv.

    Nothing is changed at the portal; the ledger and the report are told what was found.

    Raises:
        LedgerError: the run's ledger is damaged.
        StoppedError: a signal ended it; nothing is written, for it would prove nothing.
        WorkerError: the portal refuses us or has failed for too long, or a file cannot be written.
    """
    again = settings.command("verify", named(directory, settings))
    kept = mend_then(again)
    with LedgerReader(directory.ledger) as reader:
        check(reader, directory.ledger)
        claimed, removed = count_claims(reader)
        beyond = list(pruned_claims(reader))
        tally = LinkTally(total=claimed + removed + len(beyond), doing=Doing.VERIFYING)
        odd: dict[int, str] = {}
        page = page_of(directory, settings)
        started = time.monotonic()

        async def compare(finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
            for _, told in finished:
                for claim in told.about:
                    is_there = claim.contact_id in told.last.found
                    if not told.is_told:
                        word = odd[claim.row] = UNREAD
                    elif is_there != claim.there:
                        word = odd[claim.row] = MISSING if claim.there else BACK
                    else:
                        word = THERE if is_there else GONE
                    tally.found[word] += 1
                tally.done += len(told.about)
            return ()

        async def go(_: Stop) -> None:
            async with opened(access, tally, show, page=page) as (site, _log):
                await go_through(
                    chain(claims(reader), beyond),
                    site,
                    compare,
                    [partial(show_often, tally, show, site.limiter)],
                    ids_only=True,
                )

        if tally.total:
            Lifetime().run(go, lambda: again)
        words = [word for row, word in odd.items() if row > 0]
        of_sync = [word for row, word in odd.items() if row < 0]
        gone = sum(not claim.there for claim in beyond)
        examples = tuple(islice(_examples(reader, odd), EXAMPLES))
        verification = Verification(
            run_id=directory.run_id,
            portal=settings.portal or "",
            verified_at=datetime.now(UTC),
            seconds=round(time.monotonic() - started, 3),
            requests=tally.sent,
            throttled=tally.throttled,
            claimed=claimed + len(beyond) - gone,
            missing=words.count(MISSING) + of_sync.count(MISSING),
            removed=removed,
            back=words.count(BACK),
            unread=words.count(UNREAD) + of_sync.count(UNREAD),
            pruned=gone,
            pruned_back=of_sync.count(BACK),
            examples=examples,
        )
        rows = ((record, odd[record.row]) for record in reader.some_rows(sorted(odd)))
        write_records(
            directory.path / VERIFY_CSV,
            form_of(reader),
            chain(
                ((row, (row.line, row.status, row.http_status, word, row.attempts)) for row, word in rows),
                _beyond_rows(reader, odd),
            ),
            kept=kept,
        )
    with replaced(directory.path / "verify.json", kept=kept) as file:
        file.write(verification.to_json())
    try:
        asyncio.run(_note(directory, verification))
    except LedgerBlocked as error:
        raise LedgerBlocked(error.what, again) from error
    write_report(directory)
    return verification


def _examples(reader: LedgerReader, odd: Mapping[int, str]) -> Iterator[NotAsClaimed]:
    """What is not as the run says, of its rows first."""
    rows = sorted(row for row in odd if row > 0)[:EXAMPLES]
    for row, record in zip(rows, reader.some_rows(rows), strict=True):
        assert record.opportunity_id is not None  # noqa: S101 - only links are claimed
        assert record.contact_id is not None  # noqa: S101 - same
        ids = {"opportunity_id": record.opportunity_id, "contact_id": record.contact_id}
        yield NotAsClaimed(line=record.line, **ids, found=odd[row])
    for one in pruned_links(reader):
        if -one.number in odd:
            ids = {"opportunity_id": one.opportunity_id, "contact_id": one.contact_id}
            yield NotAsClaimed(line=None, **ids, found=odd[-one.number])


def _beyond_rows(
    reader: LedgerReader, odd: Mapping[int, str]
) -> Iterator[tuple[RowRecord, Sequence[object]]]:
    """What is not as a sync says of links beyond its input."""
    for one in pruned_links(reader):
        if -one.number in odd:
            yield row_like(one, reader.facts()), ("", one.state, one.http_status, odd[-one.number], "")


async def _note(directory: RunDirectory, verification: Verification) -> None:
    async with Ledger(directory.ledger, create=False) as ledger:
        await ledger.put_meta(verify=verification.model_dump(mode="json"))
