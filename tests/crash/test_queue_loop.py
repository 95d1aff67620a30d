"""A short form of the queue loop for each broker, and bugs that it must catch."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import required

PROGRAM = Path(__file__).with_name("queue_loop.py")


def queue_loop(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words], capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "nats"])
def test_killed_workers_and_a_restarted_broker_lose_and_double_nothing(broker: str) -> None:
    required(broker)
    code, told = queue_loop("--broker", broker, "--messages", "2500")
    assert code == 0, told
    found = re.search(r"(\d+) kills, 1 broker restart: lost 0, double 0", told)
    assert found is not None, told
    assert int(found[1]) >= 1, told


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", ["ack-early", "drop-dead"])
def test_a_planted_bug_is_caught(plant: str) -> None:
    required("redis")
    code, told = queue_loop("--broker", "redis", "--messages", "2500", "--plant", plant)
    assert code == 1, told
    assert "lost 0" not in told
