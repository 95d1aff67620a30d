"""--dashboard-port as a user has it: the address is printed, and a port in use is named in one line."""

import json
import re
import secrets
import socket
import urllib.request
from collections.abc import Callable

import pytest

from tests.conftest import ONE_BY_ONE, CommandLine, SimulatedPortal

Simulate = Callable[[str], SimulatedPortal]

ADDRESS = re.compile(r"live page: (http://127\.0\.0\.1:\d+/)#(\S+)\n")


def listed(bulklink: CommandLine, count: int) -> None:
    rows = "".join(f"{n},7\n" for n in range(1, count + 1))
    (bulklink.folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")


def test_a_port_in_use_is_one_line_and_exit_code_2_and_nothing_is_sent(
    bulklink: CommandLine, simulate: Simulate
) -> None:
    portal = simulate("calm")
    listed(bulklink, 30)
    to_it = ("--portal", portal.url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        busy = f"bulklink: --dashboard-port {port}: cannot listen on 127.0.0.1: address already in use\n"
        done = bulklink("run", "pairs.csv", *to_it, "--dashboard-port", port)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", busy)
        assert not list(bulklink.folder.glob("runs/*/ledger.db"))
        assert portal.books()["requests"] == 0

        short = ("--max-duration", "0.2s", "--rate", "20/s", *ONE_BY_ONE)
        assert bulklink("run", "pairs.csv", *to_it, "--run-id", "one", *short).returncode == 10
        links = portal.links()
        done = bulklink("resume", "one", "--dashboard-port", port)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", busy)
        assert portal.links() == links
    assert bulklink("resume", "one", "--dashboard-port", port).returncode == 0
    assert len(portal.links()) == 30


@pytest.mark.parametrize("verb", ["run", "work"])
def test_the_page_is_served_while_it_works_and_pauses_it(
    bulklink: CommandLine, simulate: Simulate, redis_url: str, verb: str
) -> None:
    portal = simulate("calm")
    listed(bulklink, 40)
    source = ["pairs.csv"]
    if verb == "work":
        source = [f"{redis_url}?stream=live{secrets.token_hex(4)}", "--drain"]
        assert bulklink("publish", "pairs.csv", source[0]).returncode == 0
    words = (*source, "--portal", portal.url, "--dashboard-port", "0", "--rate", "20/s", *ONE_BY_ONE)
    with bulklink.start(verb, *words) as process:
        assert process.stderr is not None
        found = ADDRESS.fullmatch(process.stderr.readline())
        assert found
        address, token = found.groups()
        assert process.stderr.readline().startswith("run ")  # from here on it can be steered

        def press(what: str) -> str:
            request = urllib.request.Request(  # noqa: S310 - our own page
                f"{address}{what}", data=b"", headers={"X-Bulklink-Token": token}
            )
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - same
                said: str = answer.read().decode()
            return said

        assert "paused from the live page" in press("pause")
        with urllib.request.urlopen(address) as page:  # noqa: S310 - same
            assert "Paused from this page." in page.read().decode()
        assert press("resume") == "resumed from the live page\n"
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(portal.links()) == 40
    report = json.loads((bulklink.only_run() / "report.json").read_text())
    assert report["counts"]["linked"] == 40
