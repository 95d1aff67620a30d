"""Where there are no runs, that is said; who wants JSON gets none."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def test_without_any_run_it_is_said_where_there_are_none(command: "Command") -> None:
    done = command("runs", "--runs-dir", "elsewhere")

    assert (done.code, done.out, done.err) == (0, "", "no runs in elsewhere\n")


def test_whoever_wants_silence_or_json_has_an_empty_answer(command: "Command") -> None:
    assert command("runs", "-q").err == ""
    assert command("runs", "--json").out == ""
