"""The ledger as coroutines: durable before they return, together where they wait together, and never half."""

import asyncio
import itertools
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.unit.judged import judged
from worker.errors import LedgerBusy, LedgerError
from worker.ledger import Admitted, Delivery, Ledger, LedgerReader
from worker.ledger.ledger import _MOST_PER_COMMIT
from worker.models import Attempt, Outcome, Pair, Result, Row, Status

DONE = (Attempt(Result.OK, http_status=201, seconds=0.25, body=b'{"id":1}'),)


def pair(row: int) -> Pair:
    return Pair(row, row + 1, 1, row)


def linked(row: int) -> Outcome:
    return Outcome(pair(row), Status.LINKED, DONE, http_status=201)


def chunk(rows: Sequence[int], cell: str = "") -> list[tuple[Row, int | str]]:
    return [judged(pair(row), cell) for row in rows]


def counts(path: Path) -> dict[str, int]:
    """What a second connection sees now."""
    with LedgerReader(path) as reader:
        return {str(status): count for status, count in reader.counts().items() if count}


def commits_of(ledger: Ledger) -> list[str]:
    """A list that grows by one with every commit."""
    seen: list[str] = []
    ledger._db.set_trace_callback(lambda sql: seen.append(sql) if sql == "COMMIT" else None)
    return seen


async def test_each_step_is_durable_before_it_returns(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        assert await ledger.begin_session() == 1
        assert await ledger.admit(chunk([1, 2, 3])) == Admitted(3)
        assert counts(path) == {"not_attempted": 3}

        assert await ledger.claim(2) == [pair(1), pair(2)]
        assert counts(path) == {"unknown": 2, "not_attempted": 1}

        await ledger.settle([linked(1)])
        assert counts(path) == {"linked": 1, "unknown": 1, "not_attempted": 1}

        await ledger.release([])
        assert counts(path) == {"linked": 1, "not_attempted": 2}
        assert await ledger.known(2, 9) == [(4, ("",), pair(3).key)]


async def test_only_what_the_portal_did_not_find_is_given_a_better_reason(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.admit(chunk([1, 2, 3]))
        await ledger.claim(3)
        missing = (Attempt(Result.PERMANENT, "not_found", 404),)
        forbidden = (Attempt(Result.PERMANENT, "forbidden", 403),)
        await ledger.settle(
            [
                Outcome(pair(1), Status.REJECTED, missing, "not_found", 404),
                Outcome(pair(2), Status.REJECTED, forbidden, "forbidden", 403),
                Outcome(pair(3), Status.UNKNOWN, missing, "not_found", 404),
            ]
        )
        await ledger.explain(dict.fromkeys((1, 2, 3), "contact_missing"))
    with LedgerReader(path) as reader:
        rows = [(row.status, row.reason, row.http_status) for row in reader.rows(list(Status))]
    assert rows == [
        ("rejected", "contact_missing", 404),
        ("rejected", "forbidden", 403),
        ("unknown", "not_found", 404),
    ]


async def test_facts_and_beats_are_durable_before_they_return(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.put_meta(run_id="monday", end_code=0)
        await ledger.put_facts({"self": [1]})
        assert await ledger.fact("run_id") == "monday"
        await ledger.forget("end_code")
        await ledger.beat(2.0, 0.5)

        with LedgerReader(path) as reader:
            assert reader.meta() == {"run_id": "monday", "self": [1]}
            assert [session[1:] for session in reader.sessions()] == [(2.0, 0.5)]


async def test_a_session_that_is_killed_has_lasted_until_its_last_commit(path: Path) -> None:
    """Without a beat: a run that is killed every second has none."""
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.admit(chunk([1, 2]))
        await ledger.claim(2)
        await asyncio.sleep(0.1)
        await ledger.settle([linked(1)])
        with LedgerReader(path) as reader:
            ((_, seconds, _),) = reader.sessions()
        assert 0.1 <= seconds < 5.0
        await ledger.beat(60.0, 0.0)
        await ledger.settle([linked(2)])
        with LedgerReader(path) as reader:
            assert [session[1] for session in reader.sessions()] == [60.0]


async def test_work_goes_on_after_reopening(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.admit(chunk([1, 2]))
        await ledger.claim(2)
        await ledger.settle([linked(1)])
    async with Ledger(path, create=False) as ledger:
        assert await ledger.begin_session() == 2
        assert await ledger.admit([judged(Pair(3, 4, 1, 1))]) == Admitted(0, 1, 0)
        assert await ledger.claim(9) == [replace(pair(2), in_doubt=True)]

    assert counts(path) == {"linked": 1, "duplicate": 1, "unknown": 1}


async def test_a_lone_caller_pays_one_commit(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        commits = commits_of(ledger)
        await ledger.admit(chunk([1]))
        await ledger.claim(1)

        assert len(commits) <= 2


async def test_what_waits_together_commits_together(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.admit(chunk(range(1, 301)))
        await ledger.claim(300)
        commits = commits_of(ledger)
        held = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(_: object) -> None:
            # The first transaction lasts until all the others are waiting.
            asyncio.run_coroutine_threadsafe(held.wait(), loop).result(30)

        first = asyncio.create_task(ledger._do(hold))
        asked = [asyncio.create_task(ledger.settle([linked(row)])) for row in range(1, 301)]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(first, *asked)

        assert len(commits) <= 2
    assert counts(path) == {"linked": 300}


async def test_outcomes_that_wait_are_written_before_what_was_asked_for_after_them(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.admit(chunk([1, 2, 3]))
        await ledger.claim(3)
        commits = commits_of(ledger)
        loop = asyncio.get_running_loop()
        held = asyncio.Event()
        first = asyncio.create_task(
            ledger._do(lambda _: asyncio.run_coroutine_threadsafe(held.wait(), loop).result(30))
        )
        await asyncio.sleep(0)
        work = [ledger.settle([linked(1)]), ledger.settle([linked(2)]), ledger.release([])]
        asked = [asyncio.create_task(one) for one in work]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(first, *asked)
        assert len(commits) <= 2
        with LedgerReader(path) as reader:
            sent = [bool(at) for (at,) in reader.query("SELECT sent_at FROM rows ORDER BY row")]
    assert counts(path) == {"linked": 2, "not_attempted": 1}
    assert sent == [True, True, False]


async def test_a_transaction_has_a_bound(path: Path) -> None:
    """However many wait: a transaction that takes for ever is lost as a whole in a crash."""
    commits: list[str] = []

    class Traced(Ledger):
        async def _open(self) -> sqlite3.Connection:
            db = await super()._open()
            db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
            return db

    ledger = Traced(path, create=True)
    rows = range(1, 2 * _MOST_PER_COMMIT + 2)
    await _enter_late(ledger, rows)

    assert len(commits) == 3
    assert counts(path) == {"not_attempted": len(rows)}


async def _enter_late(ledger: Ledger, rows: Sequence[int]) -> None:
    """Let all of them queue before the thread takes its first look."""
    ledger._loop = asyncio.get_running_loop()
    asked = [asyncio.create_task(ledger.admit(chunk([row]))) for row in rows]
    await asyncio.sleep(0)
    async with ledger:
        await asyncio.gather(*asked)


async def test_all_that_was_asked_for_is_written_on_the_way_out(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        asked = [asyncio.create_task(ledger.admit(chunk([row]))) for row in range(1, 51)]
        await asyncio.sleep(0)
    await asyncio.gather(*asked)

    assert counts(path) == {"not_attempted": 50}


async def test_a_caller_that_was_cancelled_stops_nobody_else(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        gone = asyncio.create_task(ledger.admit(chunk([1])))
        await asyncio.sleep(0)
        gone.cancel()
        assert await ledger.admit(chunk([2])) == Admitted(1)

    assert gone.cancelled()
    assert counts(path) == {"not_attempted": 2}


async def test_one_file_is_left_after_closing(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.admit(chunk([1]))
        assert len(list(path.parent.iterdir())) == 3

    assert [found.name for found in path.parent.iterdir()] == ["ledger.db"]


async def test_a_reader_that_is_at_it_does_not_disturb_closing(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.admit(chunk([1]))
        reader = LedgerReader(path).__enter__()
        assert sum(reader.counts().values()) == 1
        await ledger.admit(chunk([2]))
    reader.__exit__(None, None, None)

    assert counts(path) == {"not_attempted": 2}
    async with Ledger(path, create=False):
        pass
    assert [found.name for found in path.parent.iterdir()] == ["ledger.db"]


async def test_the_ledger_closes_after_an_error_of_its_user(path: Path) -> None:
    async def work() -> None:
        async with Ledger(path, create=True) as ledger:
            await ledger.admit(chunk([1]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()

    assert counts(path) == {"not_attempted": 1}
    assert [found.name for found in path.parent.iterdir()] == ["ledger.db"]


async def test_a_full_disk_leaves_nothing_half_written_and_every_later_call_is_refused(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.admit(chunk([1]))
        (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
        ledger._db.execute(f"PRAGMA max_page_count = {pages + 2}")

        with pytest.raises(
            LedgerError, match=f"^{path}: the disk is full; all done so far is kept; make room$"
        ):
            await ledger.admit(chunk(range(2, 500), "x" * 1000))
        ledger._db.execute("PRAGMA max_page_count = 1000000")
        for call in (
            ledger.claim(1),
            ledger.admit(chunk([2])),
            ledger.settle([linked(1)]),
            ledger.release([]),
        ):
            with pytest.raises(
                LedgerError, match=f"^{path}: the disk is full; all done so far is kept; make room$"
            ):
                await call  # what came before is missing: nothing may be built on it

    assert counts(path) == {"not_attempted": 1}


async def test_all_callers_of_a_failed_transaction_are_refused(path: Path) -> None:
    ledger = Ledger(path, create=True)
    ledger._loop = asyncio.get_running_loop()
    calls = (ledger.admit(chunk([1])), ledger.admit(chunk([1])), ledger.admit(chunk([2])))
    asked = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    async with ledger:
        answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [str(answer) for answer in answers] == [f"{path}: UNIQUE constraint failed: rows.row"] * 3
    assert counts(path) == {}


async def test_a_commit_that_fails_takes_the_whole_transaction_with_it(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        ledger._db.execute("PRAGMA foreign_keys = ON")
        ledger._db.executescript(
            "CREATE TABLE strict (row REFERENCES rows (row) DEFERRABLE INITIALLY DEFERRED);"
            "CREATE TRIGGER late AFTER INSERT ON rows BEGIN INSERT INTO strict VALUES (-1); END;"
        )

        with pytest.raises(LedgerError, match="FOREIGN KEY constraint failed"):
            await ledger.admit(chunk([1]))
        with pytest.raises(LedgerError, match="FOREIGN KEY constraint failed"):
            await ledger.put_meta(a=1)

    assert counts(path) == {}


async def test_a_ledger_that_another_writes_to_is_refused_rather_than_waited_for(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        ledger._db.execute("PRAGMA busy_timeout = 1")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerError, match="database is locked"):
                await ledger.put_meta(a=1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_no_error_leaves_a_caller_waiting(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        with pytest.raises((LedgerError, TypeError)):
            await asyncio.wait_for(ledger.put_meta(a=object()), 1)
        with pytest.raises(LedgerError):
            await asyncio.wait_for(ledger.put_meta(a=1), 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_closed_connection_refuses_every_call(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        ledger._db.close()
        for _ in range(2):
            with pytest.raises(LedgerError):
                await asyncio.wait_for(ledger.put_meta(a=1), 1)


WRITER = """
import asyncio, os, sys
from pathlib import Path
from worker.ledger import Ledger
from worker.models import Attempt, Outcome, Result, Row, Status

DONE = (Attempt(Result.OK, seconds=0.1, body=b"{}"),)

async def main(path, first):
    async with Ledger(path, create=first == 1) as ledger:
        await ledger.begin_session()
        for start in range(first, first + 1_000_000, 500):
            rows = [Row(n, n, ("cell",), None, None) for n in range(start, start + 500)]
            await ledger.admit([(row, 1 << 32 | row.number) for row in rows])
            pairs = await ledger.claim(500)
            await asyncio.gather(*(settle(ledger, pair) for pair in pairs))

async def settle(ledger, pair):
    await ledger.settle([Outcome(pair, Status.LINKED, DONE)])
    os.write(1, b"%d\\n" % pair.row)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def test_kill_9_at_full_load_loses_no_row_that_was_acknowledged(path: Path) -> None:
    acknowledged: set[int] = set()
    first = 1
    for acks in (200, 1500, 3333):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            lines = list(itertools.islice(writer.stdout, acks))
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.read().splitlines()
        assert writer.returncode == -signal.SIGKILL
        acknowledged.update(map(int, lines))

        with LedgerReader(path) as reader:
            settled = {record.row for record in reader.rows([Status.LINKED])}
            states = reader.counts()
        with closing(sqlite3.connect(path)) as db:
            rows, last = db.execute("SELECT count(*), max(row) FROM rows").fetchone()
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert acknowledged <= settled
        assert sum(states.values()) == rows == last
        first = last + 1


async def test_what_was_sent_in_vain_is_counted_for_each_row(path: Path) -> None:
    lost = Attempt(Result.AMBIGUOUS, "timeout", seconds=1.0)
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        await ledger.admit([judged(Pair(n, n + 1, n, n)) for n in (1, 2)])
        await ledger.count({1: (lost,), 2: (lost, lost)})

    with LedgerReader(path) as reader:
        assert [record.attempts for record in reader.rows(list(Status))] == [1, 2]


async def test_messages_are_taken_in_and_pairs_that_wait_are_given_without_being_claimed(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.begin_session()
        row = Row(0, 0, ("1", "1"), "1", "1")
        (arrival,) = await ledger.take_in([Delivery("a", row, Pair(0, 0, 1, 1))])
        assert arrival.pair == Pair(1, 1, 1, 1)
        assert await ledger.waiting(0, 10) == [(Pair(1, 1, 1, 1), ("1", "1"))]
        assert await ledger.waiting(1, 10) == []
        assert (await ledger.count_waiting(1), await ledger.count_waiting(0)) == (1, 0)


async def test_a_program_that_reads_the_ledger_is_waited_for_and_told_of(path: Path) -> None:
    """Anybody may open it, as README says. What was closed is no WAL; a reader keeps it from becoming one."""
    async with Ledger(path, create=True) as ledger:
        await ledger.admit(chunk([1]))
    told: list[str] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM rows").fetchone()

        def tell(note: str) -> None:
            told.append(note)
            reader.execute("ROLLBACK") if note else None

        async with Ledger(path, create=False, tell=tell) as ledger:
            await ledger.admit(chunk([2]))

    assert told == ["another program has ledger.db open; waiting for it to close it", ""]
    assert counts(path) == {"not_attempted": 2}


async def test_a_program_that_never_closes_the_ledger_is_told_of_at_last(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.ledger._PATIENCE", 0.3)
    async with Ledger(path, create=True) as ledger:
        await ledger.admit(chunk([1]))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM rows").fetchone()

        with pytest.raises(
            LedgerBusy, match=r"open \(database is locked\); nothing is lost; close that program$"
        ):
            async with Ledger(path, create=False):
                pytest.fail("written beside a reader")

    assert counts(path) == {"not_attempted": 1}
