"""A file is written whole or not at all."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from worker.errors import OutputError
from worker.sinks import replaced, sweep


def test_a_block_that_ends_well_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "linked.csv"
    path.write_text("old")
    path.chmod(0o644)

    with replaced(path) as file:
        file.write("new\n")
        file.flush()
        assert path.read_text() == "old"

    assert path.read_bytes() == b"new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, RuntimeError])
def test_a_block_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "linked.csv"
    path.write_text("old")

    def half() -> None:
        with replaced(path) as file:
            file.write("new")
            raise error

    with pytest.raises(error):
        half()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_makes_no_file_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replaced(tmp_path / "linked.csv"):
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_behind_is_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".linked.csv.abcd1234.part").write_text("a long half of a file")
    (tmp_path / ".check-abcd1234").mkdir()
    (tmp_path / ".check-abcd1234" / "linked.csv").touch()
    mine = [tmp_path / name for name in (".mine", "linked.csv", "notes.part", "part")]
    for path in mine:
        path.touch()

    sweep(tmp_path)

    assert sorted(tmp_path.iterdir()) == mine


def test_two_who_write_the_same_file_do_not_write_into_each_other(tmp_path: Path) -> None:
    path = tmp_path / "linked.csv"

    with replaced(path) as first:
        first.write("first, ")
        with replaced(path) as second:
            second.write("second\n")
        assert path.read_text() == "second\n"
        first.write("and whole\n")

    assert path.read_text() == "first, and whole\n"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_that_are_no_utf_8_go_out_as_they_came_in(tmp_path: Path) -> None:
    every = bytes(range(256))

    with replaced(tmp_path / "a.csv") as file:
        file.write(every.decode("utf-8", "surrogateescape"))

    assert (tmp_path / "a.csv").read_bytes() == every


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    with replaced(tmp_path / "a.csv") as file:
        file.write("a\r\nb\nc\rd")

    assert (tmp_path / "a.csv").read_bytes() == b"a\r\nb\nc\rd"


def test_a_missing_folder_is_an_output_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "none" / "linked.csv"

    with pytest.raises(OutputError, match=f"^{path}: No such file or directory; the ledger"), replaced(path):
        pytest.fail("nowhere to write")


def test_a_folder_that_cannot_be_written_is_an_output_error_that_names_the_file(tmp_path: Path) -> None:
    """On a read-only file system, too, to unlink is refused whether or not there is such a file."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "linked.csv"

    with pytest.raises(OutputError, match=f"^{path}: Not a directory; the ledger"), replaced(path):
        pytest.fail("nowhere to write")


def test_a_target_that_cannot_be_replaced_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "linked.csv"
    path.mkdir()

    with pytest.raises(OutputError, match=f"^{path}: Is a directory; "), replaced(path) as file:
        file.write("new")

    assert list(tmp_path.iterdir()) == [path]


FULL = """
import resource, signal, sys
from pathlib import Path
from worker.errors import OutputError
from worker.sinks import replaced

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
try:
    with replaced(Path(sys.argv[1])) as file:
        for _ in range(int(sys.argv[2])):
            file.write("x" * 1000)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("thousands", [11, 1000])
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on the size of files here")
def test_a_disk_that_fills_up_is_an_output_error_and_the_old_file_stands(
    tmp_path: Path, thousands: int
) -> None:
    """Found out while writing, or only when the last of it is flushed."""
    path = tmp_path / "linked.csv"
    path.write_text("old")

    ended = subprocess.run(
        [sys.executable, "-c", FULL, os.fspath(path), str(thousands)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout == f"{path}: File too large; the ledger has it all, see 'bulklink report'\n"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
