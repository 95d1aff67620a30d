"""README's first line on a machine that has nothing but Python and pip."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_line_of_readme_sets_up_and_runs_the_main_job(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    line = re.search(r"^python3 -m venv .*bulklink demo$", (clone / "README.md").read_text(), re.MULTILINE)
    assert line is not None
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BULKLINK_", "PIP_"))}

    done = subprocess.run(
        ["bash", "-c", line[0]], cwd=clone, env=clean, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "exactly those asked for" in done.stderr
    # What Python users import comes with it; asked from a folder in which there is no source.
    python, code = clone / ".venv" / "bin" / "python", "from bulklink import Portal, link_pairs"
    subprocess.run([python, "-W", "error", "-c", code], cwd=tmp_path, env=clean, check=True)
    # Nothing but the sample and the run is left behind, and no file of the clone is changed.
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert changed.stdout == ""
