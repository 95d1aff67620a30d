"""What a command tells to do next works when it is typed as printed; and what it cannot do is one line."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

HEADER = "opportunity_id,contact_id\n"
SLOW = (*ONE_BY_ONE, "--rate", "40/s", "--concurrency", "8")  # so that a few that hang hold up no others


@pytest.fixture
def pairs(bulklink: "CommandLine") -> str:
    text = HEADER + "".join(f"{n},{n}\n" for n in range(1, 61))
    (bulklink.folder / "pairs.csv").write_text(text)
    return "pairs.csv"


def advised(text: str) -> list[str]:
    """The command that is told to go on with, as a shell would take it."""
    (line,) = re.findall(r"go on with: (bulklink .*)", text)
    return shlex.split(line)[1:]


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    (line,) = done.stderr.splitlines()
    assert line.startswith("bulklink: ")
    assert "internal error" not in line
    return line


@pytest.mark.parametrize("how", ["flag", "file", "variable", "two signals"])
def test_the_command_that_a_stopped_run_names_finishes_it(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str, how: str
) -> None:
    """Wherever it keeps its files, and however it was told so."""
    portal = simulate(
        "calm" if how != "two signals" else '[[faults]]\nkind = "hang"\nafter = 20\ntimes = 4\n'
    )
    words, variables = ["--portal", portal.url], {}
    if how == "variable":
        variables = {"BULKLINK_RUNS_DIR": "my runs"}
    elif how == "file":
        (bulklink.folder / "my own.toml").write_text("runs_dir = 'my runs'\ntimeout = '10s'\n")
        words += ["--config", "my own.toml"]
    else:
        words += ["--runs-dir", "my runs"]
    with bulklink.start("run", pairs, *words, *SLOW, **variables) as process:
        while portal.books()["posts"] < 20 + 8 * (how == "two signals"):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        if how == "two signals":
            time.sleep(1.3)
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143

    done = bulklink(*advised(err), "--json", **variables)

    assert (done.returncode, json.loads(done.stdout)["counts"]["linked"]) == (0, 60)
    assert len(portal.links()) == 60
    assert not (bulklink.folder / "runs").exists()


def test_a_run_that_never_began_tells_of_no_files_and_nothing_to_go_on_with(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    for scenario in (
        '[auth]\ntoken = "other"',
        '[[outages]]\nkind = "payment_402"',
        '[[outages]]\nkind = "closed_503"',
    ):
        done = bulklink("run", pairs, "--portal", simulate(scenario).url)

        assert done.returncode == 6
        assert "resume" not in one_line(done)
        assert not list(bulklink.folder.glob("runs/[!.]*"))


def test_an_input_with_fewer_rows_than_expected_is_refused_before_anything_is_sent(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "empty.csv").write_text(HEADER)
    words = ("--portal", portal.url, "--rate", "1000/s")

    done = bulklink("run", "empty.csv", *words, "--min-rows", "1")
    assert (done.returncode, one_line(done)) == (
        2,
        "bulklink: empty.csv: no rows, expected are 1 or more (--min-rows); nothing was sent",
    )
    done = bulklink("run", "-", *words, "--min-rows", "61", stdin=(bulklink.folder / pairs).read_text())
    assert done.returncode == 2
    assert "only 60 rows, expected are 61 or more" in one_line(done)
    assert bulklink("check", pairs, "--min-rows", "61").returncode == 2
    assert portal.books()["posts"] == 0
    assert not list(bulklink.folder.glob("runs/[!.]*"))

    report = bulklink.report("run", pairs, *words, "--min-rows", "60")
    assert (report["exit_code"], report["counts"]["linked"], len(portal.links())) == (0, 60, 60)
    # Without the option it is no error, but not passed over in silence.
    done = bulklink("run", "empty.csv", *words)
    assert done.returncode == 0
    assert "nothing was in it" in done.stderr


def test_a_log_on_a_pipe_that_nobody_reads_is_one_line(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate("calm")
    os.mkfifo(bulklink.folder / "log")

    done = bulklink("run", pairs, "--portal", portal.url, "--log-file", "log")

    assert (done.returncode, one_line(done)) == (2, "bulklink: --log-file log: a pipe that nobody reads")
    assert portal.books()["posts"] == 0


def test_a_log_that_cannot_be_written_is_refused_before_anything_is_sent(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate("calm")
    to_portal = ("--portal", portal.url)
    assert bulklink("run", pairs, *to_portal, "--run-id", "one", "--max-duration", "1ms").returncode == 10
    (bulklink.folder / "folder").mkdir()
    before = portal.books()["requests"]

    for where, why in (("none/log", "No such file or directory"), ("folder", "Is a directory")):
        anew = (pairs, *to_portal, "--run-id", "two")
        for verb in (("run", *anew), ("plan", *anew), ("sync", *anew), ("resume", "one")):
            done = bulklink(*verb, "--log-file", where)
            assert (done.returncode, one_line(done)) == (2, f"bulklink: --log-file {where}: {why}"), verb
    assert portal.books()["requests"] == before
    assert [path.name for path in bulklink.folder.glob("runs/[!.]*")] == ["one"]

    assert bulklink("resume", "one").returncode == 0
    for verb in (("verify", "one"), ("rollback", "one")):
        assert bulklink(*verb, "--log-file", "folder").returncode == 2, verb
    assert len(portal.links()) == 60


def test_a_log_on_standard_error_makes_no_file(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    done = bulklink(
        "run", pairs, "--portal", simulate("calm").url, "--log-file", "-", "-q", "--run-id", "one"
    )

    assert done.returncode == 0
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert [event for event in events if event != "limit.changed"] == ["run.started", "run.ended"]
    assert not (bulklink.folder / "-").exists()
    assert not (bulklink.folder / "runs/one/run.log").exists()


def test_a_standard_output_that_is_full_fails_after_the_run_and_says_where_the_report_is(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate("calm")
    script = (
        f'"$0" -m worker run {pairs} --portal {portal.url} --rate 1000/s --run-id one -q --json >/dev/full'
    )

    done = in_shell(bulklink.folder, script)

    assert done.returncode == 1
    assert one_line(done) == (
        "bulklink: standard output: No space left on device; runs/one/report.json has the same"
    )
    assert len(portal.links()) == 60


def in_shell(folder: Path, script: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
    return subprocess.run(
        ["bash", "-c", script, sys.executable],
        cwd=folder,
        env={**clean, "BULKLINK_TOKEN": "demo-token"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "words", ["run pairs.csv --portal http://127.0.0.1:1", "resume", "runs", "check pairs.csv", "verify x"]
)
def test_a_folder_that_is_gone_is_one_line(bulklink: "CommandLine", words: str) -> None:
    (bulklink.folder / "gone").mkdir()

    done = in_shell(bulklink.folder, f'cd gone && rmdir ../gone && "$0" -P -m worker {words}')

    if words == "runs":
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "no runs in runs\n")
    else:
        assert done.returncode == 2
        one_line(done)
