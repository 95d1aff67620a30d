"""What stories about requests share: a portal that keeps books, and its limits, in virtual time."""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import cycle
from typing import Any, Self, cast

from tests.unit.dealt import Highest, now
from worker.dispatch import Finished
from worker.limits import Limiter
from worker.limits.hours import Hours, Rates
from worker.models import READS, Ask, Attempt, Exchange, Kind, Request, Result
from worker.operations.base import Operation
from worker.operations.policy import RetryPolicy
from worker.portal.transport import Route
from worker.quantities import Rate
from worker.site import Site
from worker.timetable import Timetable

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Key = tuple[int, int]

FAST = Rate(1000, 1.0)


@dataclass(frozen=True)
class Answer:
    """What a portal says for once instead of the truth.

    Attributes:
        done: it has done as it was asked nevertheless.
    """

    result: Result
    reason: str = ""
    http_status: int | None = None
    retry_after: float | None = None
    done: bool = False

    def but_done(self) -> Self:
        return type(self)(self.result, self.reason, self.http_status, self.retry_after, done=True)


Said = Answer | Exception

CREATED = Answer(Result.OK, http_status=201, done=True)
DONE = Answer(Result.OK, http_status=200, done=True)
READ = Answer(Result.OK, http_status=200)
BUSY = Answer(Result.TRANSIENT, "unavailable", 503)
DOWN = Answer(Result.TRANSIENT, "cannot_connect")
LOST = Answer(Result.AMBIGUOUS, "timeout")
NOT_FOUND = Answer(Result.PERMANENT, "not_found", 404)
FORBIDDEN = Answer(Result.PERMANENT, "forbidden", 403)


def throttled(retry_after: float | None = 0.0) -> Answer:
    return Answer(Result.THROTTLED, "throttled", 429, retry_after)


def contact(contact_id: int, created: datetime | None = None) -> bytes:
    """A Contact, as the portal sends it."""
    date = "" if created is None else f',"created":"{created.isoformat()}"'
    return f'{{"id":{contact_id}{date}}}'.encode()


@dataclass
class Sent:
    """A line in the portal's books."""

    time: float
    kind: Kind
    opportunity_id: int
    contacts: list[int]
    because: str
    told: float | None = None

    @property
    def key(self) -> Key:
        return self.opportunity_id, self.contacts[0]


@dataclass
class Portal:
    """Holds links, each with the date of its contact; does what it is asked, unless told otherwise.

    It is what a dispatcher sends by, and what an outage asks.

    Attributes:
        looks: what to answer to those who look at an opportunity; None for the truth.
        odd: what to answer to those who ask for a link or its removal, before they are served properly.
        deaf: links that it says it makes or removes, and does not.
        refused: links that it does not make or remove, and says so.
        appserver: whoever looks is told of everybody, and to remove one is to remove all.
        works: what to answer to those who ask whether it works; the last one again and again.
        latency: seconds that the answers take, one after the other, and again.
        seconds: the same of an opportunity.
        leaves: is called with each request that leaves.
    """

    members: dict[Key, datetime | None] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    missing_contacts: set[int] = field(default_factory=set)
    looks: dict[int, deque[Said | None]] = field(default_factory=dict)
    odd: dict[Key, deque[Said]] = field(default_factory=dict)
    deaf: set[Key] = field(default_factory=set)
    refused: dict[Key, Answer] = field(default_factory=dict)
    appserver: bool = False
    works: deque[Said] = field(default_factory=lambda: deque([NOT_FOUND]))
    latency: Iterable[float] = (0.05,)
    seconds: dict[int, float] = field(default_factory=dict)
    leaves: Callable[[Ask], None] = lambda _: None
    books: list[Sent] = field(default_factory=list)
    questions: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    size = 1

    def __post_init__(self) -> None:
        self.limiter: Limiter | None = None
        self._latency = cycle(self.latency)

    def shows(self, opportunity_id: int, *answers: Said | None) -> None:
        self.looks[opportunity_id] = deque(answers)

    def answers(self, opportunity_id: int, contact_id: int, *answers: Said) -> None:
        self.odd[opportunity_id, contact_id] = deque(answers)

    @asynccontextmanager
    async def ready(self, asks: Sequence[Ask]) -> AsyncIterator[None]:
        """There is a token."""
        assert len(asks) == self.size
        yield

    async def send(self, asks: Sequence[Ask]) -> Exchange:
        (ask,) = asks
        self.leaves(ask)
        sent = Sent(now(), ask.kind, ask.opportunity_id, list(ask.contact_ids), ask.because)
        self.books.append(sent)
        seconds = await self._wait(self.seconds.get(ask.opportunity_id))
        sent.told = now()
        said = self._say(ask)
        if isinstance(said, Exception):
            raise said
        again = bool(ask.because)
        request = Request(
            ask.kind,
            said.result,
            items=1,
            again=again,
            repeated=(ask.because,) if again and ask.kind not in READS else (),
            reason=said.reason,
            http_status=said.http_status,
            retry_after=said.retry_after,
            seconds=seconds,
        )
        return Exchange(request, (self._attempt(ask, said, seconds),))

    async def question(self) -> Request:
        assert self.limiter is not None
        said = self.works.popleft() if len(self.works) > 1 else self.works[0]
        async with self.limiter.slot(past_hold=True) as slot:
            self.questions.append(now())
            if isinstance(said, Exception):
                raise said
            request = Request(Kind.PROBE, said.result, reason=said.reason, http_status=said.http_status)
            slot.observe(request)
        return request

    async def _wait(self, seconds: float | None) -> float:
        seconds = next(self._latency) if seconds is None else seconds
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.in_flight -= 1
        return seconds

    def _say(self, ask: Ask) -> Said:
        # Who asks whether something exists names one side; 0 stands for the other.
        key = ask.opportunity_id, ask.contact_ids[0] if ask.contact_ids else 0
        script = self.looks.get(key[0]) if ask.kind is Kind.LOOK else self.odd.get(key)
        said = script.popleft() if script else None
        if said is None:
            said = self._plainly(ask, key)
        if isinstance(said, Answer) and said.done:
            self._do(ask.kind, key)
        return said

    def _plainly(self, ask: Ask, key: Key) -> Answer:
        if ask.kind not in READS and key in self.refused:
            return self.refused[key]
        if key[0] in self.missing or (ask.kind is not Kind.LOOK and key[1] in self.missing_contacts):
            return NOT_FOUND
        plain = {Kind.LOOK: READ, Kind.EXISTS: READ, Kind.LINK: CREATED, Kind.UNLINK: DONE}[ask.kind]
        return replace(plain, done=False) if key in self.deaf else plain

    def _do(self, kind: Kind, key: Key) -> None:
        if kind is Kind.LINK:
            self.members.setdefault(key, None)
        else:
            gone = [one for one in self.members if one[0] == key[0]] if self.appserver else [key]
            for one in gone:
                self.members.pop(one, None)

    def _attempt(self, ask: Ask, said: Answer, seconds: float) -> Attempt:
        result, facts = said.result, (said.reason, said.http_status, seconds)
        if ask.kind is Kind.LINK and result is Result.OK:
            return Attempt(result, *facts, body=contact(ask.contact_ids[0]))
        if ask.kind is not Kind.LOOK or result in (Result.THROTTLED, Result.PERMANENT):
            return Attempt(result, *facts)
        if result is not Result.OK:
            return Attempt(Result.AMBIGUOUS, *facts)  # whatever it was, it told nothing of the members
        there = {one: created for (at, one), created in self.members.items() if at == ask.opportunity_id}
        found = {one: contact(one, there[one]) for one in ask.contact_ids if one in there}
        strangers = len(there) - len(found) if self.appserver else 0
        return Attempt(result, *facts, found=found, strangers=strangers)

    @property
    def kinds(self) -> list[Kind]:
        return [sent.kind for sent in self.books]

    def sent(self, kind: Kind) -> list[Sent]:
        return [sent for sent in self.books if sent.kind is kind]

    @property
    def sought(self) -> list[tuple[int, list[int]]]:
        """Whose members were asked for, and for whom."""
        return [(sent.opportunity_id, sent.contacts) for sent in self.sent(Kind.LOOK)]

    def most_sent_in(self, period: float) -> int:
        """In any time so long, questions included."""
        times = sorted([*(sent.time for sent in self.books), *self.questions])
        return max((bisect_right(times, begin + period) - i for i, begin in enumerate(times)), default=0)


def always(rate: Rate) -> Rates:
    """The same at any time."""
    return Rates(Timetable(rate), None, lambda: datetime.now(UTC))


def site_of(
    portal: Portal,
    *,
    rate: Rate = FAST,
    concurrency: int = 4,
    policy: RetryPolicy | None = None,
    observers: Sequence[Callable[[Request], None]] = (),
    give_up_after: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Site:
    """The portal with real limits. To be called on the loop of its story.

    Args:
        give_up_after: None if there is no outage to be noticed, whatever fails.
    """
    rng = Highest(0)
    limiter = Limiter(rate, concurrency, max_pause=300.0, rng=rng)
    portal.limiter = limiter
    site = Site(
        cast("Any", portal),
        limiter,
        Route(cast("Any", portal), "single"),
        policy or RetryPolicy(),
        hours=Hours(always(rate), limiter, tell),
        concurrency=concurrency,
        give_up_after=give_up_after or 0.0,
        tell=tell,
    )
    site.rng = rng
    if give_up_after is None:
        limiter.observers.clear()
    limiter.observers.extend(observers)
    return site


async def send_all(site: Site, operations: Iterable[Operation[Any]]) -> list[Finished]:
    """Send them in lanes until all are over; gives what they gave, in the order in which they ended."""
    over: list[Finished] = []

    async def conclude(finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        over.extend(finished)
        return ()

    scheduler = site.scheduler()
    scheduler.offer(operations)
    scheduler.close()
    await site.dispatcher(scheduler, conclude).run(grace=25.0)
    return over
