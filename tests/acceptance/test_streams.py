"""Standard streams that the caller closed, filled or left: what a run does and how it ends stays the same."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.run.directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

BULKLINK = f"{sys.executable} -m worker"
LEAVER = "| (exec <&-; sleep 0.3)"
"""A reader who does not even begin: what is written to it fails, as behind ``| true``."""


def shell(folder: Path, line: str, **variables: str) -> int:
    """The exit code of bulklink within a shell's line; only a real shell and interpreter close streams so."""
    done = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        cwd=folder,
        env={**os.environ, "BULKLINK_TOKEN": "demo-token", **variables},
        check=False,
        timeout=60,
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode


@pytest.mark.parametrize(
    "streams",
    ["0<&- 1>&- 2>&-", "--json --progress bar >/dev/null 2>/dev/full", f"2>&1 {LEAVER}"],
)
def test_a_standard_error_that_is_closed_full_or_unread_changes_nothing(
    simulate: "Simulate", tmp_path: Path, streams: str
) -> None:
    (tmp_path / "pairs.csv").write_text("deal,contact\n1,2\n3,4\n")
    portal = simulate("calm")

    assert shell(tmp_path, f"{BULKLINK} run pairs.csv --run-id it {streams}", BULKLINK_PORTAL=portal.url) == 0

    assert portal.links() == {(1, 2), (3, 4)}
    assert (tmp_path / "runs/it/report.json").exists()


@pytest.mark.parametrize("words", ["runs", "--help", "run --help"])
def test_a_reader_who_leaves_is_no_failure(tmp_path: Path, words: str) -> None:
    run = RunDirectory.create(tmp_path / "runs", "it")
    with closing(connect(run.ledger, mode="rwc")) as db:
        Store(db).put_meta({"run_id": "it", "portal": "", "input_path": "", "input_name": "", "settings": {}})

    assert shell(tmp_path, f"{BULKLINK} {words} {LEAVER}") == 0


def test_help_on_a_full_disk_is_an_error(tmp_path: Path) -> None:
    assert shell(tmp_path, f"{BULKLINK} --help >/dev/full") == 1


@pytest.mark.parametrize("verb", ["check", "run -n", "plan", "run", "report", "status", "runs", "sync -n"])
def test_what_the_encoding_of_standard_output_does_not_have_is_an_escape_and_no_crash(
    simulate: "Simulate", tmp_path: Path, verb: str
) -> None:
    """Cron and old servers have locales that are not UTF-8; the names of files and columns do not care."""
    name = "größe€日😀.csv"
    (tmp_path / name).write_text("Größe€,deal,contact\n1,1,ä日\n2,1,2\n")
    url, variables = simulate("calm").url, {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    words = f"{BULKLINK} {verb}"
    if verb in {"report", "status", "runs"}:
        shell(tmp_path, f"{BULKLINK} run {name} --portal {url} -q")
    else:
        words += f" {name} --portal {url}"

    code = shell(tmp_path, f"{words} >told", **variables)
    shell(tmp_path, f"{words} --json >told.json", **variables)

    assert code == (0 if verb in {"status", "runs"} else 3)
    (tmp_path / "told").read_text("latin-1")
    assert isinstance(json.loads((tmp_path / "told.json").read_bytes()), dict)


def test_whoever_is_to_be_told_of_the_end_is_told_though_the_report_cannot_be_printed(
    simulate: "Simulate", tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text("deal,contact\n1,2\n")
    line = f"{BULKLINK} run pairs.csv --portal {simulate('calm').url} -q --json --on-end 'cat > told.json'"

    assert shell(tmp_path, f"{line} >/dev/full") == 1

    assert json.loads((tmp_path / "told.json").read_bytes())["counts"]["linked"] == 1


def test_whoever_is_to_be_told_of_the_end_is_told_of_a_disk_that_ended_it(
    simulate: "Simulate", tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: a ledger of so many rows goes beyond it."""
    rows = "".join(f"{n},{n}\n" for n in range(1, 4001))
    (tmp_path / "pairs.csv").write_text(f"deal,contact\n{rows}")
    line = f"{BULKLINK} run pairs.csv --portal {simulate('calm').url} --transport single -q"

    code = shell(
        tmp_path, f"ulimit -f 400; {line} --on-end 'cat > told.json; echo $BULKLINK_EXIT_CODE > code'"
    )

    told = json.loads((tmp_path / "told.json").read_bytes())
    assert (code, told["exit_code"], (tmp_path / "code").read_text()) == (1, 1, "1\n")
    assert told["status"] == "aborted"
    assert "ledger.db" in told["message"]
