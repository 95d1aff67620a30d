"""Every word of a report can be asked about."""

import json
from typing import TYPE_CHECKING

import pytest

from worker.cli.topics import AFTERWARDS
from worker.errors import Exit
from worker.models import Status
from worker.reasons import HINTS, HINTS_OF_ROLLBACK, HINTS_OF_SYNC

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

ALL = sorted({*HINTS, *HINTS_OF_ROLLBACK, *HINTS_OF_SYNC})


def test_without_a_word_all_reasons_are_listed(command: "Command") -> None:
    done = command("explain")

    assert (done.code, done.err) == (0, "")
    assert [line.split(":")[0] for line in done.out.splitlines()] == ALL


@pytest.mark.parametrize("reason", ALL)
def test_each_reason_says_what_to_do(command: "Command", reason: str) -> None:
    done = command("explain", reason)

    assert done.code == 0
    assert done.out.startswith(f"{reason}: ")
    assert done.out.endswith(".\n")


@pytest.mark.parametrize("state", list(Status))
def test_each_state_says_in_which_file_it_is(command: "Command", state: str) -> None:
    assert ".csv" in command("explain", state).out or state == Status.DUPLICATE


@pytest.mark.parametrize("state", [word for word in AFTERWARDS if word not in HINTS])
def test_each_word_about_a_link_afterwards_says_in_which_file_it_is(command: "Command", state: str) -> None:
    assert command("explain", state).out.startswith(f"state {state}: ")
    assert ".csv" in command("explain", state).out


@pytest.mark.parametrize("code", list(Exit))
def test_each_exit_code_has_a_meaning(command: "Command", code: int) -> None:
    assert command("explain", str(int(code))).out.startswith(f"exit code {int(code)}: ")


def test_json_gives_word_kind_and_meaning(command: "Command") -> None:
    done = command("explain", "not_found", "--json")

    assert json.loads(done.out) == {"word": "not_found", "kind": "reason", "meaning": HINTS["not_found"]}


def test_a_misspelt_word_is_named_with_the_one_that_was_meant(command: "Command") -> None:
    done = command("explain", "not_fond")

    assert (done.code, done.out) == (2, "")
    assert done.err == "bulklink: 'not_fond' is no reason, state or exit code; did you mean not_found?\n"


def test_a_word_like_no_other_is_told_where_all_are(command: "Command") -> None:
    assert "'bulklink explain' lists all" in command("explain", "zzzzzz").err
