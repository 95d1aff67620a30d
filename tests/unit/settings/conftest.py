"""Settings that nobody's environment is in, and a file for them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.settings import PREFIX


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "bulklink.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
