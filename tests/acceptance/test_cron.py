"""What cron mails: with -q nothing as long as all is well, and one line where somebody is needed."""

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.test_undo import call

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

MISSING = "opportunity_id,contact_id\n1,7\n9999,7\nx,7\n"


@pytest.fixture
def portal(bulklink: "CommandLine", simulate: "Simulate") -> "SimulatedPortal":
    """With a run whose first link others have removed since."""
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,7\n2,7\n")
    done = bulklink("run", "pairs.csv", "--portal", portal.url, "--run-id", "one", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return portal


def quiet(bulklink: "CommandLine", *words: str) -> tuple[int, str]:
    done = bulklink(*words, "-q")
    assert done.stdout == ""
    assert done.stderr.count("\n") == bool(done.stderr)
    return done.returncode, done.stderr


def test_verify(bulklink: "CommandLine", portal: "SimulatedPortal") -> None:
    assert quiet(bulklink, "verify", "one") == (0, "")
    call(portal, "DELETE", 1, 7)
    said = "bulklink: run one: exit code 8: 2 links claimed, 1 missing (runs/one/verify.csv)\n"
    assert quiet(bulklink, "verify", "one") == (8, said)


def test_rollback(bulklink: "CommandLine", portal: "SimulatedPortal") -> None:
    assert quiet(bulklink, "rollback", "one") == (0, "")
    blindly = ("run", "pairs.csv", "--portal", portal.url, "--run-id", "two", "--existing", "post")
    assert quiet(bulklink, *blindly) == (0, "")
    said = "bulklink: run two: exit code 8: 2 kept (runs/two/rollback.csv)\n"
    assert quiet(bulklink, "rollback", "two") == (8, said)


def test_plan_and_run(bulklink: "CommandLine", portal: "SimulatedPortal") -> None:
    to_it = ("--portal", portal.url)
    assert quiet(bulklink, "plan", "pairs.csv", *to_it) == (0, "")
    (bulklink.folder / "bad.csv").write_text(MISSING)
    said = "1 invalid, 1 opportunity missing (runs/bad/plan.csv)"
    planned = quiet(bulklink, "plan", "bad.csv", *to_it, "--run-id", "bad")
    assert planned == (3, f"bulklink: plan bad: exit code 3: {said}\n")
    said = "bulklink: run three: exit code 3: 2 rows to mend (runs/three/rejected.csv)\n"
    assert quiet(bulklink, "run", "bad.csv", *to_it, "--run-id", "three") == (3, said)


def test_check_with_a_portal(bulklink: "CommandLine", portal: "SimulatedPortal") -> None:
    to_it = ("--portal", portal.url)
    assert quiet(bulklink, "check", "pairs.csv", *to_it) == (0, "")
    (bulklink.folder / "bad.csv").write_text(MISSING)
    said = "bulklink: bad.csv: exit code 3: 1 invalid, 1 id of the sample missing or hidden\n"
    assert quiet(bulklink, "check", "bad.csv", *to_it) == (3, said)


def test_a_plan_that_is_asked_whether_there_is_anything_to_do(
    bulklink: "CommandLine", portal: "SimulatedPortal"
) -> None:
    (bulklink.folder / "bad.csv").write_text(f"{MISSING}3,7\n")
    words = ("plan", "bad.csv", "--portal", portal.url, "--run-id", "bad", "--detailed-exitcode")
    said = "1 to link, 1 invalid, 1 opportunity missing (runs/bad/plan.csv)"
    assert quiet(bulklink, *words) == (8, f"bulklink: plan bad: exit code 8: {said}\n")
    said = "bulklink: plan bad: exit code 3: 1 invalid, 1 opportunity missing (runs/bad/plan.csv)\n"
    assert quiet(bulklink, "run", "runs/bad/plan.json", "-n") == (3, said)


def test_a_sync_that_only_reads(bulklink: "CommandLine", simulate: "Simulate") -> None:
    links = [[1, n] for n in range(1, 31)]
    portal = simulate(f"[portal]\nlinked = {links}\n")
    words = ("sync", "pairs.csv", "--portal", portal.url, "--prune", "all", "-n")
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n")
    code, said = quiet(bulklink, *words)
    assert code == 8
    assert said.startswith("bulklink: pairs.csv: exit code 8: nothing would be removed: ")
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n1,x\n")
    code, said = quiet(bulklink, *words)
    assert code == 3
    assert said.startswith("bulklink: pairs.csv: exit code 3: 1 invalid; 1 opportunity not touched (1): ")


def test_sync(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate("[portal]\nlinked = [[1, 7], [1, 8]]\nprimary = { 1 = 8 }\n")
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,7\n")
    to_it = ("--portal", portal.url, "--prune", "all", "--run-id", "one")
    assert quiet(bulklink, "sync", "pairs.csv", *to_it) == (0, "")
    call(portal, "POST", 2, 9)
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n2,7\n2,x\n")
    code, said = quiet(bulklink, "sync", "pairs.csv", *to_it[:4], "--run-id", "two")
    assert (code, said) == (3, "bulklink: run two: exit code 3: 1 row to mend (runs/two/rejected.csv)\n")


def test_publish(bulklink: "CommandLine", redis_url: str) -> None:
    (bulklink.folder / "bad.csv").write_text(MISSING)
    said = "bulklink: run put: exit code 3: 1 unusable (runs/put/rejected.csv)\n"
    words = ("publish", "bad.csv", f"{redis_url}?stream=cron", "--run-id", "put")
    assert quiet(bulklink, *words) == (3, said)
