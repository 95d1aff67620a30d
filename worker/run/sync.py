"""What a sync does after all is linked: remove links beyond the input, under guards.

All members of each opportunity are read; what goes is decided once, for all of them together, and is
durable before the first link goes. Then each is looked for again, removed, and looked for once more, as in a
rollback.
"""

import asyncio
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

from structlog.typing import FilteringBoundLogger

from worker.dashboard.about import Door, Page
from worker.dispatch import Finished
from worker.errors import DurationReached, Exit, LedgerError, StoppedError, UsageError, WorkerError
from worker.judge import id_of
from worker.ledger import (
    LedgerReader,
    PruneLedger,
    check_removals,
    count_unsettled,
    desired_contacts,
    links_to_prune,
    named_opportunities,
    prune_counts,
    rows_of,
)
from worker.models import Status
from worker.operations.base import Operation
from worker.operations.members import MemberList, ReadMembers
from worker.operations.prune import Decision, Prune, Surplus, decide, judge_removal, surplus
from worker.reasons import INVALID_ROW, REJECTED_ROW
from worker.removals import Undo
from worker.run import advice
from worker.run.access import Access, access_of, shared_rate
from worker.run.directory import RunDirectory, list_runs
from worker.run.lifetime import Lifetime, Stop
from worker.run.links import SideTask, carry_out, go_through, offer_all
from worker.run.log import log_what_is_left
from worker.run.ownership import owned_links
from worker.run.page import live_page
from worker.run.progress import show_now, show_often
from worker.run.removal import Removal
from worker.settings import Settings
from worker.site import Site
from worker.tally import Doing, LinkTally

Show = Callable[[LinkTally], None]

FOLLOWS = "All rows have their last word. Next, links that the file does not name are looked for."
"""What a live page says between the links of a sync and its removals."""


def sync_facts(settings: Settings) -> dict[str, object]:
    """What the ledger of a sync is told, so that whoever goes on with it knows what it is.

    Raises:
        UsageError: options that do not go together.
    """
    if settings.prune is None and settings.allow_removals is not None:
        raise UsageError("--allow-removals: nothing is removed without --prune")
    if settings.prune is not None and settings.limit is not None:
        raise UsageError("--prune with --limit would remove the links of rows that are not read")
    return {"sync": {"prune": settings.prune, "allow_removals": settings.allow_removals}}


def pruning_of(directory: RunDirectory, settings: Settings) -> "Pruning | None":
    """What a run that is gone on with has still to remove; None if it is no sync that removes, or is over."""
    with LedgerReader(directory.ledger) as reader:
        facts, failed = reader.facts(), prune_counts(reader)[Undo.FAILED]
    sync = facts.get("sync", {})
    if not sync.get("prune") or (facts.get("sync_ended") and not failed):
        return None
    return new_pruning(directory, settings, sync["prune"], sync["allow_removals"])


def new_pruning(directory: RunDirectory, settings: Settings, prune: Prune, allowed: int | None) -> "Pruning":
    """What a sync has to remove, as the settings say."""
    access = access_of(directory, settings, shared_rate(settings))
    go_on = settings.command("resume", advice.named(directory, settings))
    return Pruning(directory, access, prune, allowed, max_duration=settings.max_duration, go_on=go_on)


class Pruning:
    """The removals of one sync.

    Args:
        directory: of its run, whose lock is held.
        access: how to get to the portal.
        prune: whose links go.
        allowed: the number of removals that the user allows; None for as many as need no leave.
        max_duration: seconds from now on, after which it stops; None for no limit.
        go_on: the command that does what is left undone.
    """

    def __init__(
        self,
        directory: RunDirectory,
        access: Access,
        prune: Prune,
        allowed: int | None,
        *,
        max_duration: float | None,
        go_on: str,
    ) -> None:
        self._directory = directory
        self._access = access
        self._prune: Prune = prune
        self._allowed = allowed
        self._ends = None if max_duration is None else time.monotonic() + max_duration
        self._go_on = go_on
        self._tally = LinkTally(unit="opportunities", doing=Doing.READING)
        self._show: Show = lambda _: None
        self._door: Door | None = None

    def run(self, lifetime: Lifetime, show: Show, door: Door | None = None) -> None:
        """Do it, if all rows are done; how it ended is in the ledger, unless that gave up.

        Args:
            lifetime: of the command.
            show: called often with the counts so far.
            door: where its live page is served, as that of the linking was; None for nowhere.

        Raises:
            LedgerError: it is damaged, or cannot be written.
        """
        if not self._is_due():
            return
        self._show = show
        self._door = door
        try:
            lifetime.run(self._work, lambda: self._go_on)
        except LedgerError:
            raise
        except StoppedError as error:
            asyncio.run(self._end(error.exit_code, "stopped before all removals were done"))
        except WorkerError as error:
            asyncio.run(self._end(error.exit_code, str(error)))

    def _is_due(self) -> bool:
        """Whether the input was read to its end, and each of its rows has an outcome."""
        with LedgerReader(self._directory.ledger) as reader:
            facts = reader.facts()
            in_order = facts.get("sync_began") or facts.get("end_code", Exit.OK) == Exit.OK
            return bool(in_order and facts.get("input_complete") and not count_unsettled(reader))

    async def _work(self, _: Stop) -> None:
        async with AsyncExitStack() as stack:
            log = stack.enter_context(self._access.open_log())
            page = live_page(self._page(), self._tally, self._tell, self._show)
            live = await stack.enter_async_context(page)
            ledger = await stack.enter_async_context(self._ledger())
            await ledger.put_meta(sync_began=True, sync_ended=False)
            await ledger.forget("end_code", "end_message")  # of the linking
            site = await self._access.open_site(stack, self._tell, [self._tally.observe])
            if live is not None:
                live.site = site
            if await ledger.fact("sync_decided") is None:
                await self._decide(site, ledger)
            await self._remove(site, ledger, log)
            log.info("sync.removed", **self._left())
        await self._end(Exit.OK, "")

    def _page(self) -> Page | None:
        if self._door is None:
            return None
        with LedgerReader(self._directory.ledger) as reader:
            facts = reader.facts()
        return Page(self._directory.run_id, facts["input_name"], facts["portal"], self._door)

    async def _decide(self, site: Site, ledger: PruneLedger) -> None:
        found: list[Surplus] = []
        with LedgerReader(self._directory.ledger) as reader:
            facts = reader.facts()
            untouched = dict(untouched_by_input(reader, facts))
            untold = count_untold(reader, facts)
            self._tally.total = sum(1 for _ in named_opportunities(reader))
            unlinked = sum(reader.counts()[one] for one in (Status.RETRYABLE, Status.UNKNOWN))

            def note(members: MemberList, desired: AbstractSet[int]) -> None:
                found.append(surplus(members, desired))
                self._tally.done += 1

            await read_members(reader, site, untouched, note, self._beside(site))
        found += [Surplus(one, untouched=why) for one, why in untouched.items()]
        runs_dir = self._directory.path.parent
        decision = await decision_on(
            found,
            self._prune,
            lambda keys: owned_links(list_runs(runs_dir), facts["portal"], keys, self._tell),
            unlinked=unlinked,
            untold=untold,
            allowed=self._allowed,
        )
        decided = {name: value for name, value in asdict(decision).items() if name != "removals"}
        await ledger.decide(decision.removals, decision.withheld, {"sync_decided": decided})

    async def _remove(self, site: Site, ledger: PruneLedger, log: FilteringBoundLogger) -> None:
        with LedgerReader(self._directory.ledger) as reader:
            check_removals(reader, self._directory.ledger)
            self._tally.begin(Doing.PRUNING, "links", sum(1 for _ in links_to_prune(reader)))
            if not self._tally.total:
                return

            noted = partial(log_what_is_left, log)
            removal = Removal(site, ledger, [self._tally.settled, noted], before=judge_removal)
            await go_through(links_to_prune(reader), site, removal.conclude, self._beside(site))

    def _beside(self, site: Site) -> list[Callable[[], Any]]:
        return [partial(show_often, self._tally, self._show, site.limiter), self._end_in_time]

    async def _end_in_time(self) -> None:
        if self._ends is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(max(0.0, self._ends - time.monotonic()))
            raise DurationReached("stopped: the maximum duration is reached")

    def _left(self) -> dict[str, int]:
        with LedgerReader(self._directory.ledger) as reader:
            return prune_counts(reader)

    async def _end(self, code: Exit, message: str) -> None:
        """Note how it ended, and what it took."""
        async with self._ledger() as ledger:
            before = await ledger.fact("sync_requests") or 0
            await ledger.put_meta(
                end_code=code,
                end_message=message,
                sync_requests=before + self._tally.sent,
                sync_ended=code == Exit.OK,
            )

    def _ledger(self) -> PruneLedger:
        return PruneLedger(self._directory.ledger, create=False, tell=self._tell)

    def _tell(self, note: str) -> None:
        self._tally.note = note
        show_now(self._tally, self._show)


async def read_members(
    reader: LedgerReader,
    site: Site,
    untouched: Container[int],
    note: Callable[[MemberList, AbstractSet[int]], None],
    beside: Sequence[SideTask],
) -> None:
    """Read the members of all opportunities that the input names.

    Args:
        reader: of the ledger that has the input.
        site: the portal.
        untouched: opportunities that are not looked at.
        note: is given the members, and those that the input names.
        beside: what is done meanwhile.

    Raises:
        WorkerError: the first that ended it.
    """

    async def conclude(finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        for _, members in finished:
            note(members, desired_contacts(reader, members.opportunity_id))
        return ()

    named = (one for one in named_opportunities(reader) if one not in untouched)
    operations = (ReadMembers(one, site.policy, site.rng) for one in named)
    await carry_out(partial(offer_all, operations, site), site, conclude, beside)


async def decision_on(
    found: Sequence[Surplus],
    prune: Prune,
    owned: Callable[[AbstractSet[int]], Mapping[int, datetime | None]],
    *,
    unlinked: int,
    untold: int,
    allowed: int | None,
) -> Decision:
    """Decide, see :func:`worker.operations.prune.decide`; ``owned`` is asked beside the loop, if need be."""
    keys = {extra.key for one in found for extra in (*one.extras, *one.primary)}
    ours = await asyncio.to_thread(owned, keys) if prune == "own" and keys else {}
    in_order = sorted(found, key=lambda one: one.opportunity_id)
    return decide(in_order, prune=prune, owned=ours, unlinked=unlinked, untold=untold, allowed=allowed)


def untouched_by_input(reader: LedgerReader, facts: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Opportunities of which nothing may be removed, because not all their rows became links."""
    for _, opportunity_id in rows_of(reader, Status.REJECTED):
        if opportunity_id is not None:
            yield opportunity_id, REJECTED_ROW
    for number in _opportunities_of_invalid(reader, facts):
        if number is not None:
            yield number, INVALID_ROW


def count_untold(reader: LedgerReader, facts: Mapping[str, Any]) -> int:
    """Rows that do not say which opportunity is meant: what they name may be a link of any."""
    return sum(number is None for number in _opportunities_of_invalid(reader, facts))


def _opportunities_of_invalid(reader: LedgerReader, facts: Mapping[str, Any]) -> Iterator[int | None]:
    """The opportunity of each invalid row, as far as it can be read."""
    if "opportunity" not in facts.get("ids", {}):  # an input without it has no pairs either
        return
    _, place, _ = facts["ids"]["opportunity"]
    for cells, _ in rows_of(reader, Status.INVALID):
        number = id_of("", cells[place] if place < len(cells) else "")
        yield number if isinstance(number, int) else None
