"""What is known of the sessions of a run, also of one that was killed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from worker.errors import LedgerError
from worker.ledger import Ledger, LedgerReader, Sample, next_sample, samples_of, sessions_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_each_session_tells_what_it_was_told_and_how_it_ended(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.describe_session("0.1.0", {"rate": "5/s", "transport": "batch"})
        await ledger.beat(2.0, 0.5)
        await ledger.begin_session()
        await ledger.describe_session("0.2.0", {"wire": "xml"}, {"name": "Zoë", "id": "293b"})
        await ledger.beat(3.0, 0.0)
        await ledger.end_session(130, "stopped by SIGINT")

        with LedgerReader(path) as reader:
            killed, stopped = sessions_of(reader)

    assert (killed.number, killed.seconds, killed.paused_seconds) == (1, 2.0, 0.5)
    assert (killed.version, killed.settings) == ("0.1.0", {"rate": "5/s", "transport": "batch"})
    assert (killed.end_code, killed.end_message) == (None, "")
    assert killed.started_at > 1e9
    assert (stopped.number, stopped.version, stopped.settings) == (2, "0.2.0", {"wire": "xml"})
    assert (killed.user, stopped.user) == ({}, {"name": "Zoë", "id": "293b"})
    assert (stopped.end_code, stopped.end_message) == (130, "stopped by SIGINT")


async def test_whose_session_it_is_may_be_told_later(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        for number in (1, 2):
            await ledger.begin_session()
            await ledger.describe_session(str(number), {"rate": "5/s"})
        await ledger.name_user({"name": "Zoë", "id": "293b"})

        with LedgerReader(path) as reader:
            first, second = sessions_of(reader)

    assert (first.user, second.user) == ({}, {"name": "Zoë", "id": "293b"})
    assert first.settings == second.settings == {"rate": "5/s"}


@pytest.mark.parametrize("damage", ["{", "7", '{"user": 7}'])
async def test_a_session_that_cannot_be_read_is_a_damaged_ledger(path: Path, damage: str) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE sessions SET settings = ?", (damage,))

    with LedgerReader(path) as reader, pytest.raises(LedgerError, match="what a session was told"):
        sessions_of(reader)


async def test_samples_belong_to_their_session_and_come_in_order(path: Path) -> None:
    first, second, third = (Sample(float(n), 10 * n, n, 0, 0.5, 4) for n in (5, 10, 7))
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.add_sample(first)
        await ledger.add_sample(second)
        await ledger.begin_session()
        await ledger.add_sample(third)

        with LedgerReader(path) as reader:
            assert samples_of(reader) == [(1, first), (1, second), (2, third)]


def test_a_session_of_a_month_has_a_few_thousand_samples_and_a_short_one_is_told_finely() -> None:
    taken, seconds = 0, 0.0
    while seconds < 30 * 86_400:
        seconds = next_sample(seconds)
        taken += 1

    assert taken < 2_000
    assert next_sample(0.0) == 5.0
    assert next_sample(900.0) == 905.0
