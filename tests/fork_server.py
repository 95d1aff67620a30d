"""Forks processes that have imported the product already; :mod:`tests.forks` starts it and talks to it.

A forked process is as a fresh ``python -m MODULE`` or ``python FILE.py`` but for the time that imports take:
its own pid, descriptors, folder, environment and signals, and an interpreter that ends in the usual way.
"""

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

LONGEST_REQUEST = 1 << 20
_PACKAGES = ("worker.cli", "worker.run", "worker.queues", "worker.simulator")


def import_all() -> None:
    """Import what any verb may need."""
    for name in _PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for client in ("redis.asyncio", "aio_pika", "nats.js"):
        with suppress(ImportError):
            importlib.import_module(client)
    templates = importlib.import_module("worker.report.html").templates()
    for page in templates.list_templates(extensions=["html"]):
        templates.get_template(page)  # each process would compile it for itself


def serve(listener: socket.socket) -> dict[str, Any]:
    """Fork for each socket that a client sends, until the last client hangs up.

    Returns in a forked process only. On such a socket the client has put what is to run; it is told the pid,
    and the exit status once there is one, each in 8 bytes.
    """
    clients: list[socket.socket] = []
    children: dict[int, socket.socket] = {}
    bell, ringer = socket.socketpair()
    bell.settimeout(0)
    ringer.settimeout(0)
    inherited = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests; we end with them
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ringer.fileno())
    while True:
        readable, _, _ = select.select((listener, bell, *clients), (), ())
        if listener in readable:
            client, _ = listener.accept()
            clients.append(client)
            with suppress(OSError):
                client.sendall(b".")
        if bell in readable:
            with suppress(BlockingIOError):
                while bell.recv(4_096):
                    pass
            _tell_ends(children)
        for client in set(clients) & set(readable):
            data, descriptors, _, _ = socket.recv_fds(client, 1, 1)
            if not data:
                client.close()
                clients.remove(client)
                if not clients:
                    os._exit(0)
                continue
            conversation = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, inherited)
                for held in (listener, bell, ringer, *clients, *children.values()):
                    held.close()
                return _become(conversation)
            children[pid] = conversation
            with suppress(OSError):
                conversation.sendall(pid.to_bytes(8, "big"))


def _tell_ends(children: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            with children.pop(pid) as conversation, suppress(OSError):
                conversation.sendall(status.to_bytes(8, "big"))


def _become(conversation: socket.socket) -> dict[str, Any]:
    """Do what is done between fork and exec, and when an interpreter starts."""
    with conversation:
        data, descriptors, _, _ = socket.recv_fds(conversation, LONGEST_REQUEST, 3)
    request: dict[str, Any] = json.loads(data)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["new_session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["folder"]
    sys.stdin = sys.__stdin__ = _standard(sys.stdin, "r")  # type: ignore[misc]  # as an interpreter does
    sys.stdout = sys.__stdout__ = _standard(sys.stdout, "w")  # type: ignore[misc]  # same
    sys.stderr = sys.__stderr__ = _standard(sys.stderr, "w")  # type: ignore[misc]  # same
    return request


def _standard(stream: Any, mode: str) -> Any:
    """The stream anew: what it knows of its descriptor, such as whether it can seek, is of the past."""
    number, name, encoding, errors = stream.fileno(), stream.name, stream.encoding, stream.errors
    unbuffered = stream.write_through  # PYTHONUNBUFFERED
    stream.detach()
    buffering = 0 if unbuffered and mode == "w" else -1
    binary: Any = io.open(number, f"{mode}b", buffering, closefd=False)  # noqa: SIM115, UP020 - for good
    getattr(binary, "raw", binary).name = name
    text: Any = io.TextIOWrapper(
        binary,
        encoding,
        errors,
        newline="\n" if mode == "w" else None,
        line_buffering=not unbuffered and (number == 2 or binary.isatty()),
        write_through=unbuffered,
    )
    text.mode = mode
    return text


def main() -> None:
    """Serve on the descriptor given; in a forked process, run what was asked for."""
    sys.path.insert(1, str(Path(__file__).parents[1]))
    if os.fork():
        os._exit(0)  # nobody's child, for no client outlives all others
    import_all()
    gc.freeze()
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if meeting := os.environ.pop("TESTS_MEET_IN", ""):
        folder: Any = importlib.import_module("worker.host.folder")
        folder.common_folder.__defaults__ = (Path(meeting),)
    program = request["program"]
    sys.argv = [program, *request["words"]]
    code = 0
    try:
        if program.endswith(".py"):
            sys.path[0] = str(Path(program).parent)
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        code = end.code or 0
    leave(code)
    sys.exit(code)


def leave(code: int) -> None:
    """End as an interpreter does, but for taking all modules apart, which takes ten times as long as a fork.

    Returns if what was printed cannot be written: the usual end has its own way with that.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except (OSError, ValueError):
        return
    gc.collect()  # what is told when something is lost that was not closed
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
