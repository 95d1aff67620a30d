"""The command as a function: what it printed where, and its exit code, without a process."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from worker.cli import _main


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Command: TypeAlias = Callable[..., Done]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``command(*words)`` in an empty folder, with a token and no other variable of ours."""
    for name in [name for name in os.environ if name.startswith("BULKLINK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BULKLINK_TOKEN", "demo-token")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Done:
        capsys.readouterr()
        code = _main(list(words))
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run
