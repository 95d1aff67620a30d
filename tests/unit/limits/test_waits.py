"""How a wait is told."""

import re
from datetime import datetime, timedelta

import pytest

from worker.limits.waits import asks_to_wait


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "0 s"),
        (45.0, "45 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7199.0, "120 min"),
        (7201.0, "2 h"),
        (86_400.0, "24 h"),
        (172_800.0, "2 days"),
        (1e6, "12 days"),
    ],
)
def test_a_wait_is_told_by_its_length_and_by_the_clock_on_the_wall(seconds: float, told: str) -> None:
    found = re.fullmatch(r"asks to wait (.+), until (\S+ \S+) \S+", asks_to_wait(seconds))
    assert found is not None
    assert found[1] == told
    off = datetime.fromisoformat(found[2]).astimezone() - datetime.now().astimezone()
    assert abs(off - timedelta(seconds=seconds)) < timedelta(seconds=5)
