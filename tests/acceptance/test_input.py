"""Inputs as users have them: what is read of them, what is said of them, and what comes back."""

import gzip
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]


def test_a_cut_file_is_kept_up_to_the_break_and_resume_takes_the_rest_of_the_same_file_only(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    rows = [f"{n},{n * 7919 % 4999 + 1}\n" for n in range(1, 1001)]
    whole = gzip.compress(("opportunity_id,contact_id\n" + "".join(rows)).encode())
    swapped = gzip.compress(("contact_id,opportunity_id\n" + "".join(rows)).encode())
    path = bulklink.folder / "pairs.csv.gz"
    portal = simulate("[portal]\n")

    path.write_bytes(whole[: len(whole) * 2 // 3])
    words = ("run", "pairs.csv.gz", "--portal", portal.url, "--rate", "2000/s", "--run-id", "one")
    report = bulklink.report(*words)
    assert report["exit_code"] == 2
    last = int(
        report["message"].split("is cut short: its gzip data has no end (after line ")[1].split(")")[0]
    )
    assert report["counts"]["rows"] == last - 1
    assert (last - 1) % 500, "the break is to lie within a chunk"

    path.write_bytes(swapped)
    refused = bulklink("resume", "one")
    assert refused.returncode == 2
    assert "pairs.csv.gz: the columns are not what they were when this run began" in refused.stderr

    path.write_bytes(whole)
    assert bulklink("resume", "one").returncode == 0
    assert portal.links() == {(n, n * 7919 % 4999 + 1) for n in range(1, 1001)}
