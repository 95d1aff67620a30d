"""One session of a run, from an open input to a closed ledger: what a process does of it until it ends.

What opens first closes last: log, ledger, portal, supply, lanes. There are no signals and no settings in
here: whoever runs it may ask it to stop, and it is given plain values.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from structlog.typing import FilteringBoundLogger

import worker
from worker.contact import essence
from worker.dashboard.about import Door, Page
from worker.errors import DurationReached, Exit, LedgerError, TooManyErrors, WorkerError
from worker.ledger import Ledger, RunLock, Sample, next_sample
from worker.limits.hours import Rates, spoken
from worker.models import Outcome
from worker.portal.auth import Credentials
from worker.portal.identity import User, user_in_passing
from worker.quantities import ErrorLimit, counted, format_duration
from worker.run.access import Access
from worker.run.changes import Changes
from worker.run.directory import RunDirectory
from worker.run.lifetime import Stop
from worker.run.log import log_outcome
from worker.run.page import live_page
from worker.run.pipeline import Pipeline
from worker.run.progress import show_now, show_often
from worker.site import Site
from worker.supply.base import Input
from worker.supply.offload import offload
from worker.tally import RunTally

BEAT = 5.0
"""Seconds between two notes of how a run goes, in the ledger and the log."""

ASKS_AFTER = 1000
"""Requests that a session has sent before it asks, by a request of its own, whom the portal takes it for."""


async def any_portal(_: Site) -> None:
    """To link takes no more than a portal that takes us."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """How a run is done.

    Attributes:
        facts: what the ledger is told of it, beside its input.
        saved: options that it was told, as a later session is to have them.
        look_first: what the portal holds is looked for before a pair is sent.
        grace: seconds that requests on their way get when it is stopped.
        max_duration: seconds after which it stops; None for no limit.
        max_errors: failed pairs beyond which it stops; None for no limit.
        go_on: the command that does what it leaves undone.
        report: the command that writes its files.
        door: where its live page is served; None for nowhere.
        make_sure: raises if the portal is none for it; asked before anything is read or sent.
    """

    facts: Mapping[str, object]
    saved: Mapping[str, Any]
    look_first: bool
    grace: float
    max_duration: float | None
    max_errors: ErrorLimit | None
    go_on: str
    report: str
    door: Door | None = None
    make_sure: Callable[[Site], Awaitable[None]] = any_portal


class Session:
    """A session of a run that is about to begin.

    Args:
        directory: where the run keeps its files.
        lock: the run's, held; let go by whoever runs the session.
        plan: how it is done.
        input_: where the rows come from; closed by whoever runs the session.
        access: how to get to the portal.
        fresh: the run directory was just made.
        reload: gives limits and credentials as they are to be from now on.

    Attributes:
        tally: is kept up to date.
        ended_by: the error that ended the sending before all was done, which is an end like others.
        beside: done in a thread beside the work; an error ends it. None if there is nothing.
        door: where its live page is, or was; None if it has none.
        followed_by: what follows on that page when all rows are done, in words; empty if nothing does.
    """

    def __init__(
        self,
        directory: RunDirectory,
        lock: RunLock,
        plan: RunPlan,
        input_: Input,
        access: Access,
        *,
        fresh: bool,
        reload: Callable[[], tuple[Rates, int | None, Credentials]],
    ) -> None:
        self.directory = directory
        self.lock = lock
        self.plan = plan
        self.input = input_
        self.tally = RunTally()
        self.ended_by: WorkerError | None = None
        self.beside: Callable[[], None] | None = None
        self.door = plan.door
        self.followed_by = ""
        self._access = access
        self._fresh = fresh
        self._reload = reload
        self._site: Site | None = None
        self._tell: Callable[[str], None] = lambda _: None

    @property
    def nothing_left(self) -> bool:
        """Every row that will ever be read has its outcome."""
        return self.tally.complete and self.tally.done == self.tally.rows

    @property
    def leaves_nothing(self) -> bool:
        """It ended before there was anything to go on with."""
        return self._fresh and not (self.tally.rows and self.tally.begun)

    async def run(self, stop: Stop, show: Callable[[RunTally], None]) -> None:
        """Do what is left to do; how it ended is in the ledger, unless that gave up.

        Args:
            stop: asked, requests on their way get their answers; cancelled, they do not.
            show: called often with the counts so far.

        Raises:
            WorkerError: it could not begin, or the ledger gave up. A portal that refuses us in the middle is
                an end like others.
        """
        async with AsyncExitStack() as stack:
            log = stack.enter_context(self._access.open_log())
            self._tell = tell = partial(self._note, log, show)
            live = await stack.enter_async_context(live_page(self._page(), self.tally, tell, show))
            if live is not None:
                self.door = live.door
            # A retry finds its rows in it.
            create = not self.directory.ledger.exists()
            keep = None if self.plan.saved.get("contacts", "full") == "full" else essence
            ledger = Ledger(self.directory.ledger, create=create, tell=tell, keep=keep)
            await stack.enter_async_context(ledger)
            if self._fresh:
                # Before the probe, which may take minutes: killed in it, the run can still be gone on with.
                facts = {
                    "run_id": self.directory.run_id,
                    "version": worker.__version__,
                    "utc_offset": _utc_offset(),
                }
                await ledger.put_facts({**facts, **self.plan.facts, **self.input.facts})
            site = await self._access.open_site(stack, tell, [self.tally.observe, ledger.note])
            await self.plan.make_sure(site)
            supply = await self.input.open(ledger, self.tally, tell)
            await ledger.begin_session()
            await ledger.describe_session(worker.__version__, self.plan.saved, _known(site.route.user))
            self.tally.begun = True
            # The end that an earlier session wrote is no longer one.
            await ledger.forget("end_code", "end_message")
            await ledger.put_meta(transport=site.route.name, transport_reason=site.route.why)
            log.info("run.started", version=worker.__version__, **self.plan.saved)
            pipeline = Pipeline(supply, ledger, site, look_first=self.plan.look_first, grace=self.plan.grace)
            self._observe(pipeline, log)
            changes = Changes(log)
            site.limiter.tell_change.append(changes.note)
            pipeline.side_tasks += [
                partial(show_often, self.tally, show, site.limiter),
                partial(self._beat, ledger, log, site, changes),
                partial(self._end_in_time, pipeline),
                partial(self._name_user, ledger, site),
            ]
            self._do_beside(stack, pipeline)
            self._site = site
            if live is not None:
                live.site = site
            stop.drain_by(partial(self._drain, pipeline, stop))
            started = asyncio.get_running_loop().time()
            code, message = await self._send(pipeline, stop, log)
            stop.over()
            if code is Exit.OK and self.input.lost:
                code, message = Exit.RETRYABLE, self.input.lost
            seconds = asyncio.get_running_loop().time() - started
            await ledger.beat(seconds, site.limiter.paused_seconds)
            await ledger.add_sample(self._sample(seconds, site))
            await changes.save(ledger)
            await ledger.put_meta(end_code=code, end_message=message)
            await ledger.end_session(code, message)
            # Once more: the portal may have stopped taking batches meanwhile.
            await ledger.put_meta(transport=site.route.name, transport_reason=site.route.why)
            if live is not None:
                live.ended = message or ("all is done" if code is Exit.OK else f"exit code {code}")
                live.goes_on = self.followed_by if code is Exit.OK else ""
            log.info("run.ended", code=code, message=message, rows=self.tally.rows, done=self.tally.done)

    def _page(self) -> Page | None:
        if self.door is None:
            return None
        source, portal = str(self.input.facts["input_name"]), str(self.plan.facts["portal"])
        return Page(self.directory.run_id, source, portal, self.door)

    async def reload(self) -> None:
        """Go on under other limits and with other credentials, if they can be had."""
        if self._site is None:
            return
        try:
            rates, concurrency, credentials = self._reload()
            await self._site.change(rates, concurrency, credentials)
        except WorkerError as error:
            self.tally.note = f"SIGHUP: {error}; going on as before"
        else:
            now = spoken(rates.rate, rates.link_rate)
            many = concurrency or "as many as do good"
            self._tell(f"SIGHUP: now {now}, {many} in flight; credentials read again")

    async def _send(self, pipeline: Pipeline, stop: Stop, log: FilteringBoundLogger) -> tuple[Exit, str]:
        """Send all; gives how it ended."""
        code, message, at_once = Exit.OK, "", ""
        try:
            await pipeline.run()
        except LedgerError:
            raise
        except WorkerError as error:
            self.ended_by = error
            code, message = error.exit_code, str(error)
        except asyncio.CancelledError:
            if not stop.why:
                raise
            at_once = " at once: what was on its way was not waited for"
        except Exception:
            log.exception("run.crashed")
            raise
        if stop.why:
            return stop.exit_code, f"stopped by {stop.why}{at_once}"
        return code, message

    def _observe(self, pipeline: Pipeline, log: FilteringBoundLogger) -> None:
        tally, limit = self.tally, self.plan.max_errors

        def count(outcomes: Sequence[Outcome]) -> None:
            for outcome in outcomes:
                tally.recorded(outcome)
                log_outcome(log, outcome)

        def end_at_limit(_: Sequence[Outcome]) -> None:
            if limit is not None and limit.passed(tally.failed_pairs, tally.settled_pairs):
                failed = counted(tally.failed_pairs, "pair")
                pipeline.end(TooManyErrors(f"stopped: {failed} failed, allowed are {limit}"))

        pipeline.observers += [count, end_at_limit]

    def _do_beside(self, stack: AsyncExitStack, pipeline: Pipeline) -> None:
        """Begin with what is done beside the work; it is over before the ledger is closed.

        Whoever reads the ledger when it is closed would keep it from becoming one file again.
        """
        if self.beside is not None:
            task = asyncio.create_task(offload(self.beside))
            stack.push_async_callback(asyncio.wait, {task})
            pipeline.side_tasks.append(partial(asyncio.shield, task))

    async def _beat(self, ledger: Ledger, log: FilteringBoundLogger, site: Site, changes: Changes) -> None:
        """Note now and then how it goes: a session that is killed lasted until then."""
        clock = asyncio.get_running_loop().time
        started, due = clock(), 0.0
        last = (0, 0, 0)
        while True:
            await asyncio.sleep(BEAT)
            seconds = clock() - started
            await ledger.beat(seconds, site.limiter.paused_seconds)
            await changes.save(ledger)
            if seconds >= due:
                due = next_sample(seconds)
                await ledger.add_sample(self._sample(seconds, site))
            if (
                now := (self.tally.rows, self.tally.sent, self.tally.done)
            ) != last:  # an idle worker is quiet
                last = now
                log.info("run.progress", rows=self.tally.rows, sent=self.tally.sent, **self.tally.by_state())

    async def _name_user(self, ledger: Ledger, site: Site) -> None:
        """Ask whose the token is, if that was not told by the way: once, when so many requests were sent."""
        if site.route.user is not None:
            return
        while self.tally.sent < ASKS_AFTER:  # noqa: ASYNC110 - seen soon enough
            await asyncio.sleep(BEAT)
        site.route.user = await user_in_passing(site.client, site.limiter)
        if (user := _known(site.route.user)) is not None:
            await ledger.name_user(user)

    def _sample(self, seconds: float, site: Site) -> Sample:
        tally, limiter = self.tally, site.limiter
        counts = tally.settled_here, tally.sent, tally.throttled
        return Sample(seconds, *counts, limiter.paused_seconds, limiter.permits.limit)

    async def _end_in_time(self, pipeline: Pipeline) -> None:
        if self.plan.max_duration is not None:
            await asyncio.sleep(self.plan.max_duration)
            pipeline.end(DurationReached("stopped: the maximum duration is reached"))
            pipeline.drain()

    def _drain(self, pipeline: Pipeline, stop: Stop) -> None:
        longest = format_duration(self.plan.grace)
        again = "Ctrl-C" if stop.why == "SIGINT" else stop.why
        self.tally.note = (
            f"{stop.why}: finishing what is on its way, {longest} at most;"
            f" a second {again} does not wait for it"
        )
        pipeline.drain()

    def _note(self, log: FilteringBoundLogger, show: Callable[[RunTally], None], note: str) -> None:
        self.tally.note = note
        show_now(self.tally, show)
        if note:
            log.warning("run.note", note=note)


def _known(user: User | None) -> dict[str, str] | None:
    """What is kept of a user: no address, for reports are handed on."""
    return None if user is None else {"name": user.name, "id": user.id}


def _utc_offset() -> int:
    """Minutes by which the local time is ahead of UTC just now."""
    offset = datetime.now(UTC).astimezone().utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)
