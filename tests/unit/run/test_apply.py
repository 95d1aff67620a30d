"""A plan is carried out only if it is what was planned, and input and portal are what they were."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run.served import lack, served, set_up
from worker.errors import Exit, LockedError, OutageError, StalePlan, UsageError, WorkerError
from worker.report.build import Report
from worker.run.apply import find_plan, start
from worker.run.directory import RunDirectory
from worker.run.files import audit_run
from worker.run.plan import make_plan
from worker.run.report import merge_runs
from worker.run.resume import start as resume
from worker.run.retry import start as retry
from worker.run.run import complete
from worker.settings import load_settings
from worker.simulator import Fault, Holdings, Portal

PAIRS = "opportunity_id,contact_id\n1,1\n1,2\n2,3\n2,3\nx,3\n7,1\n"
BEFORE = {(1, 2)}


@pytest.fixture(scope="module")
def one_portal() -> Iterator[Portal]:
    with served() as portal:
        yield portal


class World:
    """A plan that was made, and what may happen to it."""

    def __init__(self, portal: Portal, folder: Path) -> None:
        self.portal = portal
        self.folder = folder
        self.runs = folder / "runs"
        self.input = folder / "pairs.csv"
        self.path = self.runs / "p" / "plan.json"
        self.flags: dict[str, Any] = {
            "portal": portal.url,
            "token": "demo-token",
            "rate": "2000/s",
            "transport": "single",
            "runs_dir": str(self.runs),
        }

    def plan(self) -> None:
        self.input.write_text(PAIRS)
        make_plan(load_settings({**self.flags, "run_id": "p"}), str(self.input), lambda _: None)

    def carry_out(self, **more: Any) -> Report:
        flags = {**self.flags, "run_id": "r", **more}
        found = find_plan(self.path, self.runs, flags)
        told = load_settings(flags, found.saved)
        return complete(start(found, told, lambda: told, lambda _: None), lambda _: None)

    def refused(self, error: type[WorkerError], **more: Any) -> str:
        """Why; nothing was sent, and nothing is left of the run."""
        posts = self.portal.books.posts
        with pytest.raises(error) as caught:
            self.carry_out(**more)
        assert self.portal.books.posts == posts
        assert not (self.runs / more.get("run_id", "r")).exists()
        return str(caught.value)


@pytest.fixture
def world(one_portal: Portal, tmp_path: Path) -> World:
    one_portal.faults = ()
    set_up(one_portal, BEFORE, without=({7}, set()))
    made = World(one_portal, tmp_path)
    made.plan()
    return made


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))


def test_the_run_does_what_is_planned_and_names_the_plan(world: World) -> None:
    report = world.carry_out()
    assert {state: count for state, count in report.counts.items() if count} == {
        "rows": 6,
        "linked": 2,
        "already_linked": 1,
        "duplicate": 1,
        "invalid": 1,
        "rejected": 1,
    }
    assert (report.plan, report.input.kind, report.input.name) == ("p", "plan", "pairs.csv")
    assert report.input.sha256 == json.loads(world.path.read_text())["input"]["sha256"]
    lines = (world.runs / "r/contacts.jsonl").read_text().splitlines()
    assert [json.loads(line)["contact"]["id"] for line in lines] == [1, 2, 3]
    assert audit_run(RunDirectory(world.runs / "r")) == []
    assert audit_run(RunDirectory(world.runs / "p")) == []
    assert set(world.portal.books.links()) == BEFORE | {(1, 1), (2, 3)}


def test_a_plan_may_be_carried_out_twice_and_the_second_time_nothing_is_sent(world: World) -> None:
    world.carry_out()
    posts = world.portal.books.posts
    report = world.carry_out(run_id="again")
    assert (world.portal.books.posts, report.counts["already_linked"]) == (posts, 3)


def test_a_plan_without_links_to_make_has_a_run_and_a_report_too(world: World, tmp_path: Path) -> None:
    world.portal.books.link(1, 1)
    world.portal.books.link(2, 3)
    other = World(world.portal, tmp_path / "other")
    other.folder.mkdir()
    other.plan()
    report = other.carry_out()
    assert (report.counts["already_linked"], report.counts["linked"], report.exit_code) == (3, 0, 3)
    assert world.portal.books.posts == 0
    assert audit_run(RunDirectory(other.runs / "r")) == []


def test_one_in_which_everything_is_missing_asks_for_nothing(world: World) -> None:
    other = World(world.portal, world.folder / "other")
    other.folder.mkdir()
    lack(world.portal, {1, 2, 7}, set())
    other.plan()
    report = other.carry_out()
    assert (report.counts["rejected"], report.requests.looks) == (4, 0)
    assert audit_run(RunDirectory(other.runs / "r")) == []


@pytest.mark.parametrize(
    ("opportunities", "contacts", "unlinked", "what"),
    [
        ({2}, set(), False, "opportunity 2 of line 4 is gone"),
        (set(), {3}, False, "contact 3 of line 4 is gone"),
        (set(), set(), True, "the link 1,2 of line 3 is gone"),
        (
            {1},
            {3},
            True,
            "opportunity 1 of line 2, contact 3 of line 4 are gone",
        ),
        (
            {1, 2},
            {1, 3},
            True,
            "opportunity 1 of line 2, contact 1 of line 2, opportunity 2 of line 4 and 1 more",
        ),
    ],
)
def test_a_portal_that_has_lost_what_is_planned_is_noticed_before_anything_is_sent(
    world: World, opportunities: set[int], contacts: set[int], *, unlinked: bool, what: str
) -> None:
    lack(world.portal, {7, *opportunities}, contacts)
    if unlinked:
        world.portal.books.unlink(1, 2)
    said = world.refused(StalePlan)
    assert what in said
    assert said.endswith("nothing was sent; plan again")
    assert StalePlan.exit_code is Exit.DIFFERENCES


def test_a_contact_whose_status_was_deleted_is_missing_for_it_cannot_be_linked(world: World) -> None:
    world.portal.scenario = replace(world.portal.scenario, portal=Holdings(dangling_contacts=frozenset({3})))
    assert "contact 3 of line 4 is gone" in world.refused(StalePlan)
    (world.folder / "other").mkdir()
    other = World(world.portal, world.folder / "other")
    other.plan()
    assert json.loads(other.path.read_text())["counts"]["contact_missing"] == 1
    assert other.carry_out().counts["rejected"] == 1


def test_at_appserver_a_plan_is_made_and_carried_out_too(world: World) -> None:
    world.portal.scenario = replace(
        world.portal.scenario, portal=Holdings(product="appserver", missing_opportunities=frozenset({7}))
    )
    report = world.carry_out(transport="auto")
    assert (report.counts["linked"], report.counts["already_linked"]) == (2, 1)
    assert set(world.portal.books.links()) == BEFORE | {(1, 1), (2, 3)}


def test_what_others_have_linked_meanwhile_is_no_harm(world: World) -> None:
    world.portal.books.link(1, 1)
    report = world.carry_out()
    assert (report.counts["linked"], report.counts["already_linked"]) == (1, 2)


def test_what_the_portal_does_not_tell_is_no_reason_to_go_on(world: World) -> None:
    world.portal.faults = (Fault(kind="status", status=500, on="get", only=frozenset({(2, 0)})),)
    assert "did not tell of 1 link" in world.refused(OutageError)
    world.portal.faults = ()
    assert world.carry_out().counts["linked"] == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["counts"].update(to_link=3),
        lambda said: said.update(checksum="0" * 64),
        lambda said: said.pop("forecast"),
        lambda said: said.update(portal="http://127.0.0.1:1"),
    ],
)
def test_a_plan_that_was_changed_by_hand_is_refused(
    world: World, change: Callable[[dict[str, Any]], object]
) -> None:
    requests = world.portal.books.requests
    edit(world.path, change)
    assert "is not what was planned" in world.refused(StalePlan)
    assert world.portal.books.requests == requests


def test_a_plan_whose_rows_were_changed_is_refused(world: World) -> None:
    with closing(sqlite3.connect(world.runs / "p/ledger.db")) as db:
        db.execute("UPDATE rows SET status = 'rejected', reason = 'forbidden' WHERE row = 1")
        db.commit()
    assert "is not what was planned" in world.refused(StalePlan)


@pytest.mark.parametrize("text", ["", "[]", '{"plan_id": '])
def test_what_is_no_plan_any_more_is_refused(world: World, text: str) -> None:
    world.path.write_text(text)
    assert "it is no plan any more" in world.refused(StalePlan)


def test_another_input_is_refused_and_so_is_none(world: World) -> None:
    world.input.write_text(PAIRS.replace("2,3", "2,4"))
    assert f"{world.input} is not what it was when this was planned" in world.refused(StalePlan)
    world.input.unlink()
    assert f"{world.input} is not there any more" in world.refused(StalePlan)


def test_a_plan_is_found_elsewhere_if_its_ledger_is_among_the_runs(world: World) -> None:
    there = world.folder / "reviewed.json"
    there.write_text(world.path.read_text())
    world.path = there
    assert world.carry_out().counts["linked"] == 2
    edit(there, lambda said: said.update(plan_id="none"))
    assert "neither beside it nor in" in world.refused(UsageError, run_id="s")
    world.path = world.folder / "nothing.json"
    assert "No such file" in world.refused(UsageError, run_id="s")


@pytest.mark.parametrize("name", ["limit", "min_rows", "columns", "delimiter"])
def test_what_belongs_to_the_input_cannot_be_told_any_more(world: World, name: str) -> None:
    assert f"--{name.replace('_', '-')}: give it to 'bulklink plan'" in world.refused(UsageError, **{name: 1})


def test_another_portal_or_another_process_at_the_same_input_is_refused(world: World) -> None:
    assert "is for" in world.refused(UsageError, portal="http://127.0.0.1:1")
    session_holding = _started(world)
    try:
        with pytest.raises(LockedError, match="links it there just now"):
            world.carry_out(run_id="s")
    finally:
        session_holding()


def _started(world: World) -> Callable[[], None]:
    """A run of the plan that is about to begin; gives what ends it."""
    flags = {**world.flags, "run_id": "r"}
    found = find_plan(world.path, world.runs, flags)
    told = load_settings(flags, found.saved)
    session = start(found, told, lambda: told, lambda _: None)

    def end() -> None:
        session.input.close()
        session.lock.release()

    return end


def test_a_plan_is_no_run_and_is_not_taken_for_one(world: World) -> None:
    directory = RunDirectory(world.runs / "p")
    told = load_settings(world.flags)
    for verb in (resume, retry):
        with pytest.raises(UsageError, match="p is a plan, and no run; to carry it out: bulklink run"):
            verb(directory, told, lambda: told)
    world.carry_out()
    with pytest.raises(UsageError, match="p is a plan"):
        merge_runs(told, [directory, RunDirectory(world.runs / "r")], lambda _: None)
    assert not (world.runs / "p/report.json").exists()


def test_a_run_of_a_plan_that_was_killed_is_gone_on_with(world: World) -> None:
    _started(world)()  # ended after the look, before anything was noted: as if killed
    assert world.carry_out().counts["linked"] == 2


def test_a_plan_that_was_never_done_is_refused(world: World) -> None:
    with closing(sqlite3.connect(world.runs / "p/ledger.db")) as db:
        db.execute("DELETE FROM meta WHERE name = 'planned'")
        db.commit()
    assert "no plan was made in" in world.refused(StalePlan)
    told = load_settings(world.flags)
    with pytest.raises(UsageError, match="never done: plan again"):
        resume(RunDirectory(world.runs / "p"), told, lambda: told)
    with pytest.raises(UsageError, match="never done: plan again"):
        audit_run(RunDirectory(world.runs / "p"))
