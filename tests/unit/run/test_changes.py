"""Limits that were changed: in the log as it happens, in the ledger now and then, in the report for good."""

from pathlib import Path
from typing import Any

from worker.ledger import Ledger, LedgerReader
from worker.limits.change import Change, Knob, Why
from worker.report.build import LIMITS
from worker.run.changes import Changes


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


async def test_each_change_is_logged_and_kept(tmp_path: Path) -> None:
    log: Any = Log()
    changes = Changes(log)
    async with Ledger(tmp_path / "ledger.db", create=True, tell=lambda _: None) as ledger:
        changes.note(Change(1.0, Knob.RATE, 50.0, 35.004, Why.THROTTLED))
        changes.note(Change(2.0, Knob.CONCURRENCY, 2, 3, Why.PROBE))
        await changes.save(ledger)
        await changes.save(ledger)
        changes.note(Change(3.0, Knob.BATCH_SIZE, 20, 30, Why.RESIZED))
        await changes.save(ledger)
    with LedgerReader(tmp_path / "ledger.db") as reader:
        ((name, kept),) = [one for one in reader.meta().items() if one[0].startswith(LIMITS)]

    assert name > f"{LIMITS}2026"
    assert [{**record, "at": ""} for record in kept] == [
        {"at": "", "knob": "rate", "from": 50.0, "to": 35.0, "reason": "throttled"},
        {"at": "", "knob": "concurrency", "from": 2, "to": 3, "reason": "probe"},
        {"at": "", "knob": "batch_size", "from": 20, "to": 30, "reason": "resized"},
    ]
    assert [event for event, _ in log.lines] == ["limit.changed"] * 3
    assert [fields for _, fields in log.lines] == kept


async def test_a_session_in_which_nothing_changed_keeps_nothing(tmp_path: Path) -> None:
    log: Any = Log()
    async with Ledger(tmp_path / "ledger.db", create=True, tell=lambda _: None) as ledger:
        await Changes(log).save(ledger)
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert not [name for name in reader.meta() if name.startswith(LIMITS)]
