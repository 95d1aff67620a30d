"""A run that is stopped, beside another that wants to go on with it: real processes, real signals."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ONE_BY_ONE
from worker.cli import _main

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

SLOW = "[latency]\nseconds = 0.4\n"
STUCK = "[latency]\nseconds = 20\n"


def wait_until(happened: Callable[[], Any], *, every: float = 0.02) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(every)


def write_pairs(folder: Path, pairs: int, others: int = 0) -> None:
    rows = [f"{n},{n}\n" for n in range(1, pairs + 1)] + ["x,1\n"] * others
    (folder / "pairs.csv").write_text("opportunity_id,contact_id\n" + "".join(rows))


def report_of(run: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run / "report.json").read_text())
    return report


def test_a_run_is_locked_until_its_files_are_written(
    simulate: "Simulate",
    bulklink: "CommandLine",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As of a supervisor that starts ``resume`` the moment it sees the run stop."""
    write_pairs(tmp_path, 2000, others=20_000)
    portal = simulate("[latency]\nseconds = 0.002\n")
    words = (
        "run",
        "pairs.csv",
        "--portal",
        portal.url,
        *ONE_BY_ONE,
        "--rate",
        "100/s",
        "--run-id",
        "it",
        "-q",
    )
    run = tmp_path / "runs" / "it"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BULKLINK_TOKEN", "demo-token")
    with bulklink.start(*words) as process:
        # All is read, so rejected.csv takes a while to write.
        wait_until(lambda: (run / "ledger.db").exists() and portal.books()["posts"] >= 150)
        assert _main(["runs"]) == 0
        assert " running " in capsys.readouterr().out
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: list(run.glob(".*.part")), every=0.001)
        process.send_signal(signal.SIGSTOP)  # so that it writes for as long as we look
        try:
            assert list(run.glob(".*.part")), "the files were too quick for this test to see anything"
            assert [_main(["report", "it"]), _main(["resume", "it"])] == [7, 7]
        finally:
            process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert capsys.readouterr().err.count("run it is being worked on by another process") == 2
    assert _main(["report", "it", "--check"]) == 0
    assert report_of(run)["counts"]["linked"] == len(portal.links())


def test_a_signal_to_the_process_and_its_group_lets_requests_on_their_way_finish(
    simulate: "Simulate", bulklink: "CommandLine", tmp_path: Path
) -> None:
    """``timeout 5 bulklink run ...`` ends it so."""
    write_pairs(tmp_path, 1000)
    portal = simulate(SLOW)
    with bulklink.start("run", "pairs.csv", "--portal", portal.url, *ONE_BY_ONE, "--run-id", "it") as process:
        wait_until(lambda: portal.books()["posts"] >= 4)
        for _ in range(2):
            os.kill(process.pid, signal.SIGTERM)
            time.sleep(0.05)
        _, err = process.communicate(timeout=60)
    report = report_of(tmp_path / "runs" / "it")
    assert (process.returncode, report["message"]) == (143, "stopped by SIGTERM"), err
    assert report["counts"]["unknown"] == 0
    assert report["counts"]["linked"] == len(portal.links()) > 0


def test_a_run_stopped_before_it_began_leaves_nothing_and_does_not_say_resume(
    simulate: "Simulate", bulklink: "CommandLine", tmp_path: Path
) -> None:
    write_pairs(tmp_path, 10)
    portal = simulate(STUCK)
    with bulklink.start("run", "pairs.csv", "--portal", portal.url, "--run-id", "it", "-q") as process:
        wait_until(lambda: portal.books()["requests"] == 1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 143
    assert err == "bulklink: stopped at once; nothing is lost, go on with: the same command\n"
    assert not (tmp_path / "runs" / "it").exists()


@pytest.mark.parametrize("verb", ["resume", "rollback"])
def test_a_program_that_reads_the_ledger_keeps_the_run_waiting_with_a_word(
    simulate: "Simulate", bulklink: "CommandLine", tmp_path: Path, verb: str
) -> None:
    write_pairs(tmp_path, 60)
    portal = simulate("calm")
    words = ("--portal", portal.url, "--rate", "60/s", "--run-id", "it", "--transport", "single")
    assert bulklink("run", "pairs.csv", *words, "--max-duration", "0.5s").returncode == 10
    made = len(portal.links())
    more = ("--max-duration", "1m") if verb == "resume" else ()
    with closing(sqlite3.connect(tmp_path / "runs/it/ledger.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM links").fetchone()
        with bulklink.start(verb, "it", "--progress", "plain", *more) as process:
            assert process.stderr is not None
            told = iter(process.stderr.readline, "")
            assert any("another program has ledger.db open" in line for line in told)
            assert len(portal.links()) == made
            reader.execute("ROLLBACK")
            _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(portal.links()) == (60 if verb == "resume" else 0)
