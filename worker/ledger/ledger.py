"""The ledger as coroutines: one thread owns the connection, and what waits together commits together.

No timer decides how much goes into a transaction: while one is being committed, the next gathers. A lone
caller pays one commit; a hundred callers share one.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from worker.errors import LedgerBusy, LedgerError
from worker.ledger import history
from worker.ledger.base import Admitted, Known, Standing
from worker.ledger.intake import Arrival, Delivery
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.ledger.trouble import trouble
from worker.models import Attempt, Outcome, Pair, Request, Row
from worker.reasons import NOT_FOUND

_T = TypeVar("_T")
_MOST_PER_COMMIT = 1000

_PATIENCE = 60.0
"""Seconds for which a program that has the ledger open is waited for at the beginning."""

_TICK = 0.2

_CLOSING_WAITS = 1000
"""Milliseconds for which readers are waited for at the end; nothing is lost if they stay longer."""


@dataclass(frozen=True, slots=True)
class _Job:
    """Something to do, and who waits for it.

    Attributes:
        work: what is done; of a job that only settles pairs, None.
        outcomes: of such a job; those of neighbours are written together.
        requests: to be noted in the same commit.
    """

    future: "asyncio.Future[Any]"
    requests: Sequence[Request]
    work: Callable[[Store], Any] | None = None
    outcomes: Sequence[Outcome] = ()


class Ledger:
    """An open ledger. Every coroutine returns only after what it wrote is committed.

    Use as an async context manager; on the way out all that was asked for is written, and the side files
    of SQLite are folded into ``ledger.db``.

    Args:
        path: its file.
        create: it is a new one.
        tell: told, in words for the user, when another program keeps us waiting, and with nothing when it
            no longer does.
        keep: what is kept of a Contact; None for all of it.

    Raises:
        LedgerError: on entering, if it is no ledger, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool,
        tell: Callable[[str], None] = lambda _: None,
        keep: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._path = path
        self._keep = keep
        self._create = create
        self._tell = tell
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._broken: LedgerError | None = None
        self._requests: list[Request] = []

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._db = await self._open()
        self._store = Store(self._db, self._keep)
        self._thread.start()
        return self

    async def _open(self) -> sqlite3.Connection:
        """Open it; a program that reads it, as anybody may, is waited for."""
        told = False
        deadline = self._loop.time() + _PATIENCE
        while True:
            try:
                db = connect(self._path, mode="rwc" if self._create else "rw")
            except LedgerBusy:
                if self._loop.time() >= deadline:
                    raise
                if not told:
                    self._tell(f"another program has {self._path.name} open; waiting for it to close it")
                told = True
                await asyncio.sleep(_TICK)
            else:
                if told:
                    self._tell("")
                return db

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        try:
            if self._broken is None:
                # Out of WAL mode, so that a closed run is one file and reading it leaves no others behind.
                self._db.execute(f"PRAGMA busy_timeout = {_CLOSING_WAITS}")
                self._db.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error:
            # A reader is at it, or the disk is full. The -wal file holds the same rows; nothing is lost.
            pass
        finally:
            self._db.close()

    async def begin_session(self) -> int:
        """Count a new stretch of work; intents written from now on bear its number."""
        return await self._do(lambda store: store.begin_session())

    async def beat(self, seconds: float, paused_seconds: float) -> None:
        """Note how long this session has lasted, and how much of that it was paused.

        Commits note the former, too; this is for sessions, or the ends of them, in which nothing is written.
        """
        await self._do(lambda store: store.beat(seconds, paused_seconds))

    async def describe_session(
        self, version: str, settings: Mapping[str, object], user: Mapping[str, str] | None = None
    ) -> None:
        """Note what this session was told: the version of the program, and its settings without secrets.

        Args:
            version: of the program.
            settings: without secrets.
            user: name and id of whom the portal takes it for; None as long as that is not known.
        """
        await self._do(lambda store: history.describe(store, version, settings, user))

    async def name_user(self, user: Mapping[str, str]) -> None:
        """Note whom the portal takes this session for, which was described without."""
        await self._do(lambda store: history.name_user(store, user))

    async def add_sample(self, sample: history.Sample) -> None:
        """Note how far this session is."""
        await self._do(lambda store: history.add_sample(store, sample))

    async def end_session(self, code: int, message: str) -> None:
        """Note how this session has ended."""
        await self._do(lambda store: history.end(store, code, message))

    async def put_meta(self, **values: object) -> None:
        """Set named facts of the run."""
        await self.put_facts(values)

    async def put_facts(self, values: Mapping[str, object]) -> None:
        """Set facts of the run whose names are data."""
        await self._do(lambda store: store.put_meta(values))

    async def forget(self, *names: str) -> None:
        """Drop named facts of the run."""
        await self._do(lambda store: store.drop_meta(names))

    async def admit(self, judged: Sequence[tuple[Row, int | str]]) -> Admitted:
        """Take in rows, each with the key of its pair or the reason why it is none."""
        return await self._do(lambda store: store.admit(judged))

    async def claim(self, limit: int, *, look_first: bool = False) -> list[Pair]:
        """The next pairs without an outcome, each noted as about to be sent; given once a session."""
        return await self._do(lambda store: store.claim(limit, look_first=look_first))

    async def looked(self, absent: Sequence[int], in_doubt: Sequence[int] = ()) -> None:
        """Note what looks at the members told: rows that are about to be sent for that."""
        await self._do(lambda store: store.looked(absent, in_doubt))

    def note(self, request: Request) -> None:
        """Note a request that was sent; it is committed with whatever is written next."""
        self._requests.append(request)

    async def take_in(self, deliveries: Sequence[Delivery], *, look_first: bool = False) -> list[Arrival]:
        """Take messages in; those to be sent are noted as about to be."""
        return await self._do(lambda store: store.take_in(deliveries, look_first=look_first))

    async def waiting(self, after: int, limit: int) -> list[tuple[Pair, tuple[str, ...]]]:
        """The pairs without an outcome in the first rows beyond one, with their cells."""
        return await self._do(lambda store: store.waiting(after, limit))

    async def count_waiting(self, until: int) -> int:
        """Pairs without an outcome, up to a row."""
        return await self._do(lambda store: store.count_waiting(until))

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write the last word on pairs."""
        await self._put(None, outcomes)

    async def explain(self, reasons: Mapping[int, str]) -> None:
        """Give rejected rows the reasons that were found out since; all else about them stays."""
        sql = "UPDATE rows SET reason = ? WHERE row = ? AND status = 'rejected' AND reason = ?"
        values = [(reason, row, NOT_FOUND) for row, reason in reasons.items()]
        await self._do(lambda store: store.execute(sql, values))

    async def count(self, unsettled: Mapping[int, Sequence[Attempt]]) -> None:
        """Add what was sent in vain for rows that this session leaves without an outcome."""

        def work(store: Store) -> None:
            for row, attempts in unsettled.items():
                store.count(row, attempts)

        await self._do(work)

    async def release(self, in_doubt: Sequence[int]) -> None:
        """Take back this session's open intents, but for rows that the portal may hold."""
        await self._do(lambda store: store.release(in_doubt))

    async def standing(self, rows: Sequence[int]) -> list[Standing]:
        """How some rows stand just now; those that were never admitted are left out."""
        return await self._do(lambda store: store.standing(rows))

    async def fact(self, name: str) -> Any:
        """A named fact of the run; None if it is not known."""
        return await self._do(lambda store: store.get_meta(name))

    async def known(self, after: int, limit: int) -> list[Known]:
        """Line, cells and key of the rows beyond one, in input order."""
        return await self._do(lambda store: store.known(after, limit))

    async def _do(self, work: Callable[[Store], _T]) -> _T:
        done: _T = await self._put(work)
        return done

    def _put(
        self, work: Callable[[Store], Any] | None, outcomes: Sequence[Outcome] = ()
    ) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        requests, self._requests = self._requests, []
        self._jobs.put(_Job(future, requests, work, outcomes))
        return future

    def _serve(self) -> None:
        closing = False
        while not closing:
            batch: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == _MOST_PER_COMMIT:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            closing = job is None
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Job]) -> None:
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        if self._broken is None:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                answers = self._work(batch)
                self._store.mark_time()
                self._db.execute("COMMIT")
            except Exception as error:  # noqa: BLE001 - whatever it is, a caller waits for an answer
                with suppress(sqlite3.Error):  # that it is closed already, for one
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                self._broken = trouble(self._path, error)
        if self._broken is not None:
            # Nothing of the batch is in, and what its callers built on would be missing: from here on the
            # ledger only says no, so that no request can leave without an intent on disk.
            answers = [(job.future, self._broken) for job in batch]
        self._loop.call_soon_threadsafe(_resolve, answers)

    def _work(self, batch: list[_Job]) -> list[tuple["asyncio.Future[Any]", Any]]:
        """Do all of it, with as few statements as can be: each one hands the interpreter over and back."""
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        outcomes: list[Outcome] = []
        for job in batch:
            if job.work is None:
                outcomes += job.outcomes
                answers.append((job.future, None))
                continue
            if outcomes:  # what comes after them may build on them
                self._store.settle(outcomes)
                outcomes = []
            answers.append((job.future, job.work(self._store)))
        if outcomes:
            self._store.settle(outcomes)
        # Last of all: the work may have begun the session that they belong to.
        if requests := [request for job in batch for request in job.requests]:
            self._store.note(requests)
        return answers


def _resolve(answers: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, answer in answers:
        if future.done():  # its caller was cancelled meanwhile
            continue
        if isinstance(answer, LedgerError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
