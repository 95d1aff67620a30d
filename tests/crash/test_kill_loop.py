"""The kill loop in short: green with the worker as it is, red with each bug that it is there to see."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.kill_loop import main
from tests.forks import Forked, ForkServer

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

HERE = Path(__file__).parent


Loop = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kill_loop(fork_server: ForkServer, capsys: pytest.CaptureFixture[str]) -> Loop:
    """Its exit code, the line that it ends with, and what it says is wrong."""

    def loop(*words: str) -> tuple[int, str, str]:
        code = main(list(words), fork_server)
        out, err = capsys.readouterr()
        return code, out, err

    return loop


@pytest.mark.parametrize("transport", ["single", "batch"])
def test_twelve_kills_lose_nothing_and_repeat_no_more_than_was_in_flight(
    kill_loop: Loop, transport: str
) -> None:
    words = ("--kills", "12", "--rows", "2000", "--seed", "1", "--report-every", "4")
    code, line, wrong = kill_loop(*words, "--transport", transport)

    assert code == 0, wrong + line
    # Kills that no longer fitted into the rows would prove less; a fast machine may leave out the last ones.
    found = re.fullmatch(
        r"seed 1: (\d+) kills, 2000 rows, 0 lost, 0 double-counted, \d+ repeats \(bound \d+\), .* seconds\n"
        r"(?:at most \d+ repeats after one kill \(bound \d+\)\n)?",
        line,
    )
    assert found, line
    assert int(found[1]) >= 8


@pytest.mark.parametrize("transport", ["single", "batch"])
def test_a_run_and_its_rollback_that_are_killed_leave_the_portal_as_it_was(
    kill_loop: Loop, transport: str
) -> None:
    """What was there before is told from what the run made, whenever it was killed."""
    words = ("--kills", "5", "--rows", "800", "--seed", "2", "--report-every", "2", "--undo")
    code, line, wrong = kill_loop(*words, "--transport", transport)

    assert code == 0, wrong + line
    found = re.search(r" 0 lost, 0 double-counted, .* rolled back with (\d+) kills\n", line)
    assert found, line
    assert int(found[1]) >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "sign"),
    [
        ("ack-before-outcome", "lost: links that the portal does not hold"),
        ("no-intent", "damaged: outcomes without an intent"),
        ("no-commit", "lost: links held and called not attempted"),
        ("no-dedupe", "double-counted: rows that should not be in linked.csv"),
    ],
)
def test_a_planted_bug_turns_it_red(kill_loop: Loop, plant: str, sign: str) -> None:
    kills = "6" if plant == "ack-before-outcome" else "3"  # the gap that a kill has to hit is a narrow one

    code, line, wrong = kill_loop(
        "--kills", kills, "--rows", "800", "--seed", "3", "--report-every", "1", "--plant", plant
    )

    assert code == 1, wrong + line
    assert sign in wrong
    assert "Traceback" not in wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "sign"),
    [
        ("late-look", "double-counted: links of others that the run calls its own"),
        ("trust-delete", "double-counted: links that a rollback has left"),
    ],
)
def test_a_planted_bug_in_looking_or_undoing_turns_it_red(kill_loop: Loop, plant: str, sign: str) -> None:
    code, line, wrong = kill_loop("--kills", "2", "--rows", "600", "--seed", "4", "--undo", "--plant", plant)

    assert code == 1, wrong + line
    assert sign in wrong
    assert "Traceback" not in wrong


def die(server: ForkServer, folder: Path, blow: str, *words: str) -> None:
    """Run the command until an exact moment of its own, and be killed there."""
    environment = {**os.environ, "BULKLINK_TOKEN": "demo-token"}
    program = str(HERE / "planted.py")
    with Forked(server, program, blow, *words, cwd=folder, env=environment) as process:
        assert process.wait(60) == -signal.SIGKILL


def test_a_run_killed_before_its_facts_were_written_is_explained(
    bulklink: "CommandLine", simulate: "Simulate", fork_server: ForkServer, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text("opportunity_id,contact_id\n1,2\n")
    portal = simulate("calm")
    die(
        fork_server,
        tmp_path,
        "die-before-facts",
        "run",
        "pairs.csv",
        "--run-id",
        "dead",
        "--portal",
        portal.url,
    )

    for words in (("report", "dead"), ("resume", "dead"), ("runs",)):
        done = bulklink(*words)
        assert (words, "internal error" in done.stderr) == (words, False)


def test_files_of_a_run_killed_after_its_first_rows_name_the_columns_as_the_input_did(
    bulklink: "CommandLine", simulate: "Simulate", fork_server: ForkServer, tmp_path: Path
) -> None:
    """With the two ids in the other order a guessed header turns pairs round, and a retry links those."""
    (tmp_path / "pairs.csv").write_text("contact_id,opportunity_id\n111,222\n")
    portal = simulate("calm")
    words = ("--portal", portal.url)
    die(fork_server, tmp_path, "die-before-columns", "run", "pairs.csv", "--run-id", "dead", *words)

    bulklink("report", "dead")
    bulklink("run", "runs/dead/retry.csv", "--run-id", "again", *words)

    assert portal.links() <= {(222, 111)}
