"""How every verb gets to the portal: who we are, how fast we may be, and where the log of a library goes."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass
from zoneinfo import ZoneInfo

from structlog.typing import FilteringBoundLogger

from worker.errors import UsageError
from worker.host import HostTurns, common_folder, portal_name
from worker.ledger import LedgerReader
from worker.limits import Limiter, TurnBook
from worker.limits.change import Learned
from worker.limits.controller import Controller
from worker.limits.hours import Hours, Rates
from worker.models import Request
from worker.operations.policy import RetryPolicy
from worker.portal.auth import Credentials
from worker.portal.batch import Batch
from worker.portal.client import PortalClient
from worker.portal.tls import tls_context
from worker.portal.transport import BatchLimits, choose
from worker.portal.tries import Waiting
from worker.quantities import Rate
from worker.queues import open_rate, parse_rate_address
from worker.run.directory import RunDirectory
from worker.run.log import open_log
from worker.run.memory import Memory
from worker.run.refusals import refuse_other_access
from worker.settings import Settings, load_settings
from worker.settings.addresses import is_loopback, proxy_url
from worker.settings.values import ENVIRONMENT
from worker.site import AT_ONCE, Site
from worker.supply.shared_rate import SharedTurns

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate


REMEMBER_EVERY = 60.0
"""Seconds."""

_SILENT = 5.0
"""Seconds after which whoever waits for a first turn is told of it."""


LARGEST_LOG = 20_000_000
"""Bytes of run.log; one older is kept beside it. A worker may go on for months."""


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


def rates_of(settings: Settings) -> Rates:
    """How much may be sent, at any time of the week."""
    zone = ZoneInfo(settings.timezone) if settings.timezone else None
    return Rates(settings.rate, settings.link_rate, lambda: datetime.now(UTC).astimezone(zone))


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Do ``work`` beside the block, until that ends."""
    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def told_if_slow(rate: Rate, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """Within the block, say that turns are rare, if they are and it lasts: nothing else is seen then."""
    step, told = 1 / rate.per_second, False

    async def say() -> None:
        nonlocal told
        await asyncio.sleep(_SILENT)
        told = step > 1.0
        if told:
            tell(f"at {rate} there is a turn every {step:.3g} s: waiting for one")

    async with beside(say):
        yield
    if told:
        tell("")


def _turns_of_this_machine(
    stack: AsyncExitStack, portal: str, tell: Callable[[str], None]
) -> TurnBook | None:
    """Turns that all of this user's processes here share that work on the portal; None if that cannot be."""
    try:
        return stack.enter_context(HostTurns(common_folder() / f"turns-{portal_name(portal)}"))
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        tell(f"the rate is of this process alone, whoever else works on the portal from here ({why})")
        return None


def worth_keeping(controller: Controller, before: Learned) -> Learned:
    """What was learned since; not that a rate was never lowered, if no higher one is known to be too much."""
    learned, rate = controller.learned, controller.rate
    if rate is not None and rate.value >= rate.ceiling <= (before.rate or math.inf):
        return replace(learned, rate=None)
    return learned


@asynccontextmanager
async def remembered(memory: Memory, learned: Callable[[], Learned]) -> AsyncIterator[None]:
    """Keep what is learned within the block: at its end, and now and then, for it may end by a kill."""

    async def now_and_then() -> None:
        while True:
            await asyncio.sleep(REMEMBER_EVERY)
            memory.keep(learned(), time.time())

    async with beside(now_and_then):
        try:
            yield
        finally:
            memory.keep(learned(), time.time())


def _recalled(memory: Memory, settings: Settings, tell: Callable[[str], None]) -> Learned:
    """What is known of the portal, unless it is to be forgotten."""
    if settings.forget:
        memory.forget()
    learned, wrong = memory.recall(time.time())
    if wrong:
        tell(wrong)
    return learned


async def open_site(
    stack: AsyncExitStack,
    settings: Settings,
    shared: "RedisRate | None",
    tell: Callable[[str], None],
    observers: Sequence[Callable[[Request], None]],
    *,
    by_itself: bool = False,
    remembers: bool = True,
) -> Site:
    """The portal that the settings name, made sure of that it is there and takes us.

    Args:
        stack: closes what is opened.
        settings: all options.
        shared: a rate shared with other processes, not connected yet; None for a rate of our own.
        tell: told of trouble, in words for the user.
        observers: each is told of every request.
        by_itself: nothing is shared with other processes or remembered for later ones; touches no file.
        remembers: what is learned of the portal is kept for the next one; else nothing is written.

    Raises:
        UsageError: there are no credentials, or a certificate or a proxy that cannot be used.
        QueueError: the server that holds the shared rate cannot be used.
        PortalError: the portal refuses us, is closed, is no portal, or does not answer.
    """
    portal = settings.portal or ""
    files = settings.ca_file, settings.client_cert, settings.client_key
    tls = tls_context(*files) if portal.startswith("https:") or any(files) else None
    turns: TurnBook | None = None
    if shared is None and not by_itself:
        turns = _turns_of_this_machine(stack, portal, tell)
    elif shared is not None:
        turns = await stack.enter_async_context(
            SharedTurns(shared, wait_for=settings.wait_for_broker, tell=tell)
        )
    memory = Memory(settings.runs_dir, portal) if remembers and not by_itself else None
    learned = Learned() if memory is None else _recalled(memory, settings, tell)
    rng = Random()  # noqa: S311 - spreads pauses
    rates = rates_of(settings)
    rate, link_rate, _ = rates.at_present()
    limiter = Limiter(
        rate,
        settings.concurrency or AT_ONCE,
        link_rate=link_rate,
        max_pause=settings.give_up_after,
        rng=rng,
        turns=turns,
        # One that is shared is kept to by each process as it was told.
        adapts_rate=shared is None,
        learned=learned,
    )
    limiter.observers.extend(observers)
    hours = Hours(rates, limiter, tell)
    await stack.enter_async_context(beside(hours.follow))
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
    limits = BatchLimits(settings.batch_size, settings.timeout, settings.grace, learned.batch_size)

    def forbidden(why: str) -> None:
        site.take_no_more_batches(why)

    async with told_if_slow(rate, tell):
        await client.probe()
        route = await choose(client, settings.transport, limits, forbidden)
    site = Site(
        client,
        limiter,
        route,
        RetryPolicy(max_attempts=settings.max_attempts),
        hours=hours,
        concurrency=settings.concurrency,
        give_up_after=settings.give_up_after,
        tell=tell,
    )
    if isinstance(route.transport, Batch):
        limiter.controller.sizes(route.transport.sizes)
    if memory is not None:
        await stack.enter_async_context(
            remembered(memory, lambda: worth_keeping(limiter.controller, learned))
        )
    return site


def complain(log: FilteringBoundLogger, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a library let fall goes to the log and not to the terminal; what it says may hold anything."""
    log.warning("loop.complaint", what=context["message"], error=type(context.get("exception")).__name__)


SiteOpener = Callable[
    [AsyncExitStack, Callable[[str], None], Sequence[Callable[[Request], None]]], Awaitable[Site]
]
"""Opens a portal, see :func:`open_site`; is given what closes it, what is told, and the observers."""


@dataclass(frozen=True, slots=True)
class Access:
    """What is opened to work at the portal for a run: its log, and the portal. Plain values, no settings.

    Attributes:
        run_id: is in each line of the log.
        log: the log's file.
        is_own_log: it is run.log of the run, which we keep small; any other is its owner's to keep so.
        verbose: also each attempt is logged.
        open_site: opens the portal.
        complaints: what libraries complain about in the event loop goes to the log, too.
    """

    run_id: str
    log: Path
    is_own_log: bool
    verbose: bool
    open_site: SiteOpener
    complaints: bool = True

    @contextmanager
    def open_log(self) -> Iterator[FilteringBoundLogger]:
        """The log, open within the block. Inside an event loop.

        Raises:
            OutputError: it cannot be written.
            UsageError: it is one that the user chose.
        """
        largest = LARGEST_LOG if self.is_own_log else None
        with open_log(self.log, verbose=self.verbose, largest=largest, run_id=self.run_id) as log:
            if self.complaints:
                asyncio.get_running_loop().set_exception_handler(partial(complain, log))
            yield log


def access_of(directory: RunDirectory, settings: Settings, rate: "RedisRate | None") -> Access:
    """How to get to the portal for this run; ``rate`` is shared with other processes, None if it is ours."""
    return Access(
        directory.run_id,
        settings.log_file or directory.log,
        settings.log_file is None,
        settings.verbose,
        lambda stack, tell, observers: open_site(stack, settings, rate, tell, observers),
    )


def shared_rate(settings: Settings) -> "RedisRate | None":
    """The rate that is shared with other processes, not connected yet; None for a rate of our own.

    Raises:
        UsageError: its URL is wrong, or the library for it is not installed.
    """
    if settings.shared_rate is None:
        return None
    # Unless the URL says otherwise, all who work on one portal share one rate.
    portal = urlsplit(settings.portal or "").netloc.translate({ord("["): None, ord("]"): None})
    return open_rate(parse_rate_address(settings.shared_rate.get_secret_value(), portal))


def same_access(directory: RunDirectory, flags: Mapping[str, Any]) -> tuple[Settings, Access]:
    """Settle how to go to the portal about a run, by default as the run itself did.

    Raises:
        UsageError: another portal is named, or no shared rate if that run had one.
    """
    with LedgerReader(directory.ledger) as reader:
        facts = reader.facts()
    settings = load_settings(flags, facts["settings"])
    refuse_other_access(directory, settings, facts)
    return settings, access_of(directory, settings, shared_rate(settings))
