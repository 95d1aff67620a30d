"""What is read off the books."""

import pytest

from worker.bench.figures import FIGURES, worst_window
from worker.bench.trial import Books

BOOKS = Books(
    answers=[
        (0.0, 1.0, "ok"),
        (0.5, 2.5, "ok"),
        (2.0, 2.1, "throttled"),
        (3.0, 7.0, "timeout"),
        (3.0, 8.0, "timeout"),
    ],
    limits=[(0.0, 2), (4.0, 6), (7.0, 1)],
)


@pytest.mark.parametrize(
    ("figure", "time", "value"),
    [
        ("goodput", (0.0, 4.0), 0.5),
        ("goodput", (1.5, 2.5), 0.0),  # when it was told counts, and the end does not
        ("throttled", (0.0, 4.0), 1 / 3),
        ("throttled", (20.0, 30.0), 0.0),
        ("in flight", (0.0, 4.0), (1.0 + 2.0 + 0.1 + 1.0 + 1.0) / 4),
        ("sent", (2.0, 4.0), 1.5),
        ("mean limit", (2.0, 8.0), (2 * 2 + 3 * 6 + 1) / 6),
        ("least limit", (0.0, 6.0), 2),
        ("most limit", (0.0, 3.0), 2),
        ("most limit", (0.0, 9.0), 6),
        ("answers until one in flight", (3.0, 10.0), 1),
        ("answers until one in flight", (7.5, 10.0), 1),
    ],
)
def test_each_figure_is_of_its_stretch_of_time(figure: str, time: tuple[float, float], value: float) -> None:
    assert FIGURES[figure]([BOOKS], time) == pytest.approx(value)


def test_what_several_clients_did_is_added_up() -> None:
    assert FIGURES["goodput"]([BOOKS, BOOKS], (0.0, 4.0)) == 1.0


def test_the_worst_window_has_both_its_ends() -> None:
    assert worst_window([0.0, 0.5, 1.0, 1.5, 9.0], 1.0) == 3
    assert worst_window([], 1.0) == 0
