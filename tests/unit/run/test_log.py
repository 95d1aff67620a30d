"""Where the log goes, and that no pipe holds it up."""

import json
import os
from pathlib import Path

import pytest

from worker.errors import UsageError
from worker.run.log import open_log


def test_a_pipe_that_nobody_reads_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")

    with (
        pytest.raises(UsageError, match=r"^--log-file .*log: a pipe that nobody reads$"),
        open_log(tmp_path / "log", verbose=False),
    ):
        pass


def test_a_pipe_that_is_read_gets_the_log_and_a_full_one_loses_lines(tmp_path: Path) -> None:
    """More than the 64 KiB that a pipe holds: whoever reads slowly must not hold up the run."""
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with open_log(tmp_path / "log", verbose=False, run_id="monday") as log:
            for number in range(2000):
                log.info("event", number=number, text="x" * 100)
        first = os.read(reader, 65536).splitlines()[0]
    finally:
        os.close(reader)

    assert (json.loads(first)["number"], json.loads(first)["run_id"]) == (0, "monday")


def test_a_hyphen_is_standard_error_and_no_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    with open_log(Path("-"), verbose=False) as log:
        log.info("event")

    assert json.loads(capfd.readouterr().err)["event"] == "event"
    assert not list(tmp_path.iterdir())


def test_without_a_standard_error_it_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)

    with open_log(Path("-"), verbose=False) as log:
        log.info("event")


def test_a_log_that_grew_large_is_begun_anew_beside_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    for _ in range(2):  # what an earlier session wrote counts
        with open_log(path, verbose=False, largest=10_000) as log:
            for number in range(100):
                log.info("event", number=number, text="x" * 100)

    now, before = path.read_text().splitlines(), (tmp_path / "run.log.1").read_text().splitlines()
    assert json.loads(now[-1])["number"] == 99
    assert path.stat().st_size <= 10_000
    assert (tmp_path / "run.log.1").stat().st_size <= 10_000
    assert (json.loads(before[-1])["number"] + 1) % 100 == json.loads(now[0])["number"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run.log", "run.log.1"]


def test_a_log_that_cannot_be_moved_goes_on_in_place(tmp_path: Path) -> None:
    (tmp_path / "run.log.1").mkdir()
    (tmp_path / "run.log.1" / "x").touch()

    with open_log(tmp_path / "run.log", verbose=False, largest=1_000) as log:
        for number in range(50):
            log.info("event", number=number)

    assert json.loads((tmp_path / "run.log").read_text().splitlines()[-1])["number"] == 49
