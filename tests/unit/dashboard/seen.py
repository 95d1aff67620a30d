"""A run as the live page sees it, for its tests."""

from typing import Any

from worker.dashboard import View
from worker.models import Status


def view(**changes: Any) -> View:
    values: dict[str, Any] = {
        "run_id": "monday",
        "source": "pairs.csv",
        "portal": "https://portal.example",
        "begun": True,
        "complete": True,
        "settled": {Status.LINKED: 1500, Status.REJECTED: 500},
        "settled_here": 2000,
        "rows": 5000,
        "seconds": 30.0,
        "links_per_second": 50.0,
        "requests_per_second": 2.5,
        "sent": 75,
        "throttled": 1,
        "retries": 20,
        "in_flight": 2,
        "limit": 4,
        "rate": 35.0,
        "stated": "500/10s",
        "pause_left": 0.0,
        "paused_seconds": 0.0,
        "held": False,
        "note": "",
        "causes": {("not_found", 404): 500},
    }
    return View(**{**values, **changes})
