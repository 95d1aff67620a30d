"""--on-end: whoever is to know that a run has ended is told by a command, and told all of it."""

import json
from typing import TYPE_CHECKING

import pytest

from worker.cli.on_end import tell_end
from worker.ledger import Ledger, LedgerReader
from worker.report.build import build_report
from worker.run.directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

KEEP = "cat > told.json; echo $BULKLINK_EXIT_CODE $BULKLINK_RUN_DIRECTORY > code"


def test_the_command_gets_the_report_and_the_exit_code(bulklink: "CommandLine", simulate: "Simulate") -> None:
    (bulklink.folder / "pairs.csv").write_text("deal,contact\n1,2\n1,x\n")
    words = ("run", "pairs.csv", "--portal", simulate("calm").url, "--run-id", "it")

    done = bulklink(*words, "--on-end", KEEP)

    run = bulklink.folder / "runs/it"
    assert done.returncode == 3
    assert (bulklink.folder / "told.json").read_bytes() == (run / "report.json").read_bytes()
    assert (bulklink.folder / "code").read_text() == f"3 {run}\n"


def test_what_the_command_prints_does_not_get_between_the_report_and_its_reader(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    (bulklink.folder / "pairs.csv").write_text("deal,contact\n1,2\n")

    done = bulklink("run", "pairs.csv", "--portal", simulate("calm").url, "--json", "--on-end", "echo sent")

    assert json.loads(done.stdout)["counts"]["linked"] == 1
    assert "sent\n" in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [("exit 9", "the command gave exit code 9"), ("no-such-command", "the command gave exit code 127")],
)
def test_a_command_that_fails_is_told_and_changes_nothing(
    bulklink: "CommandLine", simulate: "Simulate", command: str, said: str
) -> None:
    (bulklink.folder / "pairs.csv").write_text("deal,contact\n1,2\n")

    done = bulklink("run", "pairs.csv", "--portal", simulate("calm").url, "-q", "--on-end", command)

    assert done.returncode == 0
    assert f"bulklink: --on-end: {said}\n" in done.stderr


def test_the_command_may_call_us_again(bulklink: "CommandLine", simulate: "Simulate") -> None:
    (bulklink.folder / "pairs.csv").write_text("deal,contact\n1,2\n")
    words = ("run", "pairs.csv", "--portal", simulate("calm").url, "--run-id", "it")

    done = bulklink(*words, "--on-end", "bulklink report --check -q || true; exit 0")

    assert "no such variable" not in done.stderr


async def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: "Path", capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory.create(tmp_path, "it")
    async with Ledger(directory.ledger, create=True) as ledger:
        await ledger.put_facts(
            {
                "run_id": "it",
                "portal": "http://x",
                "input_path": "-",
                "input_name": "-",
                "input_kind": "file",
                "settings": {},
            }
        )
        await ledger.begin_session()
    with LedgerReader(directory.ledger) as reader:
        report = build_report(reader)

    tell_end(f"(sleep 1; touch {tmp_path}/late) & sleep 60", report, directory, longest=0.2)

    assert capsys.readouterr().err == "bulklink: --on-end: took longer than 0 s and was ended\n"
    assert not (tmp_path / "late").exists()


def test_quiet_and_rows_left_is_one_line_for_cron(bulklink: "CommandLine", simulate: "Simulate") -> None:
    (bulklink.folder / "pairs.csv").write_text("deal,contact\n1,2\n1,x\n")

    done = bulklink("run", "pairs.csv", "--portal", simulate("calm").url, "--run-id", "it", "-q")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "bulklink: run it: exit code 3: 1 row to mend (runs/it/rejected.csv)\n"
