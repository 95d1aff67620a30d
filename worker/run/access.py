"""How every verb gets to the portal: who we are, how fast we may be, and where the log of a library goes."""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from structlog.typing import FilteringBoundLogger

from worker.errors import UsageError
from worker.limits import Limiter
from worker.models import Request
from worker.operations.policy import RetryPolicy
from worker.portal.auth import Credentials
from worker.portal.client import PortalClient
from worker.portal.single import Single
from worker.portal.tls import tls_context
from worker.portal.tries import Waiting
from worker.settings import Settings
from worker.settings.addresses import is_loopback, proxy_url
from worker.settings.fields import ENVIRONMENT
from worker.site import Site
from worker.supply.shared_rate import SharedTurns

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


def proxy_of(settings: Settings) -> str | None:
    """URL of the proxy on the way to the portal, if there is one; there is none to this machine.

    Raises:
        UsageError: a variable of the environment names none that can be used.
    """
    portal = urlsplit(settings.portal or "")
    if settings.proxy is None or is_loopback(portal.hostname or ""):
        return None
    if (wanted := settings.proxy.get_secret_value()) != ENVIRONMENT:
        return wanted
    proxies = getproxies_environment()
    found = proxies.get(portal.scheme) or proxies.get("all")
    if found is None or proxy_bypass(portal.netloc):
        return None
    try:
        return proxy_url(found)
    except ValueError as error:
        raise UsageError(f"{portal.scheme.upper()}_PROXY or ALL_PROXY: {error}") from None


async def open_site(
    stack: AsyncExitStack,
    settings: Settings,
    shared: "RedisRate | None",
    tell: Callable[[str], None],
    observers: Sequence[Callable[[Request], None]],
) -> Site:
    """The portal that the settings name, made sure of that it is there and takes us.

    Args:
        stack: closes what is opened.
        settings: all options.
        shared: a rate shared with other processes, not connected yet; None for a rate of our own.
        tell: told of trouble, in words for the user.
        observers: each is told of every request.

    Raises:
        UsageError: there are no credentials, or a certificate or a proxy that cannot be used.
        QueueError: the server that holds the shared rate cannot be used.
        PortalError: the portal refuses us, is closed, is no portal, or does not answer.
    """
    portal = settings.portal or ""
    files = settings.ca_file, settings.client_cert, settings.client_key
    tls = tls_context(*files) if portal.startswith("https:") or any(files) else None
    turns = None
    if shared is not None:
        turns = SharedTurns(shared, wait_for=settings.wait_for_broker, tell=tell)
        await stack.enter_async_context(turns)
    rng = Random()  # noqa: S311 - spreads pauses
    limiter = Limiter(settings.rate, settings.concurrency, max_pause=MAX_PAUSE, rng=rng, turns=turns)
    limiter.observers.extend(observers)
    client = PortalClient(
        portal,
        credentials_of(settings),
        limiter,
        wire=settings.wire,
        timeout=settings.timeout,
        waiting=Waiting(min(settings.give_up_after, settings.max_duration or math.inf), tell),
        tls=tls,
        proxy=proxy_of(settings),
    )
    await stack.enter_async_context(client)
    await client.probe()
    return Site(
        client,
        limiter,
        Single(client),
        RetryPolicy(max_attempts=settings.max_attempts),
        give_up_after=settings.give_up_after,
        tell=tell,
    )


def complain(log: FilteringBoundLogger, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a library let fall goes to the log and not to the terminal; what it says may hold anything."""
    log.warning("loop.complaint", what=context["message"], error=type(context.get("exception")).__name__)
