"""Say what a sync would add and remove. Nothing but GETs leaves, and nothing stays behind."""

import tempfile
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from worker.dashboard.about import Page
from worker.errors import Exit, TooFewRows
from worker.ledger import Ledger, LedgerReader, named_opportunities
from worker.models import Status
from worker.operations.members import MemberList
from worker.operations.prune import Decision, Surplus, surplus
from worker.quantities import counted
from worker.reasons import INCOMPLETE
from worker.report.sync import UntouchedPart, guards_spoken, untouched_parts
from worker.run.access import access_of, shared_rate
from worker.run.directory import RunDirectory, list_runs
from worker.run.lifetime import Lifetime, Stop
from worker.run.links import opened
from worker.run.ownership import owned_links
from worker.run.page import door_of
from worker.run.progress import show_often
from worker.run.removal import removes_single_links
from worker.run.sync import Show, count_untold, decision_on, read_members, untouched_by_input
from worker.settings import Settings
from worker.sources import Source
from worker.supply.ingest import ingest
from worker.tally import Doing, LinkTally, RunTally

_SHOWN = 20


class Preview(BaseModel):
    """What a sync would do, were it begun now.

    Attributes:
        rows: of the input.
        invalid: rows that are no pair.
        add: pairs that are not there yet; the portal may refuse some of them.
        unread: pairs of opportunities whose members could not be read, or that are not found.
        remove: links that would go, or would be withheld; opportunity and contact.
        why_withheld: why nothing would be removed; empty if it would.
        primary: links of primary contacts that would be left.
        emptied: opportunities that would lose all their links.
        untouched: opportunities of which nothing would be removed, by the reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    invalid: int
    add: int
    unread: int
    remove: tuple[tuple[int, int], ...]
    why_withheld: str
    primary: int
    emptied: tuple[int, ...]
    untouched: dict[str, UntouchedPart]

    @property
    def exit_code(self) -> Exit:
        """What the sync would end with, as far as it can be told."""
        if self.why_withheld or INCOMPLETE in self.untouched:
            return Exit.DIFFERENCES
        return Exit.REJECTED if self.invalid else Exit.OK

    def left(self, name: str) -> str:
        """Why the exit code is another than 0, in one line; empty if it is not. ``name`` is the input's."""
        if not self.exit_code:
            return ""
        why = guards_spoken((), 0, self.untouched)
        if self.invalid:
            why.insert(0, f"{self.invalid:,} invalid")
        if self.why_withheld:
            why.insert(0, f"nothing would be removed: {self.why_withheld}")
        return f"{name}: exit code {self.exit_code}: {'; '.join(why)}"

    def lines(self, name: str) -> list[str]:
        """The same in words; ``name`` is the input's."""
        links = f"{counted(self.add, 'link')} to add, {len(self.remove):,} to remove"
        unread = f", {counted(self.unread, 'pair')} that cannot be told" if self.unread else ""
        invalid = f", {counted(self.invalid, 'row')} invalid" if self.invalid else ""
        lines = [f"{name}: {links}{unread}{invalid}"]
        lines += [f"  remove {opportunity},{contact}" for opportunity, contact in self.remove[:_SHOWN]]
        if len(self.remove) > _SHOWN:
            lines.append(f"  and {len(self.remove) - _SHOWN:,} more; --json names all")
        if self.why_withheld:
            lines.append(f"  nothing would be removed: {self.why_withheld}")
        return lines + [f"  {line}" for line in guards_spoken(self.emptied, self.primary, self.untouched)]


def preview(settings: Settings, source: Source, show: Show) -> Preview:
    """Compare an input with the portal.

    Args:
        settings: all options.
        source: the input, open.
        show: called often with the counts so far.

    Raises:
        InputError: the input cannot be read to its end, or has fewer rows than it should.
        WorkerError: the portal refuses us, or has failed for too long.
    """
    single = settings.model_copy(update={"transport": "single"})  # a batch is a POST, whatever is in it
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:
        directory = RunDirectory(Path(folder))
        return Lifetime().run(partial(_preview, directory, single, source, show), lambda: "the same command")


async def _preview(
    directory: RunDirectory, settings: Settings, source: Source, show: Show, _: Stop
) -> Preview:
    tally = LinkTally(unit="opportunities", doing=Doing.READING)
    door = door_of(settings)
    page = None if door is None else Page("sync --dry-run", source.name, settings.portal or "", door)
    access = access_of(directory, settings, shared_rate(settings))
    found: list[Surplus] = []
    add = unread = 0

    def note(members: MemberList, desired: AbstractSet[int]) -> None:
        nonlocal add, unread
        tally.done += 1
        found.append(surplus(members, desired))
        if members.trouble:
            unread += len(desired)
        else:
            add += len(desired - members.found.keys())

    async def nothing(_: int) -> None:
        """Nobody waits for rows."""

    rows = RunTally()
    async with Ledger(directory.ledger, create=True) as ledger:
        await ledger.put_meta(
            run_id="preview", portal=settings.portal, input_path="", input_name="", settings={}
        )
        await ingest(source, ledger, nothing, rows, settings.limit)
        if rows.rows < (settings.min_rows or 0):
            raise TooFewRows(source.name, rows.rows, settings.min_rows or 0)
        with LedgerReader(directory.ledger) as reader:
            untouched = dict(untouched_by_input(reader, reader.facts()))
            untold = count_untold(reader, reader.facts())
            tally.total = sum(1 for _ in named_opportunities(reader))
            async with opened(access, tally, show, page=page) as (site, _log):
                if settings.prune is not None:
                    await removes_single_links(site)
                beside = [partial(show_often, tally, show, site.limiter)]
                await read_members(reader, site, (), note, beside)
    runs = list_runs(settings.runs_dir)
    decision = Decision(0, ())
    if settings.prune is not None:
        named = [one for one in found if one.opportunity_id not in untouched]
        kept = [Surplus(one, untouched=why) for one, why in untouched.items()]
        decision = await decision_on(
            [*named, *kept],
            settings.prune,
            lambda keys: owned_links(runs, settings.portal or "", keys, lambda _: None),
            unlinked=0,
            untold=untold,
            allowed=settings.allow_removals,
        )
    return Preview(
        rows=rows.rows,
        invalid=rows.settled[Status.INVALID],
        add=add,
        unread=unread,
        remove=tuple((one.opportunity_id, one.contact_id) for one in decision.removals),
        why_withheld=decision.withheld,
        primary=decision.primary,
        emptied=decision.emptied,
        untouched=untouched_parts(decision.untouched),
    )
