"""One process at a time works on a run."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from worker.errors import Exit, LedgerError, LockedError
from worker.ledger import is_locked, run_lock

HOLDER = """
import sys
from pathlib import Path
from worker.ledger import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_by_the_name_of_the_run(tmp_path: Path) -> None:
    run = tmp_path / "monday"
    run.mkdir()

    with (
        run_lock(run),
        pytest.raises(LockedError, match="run monday is being worked on") as caught,
        run_lock(run),
    ):
        pytest.fail("held twice")
    assert caught.value.exit_code is Exit.LOCKED


def test_the_lock_is_free_after_its_holder_let_go_or_failed(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        pass
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        _ = 1 / 0
    with run_lock(tmp_path):
        pass


def test_runs_do_not_lock_each_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    with run_lock(tmp_path / "a"), run_lock(tmp_path / "b"):
        pass


def test_a_lock_leaves_no_file(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        pass

    assert list(tmp_path.iterdir()) == []


def test_another_process_is_refused_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(LockedError), run_lock(tmp_path):
                pytest.fail("held twice")
        finally:
            holder.kill()
    with run_lock(tmp_path):
        pass


def test_a_folder_that_is_none_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path, why in ((tmp_path / "none", "No such file"), (tmp_path / "file", "Not a directory")):
        with pytest.raises(LedgerError, match=f"{path}: {why}"), run_lock(path):
            pytest.fail("nothing to hold")


def test_a_disk_that_cannot_lock_is_not_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS answers EBADF to an exclusive lock of what is open for reading, others ENOLCK or ENOTSUP."""

    def refuse(_handle: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(LedgerError, match="No locks available"), run_lock(tmp_path):
        pytest.fail("not locked")


def test_whether_a_run_is_locked_can_be_asked_without_disturbing_anyone(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with run_lock(tmp_path):
        assert is_locked(tmp_path)
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "none")


def test_who_looks_whether_it_is_locked_does_not_keep_anyone_from_locking(tmp_path: Path) -> None:
    looker = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    soon = threading.Timer(0.05, os.close, (looker,))
    soon.start()

    with run_lock(tmp_path):
        soon.join()


def test_to_let_go_twice_lets_go_of_nothing_else(tmp_path: Path) -> None:
    """The number of its descriptor may be another file's by then."""
    held = run_lock(tmp_path)
    held.release()
    with (tmp_path / "other").open("w") as other:
        held.release()
        other.write("still open")
