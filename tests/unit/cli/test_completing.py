"""What the shell is told when somebody presses the key, by the protocol of its own script."""

import os
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from worker.cli import VERBS, bulklink
from worker.cli.topics import TOPICS
from worker.ledger import Ledger
from worker.run.directory import RunDirectory


def offered(*words: str, begun: str = "") -> list[tuple[str, str]]:
    """Kind and word of each completion."""
    completing = BashComplete(bulklink, {}, "bulklink", "_BULKLINK_COMPLETE")
    return [(item.type, item.value) for item in completing.get_completions(list(words), begun)]


def plain(*words: str, begun: str = "") -> list[str]:
    return [word for _, word in offered(*words, begun=begun)]


@pytest.fixture
async def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("BULKLINK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for folder, run_id in (("runs", "first"), ("runs", "second"), ("elsewhere", "third")):
        directory = RunDirectory.create(tmp_path / folder, run_id)
        async with Ledger(directory.ledger, create=True) as ledger:
            await ledger.begin_session()
    return tmp_path


def test_verbs_complete() -> None:
    assert plain() == list(VERBS)
    assert plain(begun="ro") == ["rollback"]


def test_options_complete() -> None:
    assert "--rate" in plain("run", begun="--ra")
    assert "--token" not in plain("run", begun="--t")


def test_values_of_an_option_that_takes_one_of_a_few_complete() -> None:
    assert plain("run", "x.csv", "--existing") == ["check", "post"]
    assert plain("run", "x.csv", "--transport", begun="b") == ["batch"]
    assert plain("run", "x.csv", "--batch-size") == ["auto"]  # the N is the user's own


def test_files_are_the_shells_to_complete() -> None:
    assert offered("run") == [("file", "")]
    assert offered("check") == [("file", "")]
    assert offered("run", "x.csv", "--config") == [("file", "")]
    assert offered("run", "x.csv", "--runs-dir") == [("dir", "")]


@pytest.mark.usefixtures("runs_dir")
@pytest.mark.parametrize("verb", ["resume", "retry", "verify", "rollback", "report"])
def test_runs_complete_the_latest_first(verb: str) -> None:
    assert plain(verb) == ["second", "first"]
    assert plain(verb, begun="f") == ["first"]


@pytest.mark.usefixtures("runs_dir")
def test_runs_complete_from_the_folder_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain("verify", "--runs-dir", "elsewhere") == ["third"]

    monkeypatch.setenv("BULKLINK_RUNS_DIR", "elsewhere")
    assert plain("verify") == ["third"]


@pytest.mark.usefixtures("runs_dir")
def test_a_wrong_setting_makes_no_noise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BULKLINK_RATE", "fast")

    assert plain("verify") == []
    assert capsys.readouterr() == ("", "")


def test_topics_and_reasons_complete() -> None:
    assert plain("help") == list(TOPICS)
    assert plain("explain", begun="not_f") == ["not_found"]
    assert plain("completion", begun="z") == ["zsh"]
