"""A run as the live page sees it, for its tests."""

from typing import Any

from worker.dashboard.view import View
from worker.dashboard.words import ROWS


def view(**changes: Any) -> View:
    values: dict[str, Any] = {
        "words": ROWS,
        "run_id": "monday",
        "source": "pairs.csv",
        "portal": "https://portal.example",
        "begun": True,
        "complete": True,
        "done": 2000,
        "done_here": 2000,
        "settled": {"linked": 1500, "rejected": 500},
        "total": 5000,
        "seconds": 30.0,
        "done_per_second": 50.0,
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
