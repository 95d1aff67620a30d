"""plan, and run plan.json, as a user has them, held against the portal's books."""

import csv
import json
import os
import signal
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

HOLDINGS = """
[portal]
linked = [[1, 2], [3, 9]]
missing_opportunities = [77]
missing_contacts = [88]
"""
PAIRS = "Deal;Contact;Note\n1;1;\n1;2;there\n77;1;gone\n2;88;nobody\n1;01;again\n1;x;typo\n2;3;\n"
COLUMNS = ("--columns", "opportunity=Deal,contact=Contact")


@pytest.fixture
def portal(simulate: "Simulate", bulklink: "CommandLine") -> "SimulatedPortal":
    (bulklink.folder / "pairs.csv").write_text(PAIRS)
    return simulate(HOLDINGS)


def call(portal: "SimulatedPortal", method: str, opportunity: int, contact: int) -> None:
    """What a user of the portal does meanwhile."""
    path = f"/api/2.0/crm/opportunity/{opportunity}/contact/{contact}"
    headers = {"Authorization": "demo-token", "Content-Length": "0"}
    request = urllib.request.Request(f"{portal.url}{path}", method=method, headers=headers)  # noqa: S310 - ours
    urllib.request.urlopen(request).close()  # noqa: S310 - same


@pytest.mark.parametrize("transport", ["single", "auto"])
def test_a_plan_only_reads_and_the_run_does_what_it_says(
    bulklink: "CommandLine", portal: "SimulatedPortal", transport: str
) -> None:
    done = bulklink(
        *("plan", "pairs.csv", "--portal", portal.url, *COLUMNS, "--run-id", "p", "--transport", transport)
    )
    assert (done.returncode, done.stderr) == (3, "")
    for line in (
        "  2 to link             not there yet",
        "  1 already linked      there, and left as they are",
        "  1 opportunity missing the opportunity is missing, or this user may not see it",
        "  1 contact missing     the contact is missing, or this user may not see it",
        "  1 invalid             never a pair",
        "  1 duplicate           same pair as an earlier line",
        "  1 x contact_missing, line 5: contact 88 is missing or hidden (1 row)",
        "  do it: bulklink run runs/p/plan.json",
    ):
        assert line in done.stdout.splitlines()
    books = portal.books()
    assert (books["posts"], books["created"], books["removed"]) == (0, 0, 0)
    plan = json.loads((bulklink.folder / "runs/p/plan.json").read_text())
    assert plan["requests"] == books["requests"]
    # A batch is a POST on the wire; what it carries only reads.
    methods = Counter(visit[1:3] == ["POST", "batch"] for visit in portal.books("/visits"))
    assert methods[True] == books["batches"] == (3 if transport == "auto" else 0)
    assert methods[False] == sum(visit[1] == "GET" for visit in portal.books("/visits"))
    with (bulklink.folder / "runs/p/plan.csv").open() as file:
        rows = {row["_line"]: (row["Note"], row["_status"]) for row in csv.DictReader(file, delimiter=";")}
    assert rows == {
        "2": ("", "to_link"),
        "3": ("there", "already_linked"),
        "4": ("gone", "opportunity_missing"),
        "5": ("nobody", "contact_missing"),
        "6": ("again", "duplicate"),
        "7": ("typo", "invalid"),
        "8": ("", "to_link"),
    }
    assert " planned " in bulklink("runs").stdout
    for words in (("status", "p"), ("report", "p"), ("run", "runs/p/plan.json", "-n")):
        assert bulklink(*words).stdout == done.stdout
    assert portal.books()["requests"] == books["requests"]

    report = bulklink.report("run", "runs/p/plan.json", "--run-id", "r")
    assert (report["exit_code"], report["plan"]) == (3, "p")
    assert portal.links() == {(1, 1), (1, 2), (2, 3), (3, 9)}
    assert portal.books()["posts"] == report["counts"]["linked"] == 2
    assert report["requests"]["attempts"] == plan["forecast"]["requests"]
    page = (bulklink.folder / "runs/r/report.html").read_text()
    assert "Did what plan <code>p</code> says." in page
    assert bulklink("report", "r", "--check").returncode == 0
    assert bulklink("report", "p", "--check").returncode == 0
    assert bulklink("rollback", "r", "-q").returncode == 0
    assert portal.links() == {(1, 2), (3, 9)}


def test_the_exit_code_says_whether_there_is_anything_to_do_if_it_is_asked(
    bulklink: "CommandLine", portal: "SimulatedPortal"
) -> None:
    words = ("plan", "-", "--portal", portal.url, "--transport", "single", "-q")
    for rows, plain, detailed in (("1,2\n", 0, 0), ("1,2\n1,x\n", 3, 3), ("1,2\n1,1\nx,1\n", 3, 8)):
        text = f"opportunity_id,contact_id\n{rows}"
        assert bulklink(*words, stdin=text).returncode == plain
        assert bulklink(*words, "--detailed-exitcode", stdin=text).returncode == detailed
    with_a_link = max(bulklink.folder.glob("runs/*/plan.json"), key=lambda path: path.stat().st_mtime)
    # What came by a pipe cannot be compared.
    assert bulklink("run", str(with_a_link), "-q").returncode == 3
    assert portal.links() == {(1, 1), (1, 2), (3, 9)}


def test_a_plan_that_does_not_hold_any_more_is_refused(
    bulklink: "CommandLine", portal: "SimulatedPortal"
) -> None:
    words = ("plan", "pairs.csv", "--portal", portal.url, *COLUMNS, "--run-id", "p", "-q")
    assert bulklink(*words).returncode == 3
    call(portal, "DELETE", 1, 2)
    done = bulklink("run", "runs/p/plan.json", "--run-id", "r")
    lost = "the link 1,2 of line 3 is gone or hidden since"
    assert (done.returncode, done.stderr) == (
        8,
        f"bulklink: plan p does not hold any more: {lost}; nothing was sent; plan again\n",
    )
    assert (portal.books()["posts"], portal.links()) == (0, {(3, 9)})
    assert not (bulklink.folder / "runs/r").exists()
    call(portal, "POST", 1, 2)
    (bulklink.folder / "pairs.csv").write_text(f"{PAIRS}5;5;\n")
    done = bulklink("run", "runs/p/plan.json")
    assert done.returncode == 8
    assert "pairs.csv is not what it was when this was planned; nothing was sent; plan again" in done.stderr


def test_a_run_of_a_plan_that_is_killed_is_gone_on_with(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\nlinked = [[1, 2], [500, 2]]\n[latency]\nseconds = 0.01\n")
    rows = "".join(f"{number},2\n" for number in range(1, 121))
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
    assert bulklink("plan", "pairs.csv", "--portal", portal.url, "--run-id", "p", "-q").returncode == 0
    words = ("run", "runs/p/plan.json", "--run-id", "r", *ONE_BY_ONE, "--rate", "200/s")
    with bulklink.start(*words) as process:
        while portal.books()["created"] < 20:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.communicate(timeout=60)
    assert len(portal.links()) < 121
    report = bulklink.report("resume", "r", "--transport", "auto")
    assert (report["exit_code"], report["plan"], report["counts"]["linked"]) == (0, "p", 119)
    assert portal.links() == {(number, 2) for number in range(1, 121)} | {(500, 2)}
    assert bulklink("report", "r", "--check").returncode == 0


def test_a_plan_that_is_stopped_leaves_nothing(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate("[portal]\n[latency]\nseconds = 0.5\n")
    rows = "".join(f"{number},1\n" for number in range(1, 400))
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
    with bulklink.start("plan", "pairs.csv", "--portal", portal.url, "--transport", "single") as process:
        while portal.books()["requests"] < 3:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert told == "bulklink: stopped at once; nothing is lost, go on with: the same command\n"
    assert list((bulklink.folder / "runs").glob("*/ledger.db")) == []


def test_a_file_whose_name_is_no_utf8_can_be_planned_and_run(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    name = os.fsdecode(b"pairs-\xff.csv")
    (bulklink.folder / name).write_text("deal,contact\n1,2\n")

    planned = bulklink("plan", name, "--portal", portal.url, "--run-id", "it", "--json")
    done = bulklink("run", "runs/it/plan.json", "--run-id", "done")

    assert (planned.returncode, done.returncode) == (0, 0), planned.stderr + done.stderr
    assert os.fsencode(json.loads(planned.stdout)["input"]["path"]).endswith(b"/pairs-\xff.csv")
    assert portal.links() == {(1, 2)}
