"""Figures with their goals, and how they are told."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_BOUNDS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured.

    Attributes:
        name: what it is.
        value: None if what it is of was too short to be measured.
        goal: what it is to be; None if it is only told.
        bound: how the value is to be to the goal.
        unit: of both; empty for a ratio.
        holds: the goal is met; None without a goal, or without a value.
    """

    name: str
    value: float | None
    goal: float | None = None
    bound: Literal[">", ">=", "<", "<="] = ">="
    unit: str = ""
    holds: bool | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.goal is not None and self.value is not None:
            object.__setattr__(self, "holds", _BOUNDS[self.bound](self.value, self.goal))


def told(figure: Mapping[str, Any]) -> str:
    """A line for people about a figure, given as a mapping of its attributes."""
    form = ",.2f" if figure["value"] is not None and figure["value"] < 100 else ",.0f"  # noqa: PLR2004 - enough digits
    text = f"{figure['name']:<42}{aligned(figure['value'], 9, form)} {figure['unit']:<9}"
    if figure["goal"] is None:
        return text.rstrip()
    holds = {True: "holds", False: "missed", None: "too short to tell, give it more"}[figure["holds"]]
    return f"{text}goal {figure['bound']} {figure['goal']:g}: {holds}"


def aligned(value: float | None, width: int, form: str = ",.0f") -> str:
    """A figure, or a dash for none, at the right of a column."""
    return f"{'-' if value is None else format(value, form):>{width}}"
