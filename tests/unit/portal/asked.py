"""A portal client for tests of what it sends and reads, asked in short words."""

from random import Random

from worker.limits import Limiter
from worker.models import Ask, Attempt, Exchange, Kind, Request
from worker.portal.auth import Credentials
from worker.portal.client import PortalClient
from worker.portal.single import Single
from worker.portal.wire import WireFormat
from worker.quantities import Rate

BASE = "https://portal.example.com"


class Asked(PortalClient):
    """A client whose limits hold nobody up, with what they were told and short words for what it is asked.

    Attributes:
        told: every request that the limiter observed.
        pauses: what the portal asked everyone to wait.
    """

    def __init__(self, credentials: Credentials, wire: WireFormat = "json") -> None:
        limiter = Limiter(Rate(100_000, 1.0), 1, max_pause=300.0, rng=Random(0))  # noqa: S311 - jitter
        super().__init__(BASE, credentials, limiter, wire=wire, timeout=5.0)
        self.told: list[Request] = []
        self.pauses: list[float | None] = []
        limiter.observers.append(self.told.append)
        limiter._pause = self.pauses.append  # type: ignore[assignment,method-assign]  # waits are noted, not waited
        self.single = Single(self)

    async def exchange(self, kind: Kind, *contact_ids: int, opportunity_id: int = 1234) -> Exchange:
        asks = [Ask(kind, opportunity_id, contact_ids)]
        async with self.single.ready(asks), self._limiter.slot() as slot:
            exchange = await self.single.send(asks)
            slot.observe(exchange.request)
        return exchange

    async def link(self) -> Attempt:
        return (await self.exchange(Kind.LINK, 88)).attempts[0]

    async def find(self, *contact_ids: int) -> Attempt:
        return (await self.exchange(Kind.LOOK, *contact_ids)).attempts[0]
