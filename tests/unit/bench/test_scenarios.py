"""What is learned of each portal that is known as data meets its goals, whatever chance does."""

from dataclasses import replace

import pytest

from worker.bench.scenarios import Goal, Scenario, scenarios


@pytest.mark.long
@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.name)
def test_the_goals_hold(scenario: Scenario) -> None:
    # None of those with a best one changes in mid-run, so a minute tells it.
    minute = replace(scenario, seconds=60)
    wants_best = any("best" in goal for goal in scenario.goals)
    best = max(minute.fixed(number, 2) for number in scenario.best_of) if wants_best else None
    books, portal = scenario.learned(seed=2)

    assert [goal for goal in scenario.judge(books, portal, best) if not goal.holds] == []


def test_the_same_seed_gives_the_same_books() -> None:
    scenario = replace(scenarios()[2], seconds=20)

    assert scenario.learned(3)[0] == scenario.learned(3)[0]
    assert scenario.learned(3)[0] != scenario.learned(4)[0]


def test_a_fixed_setting_learns_nothing() -> None:
    scenario = Scenario("hard", "", 20, {"rate": 20, "latency": 0.1}, goals=[])

    speeds = scenario.fixed_ones(1)

    assert set(speeds) == {1, 8, 32}
    assert speeds[8] == pytest.approx(speeds[32], abs=0.5)


@pytest.mark.parametrize(
    ("least", "most", "holds"),
    [(None, None, True), (2.0, 2.0, True), (2.1, None, False), (None, 1.9, False), (1.0, 3.0, True)],
)
def test_a_goal_holds_within_its_bounds(least: float | None, most: float | None, *, holds: bool) -> None:
    assert Goal("goodput", 2.0, least, most).holds is holds


def test_a_goal_that_is_missed_is_told() -> None:
    scenario = Scenario(
        "fast",
        "",
        20,
        {"latency": 0.1},
        goals=[
            {"figure": "goodput", "least": 1000.0},
            {"figure": "goodput", "best": 2.0},
            {"figure": "goodput", "from": 10, "part": [0, 10, 5.0]},
            {"figure": "limit", "least": 50},
            {"figure": "limit", "from": 10, "most": 1},
        ],
    )
    books, portal = scenario.learned(1)

    goals = scenario.judge(books, portal, best=40.0)

    assert [goal.holds for goal in goals] == [False] * 5 + [True]
    assert [goal.name for goal in goals] == [
        "goodput",
        "goodput",
        "goodput 10-20 s",
        "least limit",
        "most limit 10-20 s",
        "worst 10 s",
    ]
