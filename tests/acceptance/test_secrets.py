"""Token and password are in no file, log, traceback, process title or report, however a run ends.

The command is run as a user runs it. Then every byte that it left is searched, for the secret as it stands
and as encodings would turn it, and for pieces of those. Commands that do not need each other run side by
side in one folder, for most of their time goes into their start.
"""

import base64
import hashlib
import html
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest

from tests.brokers import Broker, NatsServer, RabbitMQServer, RedisServer, running
from tests.conftest import ONE_BY_ONE
from tests.forks import Forked, ForkServer, is_read_at_start

if TYPE_CHECKING:
    from tests.conftest import SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

# Many processes run side by side within one test, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(300)

# Every character that some encoding changes; a token must be printable ASCII, a password need not.
TOKEN = 'Tok+n/Ab"3\\z%7&<Qx>=J'
PASSWORD = "s3cr+t/\"ü\\p&ss%<w0rd>'"
ISSUED = [base64.b64encode(hashlib.sha256(f"{TOKEN}:{n}".encode()).digest()).decode() for n in (1, 2)]
"""Tokens that the simulator, and the echo below, answer a log-in with."""

BY_TOKEN = {"BULKLINK_TOKEN": TOKEN}
BY_LOGIN = {"BULKLINK_TOKEN": "", "BULKLINK_USERNAME": "user@portal.example", "BULKLINK_PASSWORD": PASSWORD}
AUTH = f"[auth]\ntoken = {json.dumps(TOKEN)}\npassword = {json.dumps(PASSWORD)}\n"

PLANTED = str(Path(__file__).parents[1] / "crash" / "planted.py")
PIECE = 10
"""Characters: a message cut short, or a repr that leaves out the middle, is a leak as well."""

CORE = PIECE // 2
"""A secret is cut into cores of that length, end to end; there is a whole one in each piece of it."""


def _spellings(secret: str) -> set[bytes]:
    raw = secret.encode()
    spellings = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
    spellings |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    spellings |= {repr(secret)[1:-1], repr(raw)[2:-1], raw.hex()}
    found = {text.encode() for text in spellings} | {secret.encode("latin-1"), secret.encode("utf-16-le")}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        # Inside something longer, such as user:password, it may begin at any of three places.
        found |= {encode(b"?" * shift + raw)[4 * bool(shift) : -4] for shift in range(3)}
    return found


def _needles() -> dict[bytes, set[bytes]]:
    """All pieces, by a core that is in them."""
    needles: dict[bytes, set[bytes]] = {}
    for secret in (TOKEN, PASSWORD, *ISSUED):
        for spelling in map(bytes.lower, _spellings(secret)):
            for at in range(len(spelling) - PIECE + 1):
                core = -(-at // CORE) * CORE
                needles.setdefault(spelling[core : core + CORE], set()).add(spelling[at : at + PIECE])
    return needles


NEEDLES = _needles()


def holds_secret(data: bytes) -> bool:
    """Whether a secret, or a piece of one, is in it."""
    data = data.lower()
    return any(needle in data for core, needles in NEEDLES.items() if core in data for needle in needles)


class Witness:
    """Runs the command, and keeps what it says and how the system shows it beside the files it writes."""

    def __init__(self, folder: Path, server: ForkServer) -> None:
        self.folder = folder
        self.own: set[Path] = set()
        self.processes: list[subprocess.Popen[str]] = []
        self._server = server
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK_")}
        # So that temporary files and caches are seen, too.
        self._environment = {**clean, "HOME": str(folder), "TMPDIR": str(folder)}
        self._environment["BULKLINK_SAME_INPUT_ANYWAY"] = "true"  # many are started at once, to save time
        self._titles: set[bytes] = set()
        (folder / "pairs.csv").write_text(
            "opportunity_id,contact_id\n" + "".join(f"{n},{n}\n" for n in range(1, 101))
        )

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file whose secrets are the user's own doing."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.own.add(path)
        return path

    def start(
        self, *words: str, program: Sequence[str] = ("worker",), **variables: str
    ) -> subprocess.Popen[str]:
        """Start the command, or another program in its place: a file, or what Python itself takes."""
        number = len(self.processes)
        with self._said(number, "out").open("wb") as out, self._said(number, "err").open("wb") as err:
            options: dict[str, Any] = {
                "cwd": self.folder,
                # Many run the same file side by side.
                "env": {**self._environment, "BULKLINK_SAME_INPUT_ANYWAY": "true", **variables},
                "stdin": subprocess.DEVNULL,
                "stdout": out,
                "stderr": err,
            }
            process: subprocess.Popen[str]
            if program[0] == "-c" or any(map(is_read_at_start, variables)):
                process = subprocess.Popen([sys.executable, *program, *words], text=True, **options)
            else:
                process = Forked(self._server, *program, *words, **options)
        self.processes.append(process)
        return process

    def wait(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Watch all that run to the end of this one; its exit code and what it wrote on standard error."""
        while process.poll() is None:
            for running_one in self.processes:
                if running_one.poll() is None:
                    self._titles.update(_titles(running_one.pid))
            time.sleep(0.03)
        number = self.processes.index(process)
        return process.returncode, self._said(number, "err").read_text(errors="replace")

    def wait_for_all(self, started: "Mapping[str, subprocess.Popen[str]]") -> dict[str, tuple[int, str]]:
        """The same of each, by its name."""
        return {name: self.wait(process) for name, process in started.items()}

    def run(self, *words: str, program: Sequence[str] = ("worker",), **variables: str) -> tuple[int, str]:
        return self.wait(self.start(*words, program=program, **variables))

    def leaks(self, *, but: str = "") -> list[str]:
        """Where a secret is to be seen; ``but`` is left out."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path not in self.own]
        places = {str(path.relative_to(self.folder)): path.read_bytes() for path in files}
        places["process title"] = b"\n".join(self._titles)
        return sorted(place for place, data in places.items() if place != but and holds_secret(data))

    def _said(self, number: int, stream: str) -> Path:
        return self.folder / f"said-{number}.{stream}"


def _titles(pid: int) -> set[bytes]:
    """What ps and top show of a process and its threads; nothing where there is no /proc."""
    titles = set()
    with suppress(OSError):
        for path in Path(f"/proc/{pid}").glob("task/*/comm"):
            titles.add(path.read_bytes())
        titles.add(Path(f"/proc/{pid}/cmdline").read_bytes())
    return titles


@pytest.fixture
def witness(tmp_path: Path, fork_server: ForkServer) -> Iterator[Witness]:
    found = Witness(tmp_path, fork_server)
    yield found
    for process in found.processes:
        process.kill()
        process.wait()


class _Echo(BaseHTTPRequestHandler):
    """A portal in order, but for one thing: what it should keep for itself, it says.

    Its base is ``/KIND/STAGE``: in what form, and at which stage: login, get (the probe) or post (a link).
    """

    heard: "list[tuple[str, str]]"

    def do_GET(self) -> None:
        self._answer("get")

    def do_POST(self) -> None:
        self._answer("login" if self.path.endswith("/authentication") else "post")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _answer(self, stage: str) -> None:
        kind, wanted = self.path.split("/")[1:3]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        secret = json.loads(body)["password"] if stage == "login" else self.headers["Authorization"]
        if stage == wanted:
            self.heard.append((kind, secret))
            self._say(kind, secret)
        elif stage == "login":
            self._envelope(201, response={"token": ISSUED[0], "expires": "2099-01-01T00:00:00.0000000Z"})
        else:
            self._envelope(404, error={"message": "Not found", "hresult": -2147467259})

    def _say(self, kind: str, secret: str) -> None:
        error = {"message": f"not valid: {secret}", "stack": secret, "data": secret}
        page = f"<html><body>{html.escape(secret)} {secret}</body></html>".encode()
        ways: dict[str, Callable[[], object]] = {
            "failed": lambda: self._envelope(500, error=error | {"hresult": -2146233087}),
            "page": lambda: self._send(200, page),
            "refusal": lambda: self._send(403, page),
            "redirect": lambda: self._send(
                302, b"", Location=f"https://{quote(secret, safe='')}@elsewhere/?{secret}"
            ),
            "phrase": lambda: self._send(502, page, secret),
            "paced": lambda: self._send(503, page, **{"Retry-After": secret}),
            "type": lambda: self._send(200, page, **{"Content-Type": secret}),
            "realm": lambda: self._send(401, page, **{"WWW-Authenticate": secret, "Set-Cookie": secret}),
            "junk": lambda: self.wfile.write(f"{secret}\r\n\r\n".encode()),
        }
        ways |= {
            status: partial(self._envelope, int(status), error=error | {"hresult": 1})
            for status in ("200", "400", "403", "404", "500")
        }
        ways[kind]()

    def _envelope(self, status: int, **members: object) -> None:
        body = {"status": int(status >= 400), "statusCode": status, **members}
        self._send(status, json.dumps(body).encode(), **{"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, phrase: str | None = None, **headers: str) -> None:
        self.send_response(status, phrase)
        for name, value in ({"Content-Type": "text/html"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def echo() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The address of such a portal, and the secrets it was told and has repeated, each with the form."""
    heard: list[tuple[str, str]] = []
    handler = type("Echo", (_Echo,), {"heard": heard})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", heard
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("stage", "who", "way"),
    [("login", BY_LOGIN, ()), ("get", BY_LOGIN, ()), ("post", BY_TOKEN, ()), ("post", BY_TOKEN, ONE_BY_ONE)],
)
def test_a_portal_that_repeats_secrets_is_not_repeated(
    witness: Witness,
    echo: tuple[str, list[tuple[str, str]]],
    stage: str,
    who: dict[str, str],
    way: tuple[str, ...],
) -> None:
    """In an error, a page, a header: whatever it says, our words about it are our own."""
    url, heard = echo
    kinds = ["failed", "500", "403", "404", "400", "200", "realm"]
    kinds += ["page", "refusal", "redirect", "phrase", "paced", "type", "junk"]
    if stage == "get":
        kinds.remove("404")  # what a portal in order answers
    options = ("--limit", "3", "--max-attempts", "2", "--rate", "100/s", *way)
    started = {
        kind: witness.start(
            *("run", "pairs.csv", "-v", "--portal", f"{url}/{kind}/{stage}", "--run-id", f"{kind}-run"),
            *options,
            # A portal that asks to wait without end is waited for.
            *(("--give-up-after", "3s") if kind == "paced" else ()),
            **who,
        )
        for kind in kinds
    }

    ended = witness.wait_for_all(started)

    assert {code for kind, (code, _) in ended.items() if kind != "paced"} <= {3, 5, 6}
    assert ended["paced"][0] == (5 if way else 6)  # before any work, or in it
    assert {kind for kind, _ in heard} == set(kinds)
    assert all(holds_secret(secret.encode()) for _, secret in heard)
    assert witness.leaks() == []


def look_at(witness: Witness, runs: Mapping[str, dict[str, str]]) -> None:
    """Have each run shown, and gone on with if it can be; each has its credentials."""
    for verb, *options in (("report", "--json"), ("resume", "-v")):
        witness.wait_for_all({name: witness.start(verb, name, *options, **who) for name, who in runs.items()})
    witness.run("runs", "--json", **{**BY_LOGIN, **BY_TOKEN})


ENDS: dict[str, tuple[dict[str, str], str, int, tuple[str, ...]]] = {
    "token": (BY_TOKEN, "", 0, ()),
    "token-closed": (BY_TOKEN, '[[outages]]\nkind = "closed_404"', 6, ()),
    "token-down": (
        BY_TOKEN,
        '[[outages]]\nkind = "status"\nstatus = 503\nafter = 30',
        5,
        ("--give-up-after", "1s"),
    ),
    "token-reset": (
        BY_TOKEN,
        '[[faults]]\nkind = "reset"\nshare = 0.2\nper_pair = 1',
        0,
        ("--wire", "xml"),
    ),
    "token-expires": (BY_TOKEN, "expires_after_requests = 60", 6, ()),
    "login": (BY_LOGIN, "", 0, ()),
    "login-rejected": (BY_LOGIN, "[portal]\ncontacts = 50", 3, ()),
    "login-closed": (BY_LOGIN, '[[outages]]\nkind = "closed_404"\nafter = 30', 6, ()),
    "login-redirect": (BY_LOGIN, '[[outages]]\nkind = "redirect"', 6, ()),
    "login-page": (BY_LOGIN, '[[outages]]\nkind = "status"\nstatus = 404\nbody = "html"', 6, ()),
    # Renewed by a second log-in, which waits until it does not lock the account.
    "slow": (BY_LOGIN, "expires_after_requests = 60", 0, ()),
}


@pytest.mark.parametrize("those", ["token", "login", pytest.param("slow", marks=pytest.mark.slow)])
def test_no_end_of_a_run_shows_a_secret(witness: Witness, simulate: "Simulate", those: str) -> None:
    ends = {name: end for name, end in ENDS.items() if name.startswith(those)}
    started = {
        name: witness.start(
            *("run", "pairs.csv", "-v", "--portal", simulate(AUTH + scenario).url, "--run-id", name),
            *("--rate", "200/s", *ONE_BY_ONE, *words),
            **who,
        )
        for name, (who, scenario, _, words) in ends.items()
    }

    codes = {name: code for name, (code, _) in witness.wait_for_all(started).items()}

    assert codes == {name: code for name, (_, _, code, _) in ends.items()}
    look_at(witness, {name: who for name, (who, *_) in ends.items()})
    assert witness.leaks() == []


def test_a_portal_that_does_not_take_us_or_is_not_there_makes_us_tell_nothing(
    witness: Witness, simulate: "Simulate"
) -> None:
    other = simulate('[auth]\ntoken = "another"\npassword = "another"')
    started = {
        f"{name}-{number}": witness.start(
            *("run", "pairs.csv", "-v", "--portal", url, "--run-id", f"{name}-{number}"), **who
        )
        for number, url in enumerate((other.url, "http://127.0.0.1:1"))
        for name, who in (("token", BY_TOKEN), ("login", BY_LOGIN))
    }

    assert {name: code for name, (code, _) in witness.wait_for_all(started).items()} == dict.fromkeys(
        started, 6
    )
    assert witness.leaks() == []


CONFIGS = {
    "unknown-key": f"token = {json.dumps(TOKEN)}\nspeed = 5\n",
    "misspelt": f"tokn = {json.dumps(TOKEN)}\n",
    "in-a-list": f"token = [{json.dumps(TOKEN)}]\n",
    "in-a-table": f"[bulklink]\npassword = {json.dumps(PASSWORD)}\n",
    "no-quotes": f"token = {TOKEN}\n",
    "wrong-neighbour": f'password = {json.dumps(PASSWORD)}\nrate = "fast"\n',
    "in-the-address": f"token = {json.dumps(TOKEN)}\nportal = {json.dumps(f'https://user:{PASSWORD}@portal.example.com')}\n",
    "not-utf-8": f"token = {json.dumps(TOKEN)}\n# \udcff",
}
TOKEN_FILES = {
    "two-lines": f"{TOKEN}\n{TOKEN}\n".encode(),
    "not-ascii": f"{TOKEN}\u00fc".encode(),
    "not-utf-8": TOKEN.encode() + b"\xff",
    "nul": TOKEN.encode() + b"\0",
    "empty": b"",
}
QUOTED = quote(PASSWORD, safe="")
ADDRESSES = {
    "credentials": f"https://user:{QUOTED}@portal.example.com",
    "credentials-not-quoted": f"https://user:{PASSWORD}@portal.example.com",
    "credential-alone": f"https://{QUOTED}@portal.example.com/?x",
    "other-scheme": f"ftp://user:{QUOTED}@portal.example.com",
    "no-scheme": f"user:{QUOTED}@portal.example.com",
    "query": f"https://portal.example.com/?token={QUOTED}",
}
VARIABLES = {
    "two-lines": {"BULKLINK_TOKEN": f"{TOKEN}\n{TOKEN}"},
    "not-ascii": {"BULKLINK_TOKEN": f"{TOKEN}\u00fc"},
    "misspelt": {"BULKLINK_TOKN": TOKEN},
    "no-file": {"BULKLINK_TOKEN": "", "BULKLINK_TOKEN_FILE": "missing.txt", "BULKLINK_PASSWORD": PASSWORD},
    **{name: {"BULKLINK_PORTAL": address} for name, address in ADDRESSES.items()},
}


FLAGS = [
    ("--token", TOKEN),
    (f"--token={TOKEN}",),
    (f"--password={PASSWORD}",),
    ("--portal", f"https://user:{QUOTED}@portal.example.com"),
    ("--portal", f"https://user:{PASSWORD}@portal.example.com"),
]


def test_a_wrong_configuration_file_is_named_and_not_quoted(witness: Witness) -> None:
    started = {}
    for name, content in CONFIGS.items():
        witness.write(f"{name}.toml", content.encode(errors="surrogateescape"))
        portal = () if name == "in-the-address" else ("--portal", "http://127.0.0.1:1")
        started[name] = witness.start("run", "pairs.csv", "-v", "--config", f"{name}.toml", *portal)

    ended = witness.wait_for_all(started)

    seen = {name: (code, f"{name}.toml" in err) for name, (code, err) in ended.items()}
    assert (seen, witness.leaks()) == (dict.fromkeys(CONFIGS, (2, True)), [])


def test_a_file_that_is_no_token_is_named_and_not_quoted(witness: Witness) -> None:
    words = ("run", "pairs.csv", "-v", "--portal", "http://127.0.0.1:1")
    started = {
        name: witness.start(*words, BULKLINK_TOKEN_FILE=str(witness.write(f"{name}.txt", content)))
        for name, content in TOKEN_FILES.items()
    }

    ended = witness.wait_for_all(started)

    seen = {name: (code, "token" in err.splitlines()[-1].lower()) for name, (code, err) in ended.items()}
    assert (seen, witness.leaks()) == (dict.fromkeys(TOKEN_FILES, (2, True)), [])


def test_a_wrong_variable_is_named_and_not_quoted(witness: Witness) -> None:
    known = {"BULKLINK_PORTAL": "http://127.0.0.1:1", **BY_TOKEN}
    started = {
        name: witness.start("run", "pairs.csv", "-v", **{**known, **variables})
        for name, variables in VARIABLES.items()
    }

    ended = witness.wait_for_all(started)

    seen = {}
    for name, (code, err) in ended.items():
        (named,) = VARIABLES[name].keys() - {"BULKLINK_TOKEN", "BULKLINK_PASSWORD"} or {"token"}
        seen[name] = (code, named in err.splitlines()[-1])
    assert (seen, witness.leaks()) == (dict.fromkeys(VARIABLES, (2, True)), [])


def test_a_secret_given_as_a_flag_is_refused_and_not_quoted(witness: Witness) -> None:
    started = {
        " ".join(words): witness.start("run", "pairs.csv", "-v", *words, **BY_TOKEN) for words in FLAGS
    }

    codes = [code for code, _ in witness.wait_for_all(started).values()]

    # Into the title the user has put it, and is told that this is no way.
    assert (codes, witness.leaks(but="process title")) == ([2] * len(FLAGS), [])


def test_a_traceback_shows_where_and_no_secret(witness: Witness, simulate: "Simulate") -> None:
    portal = simulate(AUTH)
    bugs = {
        "crash-in-observe": BY_TOKEN,
        "crash-in-request": BY_LOGIN,
        "crash-in-judgement": BY_TOKEN,
        "crash-in-files": BY_LOGIN,
    }
    words = ("run", "pairs.csv", "-v", "--portal", portal.url, "--rate", "200/s", "--run-id")
    started = {
        bug: witness.start(*words, bug, program=(PLANTED, bug), PYTHONASYNCIODEBUG="1", **who)
        for bug, who in bugs.items()
    }

    ended = witness.wait_for_all(started)

    seen = {bug: (code, "Traceback" in err, "planted" in err) for bug, (code, err) in ended.items()}
    assert seen == dict.fromkeys(bugs, (1, True, True))
    look_at(witness, bugs)
    assert witness.leaks() == []


STOPS: dict[str, tuple[list[signal.Signals], int, dict[str, str]]] = {
    "killed-with-token": ([signal.SIGKILL], -signal.SIGKILL, BY_TOKEN),
    "killed-with-login": ([signal.SIGKILL], -signal.SIGKILL, BY_LOGIN),
    "stopped-at-once": ([signal.SIGINT, signal.SIGINT], 130, BY_TOKEN),
    # A hang-up has settings and credentials read again.
    "hung-up": ([signal.SIGHUP, signal.SIGINT], 130, BY_LOGIN),
}


def test_a_run_that_is_stopped_or_killed_leaves_no_secret(witness: Witness, simulate: "Simulate") -> None:
    """A killed one leaves all side files of its ledger, as they were."""
    # What hangs is given up within the grace, so that one signal is enough.
    words = ("run", "pairs.csv", "-v", *ONE_BY_ONE, "--rate", "50/s", "--concurrency", "8", "--grace", "1s")
    portals = {name: simulate(AUTH + '[[faults]]\nkind = "hang"\nafter = 20\ntimes = 2') for name in STOPS}
    started = {
        name: witness.start(*words, "--portal", portals[name].url, "--run-id", name, **who)
        for name, (_, _, who) in STOPS.items()
    }
    for name, (signals, _, _) in STOPS.items():
        while portals[name].books()["posts"] < 30:
            assert started[name].poll() is None
            time.sleep(0.05)
        for number in signals:
            started[name].send_signal(number)
            if number is not signals[-1]:
                time.sleep(0.3)

    codes = {name: code for name, (code, _) in witness.wait_for_all(started).items()}

    assert codes == {name: code for name, (_, code, _) in STOPS.items()}
    assert witness.leaks() == []
    look_at(witness, {name: who for name, (_, _, who) in STOPS.items()})
    assert witness.leaks() == []


def test_neither_verify_nor_rollback_shows_a_secret(witness: Witness, simulate: "Simulate") -> None:
    faults = (
        '[[faults]]\nkind = "status"\nstatus = 500\nshare = 0.2\nper_pair = 1\non = "delete"\n'
        '[[faults]]\nkind = "reset"\nshare = 0.2\nper_pair = 1\non = "get"\n'
    )
    portal = simulate(AUTH + faults)
    words = ("--portal", portal.url, "--rate", "1000/s", "-v")
    code, said = witness.run("run", "pairs.csv", *words, "--run-id", "one", **BY_LOGIN)
    assert code == 0, said
    assert witness.run("verify", "one", "-v", **BY_TOKEN)[0] == 0
    assert witness.run("rollback", "one", "-v", **BY_LOGIN)[0] == 0
    assert witness.run("verify", "one", "-v", BULKLINK_TOKEN=TOKEN[::-1])[0] == 6
    assert portal.links() == set()
    assert witness.leaks() == []


def test_a_full_disk_shows_no_secret(witness: Witness, simulate: "Simulate") -> None:
    portal = simulate(AUTH)
    shell = 'ulimit -f 300 && exec "$@"'
    words = ("run", "pairs.csv", "-v", "--portal", portal.url, "--rate", "1000/s", "--run-id", "full")
    script = "import os, sys; os.execv('/bin/sh', ['sh', '-c', *sys.argv[1:]])"
    limited = ("-c", script, shell, "sh", sys.executable, "-m", "worker")

    code, err = witness.run(*words, program=limited, **BY_LOGIN)

    assert (code, "ledger.db" in err) == (1, True)
    look_at(witness, {"full": BY_LOGIN})
    assert witness.leaks() == []


def test_a_password_in_the_configuration_file_stays_there(witness: Witness, simulate: "Simulate") -> None:
    portal = simulate(AUTH)
    login = f"username = {json.dumps(BY_LOGIN['BULKLINK_USERNAME'])}\npassword = {json.dumps(PASSWORD)}\n"
    witness.write("config.toml", login)

    words = ("run", "pairs.csv", "-v", "--config", "config.toml", "--portal", portal.url, "--rate", "200/s")
    code, _ = witness.run(*words)

    assert code == 0
    witness.run("resume", "-v", "--config", "config.toml")
    assert witness.leaks() == []


@contextmanager
def broker_with_password(broker: str, folder: Path) -> Iterator[tuple[Broker, str]]:
    """A broker that wants the password, and the URL of a queue on it, to which its name is to be added."""
    password = quote(PASSWORD, safe="")
    if broker == "redis":
        with running(RedisServer, "--requirepass", PASSWORD) as redis:
            yield redis, f"redis://:{password}@127.0.0.1:{redis.port}/0?stream="
    elif broker == "nats":
        with running(NatsServer, "--user", "bulk", "--pass", PASSWORD) as nats:
            yield nats, f"nats://bulk:{password}@127.0.0.1:{nats.port}?stream="
    else:
        allowed = {"configure": ".*", "read": ".*", "write": ".*"}
        definitions = {
            "users": [{"name": "bulk", "password": PASSWORD, "tags": ""}],
            "vhosts": [{"name": "/"}],
            "permissions": [{"user": "bulk", "vhost": "/", **allowed}],
        }
        path = folder / "definitions.json"
        path.write_text(json.dumps(definitions))
        with running(RabbitMQServer, f"load_definitions = {path}") as rabbitmq:
            yield rabbitmq, f"amqp://bulk:{password}@127.0.0.1:{rabbitmq.port}/?queue="


@pytest.mark.long
@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "nats"])
def test_no_verb_shows_the_password_of_a_broker(
    witness: Witness, simulate: "Simulate", broker: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whether the broker takes it, refuses it, or is not there."""
    portal = simulate("[latency]\nseconds = 0.02\n")
    with broker_with_password(broker, tmp_path_factory.mktemp("broker")) as (server, url):
        queue = {"BULKLINK_QUEUE_URL": f"{url}links"}
        all_urls = {**queue, "BULKLINK_RESULTS": f"{url}results", "BULKLINK_TOKEN": "demo-token"}
        if broker == "redis":
            all_urls["BULKLINK_SHARED_RATE"] = url.partition("?")[0]
        work = ("work", "-v", "--portal", portal.url, *ONE_BY_ONE, "--rate", "40/s", "--json")
        at = urlsplit(f"{url}links")
        nobody = at._replace(netloc=f"nobody:{quote(PASSWORD, safe='')}@127.0.0.1:{at.port}").geturl()
        refused = {"BULKLINK_QUEUE_URL": nobody, "BULKLINK_TOKEN": "demo-token"}

        assert witness.run("publish", "pairs.csv", **queue)[0] == 0
        worker = witness.start(*work, "--run-id", "one", **all_urls)
        others = {
            "dead": witness.start("dead", "--json", **queue),
            "refused-publish": witness.start("publish", "pairs.csv", **refused),
            "refused-dead": witness.start("dead", **refused),
            "refused-work": witness.start(*work, "--drain", "--run-id", "refused", **refused),
        }
        codes = {name: code for name, (code, _) in witness.wait_for_all(others).items()}
        assert codes == {"dead": 0, "refused-publish": 6, "refused-dead": 6, "refused-work": 6}
        wait_until(lambda: portal.books()["posts"] >= 10)
        server.kill()
        lost = witness.start(*work, **all_urls)
        wait_until(lambda: "trying again" in (witness.folder / "said-1.err").read_text())
        worker.send_signal(signal.SIGTERM)
        assert witness.wait(worker)[0] == 143
        assert witness.run("report", "one", "--check")[0] == 0
        assert witness.wait(lost)[0] == 6
    assert witness.leaks() == []


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_search_finds_what_a_careless_change_would_show(witness: Witness, simulate: "Simulate") -> None:
    portal = simulate(AUTH)
    words = ("run", "pairs.csv", "-v", "--portal", portal.url, "--rate", "200/s", "--run-id")
    for number, (bug, who) in enumerate(product(("save-secrets", "secrets-in-error"), (BY_TOKEN, BY_LOGIN))):
        witness.start(*words, f"run-{number}", program=(PLANTED, bug), **who)

    for process in witness.processes:
        witness.wait(process)

    saved = {f"runs/run-{number}/{name}" for number in (0, 1) for name in ("ledger.db", "run.log")}
    assert set(witness.leaks()) == saved | {"said-2.err", "said-3.err"}


@pytest.mark.skipif(sys.platform != "linux", reason="titles are read from /proc")
def test_the_search_looks_at_titles(witness: Witness) -> None:
    witness.run(TOKEN, program=("-c", "import time; time.sleep(0.3)"))

    assert witness.leaks() == ["process title"]


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD, ISSUED[0]])
@pytest.mark.parametrize(
    "spell",
    [
        str,
        repr,
        json.dumps,
        quote,
        html.escape,
        lambda secret: f"cut sho{secret[:12]}...",
        lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
        lambda secret: base64.b64encode(f"x{secret}".encode()).decode(),
        lambda secret: secret.encode().hex(),
    ],
)
def test_the_search_knows_a_secret_in_disguise(secret: str, spell: Callable[[str], str]) -> None:
    assert holds_secret(f"first line\n{spell(secret)}\n".encode())
    assert not holds_secret(spell("".join(reversed(secret))).encode())
