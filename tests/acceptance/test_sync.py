"""sync as a user has it, held against the portal's books."""

import csv
import json
import signal
import sqlite3
import time
import urllib.request
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

Links = set[tuple[int, int]]
FAST = ("--rate", "2000/s")


def holding(links: Links, more: str = "") -> str:
    return f"[portal]\nlinked = {json.dumps(sorted(map(list, links)))}\n{more}\n"


def write(bulklink: "CommandLine", links: Links, *rows: str, name: str = "pairs.csv") -> None:
    lines = ["deal_id,person_id", *(f"{o},{c}" for o, c in sorted(links)), *rows]
    (bulklink.folder / name).write_text("\n".join(lines) + "\n")


def sync(bulklink: "CommandLine", portal: "SimulatedPortal", *words: str) -> dict[str, Any]:
    return bulklink.report("sync", "pairs.csv", "--portal", portal.url, *FAST, *words)


def methods(portal: "SimulatedPortal") -> "Counter[str]":
    return Counter(visit[1] for visit in portal.books("/visits"))


def removed_csv(bulklink: "CommandLine", run: str) -> dict[tuple[int, int], str]:
    with (bulklink.folder / "runs" / run / "removed.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(int(row["opportunity_id"]), int(row["contact_id"])): row["_status"] for row in rows}


@pytest.mark.parametrize("transport", ["single", "auto"])
def test_a_sync_removes_what_earlier_runs_added_and_the_file_no_longer_has(
    bulklink: "CommandLine", simulate: "Simulate", transport: str
) -> None:
    portal = simulate(holding({(1, 1), (1, 2), (3, 3)}))
    write(bulklink, {(1, 1), (1, 5), (2, 6), (2, 7), (3, 9)})
    sync(bulklink, portal, "--transport", transport)
    write(bulklink, {(1, 1), (2, 6), (2, 8)})
    report = sync(bulklink, portal, "--prune", "own", "--run-id", "two", "--transport", transport)
    # 1,2 was there before us, and 3 is not named any more.
    assert portal.links() == {(1, 1), (1, 2), (3, 3), (2, 6), (2, 8), (3, 9)}
    assert (report["exit_code"], report["status"]) == (0, "completed")
    found = report["sync"]
    assert (found["prune"], found["removed"], found["links"], found["pending"]) == ("own", 2, 6, False)
    assert removed_csv(bulklink, "two") == {(1, 5): "removed", (2, 7): "removed"}
    before = portal.books()
    again = sync(bulklink, portal, "--prune", "own", "--transport", transport)
    after = portal.books()
    assert (again["sync"]["removed"], again["counts"]["linked"]) == (0, 0)
    assert (after["posts"], after["removed"]) == (before["posts"], before["removed"])
    assert bulklink("report", "two", "--check").returncode == 0
    assert "Removals" in (bulklink.folder / "runs/two/report.html").read_text()


def test_a_sync_without_prune_adds_and_removes_nothing(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate(holding({(1, 1), (1, 2)}))
    write(bulklink, {(1, 1), (1, 3)})
    report = sync(bulklink, portal)
    assert portal.links() == {(1, 1), (1, 2), (1, 3)}
    assert (report["exit_code"], report["sync"]["prune"], report["sync"]["pending"]) == (0, None, False)
    assert not (bulklink.only_run() / "removed.csv").exists()


def test_all_removes_also_what_others_made_but_for_what_is_never_touched(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    """A primary contact; an opportunity with a row that is no pair, or is refused, or that is missing."""
    before = {(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (4, 2)}
    portal = simulate(
        holding(before, "missing_opportunities = [77]\nmissing_contacts = [99]\nprimary = {1 = 3}")
    )
    write(bulklink, {(1, 1), (2, 1), (3, 1), (3, 99), (77, 1)}, "2,8x", "4,")
    report = sync(bulklink, portal, "--prune", "all")
    assert portal.links() == before - {(1, 2)}
    found = report["sync"]
    assert (found["removed"], found["primary"]) == (1, 1)
    assert found["untouched"] == {
        "rejected_row": {"count": 2, "ids": [3, 77]},
        "invalid_row": {"count": 2, "ids": [2, 4]},
    }
    assert report["exit_code"] == 3


@pytest.mark.parametrize(
    "row", ['1,2,"cut', "l,2", ",2", '1,2" x,"y'], ids=["unclosed quote", "no number", "empty", "odd quotes"]
)
def test_nothing_is_removed_if_a_row_does_not_say_which_opportunity_it_is_about(
    bulklink: "CommandLine", simulate: "Simulate", row: str
) -> None:
    """It may be a row that names just the link that would go."""
    before = {(1, 1), (1, 2), (1, 3)}
    portal = simulate(holding(before))
    write(bulklink, {(1, 1)}, row)

    preview = bulklink("sync", "pairs.csv", "--portal", portal.url, "--prune", "all", "--dry-run")
    report = sync(bulklink, portal, "--prune", "all")

    assert (preview.returncode, report["exit_code"], portal.links()) == (8, 8, before)
    why = "1 row does not say which opportunity is meant, so it may be any of them"
    assert why in preview.stdout
    assert report["sync"]["why_withheld"].startswith(why)
    report = sync(bulklink, portal, "--prune", "all", "--allow-removals", "2")
    assert (report["exit_code"], portal.links()) == (3, {(1, 1)})


def test_contacts_that_the_user_does_not_see_stay(bulklink: "CommandLine", simulate: "Simulate") -> None:
    auth = '[auth]\nlimited_token = "limited"'
    portal = simulate(holding({(1, 1), (1, 2), (1, 3)}, f"private_contacts = [3]\n{auth}"))
    write(bulklink, {(1, 1)})
    words = ("sync", "pairs.csv", "--portal", portal.url, "--prune", "all")
    assert bulklink(*words, BULKLINK_TOKEN="limited").returncode == 0
    assert portal.links() == {(1, 1), (1, 3)}


def test_a_list_of_several_pages_is_read_to_its_end(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate(holding({(1, contact) for contact in range(1, 2304)}))
    write(bulklink, {(1, contact) for contact in range(1, 2301)})
    report = sync(bulklink, portal, "--prune", "all")
    assert portal.links() == {(1, contact) for contact in range(1, 2301)}
    assert (report["sync"]["removed"], report["sync"]["links"]) == (3, 2303)


def test_too_many_removals_are_withheld_before_the_first_and_go_with_their_exact_number(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    wanted = {(o, 1) for o in range(1, 41)}
    portal = simulate(holding(wanted | {(o, 2) for o in range(1, 13)}))
    write(bulklink, wanted | {(50, 1)})
    words = ("sync", "pairs.csv", "--portal", portal.url, *FAST, "--prune", "all", "--run-id")
    done = bulklink(*words, "one", "-q")
    assert done.returncode == 8
    assert done.stderr.count("\n") == 1
    assert "nothing was removed: 12 removals are more than 10" in done.stderr
    assert "--allow-removals 12" in done.stderr
    # Additions went on.
    assert (portal.books()["removed"], portal.books()["created"]) == (0, 1)
    assert removed_csv(bulklink, "one") == {(o, 2): "withheld" for o in range(1, 13)}
    assert bulklink("resume", "one").stderr.startswith("run one: nothing to resume")
    for wrong in ("11", "13"):
        assert bulklink(*words, f"not{wrong}", "--allow-removals", wrong, "-q").returncode == 8
    assert portal.books()["removed"] == 0
    done = bulklink(*words, "two", "--allow-removals", "12")
    assert done.returncode == 0, done.stderr
    assert portal.links() == wanted | {(50, 1)}


def test_nothing_is_removed_if_the_portal_did_not_take_an_addition(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    fault = '[[faults]]\nkind = "status"\nstatus = 500\nonly = [[2, 1]]\non = "post"'
    portal = simulate(holding({(1, 1), (1, 2)}, fault))
    write(bulklink, {(1, 1), (2, 1)})
    report = sync(bulklink, portal, "--prune", "all", "--transport", "single")
    assert (report["exit_code"], report["counts"]["retryable"], portal.books()["removed"]) == (5, 1, 0)
    assert report["sync"]["why_withheld"].startswith("1 row could not be linked")


def test_an_empty_input_removes_nothing(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate(holding({(1, 1)}))
    write(bulklink, set())
    report = sync(bulklink, portal, "--prune", "all", "--allow-removals", "1")
    assert (report["exit_code"], portal.links()) == (0, {(1, 1)})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prune", "all", "--limit", "1"), "--limit"),
        (("--allow-removals", "3"), "--prune"),
        (("--prune", "some"), "own"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_sent(
    bulklink: "CommandLine", words: tuple[str, ...], said: str
) -> None:
    write(bulklink, {(1, 1)})
    done = bulklink("sync", "pairs.csv", "--portal", "http://127.0.0.1:1", *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (bulklink.folder / "runs").exists()


def test_appserver_is_refused_before_anything_is_done(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate(holding({(1, 1), (1, 2)}, 'product = "appserver"'))
    write(bulklink, {(1, 1), (1, 3)})
    words = ("sync", "pairs.csv", "--portal", portal.url, "--run-id", "one")
    for more in ((), ("-n",)):
        done = bulklink(*words, "--prune", "all", *more)
        assert (done.returncode, done.stderr.count("\n")) == (6, 1)
        assert "this portal is AppServer" in done.stderr
    assert portal.links() == {(1, 1), (1, 2)}
    # Nothing is left of it, and to add alone is fine; nor does a run mind what a sync was told to remove.
    assert bulklink(*words).returncode == 0
    assert bulklink("run", *words[1:-1], "two", BULKLINK_PRUNE="all").returncode == 0
    assert portal.links() == {(1, 1), (1, 2), (1, 3)}


def test_a_rollback_of_a_sync_removes_what_it_added_and_makes_again_what_it_removed(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    before = {(1, 1), (1, 2), (1, 3), (2, 1)}
    portal = simulate(holding(before))
    write(bulklink, {(1, 1), (1, 9), (2, 1)})
    sync(bulklink, portal, "--prune", "all", "--run-id", "one")
    assert portal.links() == {(1, 1), (1, 9), (2, 1)}
    planned = bulklink("rollback", "one", "-n", "--json")
    assert json.loads(planned.stdout) == {"run_id": "one", "remove": 1, "keep": 0, "restore": 2}
    done = bulklink("rollback", "one", "--json")
    assert done.returncode == 0, done.stderr
    assert portal.links() == before
    rollback = json.loads(done.stdout)
    assert rollback["counts"] == {"removed": 1, "gone": 0, "kept": 0, "failed": 0}
    assert rollback["restored"] == {"restored": 2, "there": 0, "refused": 0, "failed": 0}
    with (bulklink.folder / "runs/one/rollback.csv").open() as file:
        rows = [(row["deal_id"], row["person_id"], row["_status"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [("1", "2", "restored"), ("1", "3", "restored"), ("1", "9", "removed")]
    assert "rolled_back" in bulklink("runs").stdout
    assert bulklink("report", "one", "--check").returncode == 0
    assert "nothing is left to remove" in bulklink("rollback", "one").stderr


def test_verify_of_a_sync_tells_of_what_it_removed_and_is_back(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(holding({(1, 1), (1, 2), (1, 3)}))
    write(bulklink, {(1, 1), (1, 9)})
    sync(bulklink, portal, "--prune", "all", "--run-id", "one")
    done = bulklink("verify", "one")
    assert done.returncode == 0, done.stderr
    assert "2 links removed by sync, 0 there again" in done.stdout
    call(portal, "POST", 1, 3)
    found = json.loads(bulklink("verify", "one", "--json").stdout)
    assert (found["claimed"], found["missing"], found["pruned"], found["pruned_back"]) == (2, 0, 2, 1)
    with (bulklink.folder / "runs/one/verify.csv").open() as file:
        rows = [(row["deal_id"], row["person_id"], row["_reason"]) for row in csv.DictReader(file)]
    assert rows == [("1", "3", "there_again")]
    assert bulklink("rollback", "one", "-q").returncode == 0
    assert bulklink("verify", "one").returncode == 0
    call(portal, "DELETE", 1, 2)
    assert bulklink("verify", "one").returncode == 8


@pytest.mark.parametrize("prune", [("--prune", "all"), ()])
def test_a_dry_run_says_what_it_would_do_and_sends_nothing_but_gets(
    bulklink: "CommandLine", simulate: "Simulate", prune: tuple[str, ...]
) -> None:
    portal = simulate(holding({(1, 1), (1, 2), (2, 1)}, "primary = {2 = 1}\nmissing_opportunities = [77]"))
    write(bulklink, {(1, 1), (1, 9), (2, 2), (77, 1)})
    done = bulklink("sync", "pairs.csv", "--portal", portal.url, "-n", "--json", *prune)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["add"], told["unread"]) == (2, 1)
    assert (told["remove"], told["primary"]) == (([[1, 2]], 1) if prune else ([], 0))
    assert set(methods(portal)) == {"GET"}
    assert not (bulklink.folder / "runs").exists()
    if prune:
        words = bulklink("sync", "pairs.csv", "--portal", portal.url, "-n", *prune).stdout
        assert "2 links to add, 1 to remove, 1 pair that cannot be told\n  remove 1,2\n" in words


def test_a_dry_run_says_what_of_the_input_is_no_pair_and_minds_how_much_there_should_be(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(holding({(1, 1)}))
    write(bulklink, {(1, 1), (2, 2)}, "3,x", ",4")
    words = ("sync", "pairs.csv", "--portal", portal.url, "-n")
    done = bulklink(*words)
    assert (done.returncode, done.stdout) == (3, "pairs.csv: 1 link to add, 0 to remove, 2 rows invalid\n")
    assert json.loads(bulklink(*words, "--json").stdout)["invalid"] == 2
    before = portal.books()["requests"]
    done = bulklink(*words, "--min-rows", "5")
    assert (done.returncode, "only 4 rows, expected are 5" in done.stderr) == (2, True)
    assert portal.books()["requests"] == before


def test_syncs_that_are_merged_tell_once_what_became_of_each_link_and_are_undone_to_what_was_before(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    """Monday's link goes on Tuesday, Tuesday's own removal is made again on Wednesday."""
    portal = simulate(holding({(1, 5)}))
    to_it = ("--portal", portal.url, "--prune", "all", "--allow-removals", "1")
    for name, links in (
        ("monday", {(1, 2), (1, 5)}),
        ("tuesday", {(1, 3), (1, 5)}),
        ("wednesday", {(1, 2), (1, 3)}),
    ):
        write(bulklink, links)
        removals = to_it if name != "monday" else to_it[:4]
        assert bulklink("sync", "pairs.csv", *removals, "--run-id", name).returncode == 0
    assert portal.links() == {(1, 2), (1, 3)}

    early = bulklink.report("report", "monday", "tuesday", "--run-id", "two")
    assert (early["exit_code"], early["sync"]["prune"], early["sync"]["removed"]) == (0, "all", 1)
    assert early["sync"]["requests"] > 0
    assert removed_csv(bulklink, "two") == {(1, 2): "removed"}
    assert (1, 2) not in ids_in(bulklink, "two", "linked.csv")
    report = bulklink.report("report", "monday", "tuesday", "wednesday", "--run-id", "all")
    assert report["sync"]["removed"] == 1
    assert removed_csv(bulklink, "all") == {(1, 5): "removed"}
    page = (bulklink.folder / "runs" / "all" / "report.html").read_text()
    assert "--prune all: 1 removed" in page

    done = bulklink("verify", "all")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("run all: 2 links claimed, 0 missing")
    assert "1 link removed by sync, 0 there again" in done.stdout
    assert bulklink("report", "all", "--check").returncode == 0
    assert bulklink("rollback", "all").returncode == 0
    assert portal.links() == {(1, 5)}


def ids_in(bulklink: "CommandLine", run: str, name: str) -> set[tuple[int, int]]:
    with (bulklink.folder / "runs" / run / name).open(newline="") as file:
        return {(int(row["deal_id"]), int(row["person_id"])) for row in csv.DictReader(file)}


def settled(ledger: "Path") -> int:
    try:
        with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM prunes WHERE begun_at IS NOT NULL").fetchone()[0])
    except sqlite3.Error:
        return 0


def call(portal: "SimulatedPortal", method: str, opportunity: int, contact: int) -> None:
    """What a user of the portal does meanwhile."""
    path = f"/api/2.0/crm/opportunity/{opportunity}/contact/{contact}"
    headers = {"Authorization": "demo-token", "Content-Length": "0"}
    request = urllib.request.Request(f"{portal.url}{path}", method=method, headers=headers)  # noqa: S310 - ours
    urllib.request.urlopen(request).close()  # noqa: S310 - same


def test_removals_end_at_the_maximum_duration_and_resume_goes_on(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    wanted = {(o, 1) for o in range(1, 31)}
    portal = simulate(holding(wanted | {(o, c) for o in range(1, 31) for c in (2, 3)}))
    write(bulklink, wanted)
    limits = ("--allow-removals", "60", "--link-rate", "20/s", "--max-duration", "1s", "--run-id", "one")
    report = sync(bulklink, portal, "--prune", "all", *limits)
    assert (report["exit_code"], report["sync"]["pending"]) == (10, True)
    assert portal.books()["removed"] < 60
    assert bulklink("resume", "one", "--link-rate", "2000/s").returncode == 0
    assert portal.links() == wanted


@pytest.mark.parametrize("copies", [1, 2], ids=["in the table or its index", "in both"])
def test_a_bit_that_has_changed_in_what_is_to_be_removed_removes_nothing(
    bulklink: "CommandLine", simulate: "Simulate", copies: int
) -> None:
    """Of a link that was decided it makes one of an opportunity that the file does not name."""
    wanted = {(o, 1) for o in range(1, 31)}
    portal = simulate(holding(wanted | {(o, c) for o in range(1, 31) for c in (2, 3)} | {(62, 2), (62, 3)}))
    write(bulklink, wanted)
    limits = ("--allow-removals", "60", "--link-rate", "5/s", "--max-duration", "3s", "--run-id", "one")
    sync(bulklink, portal, "--prune", "all", *limits)
    ledger = bulklink.folder / "runs/one/ledger.db"
    assert {(30, 2), (30, 3)} <= portal.links()
    data = ledger.read_bytes()
    for contact in (2, 3):  # the last to go
        key = (30 << 32 | contact).to_bytes(6, "big")
        assert data.count(key) == 2
        data = data.replace(key, (62 << 32 | contact).to_bytes(6, "big"), copies)
    ledger.write_bytes(data)
    before = portal.links()

    done = bulklink("resume", "one", "--link-rate", "2000/s")

    assert (done.returncode, portal.links()) == (1, before)
    assert "runs/one/ledger.db: the ledger is damaged: " in done.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_sync_that_is_ended_in_the_middle_of_its_removals_goes_on_with_those_that_were_decided(
    bulklink: "CommandLine", simulate: "Simulate", how: signal.Signals
) -> None:
    wanted = {(o, 1) for o in range(1, 31)}
    surplus = {(o, c) for o in range(1, 31) for c in (2, 3)}
    portal = simulate(holding(wanted | surplus))
    write(bulklink, wanted | {(40, 1)})
    words = ("sync", "pairs.csv", "--portal", portal.url, "--prune", "all", "--allow-removals", "60")
    limits = ("--transport", "single", "--concurrency", "2", "--link-rate", "60/s", "--run-id", "one")
    with bulklink.start(*words, *limits) as process:
        ledger = bulklink.folder / "runs/one/ledger.db"
        deadline = time.monotonic() + 60
        while settled(ledger) < 10:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == (-9 if how is signal.SIGKILL else 143)
    left = portal.links() & surplus
    assert 0 < len(left) < len(surplus)
    status = json.loads(bulklink("status", "one", "--json").stdout)
    assert (status["status"], status["sync"]["pending"]) == ("interrupted", True)
    # Others are at work: one of those that are left goes, and one comes that nobody decided on.
    call(portal, "DELETE", *max(left))
    call(portal, "POST", 7, 99)
    done = bulklink("resume", "one", "--json", "--link-rate", "2000/s")
    assert done.returncode == 0, done.stderr
    assert portal.links() == wanted | {(40, 1), (7, 99)}
    report = json.loads(done.stdout)
    assert (report["status"], report["sync"]["removed"], report["sync"]["gone"]) == ("completed", 59, 1)
    assert portal.books()["removed"] == 60
    assert bulklink("report", "one", "--check").returncode == 0


def test_removals_that_failed_are_tried_again_by_resume_and_every_word_of_the_sync_says_so(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    fault = '[[faults]]\nkind = "status"\nstatus = 500\non = "delete"\nper_pair = 3'
    portal = simulate(holding({(1, 1), (1, 2), (1, 3)}) + fault)
    write(bulklink, {(1, 1)})
    words = ("sync", "pairs.csv", "--portal", portal.url, "--prune", "all", "--run-id", "one")
    done = bulklink(*words, "--transport", "single")
    assert done.returncode == 5, done.stderr
    assert "2 failed" in done.stderr
    assert "  to try again what could not be removed: bulklink resume one\n" in done.stderr
    page = (bulklink.folder / "runs/one/report.html").read_text()
    assert "bulklink resume one" in page
    done = bulklink("resume", "one")
    assert done.returncode == 0, done.stderr
    assert (portal.links(), removed_csv(bulklink, "one")) == (
        {(1, 1)},
        {(1, 2): "removed", (1, 3): "removed"},
    )
    assert bulklink("verify", "one").returncode == 0
    assert "nothing to resume" in bulklink("resume", "one").stderr
    assert bulklink("rollback", "one").returncode == 0
    assert portal.links() == {(1, 1), (1, 2), (1, 3)}


def test_a_sync_that_is_gone_on_with_after_its_rollback_can_be_undone_again(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    wanted = {(o, 1) for o in range(1, 31)}
    surplus = {(o, c) for o in range(1, 31) for c in (2, 3)}
    portal = simulate(holding(wanted | surplus))
    write(bulklink, wanted)
    words = ("sync", "pairs.csv", "--portal", portal.url, "--prune", "all", "--allow-removals", "60")
    limits = ("--transport", "single", "--concurrency", "2", "--link-rate", "60/s", "--run-id", "one")
    with bulklink.start(*words, *limits) as process:
        ledger = bulklink.folder / "runs/one/ledger.db"
        while settled(ledger) < 10:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.kill()
        process.communicate(timeout=60)
    assert bulklink("rollback", "one", "--link-rate", "2000/s").returncode == 0
    assert portal.links() == wanted | surplus
    assert json.loads(bulklink("status", "one", "--json").stdout)["status"] == "rolled_back"

    done = bulklink("resume", "one", "--json", "--link-rate", "2000/s")

    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "completed")
    assert surplus - portal.links() == {pair for pair, word in restored(bulklink, "one").items() if not word}
    assert bulklink("verify", "one").returncode == 0
    assert bulklink("rollback", "one", "--link-rate", "2000/s").returncode == 0
    assert portal.links() == wanted | surplus
    assert bulklink("verify", "one").returncode == 0


def restored(bulklink: "CommandLine", run: str) -> dict[tuple[int, int], str]:
    with (bulklink.folder / "runs" / run / "removed.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(int(row["opportunity_id"]), int(row["contact_id"])): row["_restored"] for row in rows}
