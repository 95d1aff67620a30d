"""The script that a shell is given makes it ask the command."""

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_the_command_by_its_variable(command: "Command", shell: str) -> None:
    done = command("completion", shell)

    assert (done.code, done.err) == (0, "")
    assert f"_BULKLINK_COMPLETE={shell}_complete" in done.out


def test_bash_takes_the_script(command: "Command") -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    script = command("completion", "bash").out

    done = subprocess.run(
        [bash, "-c", f"{script}\ncomplete -p bulklink"], capture_output=True, text=True, check=True
    )

    assert "_bulklink_completion" in done.stdout


def test_another_shell_is_refused_by_name(command: "Command") -> None:
    done = command("completion", "tcsh")

    assert done.code == 2
    assert "tcsh" in done.err
    assert done.err.count("\n") == 1
