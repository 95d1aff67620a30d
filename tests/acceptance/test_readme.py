"""README says nothing untrue: its commands run as printed and print what it shows."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.cli import VERBS
from worker.cli.options import options_table
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

EXAMPLE = (
    "Deal ID,Contact ID,Note\n1234,88,first\n1234,89,\n1234,088,again\n1234,oops,typo\n1234,999999,nobody\n"
)

# What differs from run to run: times and what is computed from them.
VARIES = re.compile(r"[\d.,]+ s( \([\d.,]+ pairs/s\)|$)|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.MULTILINE)


def test_the_options_table_is_the_settings() -> None:
    """Printed by: python -c 'from worker.cli.options import *; print(options_table())'."""
    assert f"<!-- options -->\n{options_table()}\n<!-- /options -->" in README


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def assert_prints_as_shown(text: str, folder: Path, **variables: str) -> None:
    """Run each command of a transcript, in a new folder, and compare what it prints."""
    steps: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append((line.removeprefix("$ "), []))
        else:
            steps[-1][1].append(line)
    (folder / "configs").symlink_to(ROOT / "configs")
    tools = folder / "bin"
    tools.mkdir()
    (tools / "bulklink").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m worker "$@"\n')
    (tools / "bulklink").chmod(0o755)
    # The mark between two commands; $? must survive it, for README shows it.
    script = "\n".join(f"{command}\nlast=$?; echo '@@'; (exit $last)" for command, _ in steps)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
    work = folder / "somewhere"
    work.mkdir()
    (work / "pairs.csv").write_text(EXAMPLE)

    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}\nkill %1 2>/dev/null; wait"],
        cwd=work,
        env={**clean, "PATH": f"{tools}:{clean['PATH']}", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    shown = [VARIES.sub("T", "\n".join(expected)).strip() for _, expected in steps]
    printed = [VARIES.sub("T", part).strip() for part in done.stdout.split("@@\n")]
    for (command, _), expected, actual in zip(steps, shown, printed, strict=False):
        assert (command, actual) == (command, expected)


def test_every_console_block_prints_what_it_shows(tmp_path: Path) -> None:
    text = "".join(blocks("console"))
    assert text.count("$ ") > 8
    assert_prints_as_shown(text, tmp_path)


@pytest.mark.parametrize(
    ("server", "fixture"),
    [
        ("redis://localhost:6379/0", "redis_url"),
        ("amqp://guest:guest@localhost:5672/", "rabbitmq_url"),
        ("nats://localhost:4222", "nats_url"),
    ],
)
def test_the_commands_for_each_broker_print_what_readme_shows(
    request: pytest.FixtureRequest,
    simulate: "Callable[[str], SimulatedPortal]",
    tmp_path: Path,
    server: str,
    fixture: str,
) -> None:
    (text,) = (block for block in blocks("shell-session") if server in block and "publish" in block)
    url: str = request.getfixturevalue(fixture)
    name = f"links{secrets.token_hex(4)}"
    # Commands and what they print are about another server than the one in README, and a queue of our own.
    text = text.replace(server, url).replace("=links", f"={name}")
    assert_prints_as_shown(text, tmp_path, BULKLINK_PORTAL=simulate("calm").url, BULKLINK_TOKEN="demo-token")


def test_the_command_with_a_shared_rate_prints_what_readme_shows(
    redis_url: str, simulate: "Callable[[str], SimulatedPortal]", tmp_path: Path
) -> None:
    (text,) = (block for block in blocks("shell-session") if "--shared-rate" in block)
    text = text.replace("redis://localhost:6379/0", redis_url)
    assert_prints_as_shown(text, tmp_path, BULKLINK_PORTAL=simulate("calm").url, BULKLINK_TOKEN="demo-token")


def test_no_file_of_the_project_is_missing_from_readme_that_it_names() -> None:
    for name in re.findall(r"`((?:configs|tests)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(test_\w+)`", README):
        assert any(f"def {name}(" in path.read_text() for path in (ROOT / "tests").rglob("test_*.py")), name


def test_help_imports_nothing_heavy() -> None:
    """What takes long to start is asked for help less often than it should be."""
    code = (
        "import sys; from worker.cli import bulklink; bulklink.main(['--help'], standalone_mode=False);"
        "print(sorted({'aiohttp', 'pydantic', 'structlog', 'lxml', 'jinja2', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["check", "pairs.csv"], ["run", "pairs.csv", "--dry-run"]])
def test_a_verb_that_sends_nothing_does_not_wait_for_what_sends(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "pairs.csv").write_text("opportunity_id,contact_id\n1,2\n")
    code = (
        f"import sys; from worker.cli import bulklink; bulklink.main({words}, standalone_mode=False);"
        "print(sorted({'aiohttp', 'structlog', 'lxml', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_every_verb_is_listed_and_has_help(bulklink: "CommandLine") -> None:
    for verb in VERBS:
        done = bulklink(verb, "--help")
        assert (done.returncode, done.stdout.split("[")[0]) == (0, f"Usage: bulklink {verb} ")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_sample_configurations_are_accepted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BULKLINK_")]:
        monkeypatch.delenv(name)

    assert load_settings({"config": str(path)}).portal == "https://portal.example.com"
