"""Prove what a run claims: every link that it says is there is at the portal, and none that was removed."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.dispatch import Finished
from worker.ledger import LedgerReader, check, claims, count_claims
from worker.operations.base import Operation
from worker.report.verification import VERIFY_CSV, Verification
from worker.run.advice import named
from worker.run.directory import RunDirectory
from worker.run.visit import Errand, Progress, Visit
from worker.settings import Settings
from worker.sinks import form_of, replaced, write_records

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

MISSING = "missing"
BACK = "there_again"
UNREAD = "unread"


def verify(
    directory: RunDirectory,
    settings: Settings,
    rate: "RedisRate | None",
    show: Callable[[Progress], None],
) -> Verification:
    """Look for every link that a run claims, and write verify.json and verify.csv. Changes nothing else.

    Raises:
        LedgerError: the run's ledger is damaged.
        StoppedError: a signal ended it; nothing is written, for it would prove nothing.
        WorkerError: the portal refuses us or has failed for too long, or a file cannot be written.
    """
    with LedgerReader(directory.ledger) as reader:
        check(reader, directory.ledger)
        claimed, removed = count_claims(reader)
        progress = Progress(total=claimed + removed)
        errand = Errand(
            directory, settings, rate, progress, show, settings.command("verify", named(directory, settings))
        )
        odd: dict[int, str] = {}
        started = time.monotonic()

        async def compare(finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
            for _, told in finished:
                for claim in told.about:
                    if not told.is_told:
                        odd[claim.row] = UNREAD
                    elif (claim.contact_id in told.last.found) != claim.there:
                        odd[claim.row] = MISSING if claim.there else BACK
                progress.done += len(told.about)
            return ()

        async def look(visit: Visit) -> None:
            await visit.each(claims(reader), compare)

        if progress.total:
            errand.run(look)
        words = list(odd.values())
        verification = Verification(
            run_id=directory.run_id,
            portal=settings.portal or "",
            verified_at=datetime.now(UTC),
            seconds=round(time.monotonic() - started, 3),
            requests=progress.sent,
            throttled=progress.throttled,
            claimed=claimed,
            missing=words.count(MISSING),
            removed=removed,
            back=words.count(BACK),
            unread=words.count(UNREAD),
        )
        rows = ((record, odd[record.row]) for record in reader.some_rows(sorted(odd)))
        write_records(
            directory.path / VERIFY_CSV,
            form_of(reader),
            ((row, (row.line, row.status, row.http_status, word, row.attempts)) for row, word in rows),
        )
    with replaced(directory.path / "verify.json") as file:
        file.write(verification.to_json())
    return verification
