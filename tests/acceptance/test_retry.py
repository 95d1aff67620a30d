"""retry: a new run over exactly the rows that an earlier one left, as that one was started."""

import csv
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

FAILS_ONCE = (
    '[[faults]]\nkind = "status"\nstatus = 502\nbody = "html"\nper_pair = 1\nonly = [[1, 2], [1, 4]]\n'
)
PAIRS = "Deal;Person;Note\n1;1;a\n1;2;b, c\n1;x;d\n1;3;=e\n1;4;f\n1;4;g\n"
START = ("--columns", "opportunity=Deal,contact=Person", *ONE_BY_ONE, "--rate", "200/s")


@pytest.fixture
def portal(bulklink: "CommandLine", simulate: "Simulate") -> "SimulatedPortal":
    """Fails two pairs once, which a run named ``one`` has then given up."""
    return first_run(bulklink, simulate(FAILS_ONCE))


def first_run(bulklink: "CommandLine", portal: "SimulatedPortal") -> "SimulatedPortal":
    (bulklink.folder / "pairs.csv").write_text(PAIRS)
    words = ("run", "pairs.csv", *START, "--portal", portal.url, "--max-attempts", "1", "--run-id", "one")
    report = bulklink.report(*words)
    assert (report["exit_code"], report["counts"]["retryable"]) == (5, 2)
    return portal


def test_what_a_run_left_is_tried_once_more_and_nothing_else(
    bulklink: "CommandLine", portal: "SimulatedPortal"
) -> None:
    before = portal.books()["posts"]
    report = bulklink.report("retry", "one", "--run-id", "two")
    assert (report["exit_code"], report["counts"]["rows"], report["counts"]["linked"]) == (0, 2, 2)
    assert portal.books()["posts"] == before + 2
    assert portal.links() == {(1, 1), (1, 2), (1, 3), (1, 4)}
    with (bulklink.folder / "runs/two/linked.csv").open() as file:
        rows = [(row["Deal"], row["Person"], row["Note"]) for row in csv.DictReader(file, delimiter=";")]
    assert rows == [("1", "2", "b, c"), ("1", "4", "f")]


def test_the_run_that_is_retried_stays_as_it_is(bulklink: "CommandLine", portal: "SimulatedPortal") -> None:
    assert portal.url
    old = bulklink.folder / "runs/one"
    before = {path.name: path.read_bytes() for path in old.iterdir() if path.suffix in {".csv", ".jsonl"}}
    assert bulklink("retry", "one").returncode == 0
    assert {name: (old / name).read_bytes() for name in before} == before
    assert bulklink("report", "one", "--check").returncode == 0


def test_it_is_started_as_the_first_one_was_unless_told_otherwise(
    bulklink: "CommandLine", portal: "SimulatedPortal"
) -> None:
    again = bulklink.report("retry", "one", "--run-id", "two", "--rate", "100/s")
    assert again["portal"] == portal.url
    assert bulklink("retry", "one", "--portal", "http://127.0.0.1:1").returncode == 2


def test_what_an_interrupted_run_never_sent_is_taken_too(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    rows = "".join(f"1,{n}\n" for n in range(1, 201))
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
    words = (
        "run",
        "pairs.csv",
        "--portal",
        portal.url,
        *ONE_BY_ONE,
        "--rate",
        "50/s",
        "--max-duration",
        "1s",
    )
    assert bulklink(*words, "--run-id", "one").returncode == 10
    report = bulklink.report("retry", "one", "--rate", "1000/s")
    assert report["exit_code"] == 0
    assert len(portal.links()) == portal.books()["posts"] == 200


def test_a_retry_can_be_resumed_and_retried(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate("calm")
    rows = "".join(f"1,{n}\n" for n in range(1, 201))
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
    words = (
        "run",
        "pairs.csv",
        "--portal",
        portal.url,
        *ONE_BY_ONE,
        "--rate",
        "50/s",
        "--max-duration",
        "1s",
    )
    assert bulklink(*words, "--run-id", "one").returncode == 10
    assert bulklink("retry", "one", "--run-id", "two", "--max-duration", "1s").returncode == 10
    assert bulklink("retry", "two", "--run-id", "three", "--max-duration", "1s").returncode == 10
    assert bulklink("resume", "three", "--rate", "1000/s").returncode == 0
    assert len(portal.links()) == portal.books()["posts"] == 200


def test_a_run_and_its_retries_are_one_story(bulklink: "CommandLine", simulate: "Simulate") -> None:
    """Also a retry of a retry: lines stay, each report names the other, and merged each row counts once."""
    portal = first_run(bulklink, simulate(FAILS_ONCE.replace("per_pair = 1", "per_pair = 2")))
    first = bulklink.report("retry", "one", "--run-id", "two", "--max-attempts", "1")
    assert (first["exit_code"], first["counts"]["retryable"]) == (5, 2)
    second = bulklink.report("retry", "two", "--run-id", "three")
    assert (second["parent"], second["input"]["name"], second["input"]["kind"]) == (
        "two",
        "pairs.csv",
        "retry",
    )
    runs = bulklink.folder / "runs"
    for run, retries in (("one", ["two"]), ("two", ["three"]), ("three", [])):
        assert json.loads((runs / run / "report.json").read_text())["retries"] == retries
        assert all(name in (runs / run / "report.html").read_text() for name in retries)
        assert bulklink("report", run, "--check").returncode == 0
    assert "A retry of run <code>two</code>" in (runs / "three/report.html").read_text()
    with (runs / "three/linked.csv").open() as file:
        assert [row["_line"] for row in csv.DictReader(file, delimiter=";")] == ["3", "6"]
    contacts = [json.loads(line) for line in (runs / "three/contacts.jsonl").read_text().splitlines()]
    assert [(one["row"], one["line"]) for one in contacts] == [(2, 3), (5, 6)]

    whole = bulklink.report("report", "three", "one", "two", "--run-id", "all")
    counts = {state: count for state, count in whole["counts"].items() if count}
    assert counts == {"rows": 6, "linked": 4, "duplicate": 1, "invalid": 1}
    one = json.loads((runs / "one/report.json").read_text())
    assert whole["input"] == {**one["input"], "kind": "merged"}
    told = [json.loads((runs / run / "report.json").read_text()) for run in ("one", "two", "three")]
    assert whole["timing"]["seconds"] == pytest.approx(
        sum(one["timing"]["seconds"] for one in told), abs=0.01
    )
    with (runs / "all/linked.csv").open() as file:
        assert [row["_line"] for row in csv.DictReader(file, delimiter=";")] == ["2", "3", "5", "6"]
    assert bulklink("report", "all", "--check").returncode == 0
    assert portal.books()["posts"] == 4 + 2 + 2


def test_what_may_have_been_sent_is_looked_for_before_it_is_sent_again(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(
        '[[faults]]\nkind = "reset"\nafter_store = true\n'
        '[[faults]]\nkind = "status"\nstatus = 502\nbody = "html"\non = "get"\nonly = [[1, 0]]\ntimes = 3\n'
    )
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n")
    words = ("run", "pairs.csv", "--portal", portal.url, "--max-attempts", "1", "--existing", "post")
    assert bulklink.report(*words, "--run-id", "one")["counts"]["unknown"] == 1
    posts = portal.books()["posts"]
    report = bulklink.report("retry", "one", "--run-id", "two")
    assert (report["counts"]["linked"], portal.books()["posts"]) == (1, posts)


def test_objects_that_name_their_ids_differently_are_all_taken(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate('[[faults]]\nkind = "status"\nstatus = 502\nbody = "html"\nper_pair = 1\n')
    rows = [
        {"deal": 1, "contact": 1},
        {"deal_id": 2, "contact_id": 2},
        {"deal": 3, "contact_id": 3, "note": "x"},
    ]
    (bulklink.folder / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = (
        "run",
        "pairs.jsonl",
        "--portal",
        portal.url,
        *ONE_BY_ONE,
        "--max-attempts",
        "1",
        "--run-id",
        "one",
    )
    assert bulklink.report(*words)["counts"]["retryable"] == 3
    report = bulklink.report("retry", "one")
    assert (report["counts"]["rows"], report["counts"]["linked"]) == (3, 3)
    assert portal.links() == {(1, 1), (2, 2), (3, 3)}


def test_a_retry_that_the_portal_does_not_let_begin_leaves_no_trace(
    bulklink: "CommandLine", portal: "SimulatedPortal"
) -> None:
    assert portal.url
    assert bulklink("retry", "one", "--run-id", "two", BULKLINK_TOKEN="wrong").returncode == 6
    assert [path.name for path in (bulklink.folder / "runs").glob("[!.]*")] == ["one"]
    assert json.loads((bulklink.folder / "runs/one/report.json").read_text())["retries"] == []


def test_when_no_row_is_worth_it_no_run_is_begun(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n1,x\n")
    assert bulklink("run", "pairs.csv", "--portal", portal.url, "--run-id", "one").returncode == 3
    done = bulklink("retry", "one")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "run one: no row is worth another try\n"
    assert [path.name for path in (bulklink.folder / "runs").glob("[!.]*")] == ["one"]


def test_rows_that_were_never_read_are_not_forgotten(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate(FAILS_ONCE)
    (bulklink.folder / "pairs.csv").write_text(PAIRS)
    words = ("run", "pairs.csv", *START, "--portal", portal.url, "--max-attempts", "1", "--run-id", "one")
    assert bulklink(*words).returncode == 5
    with closing(sqlite3.connect(bulklink.folder / "runs/one/ledger.db", isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = 'false' WHERE name = 'input_complete'")
    done = bulklink("retry", "one")
    assert done.returncode == 2
    assert "has not read all rows yet: bulklink resume one" in done.stderr


def test_a_run_that_is_not_there_is_named(bulklink: "CommandLine") -> None:
    done = bulklink("retry", "nowhere")
    assert (done.returncode, done.stderr) == (2, "bulklink: nowhere: no such run in runs\n")


def test_what_a_queue_has_left_is_the_business_of_the_queue(
    bulklink: "CommandLine", simulate: "Simulate", redis_url: str
) -> None:
    portal = simulate(FAILS_ONCE)
    queue = f"{redis_url}?stream=links-{uuid4().hex}"
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n")
    assert bulklink("publish", "pairs.csv", queue).returncode == 0
    report = bulklink.report("work", queue, "--portal", portal.url, "--drain", "--run-id", "one")
    assert report["counts"]["linked"] == 1
    done = bulklink("retry", "one")
    assert done.returncode == 2
    assert "worked on a queue" in done.stderr
