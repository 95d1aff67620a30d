"""How many operations go into one batch, answer by answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.limits.batch_size import CEILING, FAR_TOO_LONG, FLOOR, GROWTH, START, TARGET, BatchSize


def sizes(size: BatchSize, per_item: float, batches: int, *, fixed: float = 0.0) -> list[int]:
    """Sizes after each of so many full batches, each of whose items takes the portal so many seconds."""
    told = []
    for _ in range(batches):
        size.observe(size.size, fixed + per_item * size.size)
        told.append(size.size)
    return told


@pytest.mark.parametrize(
    ("per_item", "ends"),
    [(0.03, 100), (0.1, 30), (0.5, 6), (2.0, 1), (5.0, FLOOR), (0.001, CEILING), (0.0, CEILING)],
)
def test_it_ends_where_a_batch_is_answered_in_the_target_time(per_item: float, ends: int) -> None:
    assert sizes(BatchSize(longest=60.0), per_item, 60)[-1] == pytest.approx(ends, abs=1)


def test_it_starts_small_and_grows_by_half_at_most_once_three_answers_agree() -> None:
    size = BatchSize(longest=60.0)
    assert size.size == START == 20
    assert sizes(size, 0.001, 9) == [20, 20, 30, 30, 30, 45, 45, 45, 67]


def test_one_answer_that_took_too_long_makes_it_smaller_at_once() -> None:
    size = BatchSize(longest=60.0)
    size.observe(20, 2 * TARGET)
    assert size.size == 10


def test_answers_to_another_size_say_nothing_of_this_one() -> None:
    """One slow batch does not hold it down for ever."""
    size = BatchSize(longest=60.0)
    size.observe(20, 2 * TARGET)
    assert sizes(size, 0.001, 3) == [10, 10, 15]


def test_it_follows_the_slowest_of_late_answers() -> None:
    size = BatchSize(longest=60.0)
    for seconds in (0.5, TARGET, 0.5, 0.5):
        size.observe(20, seconds)
    assert size.size == 20


def test_an_answer_is_forgotten_after_ten_more() -> None:
    size = BatchSize(longest=60.0)
    size.observe(20, TARGET)
    for _ in range(9):
        size.observe(20, 0.5)
    assert size.size == 20
    size.observe(20, 0.5)
    assert size.size == 30


def test_one_that_took_far_too_long_makes_it_a_tenth_of_what_was_sent() -> None:
    for items, left in ((200, 20), (100, 10), (15, 1)):
        size = BatchSize(longest=60.0)
        sizes(size, 0.001, 60)
        assert size.size == CEILING
        size.observe(items, FAR_TOO_LONG)
        assert size.size == left


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_a_stall_that_catches_several_batches_makes_them_smaller_once(in_flight: int) -> None:
    size = BatchSize(longest=60.0)
    sizes(size, 0.001, 60)
    for _ in range(in_flight):
        size.observe(CEILING, FAR_TOO_LONG)
    assert size.size == CEILING // 10


def test_far_too_long_with_a_batch_larger_than_it_is_by_now_makes_it_no_larger() -> None:
    size = BatchSize(longest=60.0)
    size.observe(20, 4 * TARGET)
    size.observe(200, FAR_TOO_LONG)
    assert size.size == 5


def test_a_single_operation_that_took_far_too_long_leaves_nothing_to_be_made_smaller() -> None:
    size = BatchSize(longest=60.0)
    size.observe(1, FAR_TOO_LONG)
    assert size.size == START


@pytest.mark.parametrize("seconds", [0.001, FAR_TOO_LONG - 0.1])
def test_a_batch_of_less_than_half_of_it_says_nothing(seconds: float) -> None:
    size = BatchSize(longest=60.0)
    for _ in range(10):
        size.observe(9, seconds)
    assert size.size == START


def test_a_batch_of_half_of_it_counts_as_a_full_one_that_takes_as_long_for_each() -> None:
    size = BatchSize(longest=60.0)
    size.observe(10, 3.0)
    assert size.size == 10


@pytest.mark.parametrize(("ceiling", "first", "last"), [(1, 1, 1), (7, 7, 7), (50, 20, 50), (5000, 20, 200)])
def test_it_is_never_more_than_the_user_or_the_portal_allows(ceiling: int, first: int, last: int) -> None:
    size = BatchSize(ceiling, longest=60.0)
    assert size.size == first
    assert sizes(size, 0.0001, 60)[-1] == last


@pytest.mark.parametrize(("longest", "ends"), [(1.0, 10), (60.0, 30)])
def test_the_longest_that_a_batch_may_take_bounds_the_target(longest: float, ends: int) -> None:
    assert sizes(BatchSize(longest=longest), 0.1, 60)[-1] == pytest.approx(ends, abs=1)


def test_from_the_smallest_it_grows_again() -> None:
    size = BatchSize(longest=60.0)
    size.observe(20, FAR_TOO_LONG)
    size.observe(2, FAR_TOO_LONG)
    assert size.size == FLOOR
    assert sizes(size, 0.001, 9) == [1, 1, 2, 2, 2, 3, 3, 3, 4]


@given(
    ceiling=st.integers(1, 300),
    longest=st.floats(0.01, 60.0),
    batches=st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 120.0)), max_size=40),
)
def test_whatever_the_answers_it_stays_within_its_bounds_and_never_leaps(
    ceiling: int, longest: float, batches: list[tuple[float, float]]
) -> None:
    size = BatchSize(ceiling, longest=longest)
    for share, seconds in batches:
        before = size.size
        size.observe(max(1, int(share * before)), seconds)
        assert FLOOR <= size.size <= min(ceiling, CEILING)
        assert size.size <= max(GROWTH * before, before + 1)
        if seconds > max(TARGET, longest):
            assert size.size <= before


def test_after_an_answer_that_was_too_large_batches_never_get_beyond_half_of_that() -> None:
    size = BatchSize(longest=3.0)
    for _ in range(20):
        size.observe(size.size, 0.01)
    assert size.size == CEILING
    size.too_large(CEILING)
    assert size.size == CEILING // 2
    for _ in range(20):
        size.observe(size.size, 0.01)
    assert size.size == CEILING // 2
    size.too_large(1)
    assert size.size == 1


def test_one_that_was_too_large_and_is_told_late_allows_no_more_than_those_before_it() -> None:
    size = BatchSize(longest=3.0)
    sizes(size, 0.0001, 60)
    for items in (CEILING, CEILING // 2, CEILING):
        size.too_large(items)
    sizes(size, 0.0001, 60)
    assert size.size == CEILING // 4


@pytest.mark.parametrize(
    ("start", "ceiling", "first"), [(80, 200, 80), (80, 50, 50), (None, 200, 20), (1, 200, 1)]
)
def test_what_is_known_of_a_portal_is_where_it_begins_but_never_above_the_ceiling(
    start: int | None, ceiling: int, first: int
) -> None:
    assert BatchSize(ceiling, longest=60.0, start=start).size == first


def test_what_is_lost_again_halves_it_down_to_two_and_it_grows_again() -> None:
    size, told = BatchSize(longest=60.0), []
    for _ in range(6):
        size.lost()
        told.append(size.size)
    assert told == [10, 5, 2, 2, 2, 2]
    assert sizes(size, 0.001, 60)[-1] == CEILING
    alone = BatchSize(1, longest=60.0)
    alone.lost()
    assert alone.size == 1
