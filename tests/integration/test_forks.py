"""A forked process is as a fresh interpreter: or tests that start commands by forking would prove less."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.forks import Forked

if TYPE_CHECKING:
    from tests.forks import ForkServer

LOOK = """
import gc, json, os, signal, sys, tempfile, threading

def about(stream):
    names = ("name", "mode", "encoding", "errors", "newlines", "line_buffering", "write_through")
    raw = getattr(stream.buffer, "raw", stream.buffer)
    known = [str(getattr(stream, name, "")) for name in names]
    return [*known, str(raw.name), raw.closefd, raw.seekable(), raw.isatty()]

here = {
    "argv": sys.argv[1:],
    "name": __name__,
    "folder": os.getcwd(),
    "first on the path": sys.path[0],
    "environment": dict(os.environ),
    "session is new": os.getsid(0) == os.getpid(),
    "session": os.getsid(0) in (os.getpid(), os.getsid(os.getppid())),
    "group": os.getpgid(0) in (os.getpid(), os.getpgid(os.getppid())),
    "signals": {s.name: str(signal.getsignal(s)) for s in signal.Signals},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "descriptors": sorted(n for n in range(256) if os.path.exists(f"/dev/fd/{n}")),
    "streams": [about(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
    "standard": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
    "temporary folder": tempfile.tempdir,
    "threads": threading.active_count(),
    "nice": os.nice(0),
    "collecting": gc.isenabled(),
    "umask": os.umask(0),
    "input": sys.stdin.readline() if not sys.stdin.isatty() else "",
}
with open("seen.json", "w") as file:
    json.dump(here, file)
print("out")
print("err", file=sys.stderr)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def fork(fork_server: "ForkServer", tmp_path: Path) -> Start:
    """Start a program as a fork."""

    def start(program: str, *words: str, **options: Any) -> subprocess.Popen[str]:
        (tmp_path / "program.py").write_text(program)
        return Forked(fork_server, "program", *words, cwd=tmp_path, **options)

    return start


def spawn(folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "program", *words], cwd=folder, text=True, **options)


def looked(process: subprocess.Popen[str], folder: Path, text: str | None = None) -> tuple[Any, ...]:
    with process:
        out, err = process.communicate(text, timeout=60)
    assert process.returncode == 0, err
    return json.loads((folder / "seen.json").read_text()), out, err


def test_it_sees_what_a_fresh_interpreter_sees(fork: Start, tmp_path: Path) -> None:
    for new_session in (False, True):
        options = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": {**os.environ, "BULKLINK_RATE": "5/s"},
            "start_new_session": new_session,
        }
        forked = looked(fork(LOOK, "a", "-b", **options), tmp_path, "line\n")
        spawned = looked(spawn(tmp_path, "a", "-b", **options), tmp_path, "line\n")

        assert forked == spawned


def test_files_and_a_terminal_are_what_they_are_to_a_fresh_interpreter(fork: Start, tmp_path: Path) -> None:
    ours, terminal = pty.openpty()
    with (tmp_path / "out").open("w+") as file:
        options: dict[str, Any] = {
            "stdin": terminal,
            "stdout": terminal,
            "stderr": file,
            "env": dict(os.environ),
        }

        forked = looked(fork(LOOK, **options), tmp_path)
        spawned = looked(spawn(tmp_path, **options), tmp_path)

        assert forked == spawned
        file.seek(0)
        assert file.read() == "err\nerr\n"
    assert os.read(ours, 100) == b"out\r\nout\r\n"
    os.close(ours)
    os.close(terminal)


def test_a_file_is_run_as_a_fresh_interpreter_runs_it(fork_server: "ForkServer", tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(LOOK)
    options: dict[str, Any] = {"cwd": tmp_path, "stdin": subprocess.DEVNULL, "env": dict(os.environ)}

    forked = looked(Forked(fork_server, str(script), "a", **options), tmp_path)
    spawned = looked(subprocess.Popen([sys.executable, script, "a"], text=True, **options), tmp_path)

    assert forked == spawned


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit()", 0),
        ("import sys; sys.exit('no')", 1),
        ("import sys; sys.exit(-1)", 255),
        ("import sys; sys.stdout.close()", 0),
        ("import sys; sys.stdout = None", 0),
        ("1 / 0", 1),
        ("import os; os._exit(255)", 255),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("import sys; sys.stdout = open('/dev/full', 'w'); print('x')", 120),
        ("import atexit, os; atexit.register(os._exit, 7)", 7),
    ],
)
def test_it_ends_as_a_fresh_interpreter_does(fork: Start, tmp_path: Path, program: str, code: int) -> None:
    with fork(program, stderr=subprocess.DEVNULL) as forked:
        assert forked.wait(30) == code
    with spawn(tmp_path, stderr=subprocess.DEVNULL) as spawned:
        assert spawned.wait(30) == code


def test_its_last_words_are_those_of_a_fresh_interpreter(fork: Start, tmp_path: Path) -> None:
    program = """
import asyncio, atexit, sys, threading, time
class Lost:
    def __del__(self): print("lost", file=sys.stderr)
async def sleep(): await asyncio.sleep(60)
def late(): time.sleep(0.1); print("thread")
lost = Lost()
lost.again = lost
del lost
atexit.register(print, "at exit")
threading.Thread(target=late).start()
loop = asyncio.new_event_loop()
task = loop.create_task(sleep())
loop.run_until_complete(asyncio.sleep(0))
del task
loop.close()
del loop
print("end")
"""
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with fork(program, **options) as forked:
        said = forked.communicate(timeout=60)
    with spawn(tmp_path, **options) as spawned:
        expected = spawned.communicate(timeout=60)

    assert said[0] == expected[0] == "end\nthread\nat exit\n"
    words = [
        [line for line in err.splitlines() if line.startswith(("lost", "Task was destroyed"))]
        for err in (said[1], expected[1])
    ]
    assert sorted(words[0]) == sorted(words[1]) == ["Task was destroyed but it is pending!", "lost"]


def test_signals_reach_it_by_its_pid_and_it_is_gone_afterwards(fork: Start) -> None:
    with fork("import time; print('here', flush=True); time.sleep(60)", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
        assert process.poll() == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_chance_is_dealt_anew_in_each(fork: Start) -> None:
    drawn = set()
    for _ in range(2):
        with fork("import random; print(random.random())", stdout=subprocess.PIPE) as process:
            drawn.add(process.communicate(timeout=60)[0])
    assert len(drawn) == 2


def test_it_has_imported_what_a_verb_needs(fork: Start) -> None:
    program = (
        "import sys; before = set(sys.modules); import worker.cli.work; print(set(sys.modules) - before)"
    )
    with fork(program, stdout=subprocess.PIPE) as process:
        assert process.communicate(timeout=60)[0] == "set()\n"
