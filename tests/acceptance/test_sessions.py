"""Starts of the program, as a report tells of them: whose token it was, and what is not told of that."""

import json
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

PAIRS = "opportunity_id,contact_id\n" + "".join(f"{n},{n}\n" for n in range(1, 31))
LIMITED = "[auth]\nlimited_token = 'other'\n"


def test_a_report_tells_whose_token_it_was_at_the_cost_of_no_request(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(LIMITED)
    (bulklink.folder / "pairs.csv").write_text(PAIRS)
    run = ("run", "pairs.csv", "--portal", portal.url, "--run-id", "one")
    bulklink.report(*run, "--max-duration", "0.001s")
    asked = portal.books()["requests"]
    report = bulklink.report("resume", "one", BULKLINK_TOKEN="other")
    first, second = report["sessions"]

    assert report["requests"]["attempts"] == portal.books()["requests"]
    assert asked <= portal.books()["requests"] - 4  # the probe, the batch that is tried, looks, links
    assert "self" not in {kind for _, _, kind, *_ in portal.books("/visits")}
    assert [one["user"]["name"] for one in (first, second)] == ["Demo User", "Limited User"]
    assert [one["end_code"] for one in (first, second)] == [10, 0]
    assert (second["version"], second["settings"]["existing"]) == (first["version"], "check")
    page = (bulklink.folder / "runs/one/report.html").read_text()
    assert "<td>Demo User</td>" in page
    assert "<td>Limited User</td>" in page
    (listed,) = bulklink("runs", "--json").stdout.splitlines()
    assert json.loads(listed)["sessions"] == report["sessions"]
    assert bulklink("report", "one", "--check").returncode == 0


def test_of_whose_token_it_was_nothing_is_kept_but_name_and_id(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text(PAIRS)
    bulklink.report("run", "pairs.csv", "--portal", portal.url, "--run-id", "one", "--contacts", "ids")

    kept = b"".join(path.read_bytes() for path in (bulklink.folder / "runs/one").iterdir())
    assert b"Demo User" in kept
    assert b"user@portal.example" not in kept


@pytest.mark.parametrize("scenario", ["appserver", "calm"])
def test_where_pairs_go_alone_nothing_is_asked_for_that_in_a_small_run(
    bulklink: "CommandLine", simulate: "Simulate", scenario: str
) -> None:
    portal = simulate(scenario)
    (bulklink.folder / "pairs.csv").write_text(PAIRS)
    words = ONE_BY_ONE if scenario == "calm" else ()
    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, "--run-id", "one", *words)

    assert "self" not in {kind for _, _, kind, *_ in portal.books("/visits")}
    assert [one["user"] for one in report["sessions"]] == [None]
    assert "<td>not told</td>" in (bulklink.folder / "runs/one/report.html").read_text()
