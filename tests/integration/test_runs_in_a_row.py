"""Random rows of runs, syncs, rollbacks, merged reports, kills and edits by others: nobody's link is lost.

What each says of the portal right after is true, and none removes what somebody else has made. All of the
product but its sockets is at work, as in ``test_others_meanwhile``.
"""

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.test_others_meanwhile import IN_MEMORY, QUICK, SOON, patched
from tests.simulated import BASE, InProcess, Link
from worker.run.access import access_of
from worker.run.directory import RunDirectory
from worker.run.files import audit_run, write_files
from worker.run.lifetime import Lifetime
from worker.run.report import merge_runs
from worker.run.resume import start as resume
from worker.run.rollback import roll_back
from worker.run.run import complete, start
from worker.run.session import Session
from worker.run.sync import Pruning, new_pruning, pruning_of, sync_facts
from worker.run.verify import verify
from worker.settings import Settings, load_settings
from worker.simulator import Edit, Holdings, Scenario

OPPORTUNITIES, CONTACTS = 3, 4
EVERY = [(o, c) for o in range(1, OPPORTUNITIES + 1) for c in range(1, CONTACTS + 1)]
HAND = "hand"

Links = set[Link]


class KilledError(BaseException):
    """The process is gone, in the middle of a request."""


@dataclass
class World:
    """A portal, a folder of runs, and what each of them did there."""

    portal: InProcess
    folder: Path
    transport: str
    calls_left: int | None = None

    @property
    def held(self) -> Links:
        return set(self.portal.held)

    def by_hand(self, link: Link) -> None:
        """Somebody else makes a link, or removes it if it is there."""
        do: Any = "unlink" if link in self.held else "link"
        self.portal.app._others._make(Edit(do=do, opportunity=link[0], contact=link[1], at_call=0))

    def run(self, name: str, links: Links) -> None:
        session = self._start(name, links)
        complete(session, lambda _: None)

    def sync(self, name: str, links: Links, prune: str = "all") -> None:
        settings = self._settings(run_id=name, prune=prune)
        session = self._start(name, links, prune=prune)
        assert settings.prune is not None
        self._complete(session, new_pruning(session.directory, settings, settings.prune, None))

    def resume(self, name: str) -> None:
        settings, directory = self._settings(), self.directory(name)
        session = resume(directory, settings, lambda: settings)
        self._complete(session, pruning_of(directory, settings))

    def roll_back(self, name: str) -> None:
        settings, directory = self._settings(), self.directory(name)
        roll_back(directory, settings, access_of(directory, settings, None), lambda _: None)

    def merge(self, name: str, *names: str) -> None:
        settings = self._settings(run_id=name)
        write_files(merge_runs(settings, [self.directory(one) for one in names], lambda _: None))

    def odd(self, name: str) -> dict[Link, str]:
        """What a run says of links that is not so."""
        settings, directory = self._settings(), self.directory(name)
        verify(directory, settings, access_of(directory, settings, None), lambda _: None)
        assert audit_run(directory) == []
        with (directory.path / "verify.csv").open(newline="") as file:
            return {
                (int(row["opportunity_id"]), int(row["contact_id"])): row["_reason"]
                for row in csv.DictReader(file)
            }

    def directory(self, name: str) -> RunDirectory:
        return RunDirectory(self.folder / "runs" / name)

    def killed_after(self, calls: int | None, step: Callable[[], None]) -> bool:
        """Do something; the process is killed after so many calls, if it has that many."""
        self.calls_left = calls
        try:
            step()
        except KilledError:
            return True
        finally:
            self.calls_left = None
        return False

    async def call(self, *args: Any, **named: Any) -> Any:
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise KilledError
        return await self.portal.call(*args, **named)

    def _settings(self, **more: object) -> Settings:
        options = {
            "portal": BASE,
            "token": "demo-token",
            "rate": "100000/s",
            "transport": self.transport,
            "runs_dir": self.folder / "runs",
            "give_up_after": 2.0,
        }
        return load_settings({**options, **more})

    def _start(self, name: str, links: Links, **more: object) -> Session:
        rows = "".join(f"{opportunity},{contact}\n" for opportunity, contact in sorted(links))
        path = self.folder / "pairs.csv"
        path.write_text(f"opportunity_id,contact_id\n{rows}")
        settings = self._settings(run_id=name, **more)
        facts = sync_facts(settings) if more else {}
        return start(settings, str(path), lambda: settings, facts)

    def _complete(self, session: Session, pruning: Pruning | None) -> None:
        def prune(lifetime: Lifetime) -> None:
            if pruning is not None:
                pruning.run(lifetime, lambda _: None)

        complete(session, lambda _: None, prune)


@contextmanager
def world(before: Links | frozenset[Link] = frozenset(), transport: str = "auto") -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as name:
        holdings = Holdings(opportunities=OPPORTUNITIES, contacts=CONTACTS, linked=frozenset(before))
        portal = InProcess(Scenario(portal=holdings))
        made = World(portal, Path(name), transport)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("BULKLINK_")}
        patches = {
            **SOON,
            "worker.run.access.tls_context": lambda *_, **__: None,  # nobody is called
            "worker.portal.client.Http": lambda *_, **__: _Door(made),
        }
        with patch.dict(os.environ, clean, clear=True), patched(patches):
            yield made


class _Door:
    """The portal of a world, as the product comes to it."""

    def __init__(self, made: World) -> None:
        self._made = made
        self.call = made.call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made.portal, name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is no connection to be closed."""


def test_a_run_that_is_merged_with_one_that_was_rolled_back_is_told_of_as_it_is() -> None:
    with world() as made:
        made.run("a", {(1, 1), (1, 2)})
        made.roll_back("a")
        made.run("b", {(1, 1), (1, 3)})
        made.merge("both", "a", "b")
        assert made.odd("both") == {}
        with (made.directory("both").path / "linked.csv").open() as file:
            assert [row["contact_id"] for row in csv.DictReader(file)] == ["1", "3"]
        made.roll_back("both")
        assert (made.held, made.odd("both")) == (set(), {})


def test_a_link_that_the_rollback_of_another_run_removed_is_in_no_list_of_links() -> None:
    with world() as made:
        made.run("a", {(1, 1), (1, 2)})
        made.run("b", {(1, 1)})
        made.roll_back("a")
        made.merge("both", "a", "b")
        assert made.odd("both") == {}
        assert (made.directory("both").path / "linked.csv").read_text().count("\n") == 1


def test_a_sync_leaves_what_somebody_made_after_a_merged_run_was_rolled_back() -> None:
    with world() as made:
        made.run("a", {(1, 1), (1, 2)})
        made.run("b", {(2, 2)})
        made.merge("both", "a", "b")
        made.roll_back("both")
        made.by_hand((1, 2))
        made.sync("c", {(1, 1)}, "own")
        assert made.held == {(1, 1), (1, 2)}


@pytest.mark.parametrize("other", ["a run", "somebody"])
def test_a_rollback_leaves_a_link_that_was_removed_and_made_anew_since(other: str) -> None:
    with world() as made:
        made.run("a", {(1, 1), (1, 2)})
        made.sync("b", {(1, 1)})
        if other == "a run":
            made.run("c", {(1, 2)})
        else:
            made.by_hand((1, 2))
        made.roll_back("a")
        assert made.held == {(1, 2)}
        if other == "a run":
            assert made.odd("c") == {}
            made.roll_back("c")
            made.roll_back("a")
            assert (made.held, made.odd("a")) == (set(), {})


@pytest.mark.parametrize("calls", range(2, 8))
def test_a_rollback_leaves_what_another_run_made_between_a_kill_and_its_resume(calls: int) -> None:
    """The killed one was about to ask for it, and the other one saw that it was not there."""
    links = {(1, 1), (1, 2), (1, 3)}
    with world(transport="single") as made:
        made.killed_after(calls, lambda: made.run("a", links))
        by_it = made.held
        made.run("b", links)
        made.resume("a")
        made.roll_back("a")
        assert made.held == links - by_it
        made.roll_back("b")
        assert made.held == set()


@pytest.mark.parametrize(
    "runs", ["sync run", "sync run undo", "sync run sync", "sync sync", "run sync run", "sync undo run"]
)
@pytest.mark.parametrize("there", [True, False])
def test_what_was_there_before_all_that_are_merged_is_there_after_their_rollback(
    runs: str, *, there: bool
) -> None:
    before = {(1, 1), (1, 2)} if there else {(1, 1)}
    with world(before) as made:
        names: list[str] = []
        for what in runs.split():
            if what == "undo":
                made.roll_back(names[-1])
                continue
            names.append(f"{len(names)}")
            (made.sync if what == "sync" else made.run)(names[-1], {(1, 1)} if what == "sync" else {(1, 2)})
        made.merge("all", *names)
        assert made.odd("all") == {}
        made.roll_back("all")
        assert (made.held, made.odd("all")) == (before, {})


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done.

    Attributes:
        links: of the input.
        which: of the runs before, if it is about one, and which link, if it is by hand.
        calls: after which the process is killed.
    """

    what: str
    links: frozenset[Link] = frozenset()
    which: int = 0
    calls: int | None = None


steps = st.builds(
    Step,
    what=st.sampled_from(("run", "sync own", "sync all", "sync all", "undo", "undo", "go on", "merge", HAND)),
    links=st.frozensets(st.sampled_from(EVERY), min_size=1, max_size=8),
    which=st.integers(0, 11),
    calls=st.sampled_from((None, None, 3, 5, 8, 13, 21)),
)


class Told:
    """A world, and who did what there, step by step."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.maker: dict[Link, str] = {}
        self._before: dict[Link, str] = {}
        self._unlinked: dict[Link, str] = {}
        self.changes: list[tuple[int, Link, str]] = []
        self.began: dict[str, tuple[int, Links]] = {}
        self.parts: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.killed: set[str] = set()
        self.now = 0

    def do(self, step: Step) -> None:
        self.now += 1
        runs = [name for name in self.began if name != HAND]
        name = f"{self.now}"
        if step.what == HAND:
            self._noted(HAND, lambda: self.made.by_hand(EVERY[step.which]))
        elif step.what == "run" or step.what.startswith("sync"):
            self._began(name, step)
        elif step.what == "go on" and self.killed:
            name = sorted(self.killed)[step.which % len(self.killed)]
            self._work(name, step.calls, lambda: self.made.resume(name))
        elif step.what == "undo" and runs:
            self._undone(runs[step.which % len(runs)], step.calls)
        elif step.what == "merge" and len(single := [one for one in runs if one not in self.parts]) > 1:
            parts = tuple(single[-3:])
            self.made.merge(name, *parts)
            self.parts[name] = self.now, parts
            self.began[name] = min(self.began[part] for part in parts)
            self._assert_true(name)

    def _began(self, name: str, step: Step) -> None:
        links, maker = set(step.links), dict(self.maker)
        _, _, prune = step.what.partition(" ")
        work = partial(self.made.sync, prune=prune) if prune else self.made.run
        held = self.made.held
        self._work(name, step.calls, lambda: work(name, links))
        for gone in held - self.made.held:
            assert prune, f"{gone} was removed by a run"
            assert gone not in links, f"{gone} is in the file"
            assert gone[0] in {opportunity for opportunity, _ in links}, f"{gone} is of another opportunity"
            assert prune == "all" or maker.get(gone, HAND) != HAND, f"{gone} was not ours"

    def _work(self, name: str, calls: int | None, work: Callable[[], None]) -> None:
        killed = self._noted(name, work, calls)
        if not self.made.directory(name).ledger.exists():
            del self.began[name]
        elif killed:
            self.killed.add(name)
        else:
            self.killed.discard(name)
            self._assert_true(name)

    def _undone(self, name: str, calls: int | None) -> None:
        at, parts = self.parts.get(name, (0, ()))
        maker, changes, held = dict(self.maker), list(self.changes), self.made.held
        killed = self._noted(name, lambda: self.made.roll_back(name), calls, undoes=True)
        for gone in held - self.made.held:
            assert maker.get(gone) in {name, *parts}, f"{gone} was made by {maker.get(gone)}"
        if killed:
            return
        self._assert_true(name)
        since, before = self.began[name]
        for link in EVERY:
            about = [(when, who) for when, one, who in changes if one == link and when >= since]
            if all(who == name or (who in parts and when < at) for when, who in about):
                assert (link in self.made.held) == (link in before), f"{link} is not as it was: {about}"

    def _noted(
        self, who: str, work: Callable[[], None], calls: int | None = None, *, undoes: bool = False
    ) -> bool:
        before = self.made.held
        self.began.setdefault(who, (self.now, before))
        killed = self.made.killed_after(calls, work)
        after = self.made.held
        for link in before - after:
            self._before[link] = self.maker.pop(link, HAND)
            self._unlinked[link] = who
        for link in after - before:
            # What is made again is whose it was; so is, for all that we can know, what a hand puts back.
            again = undoes or who == HAND == self._unlinked.get(link)
            self.maker[link] = self._before.get(link, who) if again else who
        # Of what was being undone or removed when it was killed, nobody knows what is true.
        doubtful = before ^ after if undoes else before - after
        self.changes += [
            (self.now, link, f"{who}?" if killed and link in doubtful else who) for link in before ^ after
        ]
        return killed

    def _assert_true(self, name: str) -> None:
        """What it says of links that is not so, others have made not so since."""
        at, parts = self.parts.get(name, (0, ()))
        for link, word in self.made.odd(name).items():
            last = [(when, who) for when, one, who in self.changes if one == link]
            assert last, f"{name} says that {link} is {word}"
            when, who = last[-1]
            assert who != name, f"{name} says that {link} is {word}"
            assert not (who in parts and when < at), f"{name} says that {link} is {word}"


def tell(before: frozenset[Link], transport: str, row: list[Step]) -> None:
    with world(before, transport) as made:
        told = Told(made)
        for step in row:
            told.do(step)


rows = given(
    before=st.frozensets(st.sampled_from(EVERY), max_size=6),
    transport=st.sampled_from(("auto", "single")),
    row=st.lists(steps, min_size=2, max_size=7),
)


@settings(QUICK, max_examples=12)
@rows
def test_nobody_loses_a_link_and_what_is_said_is_true(
    before: frozenset[Link], transport: str, row: list[Step]
) -> None:
    tell(before, transport, row)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(QUICK, max_examples=1000)
@rows
def test_nobody_loses_a_link_and_what_is_said_is_true_over_a_thousand_rows(
    before: frozenset[Link], transport: str, row: list[Step]
) -> None:
    tell(before, transport, row)
