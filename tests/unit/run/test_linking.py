"""What ends the sending, where a whole run could not show it."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import structlog

from worker.ledger import Ledger
from worker.limiter import Limiter
from worker.models import Attempt, Pair, Result, Row
from worker.run.file_supply import FileOrigin
from worker.run.linking import Linking
from worker.run.tally import Tally
from worker.settings import load_settings


class Broken:
    """A portal that fails every pair, and a client with a bug in its look."""

    async def link(self, _: Pair, number: int) -> Attempt:
        return Attempt(number, Result.TRANSIENT, "unavailable", 503)

    async def reread(self, _: Pair, number: int) -> Attempt:
        return Attempt(number, Result.AMBIGUOUS, "timeout")

    async def look(self) -> Attempt:
        raise ZeroDivisionError


async def test_a_bug_while_an_outage_is_waited_out_ends_the_run_and_holds_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.run.outage.FIRST_WAIT", 0.01)
    settings = load_settings({"rate": "10000/s", "portal": "https://portal.example.com"})
    async with Ledger(tmp_path / "ledger.db", create=True) as ledger:
        await ledger.begin_session()
        rows = [(Row(n, n + 1, (), None, None), Pair(n, n + 1, n, n)) for n in range(1, 101)]
        await ledger.admit(rows)
        tally = Tally()
        origin = FileOrigin("pairs.csv", None, complete=True, chunk=32, look_first=False, limit=None)
        linking = Linking(
            settings,
            tally,
            supply=await origin.supply(ledger, tally, print),
            ledger=ledger,
            portal=cast("Any", Broken()),
            limiter=Limiter(settings.rate, 8, max_pause=1.0, rng=Random(1)),  # noqa: S311 - jitter
            log=structlog.get_logger(),
            tell=print,
        )
        with pytest.raises(ZeroDivisionError), structlog.testing.capture_logs():
            await asyncio.wait_for(linking.run(lambda _: None), 10)
