"""What retries may take, by a clock that the test turns."""

import pytest

from worker.limits.budget import RetryBudget


def spent(budget: RetryBudget, now: float) -> int:
    """Retries that can be taken at once."""
    taken = 0
    while budget.spend(now):
        taken += 1
    return taken


def test_it_holds_a_reserve_then_a_share_of_first_tries_and_of_time() -> None:
    budget = RetryBudget(2.0)
    assert spent(budget, 0.0) == 10
    assert budget.seconds_left == pytest.approx(0.5)
    assert spent(budget, 0.49) == 0
    assert spent(budget, 0.5) == 1
    for _ in range(5):
        budget.earn()
    assert spent(budget, 0.5) == 1
    assert spent(budget, 2.0) == 3


def test_what_it_saves_up_is_bounded() -> None:
    budget = RetryBudget(1.0)
    budget.spend(0.0)
    for _ in range(1000):
        budget.earn()
    assert spent(budget, 3600.0) == 10
    assert spent(RetryBudget(64.0), 0.0) == 64


def test_asking_in_vain_costs_nothing() -> None:
    budget = RetryBudget(1.0)
    spent(budget, 0.0)
    assert [budget.spend(now) for now in (0.25, 0.5, 0.75, 1.0)] == [False, False, False, True]


def test_it_goes_on_as_it_was_under_another_rate() -> None:
    budget = RetryBudget(1.0)
    spent(budget, 0.0)
    budget.change(10.0)
    assert budget.seconds_left == pytest.approx(0.1)
    assert spent(budget, 0.1) == 1
    budget.change(1.0)
    assert spent(budget, 3600.0) == 10


def test_a_lower_rate_takes_what_was_saved_beyond_its_bound() -> None:
    budget = RetryBudget(64.0)
    budget.change(1.0)
    assert spent(budget, 0.0) == 10
