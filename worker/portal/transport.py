"""Which way operations go to a portal: many at once where it takes batches, else each alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from worker.errors import NoBatches
from worker.limits.batch_size import CEILING, BatchSize
from worker.portal.batch import Batch, first_batch
from worker.portal.client import PortalClient
from worker.portal.identity import User
from worker.portal.single import Single

Wanted = Literal["auto", "batch", "single"]

OF_TIMEOUT, OF_GRACE = 0.7, 0.5
"""Shares of the time that one request may take, and that a stop allows, which the slowest batch may take."""

LEAST = 1.0
"""Seconds that a batch may take however short the grace is: who allows none has requests cut off in any case,
and batches of one would only be slow."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What bounds a batch.

    Attributes:
        most: operations; None for what the portal answers in good time.
        timeout: seconds after which an answer is not waited for any longer.
        grace: seconds that requests on their way get when the work is stopped.
        start: operations in the first one; None if nothing is known of the portal.
    """

    most: int | None
    timeout: float
    grace: float
    start: int | None = None


@dataclass(slots=True)
class Route:
    """The way that was taken.

    Attributes:
        name: batch or single.
        why: what decided, if it was not the user; a few words.
        user: whom the portal takes us for; None as long as it did not tell.
    """

    transport: Batch | Single
    name: Literal["batch", "single"]
    why: str = ""
    user: User | None = None


async def choose(
    client: PortalClient, wanted: Wanted, limits: BatchLimits, forbidden: Callable[[str], None]
) -> Route:
    """Find out which way there is; asks the portal once, unless each is wanted to go alone.

    Args:
        client: the portal, made sure of.
        wanted: what the user wants.
        limits: of a batch.
        forbidden: called with the reason if the portal stops taking batches; each goes alone from then on.

    Raises:
        NoBatches: they are wanted, and this portal takes none.
        PortalError: it refuses us, is closed, or is no portal.
    """
    if wanted == "single":
        return Route(Single(client), "single")
    first = await first_batch(client)
    why = first.why_not
    if why and wanted == "batch":
        raise NoBatches(f"--transport batch: this portal takes no batches ({why}); use auto or single")
    if why:
        return Route(Single(client), "single", f"the portal takes no batches: {why}", first.user)
    longest = min(OF_TIMEOUT * limits.timeout, max(LEAST, OF_GRACE * limits.grace))
    size = BatchSize(limits.most or CEILING, longest=longest, start=limits.start)
    return Route(Batch(client, size, forbidden), "batch", "the portal takes them", first.user)
