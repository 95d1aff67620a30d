"""check, verify and rollback as a user has them, held against the portal's books."""

import csv
import json
import re
import signal
import sqlite3
import time
import urllib.request
from contextlib import closing, suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

BEFORE = {(opportunity, contact) for opportunity in range(1, 31) for contact in range(1, 5)}
HOLDINGS = f"[portal]\nlinked = {json.dumps(sorted(map(list, BEFORE)))}\nmissing_opportunities = [77]\n"
FAULTS = """
[[faults]]
kind = "status"
status = 500
share = 0.05
after_store = true
[[faults]]
kind = "reset"
share = 0.1
on = "delete"
after_store = true
[[faults]]
kind = "status"
status = 502
body = "html"
share = 0.1
on = "delete"
[[faults]]
kind = "status"
status = 503
retry_after = "1"
times = 2
on = "delete"
"""
FAST = ("--rate", "2000/s")


def write_pairs(bulklink: "CommandLine", *, seed: int = 1) -> set[tuple[int, int]]:
    """A dirty file; gives the pairs of it that are not there yet and can be linked."""
    rng = Random(seed)  # noqa: S311 - pairs of a test
    pairs = [(rng.randint(1, 60), rng.randint(1, 12)) for _ in range(400)]
    lines = [
        "opportunity_id,contact_id,note",
        "77,1,no such deal",
        "77,2,",
        "x,1,typo",
        *(f"{o},{c}," for o, c in pairs),
    ]
    (bulklink.folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return set(pairs) - BEFORE


def run_one(
    bulklink: "CommandLine", simulate: "Simulate", scenario: str
) -> tuple["SimulatedPortal", set[tuple[int, int]]]:
    """A run named ``one`` over such a file; gives the portal, and the pairs that it made links of."""
    portal = simulate(scenario)
    missing = write_pairs(bulklink)
    words = ("run", "pairs.csv", "--portal", portal.url, *FAST, "--run-id", "one", "-q")
    assert bulklink(*words).returncode == 3
    return portal, missing


def call(portal: "SimulatedPortal", method: str, opportunity: int, contact: int) -> None:
    """What a user of the portal does meanwhile, as often as it takes."""
    path = f"/api/2.0/crm/opportunity/{opportunity}/contact/{contact}"
    headers = {"Authorization": "demo-token", "Content-Length": "0"}
    request = urllib.request.Request(f"{portal.url}{path}", method=method, headers=headers)  # noqa: S310 - ours
    while ((opportunity, contact) in portal.links()) is not (method == "POST"):
        with suppress(OSError):
            urllib.request.urlopen(request).close()  # noqa: S310 - same


def read(bulklink: "CommandLine", run: str, name: str) -> list[dict[str, str]]:
    with (bulklink.folder / "runs" / run / name).open() as file:
        return list(csv.DictReader(file))


def result(bulklink: "CommandLine", run: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bulklink.folder / "runs" / run / name).read_text())
    return found


def test_a_run_that_looks_first_sends_only_what_is_not_there(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(HOLDINGS)
    missing = write_pairs(bulklink)
    planned = bulklink("run", "pairs.csv", "--portal", portal.url, "--dry-run").stdout
    assert re.search(
        r"would look for \d+ pairs at http.* send what is not there: at most \d+ requests", planned
    )
    asked = portal.books()["requests"]
    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, *FAST, "--transport", "single")
    counts, books = report["counts"], portal.books()
    assert report["exit_code"] == 3
    assert (counts["linked"], counts["invalid"], counts["rejected"]) == (len(missing), 1, 2)
    assert counts["already_linked"] > 50
    assert (books["posts"], books["created"], books["repeats"]) == (len(missing), len(missing), 0)
    # One look for all pairs of an opportunity, wherever they stand; before them a probe.
    requests = report["requests"]
    assert (requests["looks"], requests["retries"]) == (61, 0)
    assert requests["attempts"] == books["requests"] - asked == 1 + 61 + len(missing)
    lines = (bulklink.only_run() / "contacts.jsonl").read_text().splitlines()
    contacts = [json.loads(line) for line in lines]
    assert all(one["contact"]["id"] == one["contact_id"] for one in contacts)
    assert {one["status"] for one in contacts} == {"linked", "already_linked"}
    again = bulklink.report("run", "pairs.csv", "--portal", portal.url, *FAST, "--transport", "single")
    assert (again["counts"]["linked"], portal.books()["posts"]) == (0, books["posts"])
    assert bulklink("report", again["run_id"], "--check").returncode == 0


@pytest.mark.parametrize("transport", ["single", "auto"])
def test_a_rollback_removes_exactly_the_links_that_the_run_made(
    bulklink: "CommandLine", simulate: "Simulate", transport: str
) -> None:
    """Whatever fails meanwhile, and whatever users of the portal have changed since."""
    portal, missing = run_one(bulklink, simulate, HOLDINGS + FAULTS)
    assert portal.links() == BEFORE | missing
    removed_by_users = min(missing)
    call(portal, "DELETE", *removed_by_users)
    call(portal, "POST", 60, 99)
    done = bulklink("rollback", "one", "--transport", transport, "--rate", "500/s", "--json")
    assert done.returncode == 0, done.stderr
    assert portal.links() == BEFORE | {(60, 99)}
    rollback = json.loads(done.stdout)
    assert rollback["counts"] == {"removed": len(missing) - 1, "gone": 1, "kept": 0, "failed": 0}
    assert rollback["left"] == 0
    rows = read(bulklink, "one", "rollback.csv")
    assert {(int(row["opportunity_id"]), int(row["contact_id"])) for row in rows} == missing
    assert [row["_line"] for row in rows] == sorted((row["_line"] for row in rows), key=int)
    assert bulklink("report", "one", "--check").returncode == 0
    verified = bulklink("verify", "one")
    assert verified.returncode == 0, verified.stderr
    before = portal.books()["requests"]
    again = bulklink("rollback", "one")
    assert (again.returncode, again.stderr) == (
        0,
        f"run one: nothing is left to remove; {len(missing)} links removed before\n",
    )
    assert portal.books()["requests"] == before
    assert json.loads(done.stdout) == result(bulklink, "one", "rollback.json")


def test_after_a_rollback_everything_tells_of_it(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal, missing = run_one(bulklink, simulate, HOLDINGS)
    assert bulklink("verify", "one", "-q").returncode == 0
    linked = read(bulklink, "one", "linked.csv")
    assert bulklink("rollback", "one", *FAST, "-q").returncode == 0
    report = result(bulklink, "one", "report.json")
    assert (report["status"], report["exit_code"], report["counts"]["linked"]) == (
        "rolled_back",
        3,
        len(missing),
    )
    assert report["rollback"]["counts"]["removed"] == len(missing)
    assert (report["rollback"]["left"], report["verify"]["missing"]) == (0, 0)
    page = (bulklink.folder / "runs/one/report.html").read_text()
    assert f"Rolled back: {len(missing)} removed, none left" in page
    assert f"{report['verify']['claimed']} links claimed, 0 missing" in page
    standing = [row for row in linked if row["_status"] == "already_linked"]
    assert read(bulklink, "one", "linked.csv") == standing
    contacts = (bulklink.folder / "runs/one/contacts.jsonl").read_text()
    assert len(contacts.splitlines()) == len(standing)
    assert "  rolled_back  " in bulklink("runs").stdout
    assert "run one: rolled back, exit code 3" in bulklink("report", "one").stdout
    assert bulklink("report", "one", "--check").returncode == 0
    assert bulklink("retry", "one").stderr == (
        "run one: no row is worth another try; it was rolled back, and the"
        f" {len(missing)} links that are gone since stay so: to make them again, run its rollback.csv\n"
    )
    again = bulklink.report("run", "runs/one/rollback.csv", "--portal", portal.url, *FAST)
    assert again["counts"]["linked"] == len(missing)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_a_rollback_that_is_stopped_goes_on_where_it_was(
    bulklink: "CommandLine", simulate: "Simulate", stop: signal.Signals
) -> None:
    portal, missing = run_one(bulklink, simulate, HOLDINGS)
    with bulklink.start("rollback", "one", "--transport", "single", "--rate", "100/s") as process:
        while portal.books()["removed"] < 60:  # lanes come to the end of an opportunity after some six
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(stop)
        _, told = process.communicate(timeout=60)
    if stop is signal.SIGTERM:
        assert process.returncode == 143
        assert told.splitlines()[-1].endswith("nothing is lost, go on with: bulklink rollback one")
        assert 0 < result(bulklink, "one", "rollback.json")["counts"]["removed"] < len(missing)
    assert portal.links() > BEFORE
    done = bulklink("rollback", "one", *FAST)
    assert done.returncode == 0, done.stderr
    assert portal.links() == BEFORE
    # What the killed one asked for was removed by it, though it did not live to see it.
    assert result(bulklink, "one", "rollback.json")["counts"]["removed"] == len(missing)
    assert bulklink("report", "one", "--check").returncode == 0


def test_links_of_which_nobody_knows_whether_they_were_there_are_kept_unless_asked_for(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(HOLDINGS)
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n1,9\n")
    words = ("run", "pairs.csv", "--portal", portal.url, "--existing", "post", "--run-id", "one", "-q")
    assert bulklink(*words).returncode == 0
    told = bulklink("rollback", "one", "--dry-run")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == (
        "run one: 0 links to remove, 2 to keep because nobody looked whether they were there before\n"
    )
    done = bulklink("rollback", "one")
    assert done.returncode == 8
    assert "2 x pre_state_unread" in done.stderr
    assert portal.links() == BEFORE | {(1, 9)}
    told = bulklink("rollback", "one", "--unread", "-n", "-q", "--json")
    assert (json.loads(told.stdout), told.stderr) == (
        {"run_id": "one", "remove": 2, "keep": 0, "restore": 0},
        "",
    )
    assert bulklink("rollback", "one", "--unread").returncode == 0
    assert portal.links() == BEFORE - {(1, 1)}


def test_what_appserver_would_do_with_a_rollback_is_refused_and_nothing_is_removed(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate('[portal]\nlinked = [[1, 1], [1, 2]]\nproduct = "appserver"\n')
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n1,9\n2,9\n")
    words = ("run", "pairs.csv", "--portal", portal.url, "--run-id", "one")
    report = bulklink.report(*words)
    # Looking first also spares AppServer what it calls an error: to link what is linked.
    assert (report["counts"]["linked"], report["counts"]["already_linked"]) == (2, 1)
    assert portal.books()["posts"] == 2
    done = bulklink("rollback", "one")
    assert done.returncode == 6
    assert "may be AppServer" in done.stderr
    assert (portal.books()["removed"], portal.links()) == (0, {(1, 1), (1, 2), (1, 9), (2, 9)})


def test_verify_names_what_is_not_as_the_run_says_and_its_file_is_input(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal, missing = run_one(bulklink, simulate, HOLDINGS)
    done = bulklink("verify", "one", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["missing"] == 0
    posts = portal.books()["posts"]
    lost = sorted(missing)[:3]
    for pair in lost:
        call(portal, "DELETE", *pair)
    done = bulklink("verify", "one", "--json")
    assert (done.returncode, json.loads(done.stdout)["missing"]) == (8, 3)
    rows = read(bulklink, "one", "verify.csv")
    assert sorted((int(row["opportunity_id"]), int(row["contact_id"])) for row in rows) == lost
    assert {(row["_status"], row["_reason"]) for row in rows} == {("linked", "missing")}
    assert portal.books()["posts"] == posts  # looking changes nothing
    assert bulklink("run", "runs/one/verify.csv", "--portal", portal.url, "-q").returncode == 0
    assert bulklink("verify", "one").returncode == 0


def test_verify_tells_of_a_link_that_is_back_after_its_removal(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n1,9\n")
    words = ("run", "pairs.csv", "--portal", portal.url, "--run-id", "one", "-q")
    assert bulklink(*words).returncode == 0
    assert bulklink("rollback", "one", "-q").returncode == 0
    call(portal, "POST", 1, 9)
    done = bulklink("verify", "one")
    assert done.returncode == 8
    assert "2 links removed by rollback, 1 there again" in done.stdout
    assert [row["_reason"] for row in read(bulklink, "one", "verify.csv")] == ["there_again"]


def test_a_message_of_a_queue_is_looked_for_too_and_can_be_undone(
    bulklink: "CommandLine", simulate: "Simulate", redis_url: str
) -> None:
    pytest.importorskip("redis")
    portal = simulate(HOLDINGS)
    missing = write_pairs(bulklink)
    url = f"{redis_url}?stream=undo"
    assert bulklink("publish", "pairs.csv", url, "-q").returncode == 3
    words = ("work", url, "--portal", portal.url, *FAST, "--drain", "--run-id", "one")
    report = bulklink.report(*words)
    assert (report["counts"]["linked"], portal.books()["posts"]) == (len(missing), len(missing))
    assert bulklink("rollback", "one", *FAST, "-q").returncode == 0
    assert portal.links() == BEFORE


@pytest.mark.parametrize("verb", ["verify", "rollback"])
def test_a_visit_that_cannot_be_paid_is_one_line_and_the_documented_code(
    bulklink: "CommandLine", simulate: "Simulate", verb: str
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n")
    words = ("run", "pairs.csv", "--portal", portal.url, "--run-id", "one", "-q")
    assert bulklink(*words).returncode == 0
    cases: list[tuple[tuple[str, ...], dict[str, str], int]] = [
        ((verb, "nowhere"), {}, 2),
        ((verb, "one", "--portal", "http://127.0.0.1:1"), {}, 2),
        ((verb, "one"), {"BULKLINK_TOKEN": "wrong"}, 6),
    ]
    for given, variables, code in cases:
        done = bulklink(*given, **variables)
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (code, 1, ""), done.stderr
    with closing(sqlite3.connect(bulklink.folder / "runs/one/ledger.db", isolation_level=None)) as db:
        db.execute("UPDATE rows SET key = key + 1")
    done = bulklink(verb, "one")
    assert (done.returncode, "damaged" in done.stderr) == (1, True)
    assert portal.links() == {(1, 1)}


@pytest.mark.parametrize("contacts", ["ids", "none"])
def test_a_run_that_keeps_no_contacts_is_undone_as_exactly(
    bulklink: "CommandLine", simulate: "Simulate", contacts: str
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text("deal,contact\n1,2\n1,3\n2,2\n")
    words = ("run", "pairs.csv", "--portal", portal.url, "--run-id", "one", "-q", "--contacts", contacts)
    assert bulklink(*words).returncode == 0
    run = bulklink.folder / "runs/one"
    lines = [json.loads(line) for line in (run / "contacts.jsonl").read_text().splitlines()]
    assert [line["contact_id"] for line in lines] == ([2, 3, 2] if contacts == "ids" else [])
    assert all(line["contact"] is None for line in lines)
    assert b"displayName" not in (run / "ledger.db").read_bytes()
    assert bulklink("report", "one", "--check").returncode == 0

    assert bulklink("verify", "one", "-q").returncode == 0
    assert bulklink("rollback", "one", "-q").returncode == 0
    assert portal.links() == set()
