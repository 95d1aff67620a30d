"""In a real terminal the line of a run never wraps: narrow, wide, resized, throttled, in an outage."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import SimulatedPortal

TROUBLE = """
[throttle]
limit = 40
window = 1.0
retry_after = "1"

[latency]
seconds = 0.02
"""


class Tmux:
    """A terminal of its own, apart from any that is there."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")
        self._folder = folder

    def __call__(self, *words: str) -> str:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("BULKLINK_", "TMUX"))
        }
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *words],
            cwd=self._folder,
            env={**clean, "BULKLINK_TOKEN": "demo-token", "TERM": "xterm-256color"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def lines(self) -> list[str]:
        """What is on the screen; what the terminal broke for want of room is one line."""
        return self("capture-pane", "-p", "-J").rstrip().splitlines()

    def end(self) -> None:
        """Leave nothing: a run goes on when its terminal is closed."""
        with suppress(subprocess.CalledProcessError):  # without a pane there is no server
            for pid in self("list-panes", "-a", "-F", "#{pane_pid}").split():
                with suppress(ProcessLookupError):
                    os.killpg(int(pid), signal.SIGKILL)
            self("kill-server")


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None and not os.environ.get("CI"):
        pytest.skip("there is no tmux here")
    tmux = Tmux(tmp_path)
    yield tmux
    tmux.end()


def test_no_line_wraps_through_resizes_and_throttling(
    tmux: Tmux, tmp_path: Path, simulate: "Callable[[str], SimulatedPortal]"
) -> None:
    portal = simulate(TROUBLE)
    rows = "".join(f"{n % 50 + 1},{n + 1}\n" for n in range(1_000))
    (tmp_path / "pairs.csv").write_text(f"deal,contact\n{rows}1,x\n")
    command = f"{sys.executable} -m worker run pairs.csv --portal {portal.url} --rate 60/s --existing post"
    tmux("new-session", "-d", "-x", "120", "-y", "30", f"{command} --transport single; sleep 30")

    for width in (120, 80, 60, 120, 60):
        tmux("resize-window", "-x", str(width))
        # Redrawn in place: a resize leaves no copy behind, and what is joined again is narrow enough.
        assert eventually(partial(is_one_line, tmux, width)), tmux.lines()


@pytest.mark.parametrize("verb", ["verify", "rollback"])
def test_verbs_about_a_run_keep_to_one_line_too_and_a_key_to_stop_leaves_nothing_behind(
    tmux: Tmux, tmp_path: Path, simulate: "Callable[[str], SimulatedPortal]", verb: str
) -> None:
    portal = simulate("calm")
    rows = "".join(f"{n},7\n" for n in range(1, 1_001))
    (tmp_path / "pairs.csv").write_text(f"deal,contact\n{rows}")
    command = f"{sys.executable} -m worker"
    made = f"{command} run pairs.csv --portal {portal.url} --run-id one -q --rate 5000/s"
    tmux(
        "new-session",
        "-d",
        "-x",
        "80",
        "-y",
        "30",
        f"{made}; {command} {verb} one --rate 50/s --transport single; cat",
    )

    assert eventually(partial(is_one_line, tmux, 80, " links, ")), tmux.lines()
    tmux("send-keys", "C-c")
    assert eventually(lambda: "go on with: " in "".join(tmux.lines())), tmux.lines()
    said = tmux.lines()
    assert len([line for line in said if " links, " in line]) == 1, said
    assert not [line for line in said if "^" in line], said


def is_one_line(tmux: Tmux, width: int, sign: str = " rows, ") -> bool:
    drawn = [line for line in tmux.lines() if sign in line]
    return len(drawn) == 1 and len(drawn[0]) < width


def eventually(holds: "Callable[[], bool]") -> bool:
    """Whether it comes to hold, and a while later still does: several redraws, each a fifth of a second."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    return holds()
