"""What is put back from the dead letters is tried anew by a worker that runs, at every broker."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

MENDED_AT = 1_000
"""Calls, far more than a worker makes here."""

HIDDEN_UNTIL_MENDED = f"""
[[edits]]
do = "hide"
contact = 2
at_call = 1

[[edits]]
do = "show"
contact = 2
at_call = {MENDED_AT}
"""


@pytest.fixture(params=["redis", "rabbitmq", "nats"])
def queue(request: pytest.FixtureRequest) -> str:
    """URL of a queue that no other test uses."""
    server = request.getfixturevalue(f"{request.param}_url")
    return f"{server}?{'queue' if request.param == 'rabbitmq' else 'stream'}=links-{uuid4().hex}"


def wait_until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def mend(portal: "SimulatedPortal") -> None:
    """Show the contact again."""
    ask = urllib.request.Request(  # noqa: S310 - our own simulator
        f"{portal.url}/api/2.0/crm/opportunity/3", headers={"Authorization": "demo-token"}
    )
    while portal.books()["edits"] < 2:
        for _ in range(100):
            urllib.request.urlopen(ask).close()  # noqa: S310 - same


@pytest.mark.parametrize("existing", ["check", "post"])
def test_what_was_rejected_and_is_put_back_is_tried_anew_by_the_worker_that_had_it(
    bulklink: "CommandLine", simulate: "Simulate", queue: str, existing: str
) -> None:
    portal = simulate(HIDDEN_UNTIL_MENDED)
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n1,2\n,3\n")
    assert bulklink("publish", "pairs.csv", queue, "--run-id", "put").returncode == 3

    def letters() -> list[dict[str, Any]]:
        return [json.loads(line) for line in bulklink("dead", queue, "--json", "-q").stdout.splitlines()]

    def died_after(moment: float) -> bool:
        return [letter["dead_at"] > moment for letter in letters()] == [True]

    words = ("work", queue, "--portal", portal.url, "--run-id", "one", "--existing", existing)
    with bulklink.start(*words, "--json") as process:
        try:
            wait_until(letters)
            # Not mended yet: it is tried, and refused again.
            posts, before = portal.books()["posts"], time.time()
            assert bulklink("dead", queue, "--requeue").stderr.endswith(": 1 put back\n")
            wait_until(lambda: died_after(before))
            (letter,) = letters()
            assert (letter["why"]["http_status"], letter["deliveries"]) == (404, 1)
            assert letter["why"]["attempts"] >= 1
            mend(portal)
            assert bulklink("dead", queue, "--requeue").stderr.endswith(": 1 put back\n")
            wait_until(lambda: (1, 2) in portal.links())
        finally:
            process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (143, False)
    report = json.loads(out)
    assert {state: n for state, n in report["counts"].items() if n} == {"rows": 2, "linked": 2}
    assert portal.links() == {(1, 1), (1, 2)}
    assert portal.books()["posts"] - posts in {1, 2}
    assert letters() == []
    assert bulklink("report", "one", "--check").returncode == 0
