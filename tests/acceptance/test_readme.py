"""README says nothing untrue: its commands run as printed and print what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker.cli import VERBS
from worker.cli.options import options_table
from worker.settings import load_settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# What differs from run to run: times and what is computed from them.
VARIES = re.compile(r"[\d.,]+ s \([\d.,]+ pairs/s\)")


def test_the_options_table_is_the_settings() -> None:
    """Printed by: python -c 'from worker.cli.options import *; print(options_table())'."""
    assert f"<!-- options -->\n{options_table()}\n<!-- /options -->" in README


def test_every_console_block_prints_what_it_shows(tmp_path: Path) -> None:
    blocks = re.findall(r"^( *)```console\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix(indent) for indent, block in blocks for line in block.splitlines()]
    steps: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            steps.append((line.removeprefix("$ "), []))
        else:
            steps[-1][1].append(line)
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "bulklink").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m worker "$@"\n')
    (tools / "bulklink").chmod(0o755)
    # The mark between two commands; $? must survive it, for README shows it.
    script = "\n".join(f"{command}\nlast=$?; echo '@@'; (exit $last)" for command, _ in steps)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}

    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}\nkill %1; wait"],
        cwd=folder,
        env={**clean, "PATH": f"{tools}:{clean['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    shown = [VARIES.sub("T", "\n".join(expected)).strip() for _, expected in steps]
    printed = [VARIES.sub("T", part).strip() for part in done.stdout.split("@@\n")]
    for (command, _), expected, actual in zip(steps, shown, printed, strict=False):
        assert (command, actual) == (command, expected)
    assert len(steps) > 8


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


def test_every_verb_is_listed_and_has_help() -> None:
    for verb in VERBS:
        done = subprocess.run(
            [sys.executable, "-m", "worker", verb, "--help"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(f"Usage: bulklink {verb} ")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_sample_configurations_are_accepted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BULKLINK_")]:
        monkeypatch.delenv(name)

    assert load_settings({"config": str(path)}).portal == "https://portal.example.com"
