"""Look before a run whether the portal would do: whom it takes us for, what it can, and whether ids exist.

Only reads leave, alone or many in one request; nothing is written, there or here.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.dispatch import Finished
from worker.models import Request
from worker.operations.base import Operation
from worker.operations.exists import Entity, Existence, Exists
from worker.portal.batch import first_batch
from worker.portal.identity import Product, User, product_of, user_of
from worker.run.access import open_site, shared_rate
from worker.run.links import carry_out
from worker.run.sample import Sample
from worker.scheduler import Scheduler
from worker.settings import Settings
from worker.site import Site

if TYPE_CHECKING:
    from worker.queues.redis.rate import RedisRate

PATIENCE = 10.0
"""Seconds for which a portal may throttle us or fail: who checks wants to know, not to wait."""

_TELLING = 3
"""Ids that are there by the wrong name, of which fewer may be chance."""


@dataclass(slots=True)
class Looked:
    """What became of looking whether some ids exist.

    Attributes:
        there: this user can see them.
        missing: they do not exist, or this user may not see them.
        untold: the portal did not say.
    """

    there: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    untold: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Ids that were looked at."""
        return len(self.there) + len(self.missing) + len(self.untold)


@dataclass(slots=True)
class Preflight:
    """What a portal said.

    Attributes:
        portal: its address.
        user: whom it takes us for; None if it does not tell.
        product: None if it cannot be told.
        why_no_batch: what came instead of one request that carries many; empty if they are taken.
        opportunities: of the sample.
        contacts: the same.
        is_swapped: the sample is not there as it is named, and all of it is with its sides swapped.
        requests: sent for all of that.
    """

    portal: str
    user: User | None = None
    product: Product | None = None
    why_no_batch: str = ""
    opportunities: Looked = field(default_factory=Looked)
    contacts: Looked = field(default_factory=Looked)
    is_swapped: bool = False
    requests: int = 0

    def observe(self, _: Request) -> None:
        """A request was answered, or was not."""
        self.requests += 1

    @property
    def missing(self) -> int:
        """How many ids of the sample are: rows of the input would be rejected."""
        return len(self.opportunities.missing) + len(self.contacts.missing)


def look_at_portal(settings: Settings, sample: Sample, tell: Callable[[str], None]) -> Preflight:
    """Ask the portal all of that; ``tell`` is told of waits, in words for the user.

    Raises:
        UsageError: there are no credentials, or an option about the way there is wrong.
        PortalError: the portal refuses us, is closed, is no portal, or does not answer.
        QueueError: the server that holds a shared rate cannot be used.
        OutageError: the portal answers, and fails.
    """
    hasty = settings.model_copy(update={"give_up_after": min(settings.give_up_after, PATIENCE)})
    return asyncio.run(_look(hasty, shared_rate(settings), sample, tell))


async def _look(
    settings: Settings, rate: "RedisRate | None", sample: Sample, tell: Callable[[str], None]
) -> Preflight:
    found = Preflight(settings.portal or "")
    async with AsyncExitStack() as stack:
        site = await open_site(stack, settings, rate, tell, [found.observe], remembers=False)
        found.product = await product_of(site.client)
        found.user = site.route.user
        if site.route.name == "single":
            first = await first_batch(site.client)
            found.why_no_batch, found.user = first.why_not, first.user
        if found.user is None:
            found.user = await user_of(site.client)
        await _look_for(site, sample, found)
    return found


async def _look_for(site: Site, sample: Sample, found: Preflight) -> None:
    sides = sample.opportunities, sample.contacts
    for told in await _existences(site, *sides):
        _enter(told, found)
    for looked in (found.opportunities, found.contacts):
        for ids in (looked.there, looked.missing, looked.untold):
            ids.sort()
    seem_wrong = any(one.missing and not one.there for one in (found.opportunities, found.contacts))
    if seem_wrong and len(sides[0]) >= _TELLING:
        found.is_swapped = all(told.there for told in await _existences(site, *reversed(sides)))


async def _existences(site: Site, opportunities: Sequence[int], contacts: Sequence[int]) -> list[Existence]:
    """Whether they exist, in no order."""
    entities = [Entity("opportunity", one) for one in opportunities]
    entities += [Entity("contact", one) for one in contacts]
    existences: list[Existence] = []

    async def offer(scheduler: Scheduler[Operation[Any]]) -> None:
        scheduler.offer([Exists(entity) for entity in entities])
        scheduler.close()

    async def conclude(finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        existences.extend(told for _, told in finished)
        return ()

    if entities:
        await carry_out(offer, site, conclude)
    return existences


def _enter(told: Existence, found: Preflight) -> None:
    looked = found.opportunities if told.entity.side == "opportunity" else found.contacts
    ids = {True: looked.there, False: looked.missing, None: looked.untold}[told.there]
    ids.append(told.entity.id)
