"""Files that live as long as somebody holds them, whoever is killed meanwhile."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.host.held import hold, is_at, let_go, share, sweep

HOLD = """
import sys, time
from pathlib import Path
from worker.host.held import hold, share
handle, first = hold(Path(sys.argv[1]))
share(handle)
print(first, flush=True)
time.sleep(60)
"""


def test_the_last_who_holds_a_file_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    one = hold(path)
    assert one is not None
    share(one[0])
    other = hold(path)
    assert other is not None
    assert (one[1], other[1]) == (True, False)
    let_go(path, one[0])
    assert path.exists()
    let_go(path, other[0])
    assert not path.exists()


def test_what_is_held_alone_is_not_to_be_had_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "file"
    one = hold(path, alone=True)
    assert one is not None
    assert hold(path, alone=True) is None
    with pytest.raises(BlockingIOError, match="held by another process"):
        hold(path)
    let_go(path, one[0])
    other = hold(path, alone=True)
    assert other is not None
    let_go(path, other[0])


def test_who_is_killed_holds_nothing_and_what_is_left_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        beside = hold(path)
        assert beside is not None
        assert not beside[1]
        os.close(beside[0])
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert path.exists()
    after = hold(path, alone=True)
    assert after is not None
    assert after[1]
    let_go(path, after[0])


def test_a_file_that_was_removed_and_made_again_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    one = hold(path)
    assert one is not None
    path.unlink()
    assert not is_at(path, one[0])
    other = hold(path)
    assert other is not None
    assert other[1]
    assert not is_at(path, one[0])
    let_go(path, one[0])
    assert path.exists()
    let_go(path, other[0])


def test_a_file_that_goes_between_opening_and_locking_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    open_file = os.open
    opened: list[int] = []

    def open_and_lose(*args: object) -> int:
        handle: int = open_file(*args)  # type: ignore[arg-type]  # as it came
        if not opened:
            path.unlink()
        opened.append(handle)
        return handle

    monkeypatch.setattr(os, "open", open_and_lose)
    held = hold(path)
    assert held is not None
    assert len(opened) == 2
    assert is_at(path, held[0])
    let_go(path, held[0])


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "file").symlink_to(tmp_path / "precious")
    begin = time.monotonic()
    with pytest.raises(OSError, match="ymbolic"):
        hold(tmp_path / "file")
    assert time.monotonic() - begin < 0.1
    assert (tmp_path / "precious").read_text() == "mine"


def test_what_nobody_holds_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "left").write_text("by one who was killed")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    alone, shared = hold(tmp_path / "alone", alone=True), hold(tmp_path / "shared")
    assert alone is not None
    assert shared is not None
    share(shared[0])
    (tmp_path / "other").touch()
    sweep(tmp_path, "[!o]*")
    assert {path.name for path in tmp_path.iterdir()} == {"alone", "shared", "folder", "link", "other"}
    let_go(tmp_path / "alone", alone[0])
    let_go(tmp_path / "shared", shared[0])


def test_a_disk_that_cannot_lock_is_an_error_and_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr("fcntl.flock", cannot)
    with pytest.raises(OSError, match="not supported"):
        hold(tmp_path / "file")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
