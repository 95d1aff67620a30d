"""Ask whether an opportunity or a contact is there for us: one cheap request, which decides nothing."""

from dataclasses import dataclass
from typing import Literal

from worker.models import Ask, Attempt, Kind, Result
from worker.operations.base import Again, is_lost, wait_after_loss
from worker.reasons import NOT_FOUND

MOST_TRIES = 2
"""Requests after which it is not asked any more, if they told nothing."""

MOST_UNHEARD = 20
"""Requests that were throttled, or lost with others, after which it is not asked any more."""

Side = Literal["opportunity", "contact"]


@dataclass(frozen=True, slots=True)
class Entity:
    """One side of a pair."""

    side: Side
    id: int


@dataclass(frozen=True, slots=True)
class Existence:
    """What was told of an entity.

    Attributes:
        there: this user can see it; None if nothing was told.
    """

    entity: Entity
    there: bool | None


class Exists:
    """A question about one entity (contract 4.6)."""

    __slots__ = ("_because", "_tries", "_unheard", "entity")

    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        self._because = ""
        self._tries = 0
        self._unheard = 0

    def ask(self) -> Ask:
        """The entity."""
        if self.entity.side == "opportunity":
            return Ask(Kind.EXISTS, self.entity.id, (), self._because)
        return Ask(Kind.EXISTS, 0, (self.entity.id,), self._because)

    @property
    def goes_alone(self) -> bool:
        """Never: it is given up instead."""
        return False

    def leaves(self) -> None:
        """To ask changes nothing at the portal."""

    def returns(self) -> None:
        """To ask changes nothing at the portal."""

    def take(self, attempt: Attempt) -> Again | Existence:
        """What the answer says, or that it is to be asked once more."""
        self._because = attempt.reason
        if attempt.result is Result.OK:
            return Existence(self.entity, there=True)
        if attempt.result is Result.PERMANENT:
            return Existence(self.entity, there=False if attempt.reason == NOT_FOUND else None)
        lost = is_lost(attempt)
        unheard = lost or attempt.result is Result.THROTTLED
        self._unheard += unheard
        self._tries += not unheard
        if self._tries >= MOST_TRIES or self._unheard >= MOST_UNHEARD:
            return Existence(self.entity, there=None)
        return Again(wait_after_loss(attempt) if lost else 0.0, is_retry=not unheard)
