"""What all tests share: aioresponses made to work with aiohttp 3.14, and a loop whose time is virtual."""

import asyncio
import fcntl
import json
import os
import selectors
import subprocess
import sys
import time
import types
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import aioresponses.core
import pytest
from hypothesis import HealthCheck, settings

from tests.forks import MEETING, Forked, ForkServer, is_read_at_start, simulator
from tests.locks import common_folder, hold, locked

pytest_plugins = ["tests.brokers"]

# How long an example takes says nothing on a machine that does eight things at a time.
settings.register_profile(
    "busy", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

# Wherever it is not wanted that compiled code is kept, each of hundreds of processes compiles all of it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_T = TypeVar("_T")

ONE_BY_ONE = ("--transport", "single", "--existing", "post")
"""A POST for each pair and nothing else, for runs in which something has to happen at a certain request."""


_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""How many processes run tests, and which of them this one is."""

_SEATS = min(2, os.cpu_count() or 1, _WORKERS)
"""So many tests that are ``alone`` run at a time: each needs a part of a core."""


def _is_alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Let each of the test processes begin elsewhere: it finds the rest compiled by others."""
    config = session.config
    if _WORKERS > 1 and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        files = [str(path) for folder in config.args for path in sorted(Path(folder).rglob("test_*.py"))]
        first = len(files) * _NUMBER // _WORKERS
        config.args = files[first:] + files[:first]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Put tests that must be ``alone`` first: later, each would wait for the longest of those that run.

    Where each of the test processes begins, those that are ``long`` come next: none should be the last.
    """
    items.sort(key=lambda item: item.path)  # the same order in all processes
    yield  # those that are not to run are taken out
    alone = [item for item in items if _is_alone(item)]
    long = [item for item in items if item.get_closest_marker("long") and not _is_alone(item)]
    others = [item for item in items if not item.get_closest_marker("long") and not _is_alone(item)]
    left = len(items)
    items.clear()
    for number in range(_WORKERS):  # as xdist deals them: stretches, each a share of what is left
        share = left // (_WORKERS - number)
        left -= share
        stretch = [*(alone[number::_SEATS] if number < _SEATS else []), *long[number::_WORKERS]]
        more = max(0, share - len(stretch))
        items += stretch + others[:more]
        del others[:more]
    items += others


_held: list[int] = []
"""What this process holds while it runs tests."""


@pytest.hookimpl(wrapper=True, tryfirst=True)  # so that no time-out counts what is waited here
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """While tests marked ``alone`` run, on as many seats as there are, no others do.

    Whoever is in the hall is one of the others. The door is open to them unless somebody who must be alone
    holds it; the last of these who leaves opens it again.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    if not _held:
        factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]  # no other way
        folder = common_folder(factory)
        seats = [folder / f"seat-{number}" for number in range(_SEATS)]
        if _is_alone(item):
            _held.append(hold(folder / "door", fcntl.LOCK_SH))
            _held.append(_hold_any(seats))
            os.close(hold(folder / "hall"))  # all others have left
        else:
            _let_go_first(seats[: _guests(item.session)])
            with locked(folder / "door"):
                _held.append(hold(folder / "hall", fcntl.LOCK_SH))
    try:
        return (yield)
    finally:
        if not (_is_alone(item) and _is_alone(nextitem)):
            while _held:
                os.close(_held.pop())


def _hold_any(paths: list[Path]) -> int:
    for path in paths:
        with suppress(BlockingIOError):
            return hold(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return hold(paths[0])


@cache
def _guests(session: pytest.Session) -> int:
    return sum(map(_is_alone, session.items))


def _let_go_first(seats: list[Path]) -> None:
    """Wait until each seat was taken once: who begins later waits for the longest of those that run."""
    deadline = time.monotonic() + 5  # of no use for longer: it may be that nobody comes
    while not all(seat.exists() for seat in seats) and time.monotonic() < deadline:
        time.sleep(0.02)


class _MockedResponse(aiohttp.ClientResponse):
    """aioresponses 0.7.9 does not pass what aiohttp 3.14 requires."""

    def __init__(self, *args: Any, stream_writer: Any = None, **options: Any) -> None:
        stream_writer = stream_writer or types.SimpleNamespace(output_size=0)
        super().__init__(*args, stream_writer=stream_writer, **options)


aioresponses.core.ClientResponse = _MockedResponse  # type: ignore[attr-defined]  # patched, not used


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: when nothing is ready, time itself moves on to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("every coroutine waits, and no timer is set: a deadlock")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour of sleeping takes no time. Not for threads or sockets."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


@pytest.fixture
def virtual_time() -> Iterator[Callable[[Coroutine[Any, Any, _T]], _T]]:
    """Run a coroutine to its end on a loop of virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner.run


class SimulatedPortal:
    """A simulator in a process of its own, and its books."""

    def __init__(self, url: str) -> None:
        self.url = url

    def books(self, part: str = "") -> Any:
        with urllib.request.urlopen(f"{self.url}/_books{part}") as answer:  # noqa: S310 - our own simulator
            return json.load(answer)

    def links(self) -> set[tuple[int, int]]:
        return {(pair[0], pair[1]) for pair in self.books("/links")}


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """What starts the product without the time that imports take."""
    with ForkServer(common_folder(tmp_path_factory)) as server:
        yield server


@pytest.fixture
def simulate(
    tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer
) -> Iterator[Callable[[str], SimulatedPortal]]:
    """Start simulators for a test: ``simulate(name_or_toml)``."""
    with ExitStack() as stack:

        def start(scenario: str) -> SimulatedPortal:
            if "\n" in scenario or "=" in scenario:
                path = tmp_path_factory.mktemp("scenario") / "scenario.toml"
                path.write_text(scenario)
                scenario = str(path)
            return SimulatedPortal(stack.enter_context(simulator(fork_server, scenario)))

        yield start


class CommandLine:
    """The command as a user has it: a process in a folder of its own, with a clean environment.

    Its processes meet in a folder of their own, too: tests that link the same input at a portal of the same
    name would be in each other's way. Only where it takes a fresh interpreter, they meet in the usual one.
    """

    def __init__(self, folder: Path, server: ForkServer) -> None:
        self.folder = folder
        self._server = server
        self._meeting = folder.with_name(f"{folder.name}.meeting")
        self._meeting.mkdir(exist_ok=True)

    def start(self, *words: str, program: str = "worker", **variables: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
        options: dict[str, Any] = {
            "cwd": self.folder,
            "env": {**clean, "BULKLINK_TOKEN": "demo-token", **variables},
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        if any(is_read_at_start(name) for name in variables):
            return subprocess.Popen([sys.executable, "-m", "worker", *words], text=True, **options)
        options["env"][MEETING] = str(self._meeting)
        return Forked(self._server, program, *words, **options)

    def __call__(self, *words: str, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*words, **variables) as process:
            out, err = process.communicate(stdin, timeout=200)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def report(self, *words: str, **variables: str) -> dict[str, Any]:
        """Run with --json; the report, whose exit code is checked to be the command's."""
        done = self(*words, "--json", **variables)
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["exit_code"] == done.returncode
        assert sum(n for state, n in report["counts"].items() if state != "rows") == report["counts"]["rows"]
        return report

    def only_run(self) -> Path:
        """The directory of the one run there is."""
        (ledger,) = self.folder.glob("runs/*/ledger.db")
        return ledger.parent


@pytest.fixture
def bulklink(tmp_path: Path, fork_server: ForkServer) -> CommandLine:
    """``bulklink(*words)`` in an empty folder."""
    return CommandLine(tmp_path, fork_server)
