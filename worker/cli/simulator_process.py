"""Run the simulator as a process of its own, so that it takes no time from what is shown or measured."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

from worker.errors import WorkerError


@contextmanager
def simulator(scenario: str) -> Iterator[str]:
    """Give the address of a simulated portal that lives as long as the block.

    Raises:
        WorkerError: it did not start.
    """
    with serving("worker.simulator", "--port", "0", "--scenario", scenario) as url:
        yield url


@contextmanager
def serving(module: str, *words: str) -> Iterator[str]:
    """Give the address at which a module says that it listens, for as long as the block lasts.

    Raises:
        WorkerError: it said something else, or nothing.
    """
    command = [sys.executable, "-m", module, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("listening on "):
                raise WorkerError("the simulator did not start")
            yield line.removeprefix("listening on ").strip()
        finally:
            process.terminate()


def books(url: str, part: str) -> Any:
    """One page of the simulator's books."""
    with urlopen(f"{url}/_books{part}") as answer:  # noqa: S310 - our own simulator on loopback
        return json.load(answer)
