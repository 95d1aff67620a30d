"""SIGHUP, closed terminals and readers who leave: the run goes on, and its exit code tells of the rows."""

import json
import os
import pty
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

QUICK = "[latency]\nseconds = 0.002\n"
SHORT_LIVED = """
[auth]
expires_after_requests = 350

[latency]
seconds = 0.002
"""


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    rows = "".join(f"{n},{n}\n" for n in range(1, 401))
    (tmp_path / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
    return "pairs.csv"


def wait_until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def config(folder: Path, rate: str, concurrency: int) -> None:
    (folder / "bulklink.toml").write_text(f'rate = "{rate}"\nconcurrency = {concurrency}\n')


def another_token(url: str) -> str:
    login = {"userName": "user@portal.example", "password": "demo-password"}
    headers = {"Content-Type": "application/json"}
    request = Request(f"{url}/api/2.0/authentication", json.dumps(login).encode(), headers)  # noqa: S310 - our own simulator
    with urlopen(request) as answer:  # noqa: S310 - same
        return str(json.load(answer)["response"]["token"])


@pytest.mark.alone
def test_sighup_reads_the_limits_again(
    simulate: "Simulate", bulklink: "CommandLine", pairs: str, tmp_path: Path
) -> None:
    """At 10/s the 400 pairs would take 40 s."""
    portal = simulate(QUICK)
    config(tmp_path, "10/s", 2)
    started = time.monotonic()
    with bulklink.start(
        *(
            "run",
            pairs,
            "--portal",
            portal.url,
            *ONE_BY_ONE,
            "--config",
            "bulklink.toml",
            "--progress",
            "plain",
        )
    ) as process:
        wait_until(lambda: portal.books()["posts"] >= 5)
        config(tmp_path, "400/s", 8)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "SIGHUP: now 400/s, 8 in flight" in err
    assert len(portal.links()) == 400
    assert time.monotonic() - started < 20


@pytest.mark.alone
def test_a_lower_rate_read_by_sighup_is_kept_from_then_on(
    simulate: "Simulate", bulklink: "CommandLine", pairs: str, tmp_path: Path
) -> None:
    portal = simulate(QUICK)
    config(tmp_path, "200/s", 8)
    with bulklink.start(
        *(
            "run",
            pairs,
            "--portal",
            portal.url,
            *ONE_BY_ONE,
            "--config",
            "bulklink.toml",
            "--progress",
            "plain",
        )
    ) as process:
        wait_until(lambda: portal.books()["posts"] >= 20)
        config(tmp_path, "20/s", 1)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        before = portal.books()["posts"]
        time.sleep(2)
        after = portal.books()["posts"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert 20 <= after - before <= 42


def test_sighup_with_a_broken_file_changes_nothing_and_says_so(
    simulate: "Simulate", bulklink: "CommandLine", pairs: str, tmp_path: Path
) -> None:
    portal = simulate(QUICK)
    config(tmp_path, "100/s", 4)
    with bulklink.start(
        *(
            "run",
            pairs,
            "--portal",
            portal.url,
            *ONE_BY_ONE,
            "--config",
            "bulklink.toml",
            "--progress",
            "plain",
        )
    ) as process:
        wait_until(lambda: portal.books()["posts"] >= 5)
        (tmp_path / "bulklink.toml").write_text('rate = "fast"\n')
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "SIGHUP: bulklink.toml: rate: 'fast'" in err
    assert "going on as before" in err
    assert len(portal.links()) == 400


def test_sighup_reads_the_token_file_again(
    simulate: "Simulate", bulklink: "CommandLine", pairs: str, tmp_path: Path
) -> None:
    """No token would live for 400 pairs; were the first one used up, the books would show a 401."""
    portal = simulate(SHORT_LIVED)
    secret = tmp_path / "token"
    secret.write_text("demo-token\n")
    with bulklink.start(
        *("run", pairs, "--portal", portal.url, *ONE_BY_ONE, "--rate", "100/s", "--progress", "plain"),
        BULKLINK_TOKEN="",
        BULKLINK_TOKEN_FILE=str(secret),
    ) as process:
        wait_until(lambda: portal.books()["posts"] >= 100)
        secret.write_text(another_token(portal.url))
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "401" not in portal.books()["by_status"]
    assert len(portal.links()) == 400


def test_a_closed_terminal_does_not_end_the_run(
    simulate: "Simulate", bulklink: "CommandLine", pairs: str, tmp_path: Path
) -> None:
    """The kernel sends SIGHUP to the process, and writing to the terminal fails from then on."""
    portal = simulate(QUICK)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.environ["BULKLINK_TOKEN"] = "demo-token"
        words = ["run", pairs, "--portal", portal.url, *ONE_BY_ONE, "--rate", "200/s", "--json"]
        os.execv(sys.executable, [sys.executable, "-m", "worker", *words])  # noqa: S606 - as a shell would
    wait_until(lambda: portal.books()["posts"] >= 20)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in {0, 1}  # 1: --json had nowhere to go
    assert len(portal.links()) == 400
    run = bulklink.only_run()
    assert json.loads((run / "report.json").read_text())["counts"]["linked"] == 400


def test_a_reader_who_leaves_does_not_change_the_exit_code(
    simulate: "Simulate", bulklink: "CommandLine", pairs: str
) -> None:
    """As in ``bulklink run ... --json 2>&1 | true``."""
    portal = simulate(QUICK)
    words = ("run", pairs, "--portal", portal.url, "--rate", "400/s", "--progress", "plain", "--json")
    with bulklink.start(*words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        process.wait(60)
    assert process.returncode == 0
    assert len(portal.links()) == 400
    assert bulklink("report").returncode == 0


def test_sighup_reads_the_rate_of_links_too(
    simulate: "Simulate", bulklink: "CommandLine", pairs: str, tmp_path: Path
) -> None:
    """At 5 links a second the 400 pairs would take 80 s."""
    portal = simulate(QUICK)
    file = tmp_path / "bulklink.toml"
    file.write_text('rate = "400/s"\nlink_rate = "5/s"\n')
    words = ("run", pairs, "--portal", portal.url, "--config", "bulklink.toml", "--progress", "plain")
    with bulklink.start(*words) as process:
        wait_until(lambda: portal.books()["posts"] >= 3)
        file.write_text('rate = "400/s"\nlink_rate = "00:00-24:00=400/s,5/s"\n')
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "SIGHUP: now 400/s and links 00:00-24:00=400/s,5/s, as many as do good in flight" in err
    assert len(portal.links()) == 400
