"""Runs of another user in the same folder: told of by name, and in nobody's way."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fork_server import import_all

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command, Done

NOBODY = 65534


@pytest.fixture
def runs() -> Iterator[Path]:
    """A folder with a run that another user may not look into."""
    folder = Path(tempfile.mkdtemp(prefix="bulklink-"))
    folder.chmod(0o755)
    (folder / "hers").mkdir()
    (folder / "hers" / "ledger.db").touch()
    (folder / "hers").chmod(0o000)
    yield folder
    (folder / "hers").chmod(0o700)
    shutil.rmtree(folder)


@pytest.fixture
def other(command: "Command") -> "Command":
    """The command as a plain user, also if the tests are root's; for no longer than it lasts."""
    is_root = os.geteuid() == 0
    if is_root:
        import_all()  # who is nobody may be unable to read where Python is

    def run(*words: str) -> "Done":
        if is_root:
            os.seteuid(NOBODY)
        try:
            return command(*words)
        finally:
            if is_root:
                os.seteuid(0)

    return run


@pytest.mark.parametrize(
    "words", [("resume",), ("retry",), ("verify",), ("rollback",), ("report",), ("report", "--check")]
)
def test_a_run_of_another_user_is_one_line(other: "Command", runs: Path, words: tuple[str, ...]) -> None:
    done = other(*words, "hers", "--runs-dir", str(runs))

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(rf"bulklink: {runs}/hers(/ledger.db)?: Permission denied\n", done.err)


def test_a_run_of_another_user_hides_no_other(other: "Command", runs: Path) -> None:
    done = other("runs", "--runs-dir", str(runs))

    assert (done.code, done.out) == (0, "")
    assert done.err == f"bulklink: hers: {runs}/hers/ledger.db: Permission denied\n"


def test_a_runs_folder_of_another_user_is_one_line(other: "Command", runs: Path) -> None:
    for words in (["runs"], ["resume"], ["report"]):
        done = other(*words, "--runs-dir", str(runs / "hers"))

        assert (done.code, done.err) == (2, f"bulklink: {runs}/hers: Permission denied\n")
