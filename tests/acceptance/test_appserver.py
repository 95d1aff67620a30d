"""AppServer: no batch, no filter, a 500 for what is there, a DELETE that removes all (contract 4.2, 4.4)."""

import csv
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

BEFORE = {(opportunity, contact) for opportunity in range(1, 7) for contact in range(1, 6)}
ASKED = {(opportunity, contact) for opportunity in range(1, 7) for contact in range(3, 9)}
HOLDINGS = f'[portal]\nproduct = "appserver"\nlinked = {json.dumps(sorted(map(list, BEFORE)))}\n'
ONE = ("--run-id", "one", "--rate", "1000/s")


def write(bulklink: "CommandLine", pairs: set[tuple[int, int]] = ASKED) -> None:
    rows = "".join(f"{opportunity},{contact}\n" for opportunity, contact in sorted(pairs))
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")


def told(bulklink: "CommandLine", name: str = "linked.csv") -> dict[tuple[int, int], str]:
    with (bulklink.folder / "runs/one" / name).open() as file:
        return {
            (int(row["opportunity_id"]), int(row["contact_id"])): row["_status"]
            for row in csv.DictReader(file)
        }


@pytest.mark.parametrize("wire", ["json", "xml"])
def test_a_run_looks_at_each_opportunity_once_and_posts_only_what_is_not_there(
    bulklink: "CommandLine", simulate: "Simulate", wire: str
) -> None:
    """All members come back, whoever was asked for; those that nobody asked for are no rows."""
    portal = simulate(HOLDINGS)
    write(bulklink)
    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, "--wire", wire, *ONE)
    assert report["exit_code"] == 0
    assert told(bulklink) == {
        pair: "already_linked" if pair in BEFORE else "linked" for pair in sorted(ASKED)
    }
    assert portal.links() == BEFORE | ASKED
    books = portal.books()
    assert (books["posts"], books["created"], books["batches"]) == (18, 18, 0)
    looks = Counter(visit[3] for visit in portal.books("/visits") if visit[2] == "members")
    assert looks == dict.fromkeys(range(7), 1)  # 0 is the question whether the portal is there
    assert "500" not in books["by_status"]
    assert "takes no batches" in bulklink("report", "one").stdout
    verified = bulklink("verify", "one")
    assert (verified.returncode, "36 links claimed, 0 missing" in verified.stdout) == (0, True)


def test_verify_finds_what_was_removed_since(bulklink: "CommandLine", simulate: "Simulate") -> None:
    # A probe, the batch that is none, six looks and eighteen links; then the probe of verify and its batch.
    edit = '[[edits]]\ndo = "unlink"\nopportunity = 2\ncontact = {}\nat_call = 26\n'
    portal = simulate(HOLDINGS + edit.format(4) + edit.format(7))
    write(bulklink)
    assert bulklink("run", "pairs.csv", "--portal", portal.url, *ONE, "-q").returncode == 0
    assert portal.links() == BEFORE | ASKED
    done = bulklink("verify", "one")
    assert (done.returncode, "2 missing" in done.stdout) == (8, True)
    assert told(bulklink, "verify.csv") == {(2, 4): "already_linked", (2, 7): "linked"}


@pytest.mark.parametrize("existing", ["check", "post"])
def test_a_500_for_a_link_that_is_there_is_settled_by_a_look(
    bulklink: "CommandLine", simulate: "Simulate", existing: str
) -> None:
    """Somebody makes it after our look, or nobody looked; neither is an error of the portal's."""
    edit = "[[edits]]\nopportunity = 1\ncontact = 8\nat_call = 3\n"
    portal = simulate(HOLDINGS.replace("[[1, 1], ", "[") + edit)
    write(bulklink, {(1, 1), (1, 8), (1, 3), (2, 8)})
    words = ("run", "pairs.csv", "--portal", portal.url, "--existing", existing, *ONE)
    report = bulklink.report(*words)
    assert (report["exit_code"], len(told(bulklink))) == (0, 4)
    duplicates = {"check": {(1, 8)}, "post": {(1, 3), (1, 8)}}[existing]
    assert portal.books()["by_status"]["500"] == len(duplicates)
    repeated = {(o, c) for o, c, _ in portal.books("/posts")}
    assert repeated == set()
    assert told(bulklink)[1, 8] == "linked"
    assert bulklink("report", "one", "--check").returncode == 0


def test_many_that_are_there_already_are_no_outage(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate(HOLDINGS)
    write(bulklink, BEFORE)
    words = ("run", "pairs.csv", "--portal", portal.url, "--existing", "post", *ONE)
    done = bulklink(*words)
    assert done.returncode == 0
    assert "the portal fails" not in done.stderr
    assert portal.books()["requests"] == 2 + 2 * len(BEFORE)


def test_answers_that_are_lost_are_looked_for_and_not_taken_for_others_links(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    fault = '[[faults]]\nkind = "reset"\nshare = 0.4\nper_pair = 1\nafter_store = true\n'
    portal = simulate(HOLDINGS + fault)
    write(bulklink)
    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, *ONE)
    assert report["exit_code"] == 0
    assert {pair for pair, state in told(bulklink).items() if state == "linked"} == ASKED - BEFORE
    assert portal.links() == BEFORE | ASKED


def test_a_500_that_is_none_of_a_duplicate_is_tried_again(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    fault = '[[faults]]\nkind = "status"\nstatus = 500\nper_pair = 2\n'
    portal = simulate(HOLDINGS + fault)
    write(bulklink, {(1, 7), (1, 8), (2, 7)})
    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, *ONE)
    assert (report["exit_code"], report["counts"]["linked"]) == (0, 3)


def test_a_rollback_is_refused_and_nothing_is_removed(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate(HOLDINGS)
    write(bulklink)
    assert bulklink("run", "pairs.csv", "--portal", portal.url, *ONE, "-q").returncode == 0
    done = bulklink("rollback", "one")
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert "may be AppServer" in done.stderr
    assert (portal.books()["removed"], portal.links()) == (0, BEFORE | ASKED)
