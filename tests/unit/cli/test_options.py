"""Options of the command line are those of the settings, spelled once."""

import re
from typing import Any

import click
import pytest
from click.testing import CliRunner

from worker.cli import bulklink
from worker.cli.options import ABOUT_A_RUN, INPUT, QUEUE, RUN, options_table, settings_options
from worker.settings import Settings, load_settings, option_name, options

EVERY = tuple(name for name, option in options().items() if not option.secret)


def parsed(*words: str, fields: tuple[str, ...] = EVERY) -> dict[str, Any]:
    """What a verb with these options is given."""
    got: dict[str, Any] = {}

    @click.command()
    @settings_options(*fields)
    def verb(**flags: Any) -> None:
        got.update(flags)

    result = CliRunner().invoke(verb, words, catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return got


def help_of(*fields: str) -> str:
    @click.command()
    @settings_options(*fields)
    def verb(**_flags: Any) -> None:
        pass

    return " ".join(CliRunner().invoke(verb, ["--help"], terminal_width=1000).output.split())


def test_what_is_not_given_is_none() -> None:
    assert parsed() == {"config": None, **{option_name(name): None for name in EVERY}}


def test_what_is_given_comes_by_the_name_of_the_option() -> None:
    got = parsed(
        "--max-attempts", "3", "--json", "-n", "-q", "--verbose", "--config", "a.toml", "--run-id", "x"
    )

    assert {name: value for name, value in got.items() if value is not None} == {
        "max_attempts": "3",
        "json": True,
        "dry_run": True,
        "quiet": True,
        "verbose": True,
        "config": "a.toml",
        "run_id": "x",
    }


def test_what_is_given_is_what_settings_take() -> None:
    got = parsed("--rate", "7/min", "--allow-http", "--json", "--columns", "opportunity=a,contact=b")

    settings = load_settings(got)
    assert (str(settings.rate), settings.allow_http, settings.as_json) == ("7/m", True, True)
    assert settings.columns == {"opportunity": "a", "contact": "b"}


def test_a_verb_takes_only_the_options_named() -> None:
    with pytest.raises(click.NoSuchOption):
        parsed("--rate", "7/s", fields=("quiet",))
    assert set(parsed(fields=("quiet", "as_json"))) == {"config", "quiet", "json"}


@pytest.mark.parametrize("name", [name for name, option in options().items() if option.secret])
def test_no_verb_takes_a_secret(name: str) -> None:
    assert name not in {*RUN, *ABOUT_A_RUN, *INPUT, *QUEUE}
    with pytest.raises(click.NoSuchOption):
        parsed(f"--{name.replace('_', '-')}", "x")


def test_the_verbs_take_every_other_option() -> None:
    others = {"run_id", "dry_run", "drain", "unread", "same_input_anyway"}
    others |= {"detailed_exitcode", "prune", "allow_removals"}
    assert {*RUN, *INPUT, *QUEUE, *others} == set(EVERY)


def test_options_come_in_the_order_named_and_config_first() -> None:
    text = help_of("rate", "portal")

    assert text.index("--config") < text.index("--rate") < text.index("--portal")


def shown_by(verb: str) -> str:
    command = bulklink.get_command(click.Context(bulklink), verb)
    assert command is not None
    return " ".join(CliRunner().invoke(command, ["--help"], terminal_width=1000).output.split())


@pytest.mark.parametrize(
    ("verb", "says", "says_not"),
    [
        ("rollback", "Say how many links would be removed", "Judge the input"),
        ("rollback", "Print rollback.json", "Print report.json"),
        ("verify", "Print verify.json", "Print report.json"),
        ("run", "ask the portal whether it would do, link nothing", "would be removed"),
        ("run", "Print report.json", "as the run was told"),
        ("work", "Stop after so many messages", "rows of the input"),
        ("work", "what is left goes to other workers", "resume goes on"),
        ("dead", "So many messages", "rows of the input"),
        ("report", "that several are merged into", "made from the time"),
        ("resume", "it is less for a while. [default: as the run was told]", "500/10s]"),
        ("retry", "[default: as the run was told]", "[default: 8]"),
        ("rollback", "[default: as the run was told]", "[default: 30s]"),
    ],
)  # fmt: skip
def test_help_is_right_in_each_verb(verb: str, says: str, says_not: str) -> None:
    text = shown_by(verb)

    assert says in text
    assert says_not not in text


def test_what_an_option_does_in_a_verb_is_told_by_a_verb_that_takes_it() -> None:
    told = [(name, *one) for name, option in options().items() for one in option.help_of.items()]
    assert ("portal", "check") in {(name, verb) for name, verb, _ in told}
    for name, verb, said in told:
        assert said in shown_by(verb), (name, verb)


def test_help_tells_what_an_option_is_for_and_its_default() -> None:
    text = help_of(*EVERY)

    for name in EVERY:
        assert " ".join((Settings.model_fields[name].description or "").split()) in text
    assert "--rate auto|N/TIME" in text
    assert "-n, --dry-run" in text
    for default in ("json", "30s", "25s", "15m", "runs", "auto"):
        assert f"[default: {default}]" in text
    assert text.count("[default: ") == 18


def test_the_table_has_a_row_for_every_setting() -> None:
    header, rule, *rows = options_table().splitlines()

    assert header == "| option | variable | default | meaning |"
    assert rule == "| --- | --- | --- | --- |"
    assert len(rows) == len(Settings.model_fields)
    for row in rows:
        assert len(re.split(r"(?<!\\)\|", row)) == 6


def test_rows_of_the_table() -> None:
    rows = options_table().splitlines()

    assert (
        r"| `--rate auto\|N/TIME` | `BULKLINK_RATE` | `auto` | Most requests of any kind in a window of"
        " that length: 50/s, 500/10s, 1500/min; or by the time of day: 08:00-19:00=5/s,50/s; auto is 500/10s."
        " Throttled, it is less for a while. |"
    ) in rows
    assert "| (never a flag) | `BULKLINK_TOKEN` |  | API token of the portal. |" in rows
    assert "| `--json` | `BULKLINK_JSON` |  | Print report.json on standard output. |" in rows
    assert ("| `-q`, `--quiet` | `BULKLINK_QUIET` |  | Print nothing but errors (and --json). |") in rows
    assert [row for row in rows if row.startswith(r"| `--wire json\|xml` | `BULKLINK_WIRE` | `json` | ")]
