"""SIGUSR1 asks any verb how it goes, and ends none."""

import select
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import CommandLine


@pytest.mark.parametrize("words", [("check", "-"), ("simulate", "--port", "0")])
def test_a_verb_without_figures_says_that_it_is_at_work(
    bulklink: "CommandLine", words: tuple[str, ...]
) -> None:
    """A script that asks every process of ours must not be what kills one."""
    with bulklink.start(*words) as process:
        assert process.stderr is not None
        wait_until_it_listens(process)
        process.send_signal(signal.SIGUSR1)
        while not select.select([process.stderr], [], [], 1.0)[0]:
            # One that comes in the moment before an interpreter waits for its input is heard with the next.
            process.send_signal(signal.SIGUSR1)
        line = process.stderr.readline()
        assert line.startswith(f"bulklink: {words[0]}: at work for ")
        assert process.poll() is None
        process.kill()
        process.communicate()


def wait_until_it_listens(process: "subprocess.Popen[str]") -> None:
    """Until the signal has an answer: the system keeps a mask of those that are caught."""
    bit = 1 << (signal.SIGUSR1 - 1)
    while True:
        with open(f"/proc/{process.pid}/status") as file:  # noqa: PTH123 - no file of ours
            caught = next(line for line in file if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) & bit:
            return
