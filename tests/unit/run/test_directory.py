"""Run directories: made, found, listed."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from worker.errors import Exit, UsageError
from worker.ledger import run_lock
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.run.directory import RunDirectory, find_run, list_runs


def make_run(
    runs: Path, name: str, started: float | None = 1.0, *, began: bool = False, plans: bool = False
) -> RunDirectory:
    run = RunDirectory.create(runs, name)
    with closing(connect(run.ledger, mode="rwc")) as db:
        if started is not None:
            Store(db).begin_session()
            db.execute("UPDATE sessions SET started_at = ?", (started,))
        if began:
            facts = dict.fromkeys(("run_id", "portal", "input_path", "input_name", "settings"), name)
            Store(db).put_meta(facts | ({"plans": True} if plans else {}))
    return run


def test_a_new_run_is_named_by_the_time_and_only_its_owner_may_look_into_it(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "deep" / "runs", None)

    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", run.run_id)
    assert run.path == tmp_path / "deep" / "runs" / run.run_id
    assert run.path.stat().st_mode & 0o777 == 0o700
    assert RunDirectory.create(tmp_path / "deep" / "runs", None).run_id != run.run_id


def test_a_run_has_the_name_it_was_given(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "monday")

    assert run.run_id == "monday"
    assert run.ledger == tmp_path / "monday" / "ledger.db"
    assert run.log == tmp_path / "monday" / "run.log"


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "monday", began=True)
    (tmp_path / "tuesday").mkdir()
    (tmp_path / "tuesday" / "notes.txt").touch()

    for name in ("monday", "tuesday"):
        with pytest.raises(UsageError, match=f"{name}: there is such a run already; choose another --run-id"):
            RunDirectory.create(tmp_path, name)
    assert (tmp_path / "tuesday" / "notes.txt").exists()


def test_the_name_of_a_run_that_never_began_can_be_taken(tmp_path: Path) -> None:
    """As of one whose process was killed when it had its folder, or its tables, and nothing in them.

    A plan that was killed has sent nothing either, and cannot be gone on with.
    """
    for name, ledger in (("folder", None), ("file", b""), ("tables", b"made"), ("plan", b"made")):
        if ledger == b"made":
            make_run(tmp_path, name, None, began=name == "plan", plans=True)
        else:
            (tmp_path / name).mkdir()
        run = RunDirectory(tmp_path / name)
        if ledger == b"":
            run.ledger.touch()
        run.log.touch()

        assert RunDirectory.create(tmp_path, name).run_id == name
        assert list(run.path.iterdir()) == []


def test_the_name_of_a_run_that_is_about_to_begin_is_taken(tmp_path: Path) -> None:
    run = make_run(tmp_path, "monday", None)
    with run_lock(run.path), pytest.raises(UsageError, match="there is such a run already"):
        RunDirectory.create(tmp_path, "monday")
    assert run.ledger.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"file/runs.*: Not a directory$") as caught:
        RunDirectory.create(tmp_path / "file" / "runs", "monday")
    assert caught.value.exit_code is Exit.USAGE


def test_a_file_in_the_place_of_the_runs_folder_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()

    with pytest.raises(UsageError) as caught:
        RunDirectory.create(tmp_path / "runs", "monday")
    assert "resume" not in str(caught.value)


def test_a_name_that_no_folder_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{tmp_path}/{'x' * 300}: File name too long$"):
        RunDirectory.create(tmp_path, "x" * 300)


def test_a_discarded_run_is_gone_and_may_be_discarded_again(tmp_path: Path) -> None:
    run = make_run(tmp_path, "monday")
    run.discard()
    run.discard()

    assert list(tmp_path.iterdir()) == []


def test_runs_are_listed_oldest_first_whatever_their_names(tmp_path: Path) -> None:
    for name, started in (("c", 1.0), ("a", 3.0), ("b", 2.0), ("d", 2.0)):
        make_run(tmp_path, name, started)

    assert [run.run_id for run in list_runs(tmp_path)] == ["c", "b", "d", "a"]


def test_a_run_that_never_began_or_cannot_be_read_is_listed_first(tmp_path: Path) -> None:
    make_run(tmp_path, "a", 1.0)
    make_run(tmp_path, "b", None)
    RunDirectory.create(tmp_path, "c").ledger.write_text("garbage")
    (tmp_path / "no run").mkdir()
    (tmp_path / "ledger.db").touch()

    assert [run.run_id for run in list_runs(tmp_path)] == ["b", "c", "a"]


def test_no_folder_has_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []


def test_a_runs_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)

    with pytest.raises(UsageError, match=f"^{tmp_path}: Permission denied$"):
        list_runs(tmp_path)


def test_a_run_is_found_by_name_by_path_or_as_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    old, new = make_run(runs, "old", 1.0), make_run(runs, "new", 2.0)
    monkeypatch.chdir(tmp_path)

    assert find_run(runs, "old") == old
    assert find_run(runs, str(old.path)) == old
    assert find_run(Path("elsewhere"), "runs/old/") == old
    assert find_run(runs, None) == new


def test_a_name_in_the_runs_folder_comes_before_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = make_run(tmp_path / "runs", "monday")
    make_run(tmp_path, "monday")
    monkeypatch.chdir(tmp_path)

    assert find_run(tmp_path / "runs", "monday") == inner


def test_a_run_that_is_run_from_within_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, "monday")
    monkeypatch.chdir(run.path)

    assert find_run(tmp_path, ".").run_id in {"monday", tmp_path.name}
    assert find_run(Path("elsewhere"), ".").run_id == "monday"


def test_a_run_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    for name in ("monday", "empty"):
        with pytest.raises(UsageError, match=f"^{name}: no such run in {tmp_path}$"):
            find_run(tmp_path, name)
    with pytest.raises(UsageError, match=f"^{tmp_path}: no runs here$"):
        find_run(tmp_path, None)
