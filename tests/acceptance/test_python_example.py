"""The Python program of README runs as it stands there, and prints what README says."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import SimulatedPortal

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "tests" / "fixtures" / "link_from_python.py"
"""The same program, where types are checked."""


def test_the_program_prints_what_is_shown(
    tmp_path: Path, simulate: "Callable[[str], SimulatedPortal]"
) -> None:
    block = r"^```python\n(.*?)^```\n\nprints\n\n```text\n(.*?)^```"
    (found,) = re.finditer(block, README, re.MULTILINE | re.DOTALL)
    program, shown = found.groups()
    (sample,) = re.findall(r"^\$ printf '(.*)' > pairs\.csv$", README, re.MULTILINE)
    portal = simulate("calm")
    (tmp_path / "link.py").write_text(program)
    (tmp_path / "pairs.csv").write_text(sample.replace("\\n", "\n"))

    done = subprocess.run(
        [sys.executable, "link.py"],
        cwd=tmp_path,
        # Where bulklink is not installed, it is found in the source.
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'worker' / 'public'}",
            "BULKLINK_PORTAL": portal.url,
            "BULKLINK_TOKEN": "demo-token",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr, done.stdout) == (0, "", shown)
    assert portal.links() == {(1234, 88), (1234, 89)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.py", "pairs.csv"]


def test_the_program_is_the_one_whose_types_are_checked() -> None:
    assert f"```python\n{EXAMPLE.read_text()}```" in README
