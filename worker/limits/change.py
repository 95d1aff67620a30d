"""A limit that was changed, and why: what the log, the report and the next run are told. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

FIRST_KEPT, LAST_KEPT = 40, 160
"""Changes of a session that are kept: how it began, and how it went lately."""


class Knob(StrEnum):
    """What can be turned."""

    RATE = "rate"
    """Requests a second."""
    BATCH_SIZE = "batch_size"
    """Operations in one request."""
    CONCURRENCY = "concurrency"
    """Requests in flight."""


class Why(StrEnum):
    """Why a limit was changed."""

    PROBE = "probe"
    """To see what one more or one less does."""
    KEEP = "keep"
    """That did good: it stays."""
    REVERT = "revert"
    """That did no good: back to what was before."""
    CUT = "cut"
    """Time-outs and failures."""
    THROTTLED = "throttled"
    """The portal asked to slow down."""
    RECOVER = "recover"
    """It has been quiet since the last cut."""
    REBASELINE = "rebaseline"
    """The portal is slower or faster for reasons of its own: what was learned of it is learned anew."""
    RESIZED = "resized"
    """Batches are to take the time that they should."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        at: seconds, by the clock of whoever asked.
        was: before; ``now``: after. The same if only what was learned has changed.
    """

    at: float
    knob: Knob
    was: float
    now: float
    why: Why


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned of a portal, as a start for the next one who works there; None for what was not.

    Attributes:
        rate: requests a second.
        concurrency: requests in flight.
        batch_size: operations in one request.
    """

    rate: float | None = None
    concurrency: int | None = None
    batch_size: int | None = None


class History:
    """The first changes and the last ones; those between are only counted."""

    def __init__(self) -> None:
        self._first: list[Mapping[str, object]] = []
        self._last: deque[Mapping[str, object]] = deque(maxlen=LAST_KEPT)

    def add(self, record: Mapping[str, object]) -> None:
        """Keep one more."""
        (self._first if len(self._first) < FIRST_KEPT else self._last).append(record)

    @property
    def kept(self) -> list[Mapping[str, object]]:
        """What is kept, oldest first."""
        return [*self._first, *self._last]
