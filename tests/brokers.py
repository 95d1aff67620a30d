"""Real brokers for tests: Redis, RabbitMQ and NATS JetStream, each on a free port, with a folder of its own.

One of each, for all processes that run tests, is started when it is first asked for, unless TEST_REDIS_URL,
TEST_RABBITMQ_URL or TEST_NATS_URL names one that runs. A test that stops or kills its broker starts one for
itself.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from tests.locks import common_folder, hold, locked

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
# Debian's wrapper on the PATH may want to become another user, and the script itself is not on the PATH.
_PATH = f"/usr/lib/rabbitmq/bin:{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Broker:
    """A broker of our own: what it has confirmed outlives ``kill``, and it comes back on the same port.

    Every call waits until it is so, and blocks: in a coroutine, use ``asyncio.to_thread``.
    """

    program: ClassVar[str]
    hello: ClassVar[bytes]
    welcome: ClassVar[tuple[bytes, ...]]

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.program} does not run"
        return self._process.pid

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        assert self._process is None, f"{self.program} runs already"
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(
                    f"{self.program} does not start:\n{(self.folder / 'output').read_text()[-2_000:]}"
                )
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it is ready for clients."""
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection,
        ):
            connection.sendall(self.hello)
            return connection.recv(4_096).startswith(self.welcome)
        return False

    def stop(self) -> None:
        """As an administrator does it: it may finish what it is about."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power failure does it, short of losing what the kernel has not written yet."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it, if it runs, and start it with the same port and the same data."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # All of its group: a script may stand between us and the broker, and end before it does.
        deadline = time.monotonic() + _STOP_SECONDS
        with suppress(ProcessLookupError):  # the group is empty
            os.killpg(process.pid, how)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class RedisServer(Broker):
    """Options are those of its command line, such as ``--requirepass``."""

    program = "redis-server"
    hello = b"PING\r\n"
    # One that wants a password first is ready too; one that still reads its data is not.
    welcome = (b"+PONG", b"-NOAUTH")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [
            *(self.program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            *self.options,
        ]


class RedisClusterNode(RedisServer):
    """A node of a cluster; options are as above."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, *options)
        self._bus = free_port()

    def command(self) -> list[str]:
        return [
            *super().command(),
            *("--cluster-enabled", "yes", "--cluster-port", str(self._bus), "--cluster-node-timeout", "2000"),
            *("--cluster-config-file", str(self.folder / "nodes.conf")),
        ]

    def ask(self, *words: str) -> str:
        """What redis-cli prints."""
        done = subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, check=True)
        return done.stdout.decode()

    def meet(self, other: "RedisClusterNode") -> None:
        self.ask("CLUSTER", "MEET", "127.0.0.1", str(other.port), str(other._bus))


class RabbitMQServer(Broker):
    """Options are lines of its rabbitmq.conf."""

    program = "rabbitmq-server"
    hello = b"AMQP\x00\x00\x09\x01"
    welcome = (b"\x01\x00\x00",)

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, *options)
        self._distribution = free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def command(self) -> list[str]:
        (self.folder / "plugins").write_text("[].\n")
        lines = (f"listeners.tcp.1 = 127.0.0.1:{self.port}", *self.options, "")
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines))
        script = shutil.which(self.program, path=_PATH)
        assert script is not None
        return [script]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.folder),  # for the cookie
            "RABBITMQ_NODENAME": f"bulklink{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }

    def control(self, *words: str) -> str:
        """What ``rabbitmqctl`` prints; raises CalledProcessError if it fails."""
        script = shutil.which("rabbitmqctl", path=_PATH)
        assert script is not None
        done = subprocess.run([script, *words], env=self.environment(), capture_output=True, check=True)
        return done.stdout.decode()


class NatsServer(Broker):
    """With JetStream. Options are those of its command line, such as ``--user``."""

    program = "nats-server"
    hello = b""
    welcome = (b"INFO ",)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            *(self.program, "-a", "127.0.0.1", "-p", str(self.port)),
            *("-js", "-sd", str(self.folder / "data")),
            *self.options,
        ]


_Kind = TypeVar("_Kind", bound=Broker)


def required(broker: str) -> None:
    """Skip the test if this broker is not installed; in CI, fail it."""
    program = f"{broker}-server"
    if shutil.which(program, path=_PATH) is None:
        why = f"{program} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{why}; nothing may be skipped in CI")
        pytest.skip(why)


@contextmanager
def running(kind: type[_Kind], *options: str) -> Iterator[_Kind]:
    """A broker that is gone afterwards, data and all; skips the test if it is not installed."""
    required(kind.program.removesuffix("-server"))
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:
        broker = kind(Path(folder), *options)
        broker.start()
        try:
            yield broker
        finally:
            broker.kill()


_SLOTS = 16_384


@contextmanager
def redis_cluster(size: int) -> Iterator[list[RedisClusterNode]]:
    """Nodes that share the slots of one cluster, without replicas."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(running(RedisClusterNode)) for _ in range(size)]
        for number, node in enumerate(nodes):
            first, end = (_SLOTS * at // size for at in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
            nodes[0].meet(node)
        deadline = time.monotonic() + _START_SECONDS
        while not all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes):
            assert time.monotonic() < deadline, "the nodes do not become a cluster"
            time.sleep(0.05)
        yield nodes


_kept: list[Broker] = []
"""Started here, and perhaps still used by another process when this one has no more tests."""


@contextmanager
def shared(kind: type[Broker], folder: Path) -> Iterator[str]:
    """The URL of a broker that all who name the same folder share; the last one to leave ends it.

    Skips the test if it is not installed.
    """
    required(kind.program.removesuffix("-server"))
    place = folder / kind.program
    place.mkdir(exist_ok=True)
    with locked(place / "door"):
        if not (place / "url").exists():
            # Not in a folder of pytest: RabbitMQ has no use for long paths.
            broker = kind(Path(tempfile.mkdtemp(prefix="bulklink-")))
            broker.start()
            _kept.append(broker)
            (place / "url").write_text(f"{broker.url} {broker.pid} {broker.folder}")
        users = hold(place / "users", fcntl.LOCK_SH)
    url, group, data = (place / "url").read_text().split(" ", 2)
    yield url
    os.close(users)
    with locked(place / "door"), suppress(BlockingIOError):
        os.close(hold(place / "users", fcntl.LOCK_EX | fcntl.LOCK_NB))
        (place / "url").unlink(missing_ok=True)
        for broker in _kept:
            if broker.url == url:
                broker.kill()
        with suppress(ProcessLookupError):  # another process may have started it
            os.killpg(int(group), signal.SIGKILL)
        shutil.rmtree(data, ignore_errors=True)


def _session_url(kind: type[Broker], variable: str, factory: pytest.TempPathFactory) -> Iterator[str]:
    if url := os.environ.get(variable):
        yield url
        return
    with shared(kind, common_folder(factory)) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that all tests share, so no test may stop it or empty it."""
    yield from _session_url(RedisServer, "TEST_REDIS_URL", tmp_path_factory)


@pytest.fixture(scope="session")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A RabbitMQ that all tests share, so no test may stop it."""
    yield from _session_url(RabbitMQServer, "TEST_RABBITMQ_URL", tmp_path_factory)


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A NATS server that all tests share, so no test may stop it."""
    yield from _session_url(NatsServer, "TEST_NATS_URL", tmp_path_factory)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis for this test alone, running."""
    with running(RedisServer) as broker:
        yield broker


@pytest.fixture
def rabbitmq_server() -> Iterator[RabbitMQServer]:
    """A RabbitMQ for this test alone, running; takes seconds to start."""
    with running(RabbitMQServer) as broker:
        yield broker


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A NATS server for this test alone, running."""
    with running(NatsServer) as broker:
        yield broker
