"""The live page of a run: how it goes, in a browser, while it works; buttons to pause and slow it down."""

from worker.dashboard.server import Listen, LivePage, Steering
from worker.dashboard.view import View

__all__ = ["Listen", "LivePage", "Steering", "View"]
