"""Random portals, inputs, faults, edits by others: run and verify claim what is true, a rollback undoes it.

All of the product but its sockets is at work: ledger, files, retries, batches. The portal is the simulator,
asked in this process, so that each moment of it is known.
"""

import csv
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from tests.simulated import BASE, InProcess, Link
from worker.errors import WorkerError
from worker.operations.policy import RetryPolicy
from worker.run.access import Access, access_of
from worker.run.directory import RunDirectory
from worker.run.files import audit_run
from worker.run.rollback import roll_back
from worker.run.run import complete, start
from worker.run.verify import verify
from worker.settings import Settings, load_settings
from worker.simulator import Edit, Fault, Holdings, Scenario
from worker.simulator.trouble import FaultOn, TroubleKind

if TYPE_CHECKING:
    from worker.simulator.edits import EditKind

OPPORTUNITIES, CONTACTS = 4, 6
SOON = {
    "worker.run.access.RetryPolicy": partial(RetryPolicy, base=0.0),
    "worker.limits.outage.FIRST_WAIT": 0.001,
    "worker.limits.outage.LONGEST_WAIT": 0.002,
    "worker.limits.limiter.FLOOR": 0.001,
    "worker.operations.base.LOST_WAITS": (0.0, 0.0),
    "worker.portal.tries.FIRST_PAUSE": 0.001,
    "worker.site.GATHER": 0.0,
}
"""Waits, none of which may cost time here."""

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a disk would cost most of the time, and is at fault elsewhere

links = st.tuples(st.integers(1, OPPORTUNITIES), st.integers(1, CONTACTS))


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    """What others do at some call; there are some twenty in a run, and as many in what follows."""
    opportunity, contact = draw(links)
    kinds: tuple[EditKind, ...] = ("link", "unlink", "unlink", "delete", "hide", "show")
    do = draw(st.sampled_from(kinds))
    if do not in {"link", "unlink"}:
        opportunity, contact = draw(st.sampled_from(((opportunity, 0), (0, contact))))
    return Edit(do=do, opportunity=opportunity, contact=contact, at_call=draw(st.integers(1, 70)))


ANSWERS: tuple[TroubleKind, ...] = ("status", "reset", "truncated", "html_200", "wrong_id")
WRONG: Mapping[FaultOn, tuple[TroubleKind, ...]] = {
    "post": ANSWERS,
    "delete": ANSWERS,
    "get": ANSWERS,
    "batch": ("status", "reset", "truncated", "missing_item", "cut_items", "broken_item"),
}
"""What may go wrong with what."""


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    """What goes wrong with a share of the requests, each time they are made, or only at first."""
    on = draw(st.sampled_from(tuple(WRONG)))
    kind = draw(st.sampled_from(WRONG[on]))
    return Fault(
        kind=kind,
        on=on,
        share=draw(st.sampled_from((0.2, 0.5, 1.0))),
        per_pair=draw(st.integers(1, 3)),
        after_store=draw(st.sampled_from((None, True))),
        items_done=draw(st.sampled_from((None, -1))) if on == "batch" else None,
    )


@dataclass(frozen=True, slots=True)
class Story:
    """A portal, what is to be linked there, and what comes between.

    Attributes:
        rows: pairs of the input; ids beyond what the portal holds are nobody's.
        before: links that are there when the run begins.
        edits: what others do.
        faults: what goes wrong.
        seed: of those.
        transport: how pairs travel.
    """

    rows: list[Link]
    before: frozenset[Link]
    edits: tuple[Edit, ...] = ()
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    transport: str = "auto"

    @property
    def scenario(self) -> Scenario:
        holdings = Holdings(opportunities=OPPORTUNITIES, contacts=CONTACTS, linked=self.before)
        return Scenario(seed=self.seed, portal=holdings, faults=self.faults, edits=self.edits)


stories = st.builds(
    Story,
    rows=st.lists(
        st.tuples(st.integers(1, OPPORTUNITIES + 1), st.integers(1, CONTACTS + 1)), min_size=1, max_size=20
    ),
    before=st.frozensets(links, max_size=12),
    edits=st.lists(edits(), max_size=6).map(tuple),
    faults=st.lists(faults(), max_size=3).map(tuple),
    seed=st.integers(0, 1000),
    transport=st.sampled_from(("auto", "single")),
)


@dataclass
class Work:
    """A run with what follows it, and what its files say."""

    portal: InProcess
    settings: Settings
    folder: Path
    directory: RunDirectory = field(init=False)

    def run(self) -> None:
        session = start(self.settings, str(self.folder / "pairs.csv"), lambda: self.settings)
        self.directory = session.directory
        complete(session, lambda _: None)

    def verify(self) -> None:
        verify(self.directory, self.settings, self._access(), lambda _: None)

    def roll_back(self) -> None:
        roll_back(self.directory, self.settings, self._access(), lambda _: None)

    def _access(self) -> Access:
        return access_of(self.directory, self.settings, None)

    def told(self, name: str, column: str = "_status") -> dict[Link, str]:
        """What a file of the run says of each pair."""
        with (self.directory.path / name).open(newline="") as file:
            return {
                (int(row["opportunity_id"]), int(row["contact_id"])): row[column]
                for row in csv.DictReader(file)
            }


@contextmanager
def working(story: Story) -> Iterator[Work]:
    """The run of a story, not begun."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as name:
        folder, portal = Path(name), InProcess(story.scenario)
        rows = "".join(f"{opportunity},{contact}\n" for opportunity, contact in story.rows)
        (folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
        options = {
            "portal": BASE,
            "token": "demo-token",
            "rate": "100000/s",
            "transport": story.transport,
            "runs_dir": folder / "runs",
            "run_id": "one",
            "give_up_after": 2.0,
        }
        clean = {key: value for key, value in os.environ.items() if not key.startswith("BULKLINK_")}
        patches = {**SOON, "worker.portal.client.Http": lambda *_, **__: portal}
        with patch.dict(os.environ, clean, clear=True), patched(patches):
            yield Work(portal, load_settings(options), folder)


@contextmanager
def patched(values: Mapping[str, object]) -> Iterator[None]:
    with ExitStack() as stack:
        for target, value in values.items():
            stack.enter_context(patch(target, value))
        yield


def by_others(before: frozenset[Link], made: Sequence[Edit]) -> frozenset[Link]:
    """What the portal would hold if only they had been there."""
    held = set(before)
    for edit in made:
        pair = edit.opportunity, edit.contact
        if edit.do == "link":
            held.add(pair)
        elif edit.do == "unlink":
            held.discard(pair)
        elif edit.do == "delete":
            held = {link for link in held if link[0] != edit.opportunity and link[1] != edit.contact}
    return frozenset(held)


def is_about(edit: Edit, pair: Link) -> bool:
    return edit.opportunity in {0, pair[0]} and edit.contact in {0, pair[1]}


def tell_and_undo(story: Story) -> None:
    with working(story) as work:
        portal = work.portal
        if not done(work.run):
            return
        claimed = work.told("linked.csv")
        for pair, state in claimed.items():
            assert any(pair in moment for moment in portal.moments), f"{pair} is called {state} and never was"
        for pair in work.told("rejected.csv"):
            # What is worth another try may well be there: nobody was told.
            assert not all(pair in moment for moment in portal.moments), f"{pair} is rejected, and there"

        del portal.moments[:-1]
        if done(work.verify):
            odd = work.told("verify.csv", "_reason")
            for pair in claimed:
                said = odd.get(pair, "there")
                was = {pair in moment for moment in portal.moments}
                assert said == "unread" or (said == "there") in was, f"verify says {said} of {pair}"
            assert set(odd) <= set(claimed)

        is_over = done(work.roll_back) and not {"kept", "failed"} & set(work.told("rollback.csv").values())
        portal.calm_down()
        if not is_over:
            work.roll_back()  # nothing is in its way any more
        assert audit_run(work.directory) == []
        assert_undone(story, work)


def done(step: Callable[[], None]) -> bool:
    """Whether it came to its end; what the portal does may have kept it from that."""
    try:
        step()
    except WorkerError as error:
        event(f"{step.__name__}: {type(error).__name__}")
        return False
    return True


def assert_undone(story: Story, work: Work) -> None:
    portal = work.portal
    made = portal.edits
    undone = work.told("rollback.csv")
    left = by_others(story.before, made)
    for pair in {(o, c) for o in range(1, OPPORTUNITIES + 1) for c in range(1, CONTACTS + 1)}:
        about = [edit for edit in made if is_about(edit, pair)]
        is_there = pair in portal.held
        if pair in portal.removed:
            # Between our look and our POST somebody may make the link: then nobody can tell whose it is.
            assert pair in portal.made or any(edit.do == "link" for edit in about), f"{pair} was not ours"
        if pair not in story.rows or not about:
            kept = undone.get(pair) in {"kept", "failed"}
            assert is_there == (pair in left) or (kept and is_there), f"{pair} is not as it was: {undone}"
        if pair in story.before and not any(edit.do in {"unlink", "delete"} for edit in about):
            assert is_there, f"{pair} was there before"
        if undone.get(pair) == "removed" and not any(edit.do == "link" for edit in about):
            # If no answer came to the removal, and it is hidden from the look then, nobody knows.
            unheard = any(edit.do == "hide" for edit in about) and any(
                fault.on != "get" for fault in story.faults
            )
            assert not is_there or unheard, f"{pair} is said to be removed"


# A case takes a third of a second: to make one smaller would take minutes.
QUICK = settings(
    phases=[Phase.explicit, Phase.generate],
    print_blob=False,
)


@settings(QUICK, max_examples=12)
@given(story=stories)
def test_what_is_claimed_is_true_and_a_rollback_leaves_what_others_did(story: Story) -> None:
    tell_and_undo(story)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(QUICK, max_examples=1000)
@given(story=stories)
def test_what_is_claimed_is_true_over_a_thousand_stories(story: Story) -> None:
    tell_and_undo(story)
