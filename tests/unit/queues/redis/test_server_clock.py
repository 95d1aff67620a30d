"""The offset of a server's clock, learnt from answers that are slow on either way."""

from random import Random

import pytest

from worker.queues.redis.server_clock import ServerClock

OFFSET = 1_000_000.0


def ask(clock: ServerClock, at: float, there: float, back: float, offset: float = OFFSET) -> float:
    """Ask at a time; give when the answer came."""
    clock.observe(at, at + there + back, at + there + offset)
    return at + there + back


def test_the_first_answer_tells_the_time() -> None:
    clock = ServerClock()
    ask(clock, 5.0, 0.001, 0.001)
    assert clock.here(OFFSET + 7.0) == pytest.approx(7.0)
    assert clock.round_trip == pytest.approx(0.002)


@pytest.mark.parametrize("seed", range(20))
def test_slow_answers_do_not_spoil_it(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - a test
    clock = ServerClock()
    at = ask(clock, 0.0, 0.0005, 0.0005)
    for _ in range(31):
        at = ask(clock, at, rng.choice([0.0005, 0.3]), rng.choice([0.0005, 0.2]))
    assert clock.here(OFFSET + at) == pytest.approx(at, abs=0.001)


def test_the_error_is_never_more_than_half_of_the_fastest_round_trip() -> None:
    clock = ServerClock()
    at = 0.0
    for there, back in [(0.1, 0.0), (0.0, 0.04), (0.02, 0.0), (0.3, 0.3)]:
        at = ask(clock, at, there, back)
    assert abs(clock.here(OFFSET + at) - at) <= 0.02 / 2 + 1e-9


def test_old_samples_are_forgotten_for_clocks_drift() -> None:
    clock = ServerClock()
    at = ask(clock, 0.0, 0.0001, 0.0001)
    for number in range(32):
        at = ask(clock, at, 0.002, 0.002, OFFSET + number * 0.0001)
    assert clock.here(OFFSET + 0.0015 + at) == pytest.approx(at, abs=0.0016)


@pytest.mark.parametrize("step", [-3_600.0, -0.5, 0.5, 3_600.0])
def test_a_clock_that_is_set_is_believed_at_once(step: float) -> None:
    clock = ServerClock()
    at = 0.0
    for _ in range(10):
        at = ask(clock, at, 0.001, 0.001)
    at = ask(clock, at, 0.01, 0.01, OFFSET + step)
    assert clock.here(OFFSET + step + at) == pytest.approx(at, abs=0.001)


def test_the_round_trip_is_smoothed_and_follows() -> None:
    clock = ServerClock()
    at = ask(clock, 0.0, 0.001, 0.001)
    at = ask(clock, at, 0.1, 0.1)
    assert clock.round_trip == pytest.approx(0.002 + 0.198 / 8)
    for _ in range(100):
        at = ask(clock, at, 0.1, 0.1)
    assert clock.round_trip == pytest.approx(0.2, abs=0.001)
