"""What users are told of a wait that the portal asks for."""

import time

from worker.quantities import format_moment

TOO_LONG = "--give-up-after is {}"
"""Why it is not waited for; the gap is how long it would be."""

_UNITS = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0))


def asks_to_wait(seconds: float) -> str:
    """How long, in a unit of which there are two or more, and until when by our clock."""
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= 2 * size), ("s", 1.0))
    return f"asks to wait {seconds / size:.0f} {unit}, until {format_moment(time.time() + seconds)}"
