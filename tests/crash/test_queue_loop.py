"""A short form of the queue loop for each broker, and bugs that it must catch."""

import re
from collections.abc import Callable

import pytest

from tests.brokers import required
from tests.crash.queue_loop import main
from tests.forks import ForkServer

Loop = Callable[..., tuple[int, str]]


@pytest.fixture
def queue_loop(fork_server: ForkServer, capsys: pytest.CaptureFixture[str]) -> Loop:
    """Its exit code, and what it tells."""

    def loop(*words: str) -> tuple[int, str]:
        code = main(list(words), fork_server)
        return code, "".join(capsys.readouterr())

    return loop


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "nats"])
def test_killed_workers_and_a_restarted_broker_lose_and_double_nothing(queue_loop: Loop, broker: str) -> None:
    required(broker)
    code, told = queue_loop("--broker", broker, "--messages", "2500")
    assert code == 0, told
    found = re.search(r"(\d+) kills, 1 broker restart: lost 0, double 0", told)
    assert found is not None, told
    assert int(found[1]) >= 1, told


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", ["ack-early", "drop-dead"])
def test_a_planted_bug_is_caught(queue_loop: Loop, plant: str) -> None:
    required("redis")
    code, told = queue_loop("--broker", "redis", "--messages", "2500", "--plant", plant)
    assert code == 1, told
    assert "lost 0" not in told
