"""Ask which contacts an opportunity has, as often as it takes: permit, then turn, then ask.

An opportunity is asked for many contacts at once: that costs the portal one request where a look for each
pair would cost as many as the links themselves.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Protocol

from worker.limiter import Limiter
from worker.models import Attempt, Look, Result
from worker.retry import RetryPolicy

MOST_SOUGHT = 100
"""Contacts sought in one request: far fewer than a page has (contract 5.2), in an address of a kilobyte."""


class Finder(Protocol):
    """What a look needs of a portal. Expected failures are values; a PortalError ends the run."""

    async def find(self, opportunity_id: int, contact_ids: Collection[int], number: int) -> Look:
        """Ask once which of these contacts are members of the opportunity."""


class Looker:
    """Looks at members within the limits that all requests share.

    Until one look was told, and again when one failed, they go one at a time: a portal that has just been
    started makes the filter while it answers the first one, and fails those that come meanwhile (10.5).

    Args:
        portal: who is asked.
        limiter: gives permits and turns.
        policy: says when a look that told nothing is repeated.
        observe: told of each request as soon as its answer is known.
        rng: source of jitter.
    """

    def __init__(
        self,
        portal: Finder,
        limiter: Limiter,
        policy: RetryPolicy,
        *,
        observe: Callable[[Attempt], None],
        rng: Random,
    ) -> None:
        self._portal = portal
        self._limiter = limiter
        self._policy = policy
        self._observe = observe
        self._rng = rng
        self._alone = asyncio.Lock()
        self._is_told = False

    async def look(
        self, opportunity_id: int, contact_ids: Collection[int]
    ) -> tuple[Look, tuple[Attempt, ...]]:
        """Ask until it is told, or until it will not be told.

        Args:
            opportunity_id: whose members.
            contact_ids: at most :data:`MOST_SOUGHT`.

        Returns:
            The last look, and all requests that were made.

        Raises:
            PortalError: the portal refuses us.
        """
        attempts: tuple[Attempt, ...] = ()
        while True:
            async with self._first_alone(), self._limiter.permit():
                await self._limiter.turn()
                look = await self._portal.find(opportunity_id, contact_ids, len(attempts) + 1)
                self._observe(look.attempt)
            if look.attempt.result is not Result.THROTTLED:
                self._is_told = look.is_told
            attempts += (look.attempt,)
            again = self._policy.look_again(attempts, self._rng)
            if again is None:
                return look, attempts
            await asyncio.sleep(again.seconds)  # no permit is held while we wait
            if look.attempt.result is not Result.THROTTLED:
                await self._limiter.retry()

    @asynccontextmanager
    async def _first_alone(self) -> AsyncIterator[None]:
        # Before a permit and a turn are taken: both would be kept from others, and the turn would go stale.
        async with AsyncExitStack() as stack:
            if not self._is_told:
                await stack.enter_async_context(self._alone)
                if self._is_told:
                    await stack.aclose()
            yield
