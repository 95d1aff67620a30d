"""Run a command against the stub portal; what that took is told by clock, kernel and the stub's books."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from worker.cli.simulator_process import serving
from worker.errors import WorkerError

BULKLINK = (sys.executable, "-m", "worker")

_KILOBYTE = 1024
_MEGABYTE = 1024 * 1024
_SAID = 64 * 1024
_SHOWN = 300
"""Characters of what a command said that failed."""


class Stub:
    """The stub portal in its own process; see ``worker.simulator.stub`` for what its books hold.

    Attributes:
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def books(self, order: str = "") -> dict[str, Any]:
        """What was asked of it; ``order`` is ``open`` to begin anew, ``hold=N`` to stop after N links."""
        with urlopen(f"{self.url}/_stub?{order}", timeout=60) as answer:  # noqa: S310 - our own on loopback
            books: dict[str, Any] = json.load(answer)
        return books


@contextmanager
def stub_portal() -> Iterator[Stub]:
    """Serve the stub for as long as the block lasts."""
    with serving("worker.simulator.stub_server") as url:
        yield Stub(url)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one command took, start-up and files included.

    Attributes:
        pairs: links that it was given to make.
        seconds: from its start to its end.
        cpu_seconds: in user and system mode.
        peak_mb: most memory it had; on Linux never less than what the bench itself had when it started it.
        requests: that the stub got.
        portal_cpu_seconds: that the stub used meanwhile.
        posting_seconds: from the first link that was asked for to the last answer.
    """

    pairs: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    requests: int
    portal_cpu_seconds: float
    posting_seconds: float


class Running:
    """A command that runs for as long as the block lasts, at most.

    Attributes:
        started: when it was, by the monotonic clock.
        pid: its process.
    """

    def __init__(self, words: Sequence[str], queue: str | None = None) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
        if queue is not None:  # with its password
            own["BULKLINK_QUEUE_URL"] = queue
        self._words = words
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a file, as a full pipe would hold it up
        self.started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own modules, or curl
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env={**own, "BULKLINK_TOKEN": "demo-token"},
        )
        self.pid = self._process.pid
        self._ended: tuple[int, Any, float] | None = None

    def said(self) -> str:
        """What it has said so far, on standard error."""
        # At a place of its own: the file's own place is where the command writes on.
        return os.pread(self._errors.fileno(), _SAID, 0).decode(errors="replace")

    def has_ended(self) -> bool:
        """Whether it has; what it used is kept."""
        self._wait(os.WNOHANG)
        return self._ended is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._wait(0)
        self._errors.close()

    def kill(self) -> None:
        """End it at once."""
        if not self.has_ended():
            self._process.kill()

    def finish(self, expected: int = 0) -> tuple[float, float, float]:
        """Wait for its end; gives seconds, CPU seconds, and peak memory in MB.

        Raises:
            WorkerError: it ended otherwise than expected.
        """
        self._wait(0)
        assert self._ended is not None  # noqa: S101 - waited for
        code, usage, ended = self._ended
        if code != expected:
            self._errors.seek(0)
            said = self._errors.read().strip()[-_SHOWN:]
            raise WorkerError(f"bench: {' '.join(self._words[1:4])} ended with exit code {code}: {said}")
        # Kilobytes, but on macOS, where they are bytes.
        unit = _MEGABYTE if sys.platform == "darwin" else _KILOBYTE
        return ended - self.started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit

    def _wait(self, options: int) -> None:
        if self._ended is None:
            # Not Popen.wait: only this call gives what the one child used.
            pid, status, usage = os.wait4(self.pid, options)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._ended = self._process.returncode, usage, time.monotonic()


def measure(
    stub: Stub, words: Sequence[str], pairs: int, *, queue: str | None = None, links: bool = True
) -> Measured:
    """Run a command to its end, and look up what it asked of the stub.

    Args:
        stub: begins anew before.
        words: the command.
        pairs: that it is given.
        queue: where it gets or puts them, with its password.
        links: it makes each of them a link.

    Raises:
        WorkerError: it failed, or did not make all links.
    """
    cpu = stub.books("open")["cpu"]
    with Running(words, queue) as running:
        seconds, cpu_seconds, peak_mb = running.finish()
    books = stub.books()
    if books["links"] != (pairs if links else 0):
        raise WorkerError(f"bench: {' '.join(words[1:4])} made {books['links']:,} of {pairs:,} links")
    posting = max(0.0, books["last"] - books["first_post"]) if links else 0.0
    return Measured(pairs, seconds, cpu_seconds, peak_mb, books["requests"], books["cpu"] - cpu, posting)


def write_pairs(path: Path, pairs: int) -> None:
    """Write a CSV file of pairs: ten contacts to an opportunity, as exports have them; no pair twice."""
    with path.open("w", encoding="utf-8") as file:
        file.write("opportunity_id,contact_id\n")
        file.writelines(f"{opportunity},{contact}\n" for opportunity, contact in some_pairs(pairs))


def some_pairs(pairs: int) -> Iterator[tuple[int, int]]:
    """The pairs of such a file."""
    return ((i // 10 % 5000 + 1, i % 10 + i // 50_000 * 10 + 1) for i in range(pairs))


def bulklink(verb: str, *words: str, folder: Path, url: str) -> list[str]:
    """The command line of a verb that sends, without a limit that matters."""
    sending = ("--portal", url, "--runs-dir", str(folder), "--quiet", "--progress", "none")
    return [*BULKLINK, verb, *words, *sending]
