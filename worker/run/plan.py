"""Compare an input with the portal, and write down what a run would do; nothing is changed there."""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import worker
from worker.dashboard.about import Page
from worker.dispatch import Finished
from worker.errors import LedgerBlocked, TooFewRows, WorkerError
from worker.ledger import (
    LedgerReader,
    PlanLedger,
    RunLock,
    contacts_to_link,
    pairs_waiting,
)
from worker.models import Outcome
from worker.operations.base import Operation
from worker.operations.compare import compare
from worker.operations.exists import Entity, Exists
from worker.operations.look import Told
from worker.report.plan import Plan
from worker.run.access import Access, access_of, beside, rates_of, shared_rate
from worker.run.directory import RunDirectory, new_run
from worker.run.files import write_plan
from worker.run.lifetime import Lifetime, Stop
from worker.run.links import carry_out, go_through, offer_all, opened
from worker.run.page import door_of
from worker.run.progress import show_often
from worker.run.run import refuse_no_portal
from worker.settings import Settings
from worker.site import MOST_CONTACTS, Site
from worker.sources import Source, open_source
from worker.supply.ingest import ingest
from worker.tally import Doing, LinkTally, RunTally

AGAIN = "the same command"
NOT_LINKED = "not_linked"


def make_plan(
    settings: Settings, input_path: str, show: Callable[[LinkTally], None]
) -> tuple[RunDirectory, Plan]:
    """Read an input, ask the portal about all of it, and write plan.json and plan.csv.

    Nothing is changed at the portal. Whatever ends it before all is asked, nothing of it is left.

    Args:
        settings: all options.
        input_path: path of the input; ``-`` is standard input.
        show: called often with how far it is.

    Raises:
        UsageError: no portal is named.
        InputError: the input cannot be read, or not to its end, or has too few rows.
        StoppedError: a signal ended it.
        WorkerError: the portal refuses us or has failed for too long, or a file cannot be written.
    """
    refuse_no_portal(settings)
    rate = shared_rate(settings)
    with open_source(
        input_path, columns=settings.columns, delimiter=settings.delimiter, sheet=settings.sheet
    ) as source:
        directory, lock = new_run(settings.runs_dir, settings.run_id)
        access = access_of(directory, settings, rate)
        planning = _Planning(directory, settings, access, source=source, input_path=input_path, show=show)
        return directory, _whole(directory, lock, planning)


def _whole(directory: RunDirectory, lock: RunLock, planning: "_Planning") -> Plan:
    with lock:
        try:
            Lifetime().run(planning.run, lambda: AGAIN)
        except WorkerError as error:
            directory.discard()
            if isinstance(error, LedgerBlocked):
                raise LedgerBlocked(error.what, AGAIN) from error
            raise
        return write_plan(directory)  # if that fails, 'report' can do it: the ledger has it all


def file_digest(path: Path) -> str | None:
    """SHA-256, in hex, of a file as it stands on disk; None if it is none that can be read again."""
    with suppress(OSError):
        if path.is_file():  # to open a pipe would wait for who writes to it
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def question(contact_id: int) -> Exists:
    """Is this contact there for us?"""
    return Exists(Entity("contact", contact_id))


class _Planning:
    """The work on one plan, in an event loop."""

    def __init__(
        self,
        directory: RunDirectory,
        settings: Settings,
        access: Access,
        *,
        source: Source,
        input_path: str,
        show: Callable[[LinkTally], None],
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._access = access
        self._source = source
        self._path = "-" if source.name == "-" else str(Path(input_path).resolve())
        self._show = show
        self._tally = LinkTally(unit="pairs", doing=Doing.PLANNING)
        self._asked = self._untold = 0
        self._missing: list[int] = []
        self._file: tuple[str, str] | tuple[None, None] = None, None

    async def run(self, _: Stop) -> None:
        """Read the input, then ask the portal."""
        async with PlanLedger(self._directory.ledger, create=True) as ledger:
            self._ledger = ledger
            read = await self._read()
            await ledger.begin_session()
            await ledger.describe_session(worker.__version__, self._settings.to_save())
            started = time.monotonic()
            observers = [ledger.note]
            door = door_of(self._settings)
            name, portal = Path(self._path).name, self._settings.portal or ""
            page = None if door is None else Page(self._directory.run_id, name, portal, door)
            async with opened(self._access, self._tally, self._show, observers, page) as (site, log):
                self._tally.total = read.rows - read.done
                async with beside(partial(show_often, self._tally, self._show, site.limiter)):
                    await self._ask(site)
                await ledger.contacts_missing(self._missing)
                await ledger.beat(time.monotonic() - started, site.limiter.paused_seconds)
                await ledger.put_meta(
                    transport=site.route.name,
                    transport_reason=site.route.why,
                    planned=self._planned(site),
                    end_code=0,
                    end_message="",
                )
                await ledger.end_session(0, "")
                log.info("plan.made", rows=read.rows, requests=self._tally.sent)

    async def _read(self) -> RunTally:
        """Bring the whole input into the ledger, before the portal is asked for anything."""
        settings, source = self._settings, self._source
        await self._ledger.put_facts(
            {
                "run_id": self._directory.run_id,
                "version": worker.__version__,
                "plans": True,
                "portal": settings.portal,
                "settings": settings.to_save(),
                "runs_dir": str(settings.runs_dir),
                "input_path": self._path,
                "input_name": Path(self._path).name,
            }
        )

        async def more(_: int) -> None:
            """Nobody waits for them."""

        tally = RunTally()
        await ingest(source, self._ledger, more, tally, settings.limit)
        if tally.rows < (settings.min_rows or 0):
            raise TooFewRows(source.name, tally.rows, settings.min_rows or 0)
        if self._path != "-" and (now := file_digest(Path(self._path))):
            # Of what was read; of a file that was not read whole, of all of it.
            self._file = self._path, await self._ledger.fact("input_sha256") or now
        return tally

    async def _ask(self, site: Site) -> None:
        with LedgerReader(self._directory.ledger) as reader:
            await go_through(pairs_waiting(reader), site, self._compare, ids_only=True)
        with LedgerReader(self._directory.ledger) as reader:
            self._tally.begin(Doing.ASKING, "contacts", sum(1 for _ in contacts_to_link(reader)))
            questions = map(question, contacts_to_link(reader))
            await carry_out(partial(offer_all, questions, site), site, self._exist)

    async def _compare(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        outcomes: list[Outcome] = []
        absent: list[int] = []
        for _, told in finished:
            assert isinstance(told, Told)  # noqa: S101 - all that is sent here are looks
            compared = compare(told)
            # Whose Contacts they are is not needed: a plan holds no more names than its input.
            outcomes += [
                Outcome(one.pair, one.status, (), one.reason, one.http_status) for one in compared.settled
            ]
            absent += compared.absent
            self._tally.found.update(one.status for one in compared.settled)
            self._tally.found[NOT_LINKED] += len(compared.absent)
            self._tally.done += len(told.about)
        if outcomes:
            await self._ledger.settle(outcomes)
        if absent:
            await self._ledger.absent(absent)
        return ()

    async def _exist(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        for _, existence in finished:
            self._asked += 1
            self._tally.done += 1
            if existence.there is None:
                self._untold += 1
            elif not existence.there:
                self._missing.append(existence.entity.id)
        return ()

    def _planned(self, site: Site) -> dict[str, Any]:
        """What the ledger is told of the plan, beside its rows."""
        rate, link_rate, _ = rates_of(self._settings).at_present()
        path, digest = self._file
        learned = site.limiter.controller.rate
        return {
            "at": time.time(),
            "input_path": path,
            "input_sha256": digest,
            "limit": self._settings.limit,
            "contacts": {"asked": self._asked, "missing": len(self._missing), "untold": self._untold},
            "pace": {
                "rate": str(rate),
                "per_second": rate.per_second,
                "learned": learned.value if learned and learned.value < rate.per_second else None,
                "link_rate": link_rate and str(link_rate),
                "links_per_second": link_rate and link_rate.per_second,
                "transport": site.route.name,
                "most_together": max(1, min(site.route.transport.size, site.limiter.most_links)),
                "most_contacts": MOST_CONTACTS,
                "in_flight": site.limiter.permits.limit,
                "asks_for_batches": self._settings.transport != "single",
            },
        }
