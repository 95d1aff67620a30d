"""Charts: what is in the figures is where it belongs, and nothing leaves its frame."""

from hypothesis import given
from hypothesis import strategies as st

from worker.report.chart import HEIGHT, WIDTH, milliseconds, nice, over_time, side_by_side, spoken
from worker.report.figures import LimitChange, Stretch


def stretch(begin: float, end: float, paused: float = 0.0, *, fresh: bool = False) -> Stretch:
    return Stretch(begin, end, 0.0, 0.0, paused, 2, fresh)


def test_a_line_goes_from_left_to_right_and_the_highest_figure_is_at_the_top() -> None:
    chart = over_time([stretch(0, 10), stretch(10, 20)], [0.0, 10.0])

    points = [tuple(map(float, point.split(","))) for point in chart.points[0].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[0][1] > points[-1][1]
    assert chart.peak == 10.0
    assert [mark.text for mark in chart.across] == ["0", "10 s", "20 s"]
    assert [mark.text for mark in chart.up] == ["0", "5", "10"]


def test_there_is_no_line_across_a_stop() -> None:
    chart = over_time([stretch(0, 10), stretch(10, 20, fresh=True), stretch(20, 30)], [1.0, 2.0, 3.0])

    assert [len(points.split()) for points in chart.points] == [2, 4]


def test_a_pause_is_as_wide_as_its_share_of_the_time() -> None:
    (box,) = over_time([stretch(0, 10), stretch(10, 20, 0.5)], [1.0, 1.0]).pauses

    whole = over_time([stretch(0, 10), stretch(10, 20, 1.0)], [1.0, 1.0]).pauses[0]
    assert abs(box.width * 2 - whole.width) < 0.2
    assert box.x == whole.x


@given(st.lists(st.tuples(st.floats(0.1, 1e6), st.floats(0, 1e6), st.floats(0, 1)), min_size=1, max_size=50))
def test_nothing_leaves_the_frame(parts: list[tuple[float, float, float]]) -> None:
    begin, stretches = 0.0, []
    for seconds, _, paused in parts:
        stretches.append(stretch(begin, begin + seconds, paused))
        begin += seconds
    chart = over_time(stretches, [figure for _, figure, _ in parts])

    for point in " ".join(chart.points).split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    assert all(0 <= box.x <= WIDTH and box.width >= 1.0 for box in chart.pauses)


@given(st.lists(st.tuples(st.floats(1, 1e6), st.integers(0, 10**9)), min_size=1, max_size=30))
def test_bars_stand_side_by_side_in_the_frame(counts: list[tuple[float, int]]) -> None:
    chart = side_by_side(counts)

    assert len(chart.boxes) == len(counts)
    for box in chart.boxes:
        assert box.x >= 0
        assert box.x + box.width <= WIDTH
        assert 0 <= box.y <= box.y + box.height <= HEIGHT


def test_many_bars_have_a_text_at_every_other_one() -> None:
    assert len(side_by_side([(2.0**n, 1) for n in range(12)]).across) == 6
    assert [mark.text for mark in side_by_side([(8.0, 1), (1024.0, 2)]).across] == ["8 ms", "1 s"]


@given(st.floats(1e-5, 1e9))
def test_a_nice_figure_is_no_smaller_and_not_much_larger(value: float) -> None:
    assert value <= nice(value) * (1 + 1e-9)
    assert nice(value) <= value * 2


def test_nothing_has_a_frame_too() -> None:
    assert nice(0.0) == 1.0
    assert over_time([stretch(0, 0.0)], [0.0]).peak == 0.0


def test_times_are_spoken_shortly() -> None:
    assert [spoken(one) for one in (0, 0.42, 5, 45, 119, 720, 12_000)] == [
        "0",
        "0.4 s",
        "5 s",
        "45 s",
        "119 s",
        "12 min",
        "3 h 20 min",
    ]
    assert [milliseconds(one) for one in (8.0, 512.0, 16_384.0)] == ["8 ms", "512 ms", "16 s"]


def test_limits_that_were_lowered_are_marked_at_the_top_and_raised_ones_at_the_bottom() -> None:
    stretches = [Stretch(0.0, 100.0, 1.0, 1.0, 0.0, 2, begins_session=False)]
    changes = [
        LimitChange(0.0, "rate", 50.0, 35.0, "throttled"),
        LimitChange(0.0, "concurrency", 4, 2, "cut"),  # at the same place: one mark
        LimitChange(100.0, "rate", 35.0, 38.5, "recover"),
        LimitChange(900.0, "rate", 38.5, 40.0, "recover"),  # noted after the last sample
    ]
    lines = over_time(stretches, [1.0], changes)

    assert lines.lowered == "M52.0,8v10"
    assert lines.raised == "M392.0,128v-10"
    assert (over_time(stretches, [1.0]).lowered, over_time(stretches, [1.0]).raised) == ("", "")
