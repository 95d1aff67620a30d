"""A command that users are told to go on with is one that the verb takes, and finds the same run."""

import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from worker.cli import VERBS, bulklink
from worker.run.advice import go_on, named
from worker.run.directory import RunDirectory
from worker.settings import Settings, load_settings, option_name, options

QUEUE = {
    "input_kind": "queue",
    "input_path": "redis://h/0?stream=links&group=g",
    "portal": "https://p.example",
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def words_of(line: str) -> list[str]:
    """The words that a shell makes of it, without the name of the command."""
    name, *words = shlex.split(line)
    assert name == "bulklink"
    return words


def parsed(line: str) -> dict[str, Any]:
    """What the verb takes of it; click would refuse what it does not."""
    words = words_of(line)
    command = bulklink.get_command(click.Context(bulklink), words[0])
    assert command is not None
    context = command.make_context(words[0], words[1:])
    return {name: value for name, value in context.params.items() if value is not None}


def told(**flags: Any) -> Settings:
    return load_settings(flags)


def test_a_run_is_resumed_by_its_name() -> None:
    line = go_on(RunDirectory(Path("runs/monday")), told(), {})

    assert line == "bulklink resume monday"


def test_what_was_a_flag_and_is_needed_again_is_repeated_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("rate = '5/s'\n")
    settings = told(
        config="my.toml", runs_dir="old runs", shared_rate="redis://h/0", rate="7/s", run_id="monday"
    )

    line = go_on(RunDirectory(Path("old runs/monday")), settings, {})

    assert words_of(line)[:2] == ["resume", "monday"]
    assert parsed(line) == {
        "run": "monday",
        "config": "my.toml",
        "runs_dir": "old runs",
        "shared_rate": "redis://h/0",
    }


def test_what_is_in_the_environment_need_not_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKLINK_RUNS_DIR", "elsewhere")

    assert go_on(RunDirectory(Path("elsewhere/monday")), told(), {}) == "bulklink resume monday"


def test_a_password_of_the_shared_rate_is_not_shown() -> None:
    line = go_on(RunDirectory(Path("runs/monday")), told(shared_rate="redis://:s3cr3t@h/0"), {})

    assert line == "bulklink resume monday"


def test_a_run_in_another_folder_is_named_by_its_path(tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where" / "monday"

    assert named(RunDirectory(elsewhere), told()) == str(elsewhere)
    assert words_of(go_on(RunDirectory(elsewhere), told(), {})) == ["resume", str(elsewhere)]


def test_a_run_of_a_queue_is_gone_on_with_by_another_over_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory(Path("runs/monday"))

    assert parsed(go_on(directory, told(drain=True), QUEUE)) == {
        "queue_url": QUEUE["input_path"],
        "portal": "https://p.example",
        "drain": True,
    }
    monkeypatch.setenv("BULKLINK_QUEUE_URL", "redis://:s3cr3t@h/0?stream=links")
    assert go_on(directory, told(), QUEUE) == "bulklink work --portal https://p.example"


def test_a_verb_that_is_told_a_flag_again_takes_it() -> None:
    told = [(option_name(name), verb) for name, option in options().items() for verb in option.again]
    assert ("on_end", "resume") in told
    for name, verb in told:
        assert verb in VERBS
        command = bulklink.get_command(click.Context(bulklink), verb)
        assert command is not None
        assert name in {parameter.name for parameter in command.params}


def test_a_folder_that_is_gone_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert go_on(RunDirectory(Path("runs/monday")), told(), {}) == "bulklink resume monday"
