"""The command with a bug planted in it, to prove that a test would see it: ``planted.py BUG run ...``.

Each bug is one that a careless change could make; most are for the kill loop, some for a search for secrets.
The worker's files stay as they are: classes are patched in this process only.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from aiohttp import ClientSession
from msgspec.structs import replace as replaced

from worker.cli import main
from worker.dispatch import Dispatcher
from worker.ledger import Admitted, Arrival, Delivery, Ledger
from worker.ledger.ledger import _resolve
from worker.ledger.store import Store
from worker.limits import Limiter
from worker.models import Ask, Attempt, Exchange, Kind, Outcome, Pair, Result, Row, Status
from worker.operations.base import Operation
from worker.operations.compare import Compared, Pairs, compare
from worker.operations.link import Link
from worker.operations.look import Told
from worker.operations.unlink import Links
from worker.portal import calls
from worker.portal.http import Http, Reply
from worker.queues import Message
from worker.removals import Undo, Undoing
from worker.run import files as run_files
from worker.run import pipeline
from worker.run.pipeline import Pipeline
from worker.run.removal import Operations, Removal
from worker.settings import Settings
from worker.supply.acknowledger import Acknowledgement, Acknowledger
from worker.supply.queue import QueueSupply

OPS_PER_COMMIT = 1000


def ack_before_outcome() -> None:
    """A pair is settled as linked just before its first request leaves; the answer only corrects that."""
    send, record = Dispatcher._send, Pipeline._record
    told: set[int] = set()

    async def _send(self: Dispatcher, group: Sequence[Operation[Any]], asks: Sequence[Ask]) -> Exchange:
        fresh = [one for one in group if isinstance(one, Link) and not one.attempts]
        early = [(one, one.pair) for one in fresh if one.ask().kind is Kind.LINK]
        await self._conclude([(one, _linked(pair)) for one, pair in early])
        return await send(self, group, asks)

    async def _record(self: Pipeline, outcomes: Sequence[Outcome]) -> None:
        news = [one for one in outcomes if one.status is not Status.LINKED or one.pair.row not in told]
        told.update(one.pair.row for one in outcomes)
        await record(self, news)

    patch.object(Dispatcher, "_send", _send).start()
    patch.object(Pipeline, "_record", _record).start()


def _linked(pair: Pair) -> Outcome:
    attempt = Attempt(Result.OK, http_status=201, body=b'{"id":%d}' % pair.contact_id)
    return Outcome(pair, Status.LINKED, (attempt,), http_status=201)


def no_intent() -> None:
    """Pairs are handed out without a note that they are about to be sent."""
    original = Store.claim

    def claim(self: Store, limit: int, *, look_first: bool = False) -> list[Pair]:
        pairs = original(self, limit, look_first=look_first)
        self._db.executemany(
            "UPDATE rows SET sent_at = NULL, session = NULL WHERE row = ?", [(pair.row,) for pair in pairs]
        )
        return pairs

    patch.object(Store, "claim", claim).start()


def no_commit() -> None:
    """The ledger answers before it commits; once pairs are given out it commits only now and then.

    Intents are noted a chunk ahead, so a few of them that wait for a commit would be no loss.
    """
    serve = Ledger._serve
    ops = 0

    def _commit(self: Ledger, batch: list[Any]) -> None:
        nonlocal ops
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        answers = self._work(batch)
        ops += len(batch)
        if ops >= OPS_PER_COMMIT or not self._store._cursor:
            self._db.execute("COMMIT")
            ops = 0
        self._loop.call_soon_threadsafe(_resolve, answers)

    def _serve(self: Ledger) -> None:
        serve(self)
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    patch.object(Ledger, "_commit", _commit).start()
    patch.object(Ledger, "_serve", _serve).start()


def no_dedupe() -> None:
    """A pair that is there already is taken in like a new one."""
    original = Store.admit

    def admit(self: Store, judged: Sequence[tuple[Row, int | str]]) -> Admitted:
        pairs = invalid = 0
        for row, verdict in judged:
            if isinstance(verdict, int):
                self._db.execute("DELETE FROM pairs WHERE key = ?", (verdict,))
            one = original(self, [(row, verdict)])
            pairs, invalid = pairs + one.pairs, invalid + one.invalid
        return Admitted(pairs, 0, invalid)

    patch.object(Store, "admit", admit).start()


def _die_before(fact: str) -> Callable[[], None]:
    """No bug but a blow that hits exactly: dead when this fact of the run is about to be written."""

    def plant() -> None:
        original = Ledger.put_facts

        async def put_facts(self: Ledger, values: Mapping[str, object]) -> None:
            if fact in values:
                os.kill(os.getpid(), signal.SIGKILL)
            await original(self, values)

        patch.object(Ledger, "put_facts", put_facts).start()

    return plant


def _crash_in(room: object, name: str) -> Callable[[], None]:
    """A room that fails while its callers hold the token in their local variables."""

    def plant() -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("planted")

        patch.object(room, name, fail).start()

    return plant


def ack_early() -> None:
    """A message is acknowledged when it arrives, not when its outcome is durable."""
    original = QueueSupply._arrived

    def _arrived(self: QueueSupply, message: Message, delivery: Delivery, arrival: Arrival) -> None:
        self._acknowledger.add(Acknowledgement(message.handle))
        original(self, message, delivery, arrival)

    patch.object(QueueSupply, "_arrived", _arrived).start()


def drop_dead() -> None:
    """A message that is given up is acknowledged, and that is all."""
    original = Acknowledger.add

    def add(self: Acknowledger, done: Acknowledgement) -> None:
        original(self, replace(done, failure=None))

    patch.object(Acknowledger, "add", add).start()


def late_look() -> None:
    """That a link was not there before is noted without asking."""

    def compare_with_nothing(told: Told[Pairs]) -> Compared:
        attempts = tuple(replaced(attempt, found={}) for attempt in told.attempts)
        return compare(replace(told, attempts=attempts))

    patch.object(pipeline, "compare", compare_with_nothing).start()


def trust_delete() -> None:
    """A link is called removed when that was begun."""

    async def _begin(self: Removal, links: Links) -> Operations:
        await self._ledger.begin([link.row for link in links])
        await self._settle([Undoing(link.row, Undo.REMOVED) for link in links])
        return ()

    patch.object(Removal, "_begin", _begin).start()


def save_secrets() -> None:
    """What a resumed run goes on with has the credentials, too, and so has the log."""
    original = Settings.to_save

    def to_save(self: Settings) -> dict[str, Any]:
        secrets = {"token": self.token, "password": self.password}
        return original(self) | {name: value.get_secret_value() for name, value in secrets.items() if value}

    patch.object(Settings, "to_save", to_save).start()


def secrets_in_error() -> None:
    """A request that fails says all about itself, its headers and its body among it."""

    async def call(self: Http, method: str, path: str, **options: Any) -> Reply:
        raise RuntimeError(f"{self.origin} {method} {path}: {options}")

    patch.object(Http, "call", call).start()


PLANTS = {
    "ack-before-outcome": ack_before_outcome,
    "no-intent": no_intent,
    "no-commit": no_commit,
    "no-dedupe": no_dedupe,
    "ack-early": ack_early,
    "drop-dead": drop_dead,
    "late-look": late_look,
    "trust-delete": trust_delete,
    "die-before-facts": _die_before("portal"),
    "die-before-columns": _die_before("columns"),
    "crash-in-observe": _crash_in(Limiter, "observe"),
    "crash-in-request": _crash_in(ClientSession, "request"),
    "crash-in-judgement": _crash_in(calls, "classify"),
    "crash-in-files": _crash_in(run_files, "write_html"),
    "save-secrets": save_secrets,
    "secrets-in-error": secrets_in_error,
}

if __name__ == "__main__":
    PLANTS[sys.argv.pop(1)]()
    main()
