"""``bulklink status``: how far a run is, from another shell; and ``runs`` lists it as running."""

import json
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

ROWS = "".join(f"1,{n}\n" for n in range(1, 501))


def status(bulklink: "CommandLine", *words: str) -> dict[str, Any]:
    done = bulklink("status", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert sum(n for state, n in found["counts"].items() if state != "rows") == found["counts"]["rows"]
    return found


@contextmanager
def at_work(bulklink: "CommandLine", *words: str) -> "Iterator[subprocess.Popen[str]]":
    """A command that is at work within the block, and not after it, whatever goes wrong."""
    with bulklink.start(*words) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate(timeout=60)


def wait_for(portal: "SimulatedPortal", posts: int) -> None:
    deadline = time.monotonic() + 60
    while portal.books()["posts"] < posts:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_at_work_is_seen_from_another_shell_without_disturbing_it(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{ROWS}")
    words = ("run", "pairs.csv", "--portal", portal.url, *ONE_BY_ONE, "--rate", "40/s", "--run-id", "one")
    with at_work(bulklink, *words) as process:
        wait_for(portal, 12)
        found = status(bulklink, "one")
        assert (found["status"], found["exit_code"]) == ("running", None)
        assert (found["counts"]["rows"], found["input"]["complete"]) == (500, True)
        assert 0 < found["counts"]["linked"] < 500
        told = bulklink("status").stdout.splitlines()
        assert told[0] == f"run one: running; pairs.csv -> {portal.url}"
        assert told[-1].endswith("to go at this pace")
        assert " running " in bulklink("runs").stdout
        assert status(bulklink)["counts"]["linked"] >= found["counts"]["linked"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    found = status(bulklink)
    assert (found["status"], found["exit_code"]) == ("interrupted", 143)
    assert bulklink("status").stdout.splitlines()[-1] == "  nothing is lost; go on with: bulklink resume one"
    assert bulklink("report", "one", "--check").returncode == 0


def test_one_that_was_killed_is_interrupted_and_one_that_was_undone_rolled_back(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{ROWS}")
    words = ("run", "pairs.csv", "--portal", portal.url, "--run-id", "one")
    with at_work(bulklink, *words, "--rate", "40/s") as process:
        wait_for(portal, 5)
        process.kill()
        process.communicate(timeout=60)
    assert (status(bulklink)["status"], status(bulklink)["counts"]["rows"]) == ("interrupted", 500)
    assert bulklink("rollback", "one", "-q").returncode == 0
    assert status(bulklink)["status"] == "rolled_back"
    assert bulklink("status").stdout.startswith("run one: rolled back")


def test_a_worker_of_a_queue_has_a_status_too(
    bulklink: "CommandLine", simulate: "Simulate", redis_url: str
) -> None:
    pytest.importorskip("redis")
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{ROWS}")
    url = f"{redis_url}?stream=status"
    assert bulklink("publish", "pairs.csv", url, "-q").returncode == 0
    words = ("work", url, "--portal", portal.url, "--rate", "40/s", "--run-id", "worker")
    with at_work(bulklink, *words) as process:
        wait_for(portal, 5)
        found = status(bulklink)
        assert (found["run_id"], found["status"], found["input"]["kind"]) == ("worker", "running", "queue")
        assert found["counts"]["linked"] > 0
        assert " so far; " in bulklink("status").stdout
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert status(bulklink)["status"] == "interrupted"


def test_a_folder_without_runs_is_told_in_one_line(bulklink: "CommandLine") -> None:
    done = bulklink("status")
    assert (done.returncode, done.stderr) == (2, "bulklink: runs: no runs here\n")
