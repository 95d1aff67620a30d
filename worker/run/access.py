"""How every verb gets to the portal: who we are, how fast we may be, and where the log of a library goes."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger

from worker.limiter import Limiter
from worker.portal.auth import Credentials
from worker.portal.client import PortalClient
from worker.portal.tries import Waiting
from worker.run.pacing import SharedTurns
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

MAX_PAUSE = 300.0
"""Seconds: when the portal asks for a longer pause, it is asked again this often whether it is over."""


def credentials_of(settings: Settings) -> Credentials:
    """Who we say we are."""
    return Credentials(
        token=settings.token,
        token_file=settings.token_file,
        username=settings.username,
        password=settings.password,
        password_file=settings.password_file,
    )


async def open_portal(stack: AsyncExitStack, settings: Settings, tell: Callable[[str], None]) -> PortalClient:
    """The portal that the settings name; nothing is sent yet. ``tell`` is told of long waits."""
    client = PortalClient(
        settings.portal or "",
        credentials_of(settings),
        wire=settings.wire,
        timeout=settings.timeout,
        waiting=Waiting(settings.give_up_after, tell),
    )
    return await stack.enter_async_context(client)


async def open_limiter(
    stack: AsyncExitStack, settings: Settings, rate: "RedisRate | None", tell: Callable[[str], None]
) -> Limiter:
    """The limits that the settings set.

    Args:
        stack: closes what is opened.
        settings: all options.
        rate: shared with other processes, not connected yet; None for a rate of our own.
        tell: told of trouble, in words for the user.

    Raises:
        QueueError: the server that holds the shared rate cannot be used.
    """
    turns = None
    if rate is not None:
        turns = SharedTurns(rate, wait_for=settings.wait_for_broker, tell=tell)
        await stack.enter_async_context(turns)
    rng = Random()  # noqa: S311 - spreads pauses
    return Limiter(settings.rate, settings.concurrency, max_pause=MAX_PAUSE, rng=rng, turns=turns)


def complain(log: FilteringBoundLogger, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a library let fall goes to the log and not to the terminal; what it says may hold anything."""
    log.warning("loop.complaint", what=context["message"], error=type(context.get("exception")).__name__)
