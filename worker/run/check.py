"""Read and judge an input without a network."""

import asyncio
import tempfile
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from worker.ledger import Admitted, Ledger
from worker.models import Reject
from worker.plan import judge
from worker.run.ingest import CHUNK, chunks
from worker.sources import Source

_SHOWN = 20


@dataclass(slots=True)
class CheckResult:
    """What an input holds; ``faults`` has the first few rejects only, ``invalid`` counts them all."""

    name: str
    columns: tuple[str, ...] = ()
    rows: int = 0
    pairs: int = 0
    duplicates: int = 0
    invalid: int = 0
    faults: list[Reject] = field(default_factory=list)


def check_input(source: Source, limit: int | None) -> CheckResult:
    """Judge every row, and find the duplicates, in a ledger that is thrown away."""
    return asyncio.run(_check(source, limit))


async def _check(source: Source, limit: int | None) -> CheckResult:
    result = CheckResult(source.name)
    rows = chunks(islice(source.rows(), limit), CHUNK)
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:
        async with Ledger(Path(folder) / "ledger.db", create=True) as ledger:
            for chunk_of_rows in rows:
                chunk = [(row, judge(row)) for row in chunk_of_rows]
                admitted: Admitted = await ledger.admit(chunk)
                result.pairs += admitted.pairs
                result.duplicates += admitted.duplicates
                result.invalid += admitted.invalid
                result.rows += len(chunk)
                rejects = (verdict for _, verdict in chunk if isinstance(verdict, Reject))
                result.faults += islice(rejects, _SHOWN - len(result.faults))
    result.columns = source.columns
    return result
