"""The race of filters and orders: each kind is compiled at its first use, unlocked (contract 5.5, 10.5)."""

from worker.simulator import replies
from worker.simulator.lists import Query
from worker.simulator.replies import Reply


class CompileRace:
    """Knows which kinds are compiled; a portal that starts again needs a new one.

    Args:
        seconds: what compiling takes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ready: dict[tuple[str, ...], float] = {}

    def enter(self, query: Query, now: float) -> tuple[float, bool]:
        """Let a read begin: give the seconds it takes longer, and whether it loses the race, a 500."""
        if not self._seconds or (kind := query.compiled) is None:
            return 0.0, False
        is_first = kind not in self._ready
        left = self._ready.setdefault(kind, now + self._seconds) - now
        return max(0.0, left), left > 0.0 and not is_first

    @staticmethod
    def lost(*, xml: bool) -> Reply:
        """Answer a read that lost."""
        message = "An item with the same key has already been added."
        return replies.error(500, message, replies.BAD_ARGUMENT, xml=xml)
