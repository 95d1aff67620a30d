"""The Python programs of README run as they stand there, and print what README says."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import SimulatedPortal

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = [ROOT / "tests" / "fixtures" / name for name in ("link_from_python.py", "look_from_python.py")]
"""The same programs, where types are checked; one after the other."""


def test_the_programs_print_what_is_shown(
    tmp_path: Path, simulate: "Callable[[str], SimulatedPortal]"
) -> None:
    block = r"^```python\n(.*?)^```\n\nprints\n\n```text\n(.*?)^```"
    found = [one.groups() for one in re.finditer(block, README, re.MULTILINE | re.DOTALL)]
    assert len(found) == len(EXAMPLES)
    (sample,) = re.findall(r"^\$ printf '(.*)' > pairs\.csv$", README, re.MULTILINE)
    portal = simulate("calm")
    (tmp_path / "pairs.csv").write_text(sample.replace("\\n", "\n"))
    for program, shown in found:
        (tmp_path / "program.py").write_text(program)
        done = subprocess.run(
            [sys.executable, "program.py"],
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.csv", "program.py"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_programs_are_those_whose_types_are_checked(example: Path) -> None:
    assert f"```python\n{example.read_text()}```" in README
