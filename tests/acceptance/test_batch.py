"""Many pairs in one request, as a user has it: the same ends as one by one, in far fewer requests."""

import csv
import json
import signal
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.test_main_job import LOST_BATCHES, MIGRATION, check_files, ids_of, rows_of, write_dirty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

BATCHES = str(Path(__file__).parents[1] / "scenarios" / "batches.toml")
POISONOUS = (7, 77)
BATCH = ("--rate", "2000/s", "--transport", "batch")


def write(path: Path, pairs: "Iterable[tuple[int, int]]") -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("opportunity_id", "contact_id"), *pairs])


def grid(opportunities: int, contacts: int) -> list[tuple[int, int]]:
    """Pairs of the first opportunities with the first contacts, in a random order that is always the same."""
    pairs = [(o, c) for o in range(1, opportunities + 1) for c in range(1, contacts + 1)]
    Random(opportunities).shuffle(pairs)  # noqa: S311 - the same file each time
    return pairs


def pairs_in(run: Path, name: str) -> set[tuple[int, int]]:
    found = [ids_of(row) for row in rows_of(run / name)]
    assert len(found) == len(set(found)), name
    return set(found)


def test_a_dirty_file_ends_in_batches_as_it_does_one_by_one(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    expected = write_dirty(tmp_path / "pairs.csv", 600)
    scenario = Path(MIGRATION).read_text() + LOST_BATCHES
    ends: dict[str, Any] = {}
    for transport in ("single", "batch"):
        portal = simulate(scenario)
        words = ("--portal", portal.url, "--rate", "2000/s", "--run-id", transport)
        report = bulklink.report("run", "pairs.csv", *words, "--transport", transport)
        check_files(tmp_path / "runs" / transport, expected)
        assert report["requests"]["attempts"] == portal.books()["requests"]
        assert report["requests"]["transport"] == transport
        ends[transport] = report["exit_code"], report["status"], report["counts"], portal.links()
        requests = portal.books()["requests"]

    assert ends["batch"] == ends["single"]
    code, _, counts, links = ends["batch"]
    assert (code, links) == (3, expected["links"])
    assert (counts["linked"], counts["duplicate"]) == (expected["linked"], expected["duplicate"])
    assert requests < 200  # the batches', lost ones and each look after them included


def test_at_fifty_requests_a_second_three_thousand_pairs_take_a_few_seconds(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    pairs = grid(300, 10)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate("calm")

    words = ("--portal", portal.url, "--rate", "50/s", "--transport", "auto")
    report = bulklink.report("run", "pairs.csv", *words)

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 3_000)
    assert portal.links() == set(pairs)
    books, requests = portal.books(), report["requests"]
    assert requests["attempts"] == books["requests"] < 3_000 / 15
    assert (requests["transport"], requests["retries"], books["repeats"]) == ("batch", 0, 0)


def test_batches_that_go_wrong_lose_nothing_and_claim_nothing(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    pairs = grid(20, 30)
    pairs.insert(200, POISONOUS)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate(BATCHES)

    words = ("--portal", portal.url, "--rate", "45/s", "--transport", "batch")
    report = bulklink.report("run", "pairs.csv", *words)

    run, links = bulklink.only_run(), portal.links()
    linked, left = pairs_in(run, "linked.csv"), pairs_in(run, "retry.csv") | pairs_in(run, "rejected.csv")
    assert report["exit_code"] in (3, 5)
    assert linked == links == set(pairs) - {POISONOUS}
    assert left == {POISONOUS}
    assert report["requests"]["attempts"] == portal.books()["requests"]


def faulty_batches(status: int, after: int = 0) -> str:
    """A portal behind a proxy that lets no batches pass, or none any more after so many links."""
    return f'[[faults]]\non = "batch"\nstatus = {status}\nbody = "html"\nafter = {after}\n'


NO_BATCHES = {
    "appserver": ('[portal]\nproduct = "appserver"\n', "HTTP 405 request_not_accepted"),
    "403": (faulty_batches(403), "HTTP 403 blocked_by_proxy"),
    "404": (faulty_batches(404), "HTTP 404 no_such_route"),
    "405": (faulty_batches(405), "HTTP 405 request_not_accepted"),
}


@pytest.mark.parametrize("case", NO_BATCHES)
def test_a_portal_without_batches_is_worked_at_one_by_one_unless_they_are_demanded(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path, case: str
) -> None:
    scenario, why = NO_BATCHES[case]
    pairs = grid(10, 10)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate(scenario)

    done = bulklink("run", "pairs.csv", "--portal", portal.url, *BATCH)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (6, "", 1), done.stderr
    assert "--transport batch: this portal takes no batches" in done.stderr
    assert list(tmp_path.glob("runs/[!.]*")) == []
    assert portal.links() == set()

    words = ("--portal", portal.url, "--rate", "2000/s", "--transport", "auto")
    report = bulklink.report("run", "pairs.csv", *words)

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 100)
    assert report["requests"]["transport"] == "single"
    assert why in report["requests"]["transport_reason"]
    assert (portal.links(), portal.books()["posts"]) == (set(pairs), 100)


@pytest.mark.parametrize(
    "fault",
    [
        'status = 502\nbody = "html"\n',
        'status = 503\nretry_after = "1"\n',
        'kind = "missing_item"\n',
        'kind = "reset"\n',
    ],
)
def test_a_passing_failure_of_the_first_batch_does_not_decide_how_the_run_is_sent(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path, fault: str
) -> None:
    write(tmp_path / "pairs.csv", grid(10, 10))
    portal = simulate(f'[[faults]]\non = "batch"\ntimes = 1\n{fault}')

    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, *BATCH)

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 100)
    assert report["requests"]["transport"] == "batch"
    assert report["requests"]["attempts"] == portal.books()["requests"]


@pytest.mark.parametrize(
    ("status", "why"), [(403, "HTTP 403 blocked_by_proxy"), (404, "HTTP 404 no_such_route")]
)
def test_batches_forbidden_in_the_middle_of_a_run_go_on_one_by_one_to_the_right_end(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path, status: int, why: str
) -> None:
    pairs = grid(30, 20)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate(faulty_batches(status, after=100))

    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, *BATCH)

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 600)
    books = portal.books()
    assert portal.links() == set(pairs)
    # A batch that was refused did nothing, so nothing was sent twice.
    assert (books["posts"], books["repeats"]) == (600, 0)
    assert books["batches"] < 20
    assert report["requests"]["attempts"] == books["requests"]
    told = report["requests"]
    assert told["transport"] == "single"
    assert told["transport_reason"] == f"the portal stopped taking batches: {why}"


LOSSES = {
    "a page of 400": 'status = 400\nbody = "html"\n',
    "a page of 200": 'kind = "html_200"\n',
    "no answer": 'kind = "reset"\n',
    "an answer that cannot be unpacked": 'kind = "gzip_junk"\n',
}


@pytest.mark.parametrize("case", LOSSES)
def test_batches_that_something_spoils_from_the_middle_of_a_run_on_cost_no_pair_its_link(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path, case: str
) -> None:
    """Nothing says that they are refused, and each pair could be linked alone."""
    pairs = grid(30, 10)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate(f'[[faults]]\non = "batch"\nafter = 100\n{LOSSES[case]}')

    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, *BATCH)

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 300)
    books, told = portal.books(), report["requests"]
    assert portal.links() == set(pairs)
    assert books["batches"] < 30
    assert told["attempts"] == books["requests"]
    assert told["transport"] == "single"
    assert told["transport_reason"].startswith("batches fail, requests of one do not: ")


def test_a_run_in_batches_is_verified_and_rolled_back_in_batches(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    pairs = grid(60, 6)
    before = {pair for pair in pairs if pair[1] == 1}
    write(tmp_path / "pairs.csv", pairs)
    held = json.dumps(sorted(map(list, before)))
    portal = simulate(f"[portal]\nlinked = {held}\n")
    words = ("run", "pairs.csv", "--portal", portal.url, *BATCH, "--existing", "check", "--run-id", "one")
    report = bulklink.report(*words)
    assert (report["counts"]["linked"], report["counts"]["already_linked"]) == (300, 60)
    assert portal.links() == set(pairs)

    requests = portal.books()["requests"]
    verified = bulklink("verify", "one", *BATCH, "--json")
    assert (verified.returncode, json.loads(verified.stdout)["missing"]) == (0, 0), verified.stderr
    assert portal.books()["requests"] - requests < 20

    requests = portal.books()["requests"]
    done = bulklink("rollback", "one", *BATCH, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"removed": 300, "gone": 0, "kept": 0, "failed": 0}
    assert portal.links() == before
    assert portal.books()["requests"] - requests < 60
    assert bulklink("report", "one", "--check").returncode == 0


def test_a_rollback_in_batches_that_go_wrong_leaves_the_books_as_before(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    pairs = grid(30, 6)
    write(tmp_path / "pairs.csv", pairs)
    before = {pair for pair in pairs if pair[1] == 1}
    held = json.dumps(sorted(map(list, before)))
    troubles = (
        LOST_BATCHES + '[[faults]]\non = "batch"\nkind = "missing_item"\nshare = 0.1\n'
        '[[faults]]\non = "batch"\nstatus = 502\nbody = "html"\nitems_done = -1\nshare = 0.05\n'
    )
    portal = simulate(f"seed = 3\n[portal]\nlinked = {held}\n{troubles}")
    words = ("run", "pairs.csv", "--portal", portal.url, *BATCH, "--existing", "check", "--run-id", "one")
    assert bulklink.report(*words)["counts"]["linked"] == 150
    assert portal.links() == set(pairs)

    done = bulklink("rollback", "one", *BATCH, "--json")

    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["counts"]["removed"], portal.links()) == (150, before)


def test_looking_for_two_thousand_pairs_of_a_hundred_opportunities_takes_a_few_requests(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    pairs = grid(100, 20)
    new = set(pairs[::100])
    write(tmp_path / "pairs.csv", pairs)
    held = json.dumps(sorted(map(list, set(pairs) - new)))
    portal = simulate(f"[portal]\nlinked = {held}\n")

    words = ("run", "pairs.csv", "--portal", portal.url, *BATCH, "--existing", "check")
    report = bulklink.report(*words)

    assert report["exit_code"] == 0
    assert (report["counts"]["linked"], report["counts"]["already_linked"]) == (20, 1_980)
    books = portal.books()
    assert (books["posts"], books["repeats"], books["created"]) == (20, 0, 20)
    assert report["requests"]["attempts"] == books["requests"] <= 20
    assert portal.links() == set(pairs)


def test_a_rate_of_links_leaves_looks_as_large_as_they_are_without(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    pairs = grid(100, 20)
    new = set(pairs[::100])
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate(f"[portal]\nlinked = {json.dumps(sorted(map(list, set(pairs) - new)))}\n")

    words = ("--portal", portal.url, *BATCH, "--existing", "check", "--link-rate", "10/s")
    report = bulklink.report("run", "pairs.csv", *words)

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 20)
    assert (portal.books()["posts"], portal.links()) == (20, set(pairs))
    assert report["requests"]["attempts"] == portal.books()["requests"] <= 12


def test_members_of_large_opportunities_come_in_answers_that_are_read_to_their_end(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    """Thirty looks for a hundred contacts each are an answer of more than four megabytes."""
    pairs = grid(150, 100)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate(f"[portal]\nlinked = {json.dumps(sorted(map(list, pairs)))}\n")

    words = ("run", "pairs.csv", "--portal", portal.url, *BATCH, "--existing", "check")
    report = bulklink.report(*words)

    assert (report["exit_code"], report["counts"]["already_linked"]) == (0, 15_000)
    assert report["requests"]["attempts"] == portal.books()["requests"] <= 20


def test_a_run_in_batches_that_is_stopped_is_resumed_to_the_same_end(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    expected = write_dirty(tmp_path / "pairs.csv", 2_000)
    portal = simulate(Path(MIGRATION).read_text().replace("jitter", "item_seconds = 0.002\njitter"))
    words = ("--portal", portal.url, *BATCH, "--batch-size", "50")
    with bulklink.start("run", "pairs.csv", *words) as process:
        while portal.books()["posts"] < 500:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 143, err
    run = bulklink.only_run()
    first = json.loads((run / "report.json").read_text())
    assert first["status"] == "interrupted"
    assert first["counts"]["not_attempted"] > 0
    linked = pairs_in(run, "linked.csv")
    unknown = {ids_of(row) for row in rows_of(run / "retry.csv") if row["_status"] == "unknown"}
    # What was on its way had its answers waited for.
    assert linked <= portal.links() <= linked | unknown

    second = bulklink.report("resume")

    assert (second["exit_code"], second["counts"]["linked"]) == (3, expected["linked"])
    assert second["requests"]["transport"] == "batch"
    assert portal.links() == expected["links"]
    check_files(run, expected)
    assert second["requests"]["attempts"] == portal.books()["requests"]


def test_a_look_is_not_given_up_because_batches_that_held_it_were_lost(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    """As with a link: what befalls a batch is not counted against those that happened to be in it."""
    pairs = grid(10, 2)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate('[[faults]]\non = "batch"\nkind = "cut_items"\nitem = 1\ntimes = 6\n')

    words = ("run", "pairs.csv", "--portal", portal.url, *BATCH, "--existing", "check")
    report = bulklink.report(*words)

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 20)
    assert (portal.links(), portal.books()["repeats"]) == (set(pairs), 0)


def test_pairs_whose_items_are_refused_because_of_us_are_not_in_doubt_when_the_run_ends(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    """The rights are taken away in the middle of a batch: what it refuses was not carried out."""
    pairs = grid(20, 5)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate('[[faults]]\nkind = "forbidden_403"\nafter = 31\n')

    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, *BATCH)

    assert (report["exit_code"], report["status"]) == (6, "aborted")
    assert "crm_not_allowed" in report["message"]
    counts = report["counts"]
    assert (counts["linked"], counts["unknown"], counts["not_attempted"]) == (30, 0, 70)
    assert len(portal.links()) == 30


def test_a_pair_that_is_refused_for_itself_in_a_batch_ends_as_it_does_alone(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    write(tmp_path / "pairs.csv", grid(10, 5))
    fault = (
        '[[faults]]\nkind = "status"\nstatus = {}\nhresult = {}\nmessage = "No"\nonly = [[3, 3], [4, 4]]\n'
    )
    cases = [(403, -2146233078), (403, -2146233079), (403, 7), (404, -2147467259), (400, -2146233066)]
    for number, case in enumerate(cases):
        ends = {}
        for transport in ("single", "batch"):
            portal = simulate(fault.format(*case))
            words = ("--portal", portal.url, "--rate", "2000/s", "--transport", transport)
            report = bulklink.report("run", "pairs.csv", *words, "--run-id", f"{transport}{number}")
            causes = [(one["reason"], one["http_status"], one["count"]) for one in report["causes"]]
            ends[transport] = report["exit_code"], report["counts"], causes, portal.links()
        assert ends["batch"] == ends["single"], case
        assert ends["batch"][1]["rejected"] == 2, case


def test_a_removal_that_breaks_every_batch_is_found_and_sent_alone(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    pairs = grid(10, 6)
    write(tmp_path / "pairs.csv", pairs)
    portal = simulate('[[faults]]\non = "batch"\nkind = "doubled_envelope"\nonly = [[4, 3]]\nafter = 60\n')
    words = ("run", "pairs.csv", "--portal", portal.url, *BATCH, "--run-id", "one")
    assert bulklink.report(*words)["counts"]["linked"] == 60

    before = portal.books()["requests"]

    done = bulklink("rollback", "one", *BATCH, "--json")

    assert (done.returncode, json.loads(done.stdout)["counts"]["removed"]) == (0, 60), done.stderr
    assert portal.links() == set()
    # Two batches that broke off, and the looks for what they did.
    assert portal.books()["requests"] - before < 20
