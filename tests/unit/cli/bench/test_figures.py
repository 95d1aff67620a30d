"""Figures with their goals."""

from dataclasses import asdict
from typing import Any

import pytest

from worker.cli.bench.figures import Figure, told


@pytest.mark.parametrize(
    ("bound", "value", "holds"),
    [
        (">", 1.0, False),
        (">", 1.01, True),
        (">=", 1.0, True),
        (">=", 0.99, False),
        ("<", 1.0, False),
        ("<", 0.99, True),
        ("<=", 1.0, True),
        ("<=", 1.01, False),
    ],
)
def test_a_goal_holds_or_is_missed(bound: Any, value: float, holds: bool) -> None:
    assert Figure("x", value, 1.0, bound).holds is holds


def test_a_figure_is_told_with_its_unit_and_goal_and_without_what_it_has_not() -> None:
    lines = [
        told(asdict(one))
        for one in (
            Figure("speed", 1234.5, 1000.0, ">", "pairs/s"),
            Figure("time", 1.234, 1.0, "<", "s"),
            Figure("share", None, 0.7),
            Figure("size", 2.0, unit="MB"),
        )
    ]

    assert [" ".join(line.split()) for line in lines] == [
        "speed 1,234 pairs/s goal > 1000: holds",
        "time 1.23 s goal < 1: missed",
        "share - goal >= 0.7: too short to tell, give it more",
        "size 2.00 MB",
    ]
