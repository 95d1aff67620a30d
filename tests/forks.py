"""Processes of the product that start in milliseconds: forked from one that has imported it already.

They are real processes, with pids, signals and exit codes of their own. What only a fresh interpreter shows
needs one, and half a second: see :func:`is_read_at_start`.
"""

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tests.locks import locked

MEETING = "TESTS_MEET_IN"
"""Names the folder in which processes of a user meet, instead of the one of this machine; not passed on."""

_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "SSL_", "OPENSSL_")


def is_read_at_start(variable: str) -> bool:
    """Whether an interpreter or a library looks at it once only, so that it is too late after a fork."""
    return variable.startswith(_AT_START)


class ForkServer:
    """A process that forks others, in any thread's name; one for all who name the same folder.

    It is started for the first of them, and ends when the last one has closed it or has died; what it has
    forked lives on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        with locked(folder / "forks.door"):
            control = _greeted(folder / "forks")
            if control is None:
                _start(folder / "forks")
                control = _greeted(folder / "forks")
        assert control is not None, "the fork server does not start"
        self._control = control

    def fork(self, request: Mapping[str, Any], standard: Sequence[int]) -> tuple[int, socket.socket]:
        """Give the pid of a new process, and the socket on which its exit status will come.

        Args:
            request: what to run: ``program``, ``words``, ``folder``, ``environment`` and ``new_session``.
            standard: the descriptors that are to be its standard input, output and error.
        """
        mine, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(mine, [json.dumps(request).encode()], standard)
            with self._lock:
                socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        pid = mine.recv(8)
        if not pid:
            mine.close()
            raise ChildProcessError("the fork server has ended")
        return int.from_bytes(pid, "big"), mine

    def close(self) -> None:
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start(meeting: Path) -> None:
    meeting.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(meeting))
        listener.listen()
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )


def _greeted(meeting: Path) -> socket.socket | None:
    """A connection to the server, if it is there; one that is about to end greets nobody."""
    control = socket.socket(socket.AF_UNIX)
    with suppress(FileNotFoundError, ConnectionError):
        control.connect(str(meeting))
        if control.recv(1):
            return control
    control.close()
    return None


class Forked(subprocess.Popen[str]):
    """``python -m MODULE WORDS`` or ``python FILE.py WORDS``, forked; options are as those of a Popen."""

    def __init__(
        self,
        server: ForkServer,
        program: str,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        start_new_session: bool = False,
    ) -> None:
        self._server = server
        self._conversation: socket.socket | None = None
        self._taking = threading.Lock()
        super().__init__(
            [program, *words],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=start_new_session,
            text=True,
        )

    def _execute_child(self, *given: Any) -> None:
        # What Popen settles before it forks, in the order of Python 3.11 to 3.14.
        words, folder, environment, pipes, new_session = given[0], given[5], given[6], given[10:16], given[21]
        inherited = enumerate((pipes[0], pipes[3], pipes[5]))
        standard = [number if pipe == -1 else pipe for number, pipe in inherited]
        request = {
            "program": words[0],
            "words": words[1:],
            "folder": str(Path(folder or ".").absolute()),
            "environment": dict(os.environ if environment is None else environment),
            "new_session": new_session,
        }
        try:
            self.pid, self._conversation = self._server.fork(request, standard)
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]  # of Popen
        self._child_created = True

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        self._has_ended(0.0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if not self._has_ended(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def _has_ended(self, timeout: float | None) -> bool:
        conversation = self._conversation
        if conversation is None:
            return True
        if not select.select([conversation], [], [], timeout)[0]:
            return False
        with self._taking:
            if self._conversation is not None:  # another thread may have been told
                self._conversation = None
                with conversation:
                    status = conversation.recv(8)
                assert status, "the fork server has ended"
                self.returncode = os.waitstatus_to_exitcode(int.from_bytes(status, "big"))
        return True


@contextmanager
def simulator(server: ForkServer, scenario: str) -> Iterator[str]:
    """The address of a simulated portal in a process of its own, for as long as the block lasts.

    Args:
        server: starts it.
        scenario: the name of a built-in one, or the path of a file.
    """
    words = ("--port", "0", "--scenario", scenario)
    with Forked(server, "worker.simulator", *words, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            assert line.startswith("listening on "), line
            yield line.removeprefix("listening on ").strip()
        finally:
            process.terminate()
    assert process.returncode == 0
