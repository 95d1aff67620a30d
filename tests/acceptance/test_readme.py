"""README says nothing untrue: its commands run as printed and print what it shows."""

import fcntl
import json
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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

# What differs from run to run: times and what is computed from them.
VARIES = re.compile(
    r"[\d.,]+ s( \([\d.,]+ pairs/s, [\d.,]+ requests/s\)|$)|"
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|(?<=\"token\":\")[^\"]+",
    re.MULTILINE,
)


def test_the_options_table_is_the_settings() -> None:
    """Printed by: python -c 'from worker.cli.options import *; print(options_table())'."""
    assert f"<!-- options -->\n{options_table()}\n<!-- /options -->" in README


BLOCK = re.compile(r"^( *)```(sh|console|shell-session)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)

# Stands in for python3, and for pip and pytest in what it makes: to install what is installed here would take
# minutes and a network. test_fresh_clone has the real ones do it.
PYTHON3 = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && cp "{tools}/venv/"* "$3/bin/"
  echo "PATH='$PWD/$3/bin':\\$PATH" > "$3/bin/activate"
else
  exec "{python}" "$@"
fi
"""
NOTHING = "#!/bin/sh\n"
BULKLINK = """#!/bin/sh
exec "{python}" -m worker "$@"
"""


@dataclass
class Step:
    """A command of README, and what is said to be printed; None if README does not show it."""

    command: str
    shown: list[str] | None

    @property
    def text(self) -> str:
        return "\n".join(self.shown or [])


def steps() -> Iterator[Step]:
    """All commands, from top to bottom."""
    for indent, language, text in BLOCK.findall(README):
        step: Step | None = None
        for line in re.sub(rf"^{indent}", "", text, flags=re.MULTILINE).splitlines():
            if language == "sh":
                yield Step(line, None)
            elif line.startswith("$ "):
                if step is not None:
                    yield step
                step = Step(line.removeprefix("$ "), [])
            elif step is not None and step.shown is not None:
                step.shown.append(line)
        if step is not None:
            yield step


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_sections_run_top_to_bottom_in_a_fresh_shell_and_print_what_they_show(
    tmp_path: Path, redis_url: str, rabbitmq_url: str, nats_url: str
) -> None:
    """As somebody does who follows README from its first line; only the servers have other addresses."""
    tools = tmp_path / "tools"
    (tools / "venv").mkdir(parents=True)
    executable(tools / "python3", PYTHON3.format(tools=tools, python=sys.executable))
    executable(tools / "venv" / "bulklink", BULKLINK.format(python=sys.executable))
    for name in ("pip", "pytest"):
        executable(tools / "venv" / name, NOTHING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = f"links{secrets.token_hex(4)}"
    ours = {
        "ADDRESS": f"'{ROOT}'",
        "8092": str(port),
        "redis://localhost:6379/0": redis_url,
        "amqp://guest:guest@localhost:5672/": rabbitmq_url,
        "nats://localhost:4222": nats_url,
        "stream=links": f"stream={queue}",
        "queue=links": f"queue={queue}",
    }

    def translated(text: str) -> str:
        for theirs, mine in ours.items():
            text = text.replace(theirs, mine)
        return text

    todo = list(steps())
    assert len(todo) > 30
    # Who types is slower than a server that was started is to listen.
    types = f"until (: <> /dev/tcp/127.0.0.1/{port}); do sleep 0.1; done 2> /dev/null"
    slow = {step.command: f"\n{types}" for step in todo if step.command.endswith("&")}
    # The mark between two commands; $? must survive it, for README shows it.
    script = "\n".join(
        f"{translated(step.command)}{slow.get(step.command, '')}\nlast=$?; echo '@@'; (exit $last)"
        for step in todo
    )
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("BULKLINK_", "VIRTUAL"))
    }
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}\nkill %1 2>/dev/null; wait"],
        cwd=home,
        env={**clean, "PATH": f"{tools}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )

    printed = done.stdout.split("@@\n")
    assert len(printed) == len(todo) + 1, done.stdout[-500:]
    both = [(step, part) for step, part in zip(todo, printed, strict=False) if step.shown is not None]
    ran = [f"$ {step.command}\n{VARIES.sub('T', part).strip()}" for step, part in both]
    assert ran == [f"$ {one.command}\n{VARIES.sub('T', translated(one.text)).strip()}" for one, _ in both]
    demo = next(part for step, part in zip(todo, printed, strict=False) if step.command.endswith("demo"))
    assert "exactly those asked for" in demo


def test_the_crontab_line_works_with_the_little_that_cron_gives(
    tmp_path: Path, simulate: "Callable[[str], SimulatedPortal]"
) -> None:
    (line,) = re.findall(r"^30 2 \* \* \* (.*)$", README, re.MULTILINE)
    portal = simulate("calm")
    (tmp_path / "crm").mkdir()
    (tmp_path / "bulklink" / ".venv" / "bin").mkdir(parents=True)
    executable(tmp_path / "bulklink/.venv/bin/bulklink", BULKLINK.format(python=sys.executable))
    text = (ROOT / "configs/nightly.toml").read_text()
    text = text.replace("https://portal.example.com", portal.url)
    text = text.replace("/run/secrets/bulklink-token", str(tmp_path / "token"))
    text = text.replace("/var/lib/bulklink/runs", str(tmp_path / "runs"))
    (tmp_path / "crm" / "nightly.toml").write_text(text)
    (tmp_path / "token").write_text("demo-token\n")

    def cron() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["/bin/sh", "-c", line.replace("/srv", str(tmp_path))],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    (tmp_path / "crm" / "export.csv").write_text("opportunity_id,contact_id\n1,2\n3,4\n")
    done = cron()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "crm/last-report.json").read_text())["counts"]["linked"] == 2
    assert portal.links() == {(1, 2), (3, 4)}

    (tmp_path / "crm" / "export.csv").write_text("opportunity_id,contact_id\n")
    done = cron()
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)

    with (tmp_path / "crm" / "nightly.lock").open() as last_night:
        fcntl.flock(last_night, fcntl.LOCK_EX)
        assert cron().returncode == 1


def test_no_file_of_the_project_is_missing_from_readme_that_it_names() -> None:
    files, tests = (re.findall(form, README) for form in (r"`((?:configs|tests)/[\w./]+)`", r"`(test_\w+)`"))
    assert len(files) > 20
    assert len(tests) > 8
    for name in files:
        assert (ROOT / name).exists(), name
    for name in tests:
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
        "print(sorted({'aiohttp', 'asyncio', 'jinja2', 'lxml', 'sqlite3', 'structlog'} & set(sys.modules)))"
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
