"""Plans: what they say is what a run then does, whatever the portal holds; and they only read."""

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.run.served import Link, lack, served, set_up
from worker.errors import InputError, PortalRefused, StalePlan, TooFewRows, UsageError, WorkerError
from worker.report.build import Report
from worker.report.plan import Plan
from worker.run.apply import find_plan, start
from worker.run.plan import file_digest, make_plan
from worker.run.run import complete
from worker.settings import Settings, load_settings
from worker.simulator import Fault, Portal
from worker.tally import LinkTally


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    with served() as one:
        yield one


@pytest.fixture
def empty(portal: Portal) -> Portal:
    set_up(portal, without=(set(), set()))
    portal.faults = ()
    return portal


def options(portal: Portal, folder: Path, **more: Any) -> dict[str, Any]:
    basic = {"portal": portal.url, "token": "demo-token", "rate": "2000/s", "transport": "single"}
    return {**basic, "runs_dir": str(folder / "runs"), **more}


def settings_of(portal: Portal, folder: Path, **more: Any) -> Settings:
    return load_settings(options(portal, folder, **more))


def write(folder: Path, rows: Sequence[object]) -> Path:
    path = folder / "pairs.csv"
    lines = (row if isinstance(row, str) else ",".join(map(str, row)) for row in rows)  # type: ignore[call-overload]  # a pair
    path.write_text("\n".join(["opportunity_id,contact_id", *lines]) + "\n")
    return path


def show(_: object) -> None:
    """Nobody looks."""


def plan(here: Portal, folder: Path, rows: Sequence[object], **more: Any) -> Plan:
    told = load_settings({**options(here, folder, run_id="p"), **more})
    _, made = make_plan(told, str(write(folder, rows)), show)
    return made


def carry_out(portal: Portal, folder: Path, **more: Any) -> Report:
    flags = options(portal, folder, run_id="r", **more)
    found = find_plan(folder / "runs/p/plan.json", folder / "runs", flags)
    told = load_settings(flags, found.saved)
    return complete(start(found, told, lambda: told, show), show)


def said(folder: Path) -> dict[Link, str]:
    with (folder / "runs/p/plan.csv").open() as file:
        return {
            (int(row["opportunity_id"]), int(row["contact_id"])): row["_status"]
            for row in csv.DictReader(file)
            if row["_status"] not in {"duplicate", "invalid"}
        }


links = st.tuples(st.integers(1, 3), st.integers(1, 4))
some = st.sets(links, max_size=6)


@given(
    rows=st.lists(links, max_size=9),
    before=some,
    without=st.tuples(st.sets(st.integers(1, 3), max_size=1), st.sets(st.integers(1, 4), max_size=1)),
    made=some,
    removed=st.sets(links, max_size=2),
    gone=st.tuples(st.sets(st.integers(1, 3), max_size=1), st.sets(st.integers(1, 4), max_size=1)),
)
@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_a_plan_says_is_what_the_run_does_unless_the_portal_changed_in_a_way_that_matters(
    portal: Portal,
    tmp_path: Path,
    rows: list[Link],
    before: set[Link],
    without: tuple[set[int], set[int]],
    made: set[Link],
    removed: set[Link],
    gone: tuple[set[int], set[int]],
) -> None:
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    set_up(portal, before, without=without)
    known = {one for one in rows if one[0] not in without[0] and one[1] not in without[1]}
    plan(portal, tmp_path, rows)
    assert (portal.books.posts, portal.books.removed) == (0, 0)
    assert {visit.method for visit in portal.books.visits} <= {"GET"}
    words = said(tmp_path)
    to_link = {one for one, word in words.items() if word == "to_link"}
    there = {one for one, word in words.items() if word == "already_linked"}
    assert (to_link, there) == (known - before, known & before)
    assert words.keys() == set(rows)

    for one in made:
        portal.books.link(*one)
    for one in removed:
        portal.books.unlink(*one)
    lack(portal, without[0] | gone[0], without[1] | gone[1])
    here = set(portal.books.links())
    vanished = {one for one in known if one[0] in gone[0] or one[1] in gone[1]}
    if vanished or there - here:
        with pytest.raises(StalePlan):
            carry_out(portal, tmp_path)
        assert (portal.books.posts, set(portal.books.links())) == (0, here)
        assert not (tmp_path / "runs/r").exists()
    else:
        report = carry_out(portal, tmp_path)
        assert set(portal.books.links()) == here | to_link
        assert portal.books.posts == report.counts["linked"] == len(to_link - here)
        assert report.plan == "p"


def test_a_batch_carries_only_what_reads(empty: Portal, tmp_path: Path) -> None:
    made = plan(empty, tmp_path, [(o, c) for o in range(1, 6) for c in (1, 2)], transport="auto")
    assert made.forecast.transport == "batch"
    assert made.counts["to_link"] == 10
    assert {visit.method for visit in empty.books.item_visits} == {"GET"}
    assert {visit.kind for visit in empty.books.visits if visit.method != "GET"} == {"batch"}
    # Whether it is there, whether it takes batches and who asks, five opportunities, two contacts.
    assert (made.requests, empty.books.requests, empty.books.items) == (4, 4, 9)
    report = carry_out(empty, tmp_path, transport="auto")
    assert report.requests.attempts == made.forecast.requests


def test_each_opportunity_is_looked_at_once_and_each_contact_asked_for_once(
    empty: Portal, tmp_path: Path
) -> None:
    rows = [(o, c) for c in range(1, 4) for o in range(1, 8)]
    made = plan(empty, tmp_path, rows)
    assert (made.requests, empty.books.requests) == (1 + 7 + 3, 1 + 7 + 3)
    assert (made.contacts.asked, made.contacts.missing) == (3, 0)
    assert carry_out(empty, tmp_path).requests.attempts == made.forecast.requests


def test_what_cannot_be_told_is_unread_and_no_contact_decides_by_not_answering(
    empty: Portal, tmp_path: Path
) -> None:
    silent = frozenset({(2, 0), (0, 3)})  # the members of opportunity 2, and contact 3
    empty.faults = (Fault(kind="status", status=500, on="get", only=silent),)
    made = plan(empty, tmp_path, [(1, 1), (2, 1), (1, 3), "x,1"])
    assert {word: count for word, count in made.counts.items() if count} == {
        "rows": 4,
        "to_link": 2,
        "unread": 1,
        "invalid": 1,
    }
    assert (made.exit_code, made.contacts.untold) == (5, 1)
    empty.faults = ()
    report = carry_out(empty, tmp_path)
    assert (report.counts["linked"], report.counts["retryable"], report.exit_code) == (2, 1, 5)
    assert empty.books.links() == [(1, 1), (1, 3)]


@pytest.mark.parametrize("transport", ["single", "auto"])
def test_what_fails_and_passes_is_asked_for_again(empty: Portal, tmp_path: Path, transport: str) -> None:
    empty.books.link(1, 1)
    fault = Fault(kind="status", status=500, on="get", per_pair=1, only=frozenset({(1, 0), (2, 0), (0, 2)}))
    empty.faults = (fault,)
    made = plan(empty, tmp_path, [(1, 1), (2, 1), (1, 2), (2, 2)], transport=transport)
    assert (made.counts["to_link"], made.counts["already_linked"], made.counts["unread"]) == (3, 1, 0)
    assert (made.contacts.asked, made.contacts.untold) == (2, 0)


def test_a_plan_over_a_part_knows_the_whole_file(empty: Portal, tmp_path: Path) -> None:
    made = plan(empty, tmp_path, [(1, 1), (1, 2)], limit=1)
    assert (made.counts["rows"], made.input.limit) == (1, 1)
    assert made.input.sha256 == file_digest(tmp_path / "pairs.csv")
    assert carry_out(empty, tmp_path).counts["rows"] == 1
    assert empty.books.links() == [(1, 1)]


def test_what_is_no_file_has_no_digest(tmp_path: Path) -> None:
    assert file_digest(tmp_path) is None
    assert file_digest(tmp_path / "nothing") is None
    (tmp_path / "empty").touch()
    assert str(file_digest(tmp_path / "empty")).startswith("e3b0c442")


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"min_rows": 3}, TooFewRows),
        ({"columns": "opportunity=deal"}, InputError),
        ({"token": "another"}, PortalRefused),
        ({"portal": None}, UsageError),
    ],
)
def test_a_plan_that_comes_to_nothing_leaves_nothing(
    empty: Portal, tmp_path: Path, more: dict[str, Any], error: type[WorkerError]
) -> None:
    with pytest.raises(error):
        plan(empty, tmp_path, [(1, 1), (1, 2)], **more)
    runs = tmp_path / "runs"
    assert not runs.exists() or not list(runs.iterdir())
    assert empty.books.posts == 0


def test_progress_says_what_is_looked_for(empty: Portal, tmp_path: Path) -> None:
    shown: list[tuple[str, int, int, bool]] = []
    path = write(tmp_path, [(1, 1), (2, 1), (2, 1)])

    def show(tally: LinkTally) -> None:
        shown.append((tally.unit, tally.done, tally.total, tally.ended))

    make_plan(settings_of(empty, tmp_path, run_id="p"), str(path), show)
    # Two pairs, then the one contact of both.
    assert shown[-1] == ("contacts", 1, 1, True)


def test_plan_json_is_what_the_plan_says(empty: Portal, tmp_path: Path) -> None:
    made = plan(empty, tmp_path, [(1, 1)])
    assert json.loads((tmp_path / "runs/p/plan.json").read_text()) == made.model_dump(mode="json")
