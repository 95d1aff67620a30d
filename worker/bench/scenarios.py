"""Scenarios as data: a portal, for how long, and what the limits have to make of it."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from worker.bench.figures import FIGURES, Stretch, goodput, worst_window
from worker.bench.portal_model import PortalModel, Shape
from worker.bench.trial import DOCUMENTED, Books, Setting, try_out

FIXED = (1, 8, 32)
"""Requests in flight of the settings that are compared with what is learned."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure has to be.

    Attributes:
        name: of the figure, and when.
        least: None for any; ``most`` likewise.
    """

    name: str
    value: float
    least: float | None
    most: float | None

    @property
    def holds(self) -> bool:
        """Whether it is."""
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of them; for the attributes see ``limits.toml``."""

    name: str
    about: str
    seconds: float
    portal: Mapping[str, Any]
    goals: Sequence[Mapping[str, Any]]
    then: Sequence[Mapping[str, Any]] = ()
    clients: int = 1
    best_of: Sequence[int] = ()

    def learned(self, seed: int) -> tuple[list[Books], PortalModel]:
        """Let it be learned; gives the books of each client, and the portal."""
        return self._trial(Setting(), seed)

    def fixed(self, concurrency: int, seed: int) -> float:
        """Links made a second with so many in flight, and the documented rate."""
        books, _ = self._trial(Setting(concurrency, adapts=False), seed)
        return self.links_a_second(books)

    def fixed_ones(self, seed: int) -> dict[int, float]:
        """The same for each of the usual numbers, and for those of which one is the best."""
        return {number: self.fixed(number, seed) for number in sorted({*FIXED, *self.best_of})}

    def links_a_second(self, books: Sequence[Books]) -> float:
        """What all clients made together, the whole time."""
        return goodput(books, (0.0, self.seconds))

    def judge(self, books: Sequence[Books], portal: PortalModel, best: float | None) -> list[Goal]:
        """Its goals, and that no window held more than the documented rate of each client."""
        goals = [one for goal in self.goals for one in self._judge(goal, books, best)]
        most = DOCUMENTED.limit * self.clients
        worst = worst_window(portal.arrivals, DOCUMENTED.period)
        return [*goals, Goal(f"worst {DOCUMENTED.period:g} s", worst, None, most)]

    def _judge(self, goal: Mapping[str, Any], books: Sequence[Books], best: float | None) -> list[Goal]:
        time: Stretch = (goal.get("from", 0.0), goal.get("to", self.seconds))
        when = "" if time == (0.0, self.seconds) else f" {time[0]:g}-{time[1]:g} s"
        figure, least, most = goal["figure"], goal.get("least"), goal.get("most")
        if figure == "limit":
            ends = (("least limit", least, None), ("most limit", None, most))
            return [
                Goal(f"{name}{when}", FIGURES[name](books, time), low, high)
                for name, low, high in ends
                if low is not None or high is not None
            ]
        if "best" in goal:
            least = goal["best"] * (best or 0.0)
        if "part" in goal:
            begin, end, share = goal["part"]
            least = share * FIGURES[figure](books, (begin, end))
        return [Goal(f"{figure}{when}", FIGURES[figure](books, time), least, most)]

    def _trial(self, setting: Setting, seed: int) -> tuple[list[Books], PortalModel]:
        changes = [(one["at"], {name: one[name] for name in one if name != "at"}) for one in self.then]
        portal = PortalModel(Shape(**self.portal), changes, seed)
        return try_out(portal, [setting] * self.clients, self.seconds, seed), portal


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All of them."""
    text = (files("worker.bench") / "limits.toml").read_text(encoding="utf-8")
    return tuple(Scenario(**one) for one in tomllib.loads(text)["scenario"])
