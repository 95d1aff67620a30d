"""The soak in short: green with the worker as it is, red with each leak that it is there to see."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).with_name("soak.py")
LINE = re.compile(
    r"seed \d+: [0-9.]+ minutes, (\d+) of \1 rows linked, (\d+) samples; memory .* files .* tasks .*\n"
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process is looked at through /proc")


def soak(*words: str, timeout: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(SOAK), *words], capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.mark.slow
def test_a_worker_holds_no_more_after_half_a_minute_than_before() -> None:
    done = soak("--minutes", "0.4", "--seed", "1", "--every", "0.5", timeout=110)

    assert done.returncode == 0, done.stderr + done.stdout
    found = LINE.fullmatch(done.stdout)
    assert found, done.stdout
    assert int(found[2]) >= 20


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_worker_holds_no_more_after_ten_minutes_than_before() -> None:
    done = soak("--minutes", "10", "--seed", "1", timeout=1400)

    assert done.returncode == 0, done.stderr + done.stdout
    assert LINE.fullmatch(done.stdout), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("leak", "sign"), [("memory", "rss"), ("files", "files"), ("tasks", "tasks")])
def test_a_planted_leak_turns_it_red(leak: str, sign: str) -> None:
    done = soak("--minutes", "0.4", "--seed", "1", "--every", "0.5", "--leak", leak, timeout=110)

    assert done.returncode == 1, done.stderr + done.stdout
    # That figure alone, and nothing else went wrong.
    assert re.fullmatch(rf"{sign} grew from .*\n", done.stderr), done.stderr
