"""Do what a plan says: look again whether it still holds, then begin a run over exactly its links."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import worker
from worker.dashboard.about import Page
from worker.dispatch import Finished
from worker.errors import OutageError, StalePlan, UsageError, WorkerError
from worker.ledger import (
    Ledger,
    LedgerReader,
    Planned,
    check,
    contacts_to_link,
    copy_plan,
    first_lines_of,
    planned,
)
from worker.models import Outcome, Result, Status
from worker.operations.base import Operation
from worker.quantities import counted
from worker.report.plan import Plan, build_plan
from worker.run.access import Access, access_of, beside, shared_rate
from worker.run.directory import RunDirectory, new_run
from worker.run.lifetime import Lifetime, Stop
from worker.run.links import carry_out, go_through, offer_all, opened
from worker.run.page import door_of, live_page
from worker.run.plan import AGAIN, file_digest, question
from worker.run.progress import show_now, show_often
from worker.run.refusals import refuse_other_portal
from worker.run.retry import saved_for_retry
from worker.run.run import claim_input, session_of
from worker.run.session import Session
from worker.settings import Settings
from worker.site import Site
from worker.supply.admitted import AdmittedInput
from worker.tally import Doing, LinkTally

if TYPE_CHECKING:
    from worker.host import Claim

_OF_THE_PLAN = ("limit", "min_rows", "columns", "delimiter", "sheet")
"""Options about an input, which was read when the plan was made."""

HOLDS = "What was planned still holds. Next, its links are made."
"""What a live page says between the second look and the links."""

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """A plan that is what was planned.

    Attributes:
        directory: of the plan.
        facts: what its ledger says.
    """

    directory: RunDirectory
    plan: Plan
    facts: Mapping[str, Any]

    @property
    def saved(self) -> dict[str, Any]:
        """The options that it was made with, but for those that are about the reading."""
        return saved_for_retry(self.facts)


def find_plan(path: Path, runs_dir: Path, given: Mapping[str, Any]) -> FoundPlan:
    """Read a plan, and make sure that it says what was planned, about the input that is still there.

    Args:
        path: of plan.json; its ledger is beside it, or in the folder of runs.
        runs_dir: that folder.
        given: options of the command line.

    Raises:
        UsageError: an option is given that was the plan's to have, or the plan's ledger is not there.
        StalePlan: the plan was changed since it was written, or the input was.
        LedgerError: the plan's ledger is damaged.
    """
    for name in _OF_THE_PLAN:
        if given.get(name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')}: give it to 'bulklink plan'; a plan is done as it is"
            )
    said = _read(path)
    directory = _directory_of(path, runs_dir, str(said.get("plan_id", "")))
    with LedgerReader(directory.ledger) as reader:
        facts = reader.facts()
        if "planned" not in facts:
            raise StalePlan(f"{path}: no plan was made in {directory.path}; plan again")
        check(reader, directory.ledger)
        plan = build_plan(reader)
    if said != json.loads(plan.to_json()):
        raise StalePlan(
            f"{path}: it is not what was planned: it, or {directory.ledger}, was changed since; nothing was"
            " sent; plan again"
        )
    _refuse_other_input(path, plan)
    return FoundPlan(directory, plan, facts)


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise StalePlan(f"{path}: it is no plan any more; nothing was sent; plan again")
    return said


def _directory_of(path: Path, runs_dir: Path, plan_id: str) -> RunDirectory:
    for folder in (path.resolve().parent, runs_dir / Path(plan_id).name):
        if (folder / "ledger.db").is_file():
            return RunDirectory(folder)
    raise UsageError(f"{path}: the ledger of the plan is neither beside it nor in {runs_dir}")


def _refuse_other_input(path: Path, plan: Plan) -> None:
    if plan.input.path is None:
        return
    now = file_digest(Path(plan.input.path))
    if now != plan.input.sha256:
        what = "is not what it was" if now else "is not there any more"
        raise StalePlan(
            f"{path}: {plan.input.path} {what} when this was planned; nothing was sent; plan again"
        )


def start(
    found: FoundPlan,
    settings: Settings,
    reload: Callable[[], Settings],
    show: Callable[[LinkTally], None],
) -> Session:
    """Look again at all that a plan names, and make ready a run over the links that it says are to be made.

    Args:
        found: the plan.
        settings: all options.
        reload: gives the settings as they stand now, for SIGHUP.
        show: called often with how far the look is.

    Raises:
        UsageError: another portal is named, or no shared rate if the plan had one.
        LockedError: another run links the same input just now.
        StalePlan: the portal has changed since, in a way that matters.
        OutageError: the portal did not tell.
        WorkerError: it refuses us, or has failed for too long; or a file cannot be written.
    """
    refuse_other_portal(found.directory, settings, found.facts)
    rate = shared_rate(settings)
    directory, lock = new_run(settings.runs_dir, settings.run_id)
    claim: Claim | None = None
    try:
        if found.plan.input.path is not None:
            claim = claim_input(found.plan.input.path, directory, settings)
        copy_plan(directory.ledger, found.directory.ledger)
        check_again = _Recheck(found, directory, access_of(directory, settings, rate), settings, show)
        Lifetime().run(check_again.run, lambda: AGAIN)
        with LedgerReader(directory.ledger) as reader:
            states = reader.counts()
    except WorkerError:
        directory.discard()
        lock.release()
        if claim is not None:
            claim.release()
        raise
    input_ = AdmittedInput(
        found.directory.path,
        {"input_name": found.facts["input_name"], "input_kind": "plan"},
        look_first=settings.existing == "check",
        claim=claim,
    )
    session = session_of(directory, lock, settings, input_, rate=rate, fresh=True, reload=reload)
    session.door = check_again.door
    session.tally.rows = sum(states.values())
    # Without a link to be made there is nothing that the session would be waited for; it begins all the same.
    session.tally.complete = bool(states[Status.NOT_ATTEMPTED])
    session.tally.settled.update({s: n for s, n in states.items() if s is not Status.NOT_ATTEMPTED})
    return session


class _Recheck:
    """The second look at what a plan names; what is there as planned is settled in the ledger of the run."""

    def __init__(
        self,
        found: FoundPlan,
        directory: RunDirectory,
        access: Access,
        settings: Settings,
        show: Callable[[LinkTally], None],
    ) -> None:
        self._plan = found
        self._directory = directory
        self._access = access
        self._settings = settings
        self._show = show
        self._tally = LinkTally(unit="planned links")
        self._changes: list[tuple[Planned, str]] = []
        self._missing: list[int] = []
        self._untold = 0
        self.door = door_of(settings)
        """Where the live page is, or was; it goes on with the run."""

    async def run(self, _: Stop) -> None:
        """Look, and settle.

        Raises:
            StalePlan: it does not hold any more.
            OutageError: the portal did not tell whether it does.
        """
        async with Ledger(self._directory.ledger, create=False) as ledger:
            self._ledger = ledger
            await ledger.begin_session()
            await ledger.describe_session(worker.__version__, self._settings.to_save())
            started = time.monotonic()
            observers = [ledger.note]
            page = None
            if self.door is not None:
                name, portal = self._plan.facts["input_name"], self._settings.portal or ""
                page = Page(self._directory.run_id, name, portal, self.door)
            async with (
                live_page(page, self._tally, self._tell, self._show) as live,
                opened(self._access, self._tally, self._show, observers) as (site, log),
            ):
                if live is not None:
                    live.site = site
                async with beside(partial(show_often, self._tally, self._show, site.limiter)):
                    await self._ask(site)
                await ledger.beat(time.monotonic() - started, site.limiter.paused_seconds)
                log.info("plan.checked", plan=self._plan.plan.plan_id, changes=len(self._changes))
                if live is not None:
                    live.goes_on = "" if self._changes or self._untold else HOLDS
                    self.door = live.door
            await ledger.end_session(0, "looked again at what was planned")
        self._conclude()

    def _tell(self, note: str) -> None:
        self._tally.note = note
        show_now(self._tally, self._show)

    async def _ask(self, site: Site) -> None:
        counts = self._plan.plan.counts
        self._tally.total = counts["to_link"] + counts["already_linked"]
        with LedgerReader(self._plan.directory.ledger) as reader:
            await go_through(planned(reader), site, self._compare)
            self._tally.begin(Doing.ASKING, "contacts", sum(1 for _ in contacts_to_link(reader)))
            questions = map(question, contacts_to_link(reader))
            await carry_out(partial(offer_all, questions, site), site, self._exist)
            self._changes += [
                (one, f"contact {contact_id} of line {one.line}")
                for contact_id, one in first_lines_of(reader, self._missing).items()
            ]

    async def _compare(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        there: list[Outcome] = []
        for _, told in finished:
            links: tuple[Planned, ...] = told.about
            self._tally.done += len(links)
            if not told.is_told:
                self._untold += len(links)
            elif told.last.result is Result.PERMANENT:
                first = min(links, key=lambda one: one.row)
                self._changes.append((first, f"opportunity {first.opportunity_id} of line {first.line}"))
            else:
                for one in links:
                    body = told.last.found.get(one.contact_id)
                    if one.there and body is None:
                        ids = f"{one.opportunity_id},{one.contact_id}"
                        self._changes.append((one, f"the link {ids} of line {one.line}"))
                    elif one.there and body is not None:
                        http_status = told.last.http_status
                        there.append(
                            Outcome(one.pair, Status.ALREADY_LINKED, (), http_status=http_status, found=body)
                        )
        if there:
            await self._ledger.settle(there)
        return ()

    async def _exist(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        self._missing += [one.entity.id for _, one in finished if one.there is False]
        self._tally.done += len(finished)
        return ()

    def _conclude(self) -> None:
        plan_id = self._plan.plan.plan_id
        if self._changes:
            changes = [what for _, what in sorted(self._changes, key=lambda change: change[0].row)]
            more = len(changes) - _SHOWN
            said = ", ".join(changes[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
            verb = "is" if len(changes) == 1 else "are"
            raise StalePlan(
                f"plan {plan_id} does not hold any more: {said} {verb} gone or hidden since;"
                " nothing was sent; plan again"
            )
        if self._untold:
            raise OutageError(
                f"plan {plan_id}: the portal did not tell of {counted(self._untold, 'link')};"
                " nothing was sent; try again"
            )
