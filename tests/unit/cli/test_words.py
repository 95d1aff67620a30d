"""What the command says to words that it does not take."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.cli import VERBS
from worker.settings import option_name, options

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

MERGED = "--run-id is the name of what several runs are merged into; leave it out here"
SECRETS = [f"--{option_name(name).replace('_', '-')}" for name, option in options().items() if option.secret]


def test_the_bare_command_is_help_and_no_mistake(command: "Command") -> None:
    bare, asked = command(), command("--help")

    assert (bare.code, bare.err) == (0, "")
    assert bare.out == asked.out
    assert all(verb in bare.out for verb in VERBS)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("rnu", "did you mean run?"),
        ("rollbak", "did you mean rollback?"),
        ("verfy", "did you mean verify?"),
        ("zzz", "'bulklink --help' lists them"),
        ("pairs.csv", "did you mean: bulklink run pairs.csv"),
    ],
)
def test_a_misspelt_verb_is_named_with_the_one_that_was_meant(
    command: "Command", tmp_path: Path, word: str, hint: str
) -> None:
    (tmp_path / "pairs.csv").touch()

    done = command(word, "x")

    assert (done.code, done.out, done.err) == (2, "", f"bulklink: {word!r} is no verb; {hint}\n")


@pytest.mark.parametrize("flag", SECRETS)
@pytest.mark.parametrize("verb", ["run", "work", "verify"])
def test_a_secret_as_a_flag_is_told_where_it_belongs_and_is_not_repeated(
    command: "Command", verb: str, flag: str
) -> None:
    for words in ([flag, "s3cr3t"], [f"{flag}=s3cr3t"]):
        done = command(verb, "x", *words)

        assert done.code == 2
        assert f"BULKLINK_{flag.removeprefix('--').replace('-', '_').upper()}" in done.err
        assert "s3cr3t" not in done.err + done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "x", "--rat", "5/s"), "--rat: no such option; did you mean --rate?"),
        (("run", "x", "--zzz"), "--zzz: no such option; 'bulklink run --help' lists them"),
        (("--rate", "5/s", "run"), "--rate: no such option; an option comes after its verb"),
        (("bench", "--zzz"), "--zzz: no such option; 'bulklink bench --help' lists them"),
        (("bench", "sise"), "bench measures no 'sise'; did you mean size?"),
        (("bench", "size", "--row", "1"), "--row: no such option; did you mean --rows?"),
        (("bench", "size", "--zzz"), "--zzz: no such option; 'bulklink bench size --help' lists them"),
        (("bench", "--pairs", "500", "size"), "--pairs is for the bench without a word, not for size"),
        (("bench", "zzz"), "bench measures no 'zzz'; 'bulklink bench --help' lists what there is"),
        (("run",), "INPUT is missing; see 'bulklink run --help'"),
        (("rollback",), "RUN is missing; see 'bulklink rollback --help'"),
        (("completion",), "SHELL is missing; see 'bulklink completion --help'"),
        (("status", "--check"), "--check: no such option; 'bulklink status --help' lists them"),
        (("retry", "x", "--limit", "3"), "--limit: no such option; 'bulklink retry --help' lists them"),
        (("run", "x", "--drain"), "--drain: no such option; 'bulklink run --help' lists them"),
        (("run", "x", "--rate"), "--rate: its value is missing"),
        (("run", "x", "--json=yes"), "--json: it takes no value"),
        (("run", "x", "y"), "y: more than 'bulklink run' takes; see 'bulklink run --help'"),
        (("runs", "x", "y"), "x y: more than 'bulklink runs' takes; see 'bulklink runs --help'"),
        (("completion", "tcsh"), "SHELL: 'tcsh' is not bash, zsh or fish"),
        (("simulate", "--port", "x"), "--port: 'x' is not a whole number from 0 to 65535"),
        (("simulate", "--port", "-1"), "--port: '-1' is not a whole number from 0 to 65535"),
        (("simulate", "--scenario", "stormy"), "--scenario: 'stormy' is neither a file nor in --list"),
        (("simulate", "--scenario", "/"), "--scenario: /: Is a directory"),
        (("report", "x", "--run-id", "y"), MERGED),
        (("report", "x", "y", "--check", "--run-id", "z"), MERGED),
        (("bench", "limits", "--seed", "-1"), "--seed: '-1' is not a whole number from 0 on"),
        (("bench", "--pairs", "5"), "--pairs: '5' is not a whole number from 200 to 1000000"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line_that_names_it(
    command: "Command", words: tuple[str, ...], said: str
) -> None:
    done = command(*words)

    assert (done.code, done.out, done.err) == (2, "", f"bulklink: {said}\n")


def test_a_word_with_control_characters_moves_nothing_on_the_terminal(command: "Command") -> None:
    for words in (
        ["\x1b[2J\nrun"],
        ["run", "--\x1b[2J"],
        ["run", "a\x1b[2J\nb.csv", "--portal", "https://x"],
    ):
        done = command(*words)

        assert done.code == 2
        assert done.err.count("\n") == 1
        assert "\x1b" not in done.err
