"""``bulklink bench limits``: what is learned of portals of all kinds, beside settings that are fixed."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from worker.cli.output import draw, hand_over


@click.command("limits")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of all that is chance.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(seed: int, *, as_json: bool) -> int:
    """Let rate and requests in flight be learned at models of portals, in virtual time.

    Each is a queue with a knee, a hard limit, an outage or the like; limits, lanes and scheduler are the real
    ones. Beside it: what fixed numbers in flight give there. It takes half a minute.
    """
    result = [_measured(one, seed) for one in _scenarios()]
    hand_over(json.dumps({"seed": seed, "scenarios": result}, indent=2)) if as_json else hand_over(
        *_table(result, seed)
    )
    return 0


def _scenarios() -> Any:
    from worker.bench.scenarios import scenarios  # noqa: PLC0415 - not needed for --help

    return scenarios()


def _measured(scenario: Any, seed: int) -> dict[str, Any]:
    draw(f"{scenario.name}\n")
    fixed = scenario.fixed_ones(seed)
    books, portal = scenario.learned(seed)
    goals = scenario.judge(books, portal, max(fixed.values()))
    return {
        "name": scenario.name,
        "about": scenario.about,
        "seconds": scenario.seconds,
        "learned": scenario.links_a_second(books),
        "fixed": {str(number): speed for number, speed in fixed.items()},
        "goals": [{**asdict(goal), "holds": goal.holds} for goal in goals],
    }


def _table(result: list[dict[str, Any]], seed: int) -> Iterator[str]:
    yield f"Links a second, seed {seed}: learned, and with fixed numbers in flight at the documented rate"
    for one in result:
        fixed = "  ".join(f"{number}: {speed:.1f}" for number, speed in one["fixed"].items())
        yield ""
        yield f"{one['name']}: {one['about']}"
        yield f"  learned {one['learned']:.1f}   fixed {fixed}"
        for goal in one["goals"]:
            yield f"  {goal['name']:<42}{goal['value']:>9.3f}  goal {_bounds(goal)}: {_holds(goal)}"
    goals = [goal for one in result for goal in one["goals"]]
    yield ""
    yield f"{sum(goal['holds'] for goal in goals)} of {len(goals)} goals hold"


def _bounds(goal: dict[str, Any]) -> str:
    least = [] if goal["least"] is None else [f">= {goal['least']:.4g}"]
    most = [] if goal["most"] is None else [f"<= {goal['most']:.4g}"]
    return " and ".join(least + most)


def _holds(goal: dict[str, Any]) -> str:
    return "holds" if goal["holds"] else "missed"
