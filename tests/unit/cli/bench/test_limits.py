"""``bulklink bench limits``: the table, and the same as JSON."""

import json

import pytest
from click.testing import CliRunner

from worker.bench import scenarios as known
from worker.bench.scenarios import Scenario
from worker.cli.bench import command

FAST = Scenario("fast", "no limit", 5, {"latency": 0.1}, goals=[{"figure": "limit", "least": 2, "most": 16}])
HARD = Scenario("hard", "ten a second", 5, {"rate": 10}, goals=[{"figure": "goodput", "least": 100.0}])


@pytest.fixture(autouse=True)
def _two_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "scenarios", lambda: (FAST, HARD))


def test_the_table_has_each_scenario_its_fixed_settings_and_whether_goals_hold() -> None:
    done = CliRunner().invoke(command, ["limits", "--seed", "3"], standalone_mode=False)

    lines = done.stdout.splitlines()
    assert "seed 3" in lines[0]
    assert "fast: no limit" in lines
    assert any(line.startswith("  learned ") and " 32: " in line for line in lines)
    assert any("least limit" in line and line.endswith("goal >= 2: holds") for line in lines)
    assert any("goodput" in line and line.endswith("goal >= 100: missed") for line in lines)
    assert lines[-1] == "4 of 5 goals hold"


def test_the_same_as_json() -> None:
    done = CliRunner().invoke(command, ["limits", "--json"], standalone_mode=False)

    result = json.loads(done.stdout)
    assert result["seed"] == 1
    fast, hard = result["scenarios"]
    assert set(fast["fixed"]) == {"1", "8", "32"}
    assert fast["learned"] > 10
    assert [goal["holds"] for goal in hard["goals"]] == [False, True]
