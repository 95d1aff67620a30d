"""Limits that are changed while a session works: noted in the log, and kept in the ledger for the report."""

from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from worker.ledger import Ledger
from worker.limits.change import Change, History
from worker.report.build import LIMITS


class Changes:
    """The changes of one session.

    Args:
        log: each is noted there.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._history = History()
        self._name = f"{LIMITS}{_now()}"
        self._saved = True

    def note(self, change: Change) -> None:
        """Note one, as it happens."""
        record = {
            "at": _now(),
            "knob": str(change.knob),
            "from": round(change.was, 2),
            "to": round(change.now, 2),
            "reason": str(change.why),
        }
        self._log.info("limit.changed", **record)
        self._history.add(record)
        self._saved = False

    async def save(self, ledger: Ledger) -> None:
        """Make durable what is new."""
        if not self._saved:
            self._saved = True
            await ledger.put_facts({self._name: self._history.kept})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
