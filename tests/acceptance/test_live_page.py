"""--dashboard-port as a user has it: the address is printed, and a port in use is named in one line."""

import json
import re
import secrets
import socket
import urllib.request
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.conftest import ONE_BY_ONE, CommandLine, SimulatedPortal

Simulate = Callable[[str], SimulatedPortal]

ADDRESS = re.compile(r"live page: (http://127\.0\.0\.1:\d+/)#(\S+)\n")


def read(address: str) -> str:
    with urllib.request.urlopen(address) as page:  # noqa: S310 - our own page
        text: str = page.read().decode()
    return text


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


@pytest.mark.parametrize("verb", ["verify", "rollback"])
def test_verbs_about_a_run_have_the_page_too_and_a_port_in_use_ends_them_before_anything_is_sent(
    bulklink: CommandLine, simulate: Simulate, verb: str
) -> None:
    portal = simulate("calm")
    listed(bulklink, 40)
    done = bulklink("run", "pairs.csv", "--portal", portal.url, "--run-id", "one", *ONE_BY_ONE[:2])
    assert done.returncode == 0
    links, asked = portal.links(), portal.books()["requests"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = bulklink(verb, "one", "--dashboard-port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout) == (2, "")
    assert "address already in use" in done.stderr
    assert (portal.links(), portal.books()["requests"]) == (links, asked)

    words = ("--dashboard-port", "0", "--rate", "20/s", "--progress", "none")
    with bulklink.start(verb, "one", *words) as process:
        assert process.stderr is not None
        found = ADDRESS.fullmatch(process.stderr.readline())
        assert found
        while "At work" not in (page := read(found[1])):
            pass
        assert "of 40 links" in page
        assert "Run <code>" not in page
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert portal.links() == (links if verb == "verify" else set())


def test_the_page_of_a_sync_stays_where_it_is_while_links_are_removed(
    bulklink: CommandLine, simulate: Simulate
) -> None:
    portal = simulate("calm")
    listed(bulklink, 30)
    to_it = ("--portal", portal.url, "--transport", "single")
    assert bulklink("run", "pairs.csv", *to_it).returncode == 0
    (bulklink.folder / "pairs.csv").write_text(
        "opportunity_id,contact_id\n" + "".join(f"{n},8\n" for n in range(1, 31))
    )
    words = ("--prune", "own", "--allow-removals", "30", "--dashboard-port", "0", "--rate", "40/s")
    with bulklink.start("sync", "pairs.csv", *to_it, *words) as process:
        assert process.stderr is not None
        found = ADDRESS.fullmatch(process.stderr.readline())
        assert found
        seen: set[str] = set()
        while not process.poll() and len(seen) < 3:
            with suppress(OSError):  # for a moment between the two nobody listens
                page = read(found[1])
                seen |= {one for one in ("rows have", "opportunities are", "links that") if one in page}
        _, err = process.communicate(timeout=60)
    assert (process.returncode, len(seen)) == (0, 3), err
    assert "live page" not in err  # once is enough
    assert portal.links() == {(n, 8) for n in range(1, 31)}


def test_a_plan_is_looked_at_again_and_carried_out_on_one_page(
    bulklink: CommandLine, simulate: Simulate
) -> None:
    portal = simulate("calm")
    listed(bulklink, 40)
    made = ("plan", "pairs.csv", "--portal", portal.url, "--run-id", "it", "--transport", "single")
    assert bulklink(*made).returncode == 0
    plan = ("run", "runs/it/plan.json", "--rate", "30/s")
    asked = portal.books()["requests"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert bulklink(*plan, "--dashboard-port", port).returncode == 2
    assert portal.books()["requests"] == asked
    with bulklink.start(*plan, "--dashboard-port", "0") as process:
        assert process.stderr is not None
        found = ADDRESS.fullmatch(process.stderr.readline())
        assert found
        seen: set[str] = set()
        while process.poll() is None and len(seen) < 2:
            with suppress(OSError):
                page = read(found[1])
                seen |= {one for one in ("are looked for", "rows have") if one in page}
        _, err = process.communicate(timeout=60)
    assert (process.returncode, len(seen)) == (0, 2), err
    assert "live page" not in err  # once is enough
    assert len(portal.links()) == 40


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
