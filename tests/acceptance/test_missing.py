"""Rows that the portal does not find say which side of them is missing, with the ids that fail most."""

import csv
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

ROWS = [(opportunity, contact) for opportunity in range(1, 41) for contact in (7, 88)] + [(77, 1), (77, 2)]
HOLDINGS = "[portal]\nmissing_contacts = [88]\nmissing_opportunities = [77]\n"


@pytest.mark.parametrize("transport", ["single", "auto"])
@pytest.mark.parametrize("existing", ["check", "post"])
def test_causes_name_what_is_missing_and_how_many_rows_name_it(
    bulklink: "CommandLine", simulate: "Simulate", existing: str, transport: str
) -> None:
    portal = simulate(HOLDINGS)
    rows = "".join(f"{opportunity},{contact}\n" for opportunity, contact in ROWS)
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
    words = ("run", "pairs.csv", "--portal", portal.url, "--existing", existing, "--transport", transport)
    report = bulklink.report(*words, "--rate", "1000/s", "--run-id", "one")
    assert (report["exit_code"], report["counts"]["linked"], report["counts"]["rejected"]) == (3, 40, 42)
    assert {(one["reason"], one["http_status"], one["count"]) for one in report["causes"]} == {
        ("contact_missing", 404, 40),
        ("opportunity_missing", 404, 2),
    }
    ids = {one["reason"]: one["ids"] for one in report["causes"]}
    assert ids == {
        "contact_missing": [{"id": 88, "rows": 40}],
        "opportunity_missing": [{"id": 77, "rows": 2}],
    }
    with (bulklink.folder / "runs/one/rejected.csv").open() as file:
        reasons = [(row["opportunity_id"], row["_reason"]) for row in csv.DictReader(file)]
    assert {reason for opportunity, reason in reasons if opportunity == "77"} == {"opportunity_missing"}
    assert "contact 88 is missing or hidden (40 rows)" in bulklink("report", "one").stdout
    assert (
        "contact 88 is missing or hidden (40 rows)" in (bulklink.folder / "runs/one/report.html").read_text()
    )
    assert bulklink("report", "one", "--check").returncode == 0
    assert len(portal.links()) == 40


def test_a_portal_that_does_not_tell_leaves_the_reason_as_it_is(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(
        HOLDINGS + '[[faults]]\nkind = "status"\nstatus = 403\nbody = "html"\non = "get"\nafter = 1\n'
    )
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,88\n1,7\n2,88\n")
    words = ("run", "pairs.csv", "--portal", portal.url, "--existing", "post", "--transport", "single")
    report = bulklink.report(*words)
    assert (report["exit_code"], report["counts"]["linked"], report["counts"]["rejected"]) == (3, 1, 2)
    assert [one["reason"] for one in report["causes"]] == ["not_found"]
