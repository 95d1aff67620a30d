"""What stories in virtual time share: the clock, and chance that is dealt."""

import asyncio
from random import Random


def now() -> float:
    """Seconds on the clock of the running loop."""
    return asyncio.get_running_loop().time()


class Highest(Random):
    """Deals the upper end of a backoff, and none of the limiter's jitter."""

    def uniform(self, a: float, b: float) -> float:
        return a if b == 0.1 else b
