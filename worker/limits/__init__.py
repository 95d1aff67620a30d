"""What of the portal's patience may be used: slots to send in, and what every answer teaches about them."""

from worker.limits.limiter import Limiter, Slot
from worker.limits.throttler import TurnBook

__all__ = ["Limiter", "Slot", "TurnBook"]
