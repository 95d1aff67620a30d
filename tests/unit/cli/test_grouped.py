"""Help of a verb with many options shows each once, under what it is about."""

import re
from collections import Counter

import click
import pytest

from worker.cli import VERBS, bulklink
from worker.cli.grouped import GROUPS, GroupedCommand
from worker.settings import option_name, options

GROUPED = ["run", "work", "resume", "retry", "verify", "rollback", "publish", "check", "report"]


def help_of(verb: str) -> str:
    command = bulklink.get_command(click.Context(bulklink), verb)
    assert isinstance(command, GroupedCommand)
    return command.get_help(click.Context(command, info_name=verb, terminal_width=1000))


def test_every_option_of_the_settings_is_in_one_group() -> None:
    named = Counter(name for names in GROUPS.values() for name in names)

    assert set(named) == {option_name(name) for name, option in options().items() if not option.secret}
    assert set(named.values()) == {1}


@pytest.mark.parametrize("verb", GROUPED)
def test_each_option_stands_in_help_once_under_its_group(verb: str) -> None:
    command = bulklink.get_command(click.Context(bulklink), verb)
    assert command is not None
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    shown = []
    group = ""
    for line in help_of(verb).splitlines():
        if heading := re.fullmatch(r"(\w.*):", line):
            group = heading[1]
        elif option := re.match(r"  (?:-\w, )?--([a-z-]+)", line):
            shown.append((option[1].replace("-", "_"), group))

    names = [param.name or "" for param in command.params if isinstance(param, click.Option)]
    assert sorted(shown) == sorted((name, group_of.get(name, "More")) for name in [*names, "help"])


def test_a_group_without_options_is_not_shown() -> None:
    assert "\nQueue:\n" in help_of("run")
    assert "\nQueue:\n" not in help_of("report")


@pytest.mark.parametrize("verb", ["run", "work"])
def test_help_has_examples_with_options_that_the_verb_takes(verb: str) -> None:
    command = bulklink.get_command(click.Context(bulklink), verb)
    assert isinstance(command, GroupedCommand)
    known = {flag for param in command.params for flag in param.opts}

    assert command.examples
    for line, meaning in command.examples:
        assert meaning in help_of(verb)
        assert {word for word in line.split() if word.startswith("-") and len(word) > 1} <= known
        assert verb in line
        assert verb in VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_an_example_stands_whole_on_its_line_and_what_it_is_for_beside_or_below(verb: str) -> None:
    command = bulklink.get_command(click.Context(bulklink), verb)
    assert command is not None
    shown = command.get_help(click.Context(command, info_name=verb, terminal_width=80))

    assert "\\b" not in shown
    rows = shown.partition("\nExamples:\n")[2].splitlines()
    assert bool(rows) == bool(getattr(command, "examples", ())) == ("\nExamples:\n" in shown)
    for line, _ in getattr(command, "examples", ()):
        assert any(row.startswith(f"  {line}") for row in rows)
    assert all(len(row.split()) > 1 for row in rows), "a column so narrow that each word is a line of it"
