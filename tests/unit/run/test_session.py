"""A session in an event loop of somebody else's: no signals, no thread of its own, and no verb around it."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from worker.errors import Exit, LedgerError
from worker.ledger import LedgerReader, audit, sessions_of
from worker.models import Status
from worker.run import resume, run
from worker.run.lifetime import Stop
from worker.run.session import Session
from worker.settings import Settings, load_settings
from worker.simulator import Portal, Scenario
from worker.tally import RunTally

PAIRS = 30
ONE_BY_ONE = {"transport": "single", "existing": "post"}
"""Lasts long enough for something to happen meanwhile."""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("opportunity_id,contact_id\n" + "".join(f"{n},7\n" for n in range(1, PAIRS + 1)))
    return path


def told(portal: Portal, folder: Path, **flags: object) -> Settings:
    flags = {"portal": portal.url, "token": "demo-token", "runs_dir": str(folder), "run_id": "one", **flags}
    return load_settings(flags)


def how_it_ended(session: Session) -> tuple[int, str]:
    with LedgerReader(session.directory.ledger) as reader:
        assert audit(reader) == []
        facts = reader.facts()
    return facts["end_code"], facts["end_message"]


async def do(session: Session, stop: Stop, show: Callable[[RunTally], None] = lambda _: None) -> None:
    with session.lock:
        try:
            await stop.guard(session.run(stop, show), lambda: "")
        finally:
            session.input.close()


async def stop_in_the_middle(stop: Stop, portal: Portal) -> None:
    """Ask it to stop once some links are made."""
    while len(portal.books.links()) < PAIRS // 10:  # noqa: ASYNC110 - the portal tells nobody
        await asyncio.sleep(0.005)
    stop.ask("the caller", Exit.SIGINT)


def off_the_main_thread(work: Callable[[], None]) -> None:
    """Where signals cannot be listened to: what tried to would fail."""
    failed: list[BaseException] = []

    def call() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised where it is seen
            failed.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def test_a_session_runs_in_any_event_loop_and_leaves_its_end_in_the_ledger(
    pairs: Path, tmp_path: Path
) -> None:
    async def story() -> None:
        async with Portal(Scenario()) as portal:
            settings = told(portal, tmp_path)
            session = run.start(settings, str(pairs), lambda: settings)
            await do(session, Stop())
            assert len(portal.books.links()) == PAIRS
        assert session.nothing_left
        assert session.tally.ended
        assert how_it_ended(session) == (Exit.OK, "")

    off_the_main_thread(partial(asyncio.run, story()))


def test_a_session_that_is_asked_to_stop_finishes_what_is_on_its_way_and_another_goes_on(
    pairs: Path, tmp_path: Path
) -> None:
    async def story() -> None:
        async with Portal(Scenario()) as portal:
            settings = told(portal, tmp_path, rate="50/s", concurrency=2, **ONE_BY_ONE)
            session = run.start(settings, str(pairs), lambda: settings)
            stop = Stop()
            await asyncio.gather(do(session, stop), stop_in_the_middle(stop, portal))
            assert how_it_ended(session) == (Exit.SIGINT, "stopped by the caller")
            assert 0 < session.tally.settled[Status.LINKED] == len(portal.books.links()) < PAIRS

            rest = resume.start(session.directory, settings, lambda: settings)
            await do(rest, Stop())
            assert how_it_ended(rest) == (Exit.OK, "")
            assert len(portal.books.links()) == PAIRS

    asyncio.run(story())


def test_what_is_found_damaged_beside_the_work_ends_it(pairs: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with Portal(Scenario()) as portal:
            settings = told(portal, tmp_path, rate="20/s", concurrency=2, **ONE_BY_ONE)
            session = run.start(settings, str(pairs), lambda: settings)
            stop = Stop()
            await asyncio.gather(do(session, stop), stop_in_the_middle(stop, portal))

            ledger = session.directory.ledger
            with closing(sqlite3.connect(ledger)) as db:
                # Nothing is read from it or written to it by this work.
                (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'origins'").fetchone()
                (size,) = db.execute("PRAGMA page_size").fetchone()
            rest = resume.start(session.directory, settings, lambda: settings)
            with ledger.open("r+b") as file:  # the number of its cells says nonsense
                file.seek((page - 1) * size + 3)
                file.write(b"\xff\xff")
            with pytest.raises(LedgerError, match="damaged"):
                await do(rest, Stop())
            assert len(portal.books.links()) < PAIRS

    asyncio.run(story())


def test_what_reads_the_ledger_beside_the_work_is_over_before_it_is_closed(
    pairs: Path, tmp_path: Path
) -> None:
    async def story() -> list[str]:
        async with Portal(Scenario()) as portal:
            settings = told(portal, tmp_path)
            session = run.start(settings, str(pairs), lambda: settings)
            ledger = session.directory.ledger

            def read() -> None:
                with LedgerReader(ledger) as reader:
                    reader.counts()
                    time.sleep(2.5)  # longer than the work, and than closing waits for readers

            session.beside = read
            await do(session, Stop())
        return sorted(path.name for path in ledger.parent.glob("ledger.db*"))

    assert asyncio.run(story()) == ["ledger.db"]


def test_what_shows_the_counts_may_fail_as_a_terminal_does(pairs: Path, tmp_path: Path) -> None:
    def gone(_: RunTally) -> None:
        raise BrokenPipeError

    async def story() -> None:
        async with Portal(Scenario()) as portal:
            settings = told(portal, tmp_path)
            session = run.start(settings, str(pairs), lambda: settings)
            await do(session, Stop(), gone)
            assert how_it_ended(session) == (Exit.OK, "")

    asyncio.run(story())


def test_where_pairs_go_alone_it_is_asked_once_whose_the_token_is_after_many_requests(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.run.session.BEAT", 0.01)
    monkeypatch.setattr("worker.run.session.ASKS_AFTER", 5)

    async def story() -> None:
        async with Portal(Scenario()) as portal:
            settings = told(portal, tmp_path, rate="100/s", **ONE_BY_ONE)
            session = run.start(settings, str(pairs), lambda: settings)
            await do(session, Stop())
            assert portal.books.requests == 1 + PAIRS + 1
            assert len(portal.books.links()) == PAIRS
            with LedgerReader(session.directory.ledger) as reader:
                assert [one.user["name"] for one in sessions_of(reader)] == ["Demo User"]

    asyncio.run(story())


def test_limits_and_credentials_that_cannot_be_read_again_change_nothing(pairs: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with Portal(Scenario()) as portal:
            settings = told(portal, tmp_path, rate="100/s", **ONE_BY_ONE)
            missing = tmp_path / "token"
            now = told(portal, tmp_path, rate="200/s", token=None, token_file=str(missing))
            session = run.start(settings, str(pairs), lambda: now)
            notes: list[str] = []

            async def reload() -> None:
                while session._site is None:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
                await session.reload()

            await asyncio.gather(reload(), do(session, Stop(), lambda tally: notes.append(tally.note)))
            assert [note for note in notes if note.startswith("SIGHUP:") and "going on as before" in note]
            assert how_it_ended(session) == (Exit.OK, "")

    asyncio.run(story())
