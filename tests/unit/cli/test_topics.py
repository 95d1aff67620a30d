"""What help tells is what README tells, and what the program does."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.cli.topics import AFTERWARDS, EXIT_CODES, STATES, TOPICS
from worker.errors import Exit
from worker.models import Status
from worker.removals import Restored, Undo
from worker.run.verify import BACK, GONE, MISSING, THERE, UNREAD
from worker.settings import PREFIX, Settings, option_name

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of README."""
    text = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_exit_codes_are_those_of_readme_and_of_the_program() -> None:
    assert [[code, meaning] for code, meaning in EXIT_CODES.items()] == table("Exit codes")
    assert {int(code) for codes in EXIT_CODES for code in codes.split(", ")} == set(Exit)


def test_states_are_those_of_readme_and_of_the_program() -> None:
    said = [[f"`{state}`", meaning, file] for state, (meaning, file) in STATES.items()]

    assert said == table("States and files")
    assert list(STATES) == list(Status)


def test_what_is_said_of_links_afterwards_are_the_words_of_the_program() -> None:
    assert set(AFTERWARDS) == {*Undo, *Restored, THERE, GONE, MISSING, BACK, UNREAD}
    assert not set(AFTERWARDS) & set(STATES)


@pytest.mark.parametrize("topic", TOPICS)
def test_each_topic_is_told_in_lines_that_fit(command: "Command", topic: str) -> None:
    done = command("help", topic)

    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) > 2
    assert all(len(line) <= 100 for line in done.out.splitlines())
    assert "`" not in done.out


def test_the_environment_has_every_variable(command: "Command") -> None:
    told = set(re.findall(rf"^{PREFIX}[A-Z_]+", command("help", "environment").out, re.MULTILINE))

    assert told == {f"{PREFIX}{option_name(field).upper()}" for field in Settings.model_fields} | {
        f"{PREFIX}CONFIG"
    }


def test_help_of_a_verb_is_its_help(command: "Command") -> None:
    assert command("help", "run").out == command("run", "--help").out


def test_help_alone_lists_verbs_and_topics(command: "Command") -> None:
    out = command("help").out

    assert command("--help").out.strip() in out
    assert ", ".join(TOPICS) in out


def test_a_misspelt_topic_is_named_with_the_one_that_was_meant(command: "Command") -> None:
    assert command("help", "exit-code").err == "bulklink: 'exit-code' is no topic; did you mean exit-codes?\n"
    assert "there are exit-codes" in command("help", "zzzzzzz").err
