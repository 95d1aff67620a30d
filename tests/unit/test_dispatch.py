"""Lanes against a portal that keeps books, under a virtual clock, a real scheduler and a real limiter."""

import asyncio
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.dealt import Highest, now
from worker.dispatch import Dispatcher, Finished
from worker.errors import LedgerError, PortalClosed, PortalRefused
from worker.limits import Limiter
from worker.models import Ask, Attempt, Exchange, Kind, Outcome, Pair, Request, Result, Status
from worker.operations.base import Operation
from worker.operations.link import Link
from worker.operations.policy import RetryPolicy
from worker.quantities import Rate
from worker.scheduler import Scheduler

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Paced = tuple[Attempt, float | None]
Answer = Attempt | Paced | Exception

FAST = Rate(1000, 1.0)
OK = Attempt(Result.OK, http_status=201)
ABSENT = Attempt(Result.TRANSIENT, "not_stored", 200)
UNREADABLE = Attempt(Result.AMBIGUOUS, "connection_lost")
TRANSIENT = Attempt(Result.TRANSIENT, "unavailable", 503)
AMBIGUOUS = Attempt(Result.AMBIGUOUS, "timeout")
CUT_OFF = Attempt(Result.AMBIGUOUS, "connection_lost", shared=True)
NOT_THERE = Attempt(Result.OK, http_status=200)
PERMANENT = Attempt(Result.PERMANENT, "not_found", 404)
REFUSED = PortalRefused("https://portal.example: HTTP 401 unauthorized")
BROKEN = LedgerError("ledger.db: disk full")


def throttled(retry_after: float | None = None) -> Paced:
    return Attempt(Result.THROTTLED, "throttled", 429), retry_after


def pairs(count: int) -> list[Pair]:
    return [Pair(row, row + 1, row, 7) for row in range(1, count + 1)]


@dataclass
class Sent:
    """A line in the portal's books."""

    time: float
    row: int
    kind: Kind
    number: int
    told: float | None = None


class Portal:
    """Answers as scripted, else with success, after a latency that may differ from request to request.

    Args:
        size: most operations that it takes in one request.
    """

    def __init__(self, latency: Iterable[float] = (0.05,), size: int = 1) -> None:
        self.size = size
        self.script: dict[int, deque[Answer]] = {}
        self.books: list[Sent] = []
        self.requests: list[int] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.log_in_seconds = 0.0
        self._latency = cycle(latency)

    def answers(self, row: int, *answers: Answer) -> None:
        self.script[row] = deque(answers)

    @asynccontextmanager
    async def ready(self, asks: Sequence[Ask]) -> AsyncIterator[None]:
        assert len(asks) <= self.size
        await asyncio.sleep(self.log_in_seconds)
        yield

    async def send(self, asks: Sequence[Ask]) -> Exchange:
        sent = [self._note(ask) for ask in asks]
        self.requests.append(len(asks))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        seconds = next(self._latency)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.in_flight -= 1
        retry_after = None
        attempts = []
        for ask, one in zip(asks, sent, strict=True):
            one.told = now()
            attempt, named = self._answer(ask)
            retry_after = retry_after or named
            attempts.append(replace(attempt, seconds=seconds))
        first = attempts[0]
        again = [ask.because for ask in asks if ask.because]
        request = Request(
            asks[0].kind,
            first.result,
            len(asks),
            len(again),
            tuple(again),
            first.reason,
            first.http_status,
            retry_after,
            seconds,
        )
        return Exchange(request, tuple(attempts))

    def _note(self, ask: Ask) -> Sent:
        row = ask.opportunity_id
        self.books.append(Sent(now(), row, ask.kind, len(self.of(row)) + 1))
        return self.books[-1]

    def _answer(self, ask: Ask) -> Paced:
        script = self.script.get(ask.opportunity_id)
        answer = script.popleft() if script else OK
        if isinstance(answer, Exception):
            raise answer
        attempt, named = answer if isinstance(answer, tuple) else (answer, None)
        if ask.kind is Kind.LOOK and attempt is OK:
            attempt = replace(OK, found={7: b"{}"})
        if ask.kind is Kind.LOOK and attempt is ABSENT:
            attempt = Attempt(Result.OK, http_status=200)
        return attempt, named

    @property
    def times(self) -> list[float]:
        return [sent.time for sent in self.books]

    def of(self, row: int) -> list[Sent]:
        return [sent for sent in self.books if sent.row == row]


class World:
    """A dispatcher with what it needs, and what came of it."""

    def __init__(
        self,
        portal: Portal,
        todo: Iterable[Pair],
        *,
        rate: Rate = FAST,
        concurrency: int = 2,
        policy: RetryPolicy | None = None,
        record_seconds: float = 0.0,
        record_error: Exception | None = None,
        endless: bool = False,
    ) -> None:
        self.portal = portal
        self.limiter = Limiter(rate, concurrency, max_pause=300.0, rng=Highest(0))
        self.limiter.observers.append(self.observe)
        self.scheduler: Scheduler[Operation[Any]] = Scheduler(self.limiter.budget)
        policy = policy or RetryPolicy()
        self.scheduler.offer(Link(pair, policy, Highest(0)) for pair in todo)
        if not endless:
            self.scheduler.close()
        self.outcomes: list[Outcome] = []
        self.recorded_at: dict[int, float] = {}
        self.observed: list[Request] = []
        self.begin = self.end = self.paused = 0.0
        self.record_seconds = record_seconds
        self.record_error = record_error
        self.dispatcher = Dispatcher(portal, self.limiter, self.scheduler, conclude=self.conclude)

    async def conclude(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        await asyncio.sleep(self.record_seconds)
        if self.record_error is not None:
            raise self.record_error
        for _, outcome in finished:
            self.outcomes.append(outcome)
            self.recorded_at[outcome.pair.row] = now()
        return ()

    def observe(self, request: Request) -> None:
        self.observed.append(request)

    async def run(self, grace: float = 25.0) -> None:
        self.begin = now()
        try:
            await self.dispatcher.run(grace)
        finally:
            self.end = now()
            self.paused = self.limiter.paused_seconds

    async def run_and_stop(self, after: float, grace: float = 25.0) -> None:
        asyncio.get_running_loop().call_later(after, self.dispatcher.stop)
        await self.run(grace)

    @property
    def links(self) -> list[Link]:
        """Pairs that are not over, or not known to be recorded."""
        left = (*self.dispatcher.unfinished, *self.dispatcher.concluding)
        return [one for one in left if isinstance(one, Link)]

    @property
    def in_doubt(self) -> list[int]:
        return sorted(link.pair.row for link in self.links if link.in_doubt)

    @property
    def statuses(self) -> dict[int, Status]:
        return {outcome.pair.row: outcome.status for outcome in self.outcomes}

    def outcome(self, row: int) -> Outcome:
        (found,) = (outcome for outcome in self.outcomes if outcome.pair.row == row)
        return found

    @property
    def lasted(self) -> float:
        return self.end - self.begin

    def most_sent_in(self, period: float) -> int:
        times = self.portal.times
        return max(bisect_right(times, begin + period) - i for i, begin in enumerate(times))


def test_a_pair_gets_exactly_one_outcome(virtual_time: Run) -> None:
    portal = Portal(latency=(0.05, 0.4, 0.01))
    endless = [TRANSIENT] * 9
    portal.answers(2, TRANSIENT, OK)
    portal.answers(3, PERMANENT)
    portal.answers(4, *endless)
    portal.answers(5, throttled(1.0), throttled(), OK)
    portal.answers(6, *[AMBIGUOUS] * 5, OK)
    portal.answers(7, *[AMBIGUOUS] * 5, ABSENT)
    portal.answers(8, *[AMBIGUOUS] * 5, *[UNREADABLE] * 3)
    portal.answers(9, AMBIGUOUS, TRANSIENT, OK)
    world = World(portal, pairs(60), concurrency=4)
    virtual_time(world.run())

    assert Counter(outcome.pair.row for outcome in world.outcomes) == dict.fromkeys(range(1, 61), 1)
    odd = {row: status for row, status in world.statuses.items() if status is not Status.LINKED}
    assert odd == {
        3: Status.REJECTED,
        4: Status.RETRYABLE,
        7: Status.RETRYABLE,
        8: Status.UNKNOWN,
    }
    assert world.in_doubt == []


def test_an_outcome_holds_the_pair_all_attempts_and_the_cause(virtual_time: Run) -> None:
    portal = Portal(latency=(0.25,))
    portal.answers(1, TRANSIENT, throttled(0.0), PERMANENT)
    world = World(portal, pairs(1))
    virtual_time(world.run())

    attempts = tuple(replace(answer, seconds=0.25) for answer in (TRANSIENT, throttled()[0], PERMANENT))
    assert world.outcomes == [Outcome(pairs(1)[0], Status.REJECTED, attempts, "not_found", 404)]
    assert [sent.number for sent in portal.books] == [1, 2, 3]


def test_each_attempt_is_observed_before_its_outcome_is_recorded(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, TRANSIENT, OK)
    world = World(portal, pairs(1), record_error=BROKEN)
    with pytest.raises(LedgerError):
        virtual_time(world.run())
    assert [(r.repeated, r.result) for r in world.observed] == [
        ((), Result.TRANSIENT),
        (("unavailable",), Result.OK),
    ]


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_never_more_than_concurrency_are_in_flight(virtual_time: Run, concurrency: int) -> None:
    portal = Portal(latency=(1.0, 0.3, 2.0))
    for row in range(1, 40, 3):
        portal.answers(row, TRANSIENT, AMBIGUOUS, OK)
    world = World(portal, pairs(40), concurrency=concurrency)
    virtual_time(world.run())
    assert portal.most_in_flight == concurrency


def test_nothing_is_held_by_pairs_that_back_off_however_many_they_are(virtual_time: Run) -> None:
    portal = Portal()
    for row in range(1, 100):
        portal.answers(row, TRANSIENT)
    world = World(portal, pairs(200), concurrency=3, policy=RetryPolicy(base=100.0, cap=100.0))
    virtual_time(world.run_and_stop(after=50.0))
    assert len(portal.books) == 200
    assert set(world.statuses) == set(range(100, 201))


def test_a_stall_leaves_no_stale_turns_to_be_spent_in_a_burst(virtual_time: Run) -> None:
    """The permit comes before the turn: a turn taken first would wait for a permit, and go stale."""
    portal = Portal(latency=[5.0] * 4 + [0.0] * 96)
    world = World(portal, pairs(100), rate=Rate(10, 1.0), concurrency=4)
    virtual_time(world.run())
    assert len(portal.books) == 100
    assert world.most_sent_in(1.0) <= 10
    assert min(later - earlier for earlier, later in pairwise(portal.times)) > 0.09


def test_a_turn_is_taken_just_before_sending(virtual_time: Run) -> None:
    """Sends are as evenly paced as turns are, also when permits come back at odd times."""
    portal = Portal(latency=(0.9, 0.1, 2.3, 0.0, 0.0, 1.7))
    world = World(portal, pairs(60), rate=Rate(5, 1.0), concurrency=3)
    virtual_time(world.run())
    assert world.most_sent_in(1.0) <= 5
    assert min(later - earlier for earlier, later in pairwise(portal.times)) > 0.19


def test_no_permit_is_held_while_a_pair_backs_off(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, TRANSIENT, OK)
    world = World(portal, pairs(20), concurrency=1, policy=RetryPolicy(base=10.0))
    virtual_time(world.run())
    first, second = portal.of(1)
    assert first.told is not None
    assert second.time == pytest.approx(first.told + 10.0)
    assert world.outcomes[-2].pair.row == 20
    assert max(at for row, at in world.recorded_at.items() if row != 1) < world.begin + 2.0


def test_a_retry_pays_the_rate_again(virtual_time: Run) -> None:
    portal = Portal(latency=(0.001,))
    for row in range(1, 41):
        portal.answers(row, TRANSIENT, TRANSIENT, AMBIGUOUS, OK)
    world = World(portal, pairs(40), rate=Rate(20, 1.0), concurrency=8, policy=RetryPolicy(base=0.001))
    virtual_time(world.run())
    assert len(portal.books) == 160
    assert world.most_sent_in(1.0) <= 20
    assert set(world.statuses.values()) == {Status.LINKED}


def test_a_reread_pays_the_rate_and_takes_a_permit(virtual_time: Run) -> None:
    portal = Portal(latency=[0.01] * 20 + [0.7] * 40)
    for row in range(1, 31):
        portal.answers(row, AMBIGUOUS, OK)
    policy = RetryPolicy(max_attempts=1)
    world = World(portal, pairs(30), rate=Rate(10, 1.0), concurrency=2, policy=policy)
    virtual_time(world.run())
    assert Counter(sent.kind for sent in portal.books) == {Kind.LINK: 30, Kind.LOOK: 30}
    assert world.most_sent_in(1.0) <= 10
    assert portal.most_in_flight == 2


def test_retry_after_pauses_every_lane(virtual_time: Run) -> None:
    """A 429 speaks for the whole portal: other pairs must not walk into it."""
    portal = Portal(latency=(0.4, 0.1, 0.25))
    portal.answers(5, throttled(7.0), OK)
    world = World(portal, pairs(40), rate=Rate(20, 1.0), concurrency=4)
    virtual_time(world.run())
    told = portal.of(5)[0].told
    assert told is not None
    assert [time for time in portal.times if told < time < told + 7.0] == []
    resumed = [time for time in portal.times if time >= told + 7.0]
    assert resumed[0] == pytest.approx(told + 7.7, abs=0.01)
    assert world.most_sent_in(1.0) <= 20
    assert world.paused == pytest.approx(7.7, abs=0.01)
    assert set(world.statuses.values()) == {Status.LINKED}


def test_waiting_is_not_failing(virtual_time: Run) -> None:
    """A pair that was throttled for an hour has used up neither its attempts nor its time."""
    portal = Portal()
    portal.answers(1, *[throttled(300.0)] * 12, TRANSIENT, OK)
    world = World(portal, pairs(1), policy=RetryPolicy(max_attempts=2, max_seconds=60.0))
    virtual_time(world.run())
    assert world.statuses == {1: Status.LINKED}
    assert world.lasted > 3600.0


def test_pairs_that_alone_are_refused_as_if_the_portal_were_closed_hold_up_no_other(
    virtual_time: Run,
) -> None:
    portal = Portal()
    refused = (Attempt(Result.THROTTLED, "unavailable", 503), None)
    portal.answers(1, *[refused] * 3, OK)
    portal.answers(2, *[refused] * 3, OK)
    world = World(portal, pairs(20), concurrency=2)
    virtual_time(world.run())
    assert set(world.statuses.values()) == {Status.LINKED}
    asked = [sent.row for sent in portal.books]
    assert asked[:4] == [1, 2, 3, 4]  # after a pause; not the first two again
    assert world.lasted < 30.0


def test_time_spent_sending_and_backing_off_is_bounded(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0,))
    portal.answers(1, *[TRANSIENT] * 9)
    policy = RetryPolicy(max_attempts=9, max_seconds=11.0, base=4.0, cap=4.0)
    world = World(portal, pairs(1), policy=policy)
    virtual_time(world.run())
    # Sent at 0, 5 and 10; 3 s of sending and 8 s of backing off are 11 s.
    assert [time - world.begin for time in portal.times] == [pytest.approx(t) for t in (0, 5, 10)]
    assert world.statuses == {1: Status.RETRYABLE}


def test_time_in_our_own_queue_is_not_spent(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0,))
    portal.answers(1, TRANSIENT, TRANSIENT, OK)
    policy = RetryPolicy(max_seconds=8.0, base=0.5, cap=0.5)
    world = World(portal, pairs(8), rate=Rate(1, 20.0), concurrency=1, policy=policy)
    virtual_time(world.run())
    assert world.statuses[1] is Status.LINKED
    assert portal.of(1)[2].time > world.begin + 60.0


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_permit_is_held_until_the_outcome_is_recorded(virtual_time: Run, concurrency: int) -> None:
    """Never more links than permits are stored and not yet in the ledger: a crash repeats no more."""
    portal = Portal(latency=(0.01, 0.05))
    world = World(portal, pairs(20), concurrency=concurrency, record_seconds=2.0)
    virtual_time(world.run())
    open_at = [
        i + 1 - sum(at <= sent.time for at in world.recorded_at.values())
        for i, sent in enumerate(portal.books)
    ]
    assert max(open_at) == concurrency


def test_a_permit_is_held_until_a_reread_is_recorded(virtual_time: Run) -> None:
    portal = Portal(latency=(0.01,))
    for row in range(1, 9):
        portal.answers(row, AMBIGUOUS, OK)
    policy = RetryPolicy(max_attempts=1)
    world = World(portal, pairs(8), concurrency=1, record_seconds=2.0, policy=policy)
    virtual_time(world.run())
    rereads = [sent for sent in portal.books if sent.kind is Kind.LOOK]
    assert sorted(sent.row for sent in rereads) == list(range(1, 9))
    for earlier, later in pairwise(rereads):
        assert later.time >= world.recorded_at[earlier.row]


@pytest.mark.parametrize(
    ("read", "status", "reason", "http_status"),
    [
        (OK, Status.LINKED, "", 201),
        (ABSENT, Status.RETRYABLE, "timeout", None),
        (UNREADABLE, Status.UNKNOWN, "timeout", None),
    ],
)
def test_when_ambiguous_attempts_are_used_up_a_reread_decides(
    virtual_time: Run, read: Attempt, status: Status, reason: str, http_status: int | None
) -> None:
    portal = Portal()
    portal.answers(1, TRANSIENT, AMBIGUOUS, AMBIGUOUS, read)
    world = World(portal, pairs(1), policy=RetryPolicy(max_attempts=3, max_unreadable=1))
    virtual_time(world.run())
    sent = [(sent.kind, sent.number) for sent in portal.books]
    assert sent == [(Kind.LINK, 1), (Kind.LINK, 2), (Kind.LINK, 3), (Kind.LOOK, 4)]
    outcome = world.outcome(1)
    assert (outcome.status, outcome.reason, outcome.http_status) == (status, reason, http_status)
    assert [a.result for a in outcome.attempts[2:]] == [Result.AMBIGUOUS, read.result]
    assert world.in_doubt == []


@pytest.mark.parametrize(
    ("answers", "sent", "status"),
    [
        ([OK], [Kind.LOOK], Status.LINKED),
        ([ABSENT, OK], [Kind.LOOK, Kind.LINK], Status.LINKED),
        ([ABSENT, PERMANENT], [Kind.LOOK, Kind.LINK], Status.REJECTED),
        ([throttled(1.0), UNREADABLE, OK], [Kind.LOOK] * 3, Status.LINKED),
        ([*[UNREADABLE] * 3, OK], [*[Kind.LOOK] * 3, Kind.LINK], Status.LINKED),
        ([ABSENT, AMBIGUOUS, AMBIGUOUS, OK], [Kind.LOOK, Kind.LINK, Kind.LINK, Kind.LOOK], Status.LINKED),
    ],
)
def test_a_pair_that_an_earlier_session_may_have_sent_is_looked_for_before_it_is_sent(
    virtual_time: Run, answers: list[Answer], sent: list[Kind], status: Status
) -> None:
    portal = Portal()
    portal.answers(1, *answers)
    doubtful = replace(pairs(1)[0], in_doubt=True)
    world = World(portal, [doubtful], policy=RetryPolicy(max_attempts=2))
    virtual_time(world.run())
    assert [one.kind for one in portal.books] == sent
    assert [one.number for one in portal.books] == list(range(1, len(sent) + 1))
    outcome = world.outcome(1)
    assert outcome.status is status
    assert len(outcome.attempts) == len(sent)


def test_a_pair_in_doubt_stays_so_when_a_stop_comes_before_the_look_at_it(virtual_time: Run) -> None:
    portal = Portal(latency=(5.0,))
    todo = [replace(pair, in_doubt=True) for pair in pairs(20)]
    world = World(portal, todo, concurrency=2)
    virtual_time(world.run_and_stop(1.0, grace=0.0))
    assert world.in_doubt == list(range(1, 21))


def test_attempts_handed_over_with_an_outcome_are_not_counted_again_when_the_lane_is_cancelled(
    virtual_time: Run,
) -> None:
    """The ledger writes the outcome all the same; whether it did so in time is for a look to tell."""
    portal = Portal(latency=(0.05,))
    world = World(portal, pairs(3), concurrency=1, record_seconds=5.0)
    virtual_time(world.run_and_stop(1.0, grace=0.0))
    assert world.outcomes == []
    assert [link.pair.row for link in world.dispatcher.concluding if isinstance(link, Link)] == [1]
    assert [link.attempts for link in world.dispatcher.unfinished if isinstance(link, Link)] == [(), ()]
    assert world.in_doubt == [1]


def test_while_fresh_pairs_wait_retries_are_a_bounded_share_of_what_is_sent(virtual_time: Run) -> None:
    """The budget makes pairs that fail wait; they do not fail sooner, and the others do not wait for them."""
    portal = Portal(latency=(0.01,))
    todo = pairs(600)
    for pair in todo:
        portal.answers(pair.row, *[TRANSIENT] * 9)
    world = World(portal, todo, rate=Rate(50, 1.0), concurrency=64)
    virtual_time(world.run())
    early = [sent for sent in portal.books if sent.time - world.begin < 10.0]
    retries = sum(sent.number > 1 for sent in early)
    assert retries <= 0.2 * len(early) + 0.1 * 50 * 10 + 10
    assert retries > 50
    assert Counter(outcome.status for outcome in world.outcomes) == {Status.RETRYABLE: 600}
    assert len(portal.books) == 3000


def test_a_sixth_of_pairs_that_fail_all_their_tries_costs_no_rate_and_delays_no_other(
    virtual_time: Run,
) -> None:
    portal = Portal(latency=(0.05,))
    todo = pairs(3000)
    for pair in todo[::6]:
        portal.answers(pair.row, *[TRANSIENT] * 9)
    world = World(portal, todo, rate=Rate(100, 1.0), concurrency=8)
    virtual_time(world.run())
    assert len(portal.books) == 2500 + 500 * 5
    assert len(portal.books) / world.lasted >= 95.0
    assert world.most_sent_in(1.0) <= 100
    # Fresh pairs get all but a bounded share of the rate: 0.2 retries for each, and a tenth.
    good = [world.recorded_at[row] for row, status in world.statuses.items() if status is Status.LINKED]
    assert max(good) - world.begin < 3000 / (100 * 0.9 / 1.2) + 1.0


def test_what_was_a_group_in_one_request_parts_again_by_what_became_of_each(virtual_time: Run) -> None:
    portal = Portal(size=4)
    portal.answers(2, TRANSIENT, OK)
    portal.answers(3, PERMANENT)
    world = World(portal, pairs(6), concurrency=1)
    virtual_time(world.run())
    assert portal.requests == [4, 2, 1]
    assert world.statuses == {row: Status.REJECTED if row == 3 else Status.LINKED for row in range(1, 7)}
    assert [request.repeated for request in world.observed] == [(), (), ("unavailable",)]


def test_of_those_that_a_broken_request_did_not_carry_out_the_first_goes_alone_and_the_others_together(
    virtual_time: Run,
) -> None:
    portal = Portal(size=5)
    for row in (1, 2):
        portal.answers(row, CUT_OFF, OK)
    for row in (3, 4, 5):
        portal.answers(row, CUT_OFF, NOT_THERE, OK)
    world = World(portal, pairs(5), concurrency=1)
    virtual_time(world.run())
    # All of them, the look at all of them, the one where it broke off, those after it.
    assert portal.requests == [5, 5, 1, 2]
    assert [(sent.kind, sent.row) for sent in portal.books[5:]] == [
        *[(Kind.LOOK, row) for row in range(1, 6)],
        *[(Kind.LINK, row) for row in (3, 4, 5)],
    ]
    assert world.statuses == dict.fromkeys(range(1, 6), Status.LINKED)
    assert world.in_doubt == []


def test_one_that_breaks_every_request_is_found_and_costs_the_others_none_of_their_attempts(
    virtual_time: Run,
) -> None:
    """The portal falls over at the third: each request with it in it is carried out up to there."""
    portal = Portal(size=5)
    for row in (1, 2):
        portal.answers(row, CUT_OFF, OK)
    portal.answers(3, CUT_OFF, NOT_THERE, AMBIGUOUS, NOT_THERE)
    for row in (4, 5):
        portal.answers(row, CUT_OFF, NOT_THERE, OK)
    world = World(portal, pairs(5), concurrency=1, policy=RetryPolicy(max_attempts=1))
    virtual_time(world.run())
    assert world.statuses == {row: Status.RETRYABLE if row == 3 else Status.LINKED for row in range(1, 6)}
    assert world.outcome(3).reason == "timeout"


def test_after_a_broken_request_that_was_carried_out_nothing_is_sent_again(virtual_time: Run) -> None:
    portal = Portal(size=5)
    for row in range(1, 6):
        portal.answers(row, CUT_OFF, OK)
    world = World(portal, pairs(5), concurrency=1)
    virtual_time(world.run())
    assert portal.requests == [5, 5]
    assert world.statuses == dict.fromkeys(range(1, 6), Status.LINKED)


def test_a_stop_before_the_look_at_a_broken_request_leaves_all_of_it_in_doubt(virtual_time: Run) -> None:
    portal = Portal(size=5)
    for row in range(1, 6):
        portal.answers(row, CUT_OFF, NOT_THERE, OK)
    world = World(portal, pairs(5), concurrency=1)
    virtual_time(world.run_and_stop(after=0.5))
    assert portal.requests == [5]
    assert world.in_doubt == [1, 2, 3, 4, 5]


def test_a_stop_loses_none_of_those_that_are_to_go_again_after_a_look(virtual_time: Run) -> None:
    portal = Portal(size=5)
    for row in range(1, 6):
        portal.answers(row, CUT_OFF, NOT_THERE, OK)
    world = World(portal, pairs(5), concurrency=1)
    virtual_time(world.run_and_stop(after=1.08))  # while the looks are on their way
    assert portal.requests == [5, 5]
    assert sorted(link.pair.row for link in world.links) == [1, 2, 3, 4, 5]


def test_a_permit_given_back_after_a_stop_lets_nobody_send(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0,))
    world = World(portal, pairs(9), concurrency=1)

    async def story() -> None:
        await world.limiter.permits.acquire()

        def stop() -> None:
            world.limiter.permits.release()
            world.dispatcher.stop()

        asyncio.get_running_loop().call_later(1.0, stop)
        await world.run()

    virtual_time(story())
    assert portal.books == []
    assert world.in_doubt == []


def test_a_log_in_takes_no_turn_from_others_and_makes_none_go_stale(virtual_time: Run) -> None:
    portal = Portal(latency=(0.0,))
    portal.log_in_seconds = 7.0
    world = World(portal, pairs(40), rate=Rate(10, 1.0), concurrency=8)
    virtual_time(world.run())
    assert world.most_sent_in(1.0) <= 10


def test_lanes_follow_the_permits(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0,))
    world = World(portal, pairs(100), concurrency=2)
    in_flight: dict[float, int] = {}

    def note(at: float) -> None:
        in_flight[at] = portal.in_flight

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for at, permits in ((4.5, 6), (8.5, 1)):
            loop.call_later(at, world.limiter.resize, permits)
        for at in (3.2, 7.2, 12.2):
            loop.call_later(at, note, at)
        await world.run_and_stop(after=13.0)

    virtual_time(work())
    assert in_flight == {3.2: 2, 7.2: 6, 12.2: 1}


def test_a_refusal_of_us_drains_the_other_lanes_and_is_raised(virtual_time: Run) -> None:
    portal = Portal(latency=(3.0, 1.0, 3.0, 3.0))
    portal.answers(2, REFUSED)
    world = World(portal, pairs(40), concurrency=4)
    with pytest.raises(PortalRefused) as raised:
        virtual_time(world.run())
    assert raised.value is REFUSED
    assert set(world.statuses) >= {1, 3, 4}
    assert 2 not in world.statuses
    assert world.lasted < 5.0
    assert world.in_doubt == []


@pytest.mark.parametrize(("earlier", "doubt"), [(TRANSIENT, []), (AMBIGUOUS, [1])])
def test_a_refusal_proves_nothing_of_earlier_attempts(
    virtual_time: Run, earlier: Attempt, doubt: list[int]
) -> None:
    portal = Portal()
    portal.answers(1, earlier, REFUSED)
    world = World(portal, pairs(1))
    with pytest.raises(PortalRefused):
        virtual_time(world.run())
    assert world.outcomes == []
    assert world.in_doubt == doubt


def test_a_refused_reread_leaves_its_pair_in_doubt(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, AMBIGUOUS, REFUSED)
    world = World(portal, pairs(1), policy=RetryPolicy(max_attempts=1))
    with pytest.raises(PortalRefused):
        virtual_time(world.run())
    assert world.in_doubt == [1]


def test_the_first_of_several_errors_is_raised(virtual_time: Run) -> None:
    portal = Portal(latency=(2.0, 1.0))
    portal.answers(1, PortalClosed("later"))
    portal.answers(2, REFUSED)
    world = World(portal, pairs(9), concurrency=2)
    with pytest.raises(PortalRefused):
        virtual_time(world.run())


def test_an_error_that_is_none_of_ours_ends_the_run_and_leaves_its_pair_in_doubt(virtual_time: Run) -> None:
    """A bug after sending is no answer."""
    portal = Portal()
    portal.answers(1, ZeroDivisionError("a bug"))
    world = World(portal, pairs(9), concurrency=1)
    with pytest.raises(ZeroDivisionError):
        virtual_time(world.run())
    assert world.in_doubt == [1]


def test_a_stop_takes_no_more_pairs_and_those_in_flight_finish_and_are_recorded(virtual_time: Run) -> None:
    portal = Portal(latency=(10.0,))
    world = World(portal, pairs(40), concurrency=3, record_seconds=1.0)
    virtual_time(world.run_and_stop(after=4.0))
    assert len(portal.books) == 3
    assert set(world.statuses) == {1, 2, 3}
    assert world.lasted == pytest.approx(11.0, abs=0.01)
    assert world.in_doubt == []


def test_a_stop_while_recording_waits_for_the_record(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0,))
    world = World(portal, pairs(9), concurrency=1, record_seconds=10.0)
    virtual_time(world.run_and_stop(after=5.0))
    assert list(world.statuses) == [1]
    assert world.lasted == pytest.approx(11.0)


@pytest.mark.parametrize("failure", [TRANSIENT, throttled(300.0), AMBIGUOUS])
def test_an_answer_that_comes_after_a_stop_is_not_tried_again(virtual_time: Run, failure: Answer) -> None:
    portal = Portal(latency=(2.0,))
    portal.answers(1, failure)
    world = World(portal, pairs(1))
    virtual_time(world.run_and_stop(after=1.0))
    assert world.lasted == pytest.approx(2.0)
    assert world.outcomes == []
    assert world.in_doubt == ([1] if failure is AMBIGUOUS else [])


def test_a_reread_that_falls_due_after_a_stop_is_not_sent(virtual_time: Run) -> None:
    """One that already waits for its turn at the stop is given up, so this one should be."""
    portal = Portal(latency=(2.0,))
    portal.answers(1, AMBIGUOUS, OK)
    world = World(portal, pairs(1), policy=RetryPolicy(max_attempts=1))
    virtual_time(world.run_and_stop(after=1.0))
    assert [sent.kind for sent in portal.books] == [Kind.LINK]
    assert world.in_doubt == [1]


def test_at_a_stop_lanes_that_back_off_give_up_at_once(virtual_time: Run) -> None:
    portal = Portal()
    for row in range(1, 10):
        portal.answers(row, TRANSIENT)
    world = World(portal, pairs(9), policy=RetryPolicy(base=500.0, cap=500.0))
    virtual_time(world.run_and_stop(after=3.0))
    assert world.lasted == pytest.approx(3.0)
    assert world.outcomes == []
    assert world.in_doubt == []


def test_at_a_stop_lanes_that_wait_for_a_turn_give_up_at_once(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, throttled(300.0))
    world = World(portal, pairs(9), concurrency=2, rate=Rate(1, 1.0))
    virtual_time(world.run_and_stop(after=3.0))
    assert world.lasted == pytest.approx(3.0)
    assert world.in_doubt == []


def test_at_a_stop_lanes_that_wait_for_input_give_up_at_once(virtual_time: Run) -> None:
    world = World(Portal(), (), endless=True)
    virtual_time(world.run_and_stop(after=3.0))
    assert world.lasted == pytest.approx(3.0)


def test_a_stop_before_the_run_sends_nothing(virtual_time: Run) -> None:
    world = World(Portal(), pairs(9))
    world.dispatcher.stop()
    virtual_time(world.run())
    assert world.portal.books == []


def test_when_grace_is_over_requests_are_cancelled_and_their_rows_are_in_doubt(virtual_time: Run) -> None:
    portal = Portal(latency=(8.0, 100.0, 100.0))
    world = World(portal, pairs(3), concurrency=3)
    virtual_time(world.run_and_stop(after=5.0, grace=20.0))
    assert world.lasted == pytest.approx(25.0)
    assert world.statuses == {1: Status.LINKED}
    assert sorted(world.in_doubt) == [2, 3]
    assert portal.in_flight == 0


@pytest.mark.parametrize(("answer", "doubt"), [(OK, [1]), (PERMANENT, [])])
def test_a_cancelled_record_leaves_in_doubt_what_may_be_stored(
    virtual_time: Run, answer: Attempt, doubt: list[int]
) -> None:
    portal = Portal(latency=(1.0,))
    portal.answers(1, answer)
    world = World(portal, pairs(1), record_seconds=100.0)
    virtual_time(world.run_and_stop(after=5.0, grace=20.0))
    assert world.lasted == pytest.approx(25.0)
    assert world.outcomes == []
    assert world.in_doubt == doubt


@pytest.mark.parametrize(
    ("answers", "doubt"),
    [
        ([AMBIGUOUS], [1]),
        ([AMBIGUOUS, TRANSIENT], [1]),
        ([TRANSIENT, AMBIGUOUS], [1]),
        ([AMBIGUOUS, throttled(500.0)], [1]),
        ([TRANSIENT, TRANSIENT], []),
        ([throttled(500.0)], []),
    ],
)
def test_a_pair_stopped_between_attempts_is_in_doubt_if_any_was_ambiguous(
    virtual_time: Run, answers: list[Answer], doubt: list[int]
) -> None:
    portal = Portal()
    portal.answers(1, *answers, *[TRANSIENT] * 9)
    world = World(portal, pairs(1), policy=RetryPolicy(base=10.0, cap=10.0))
    virtual_time(world.run_and_stop(after=10.0 * len(answers) - 5.0))
    assert len(portal.books) == len(answers)
    assert world.outcomes == []
    assert world.in_doubt == doubt


def test_a_ledger_that_cannot_record_ends_the_run_with_its_error(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0, 2.0))
    world = World(portal, pairs(40), concurrency=2, record_error=BROKEN)
    with pytest.raises(LedgerError) as raised:
        virtual_time(world.run())
    assert raised.value is BROKEN
    assert world.outcomes == []
    assert set(world.in_doubt) >= {1, 2}


@pytest.mark.parametrize("error", [REFUSED, ZeroDivisionError("a bug")])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_after_an_error_of_a_lane_nothing_more_is_sent(
    virtual_time: Run, error: Exception, concurrency: int
) -> None:
    portal = Portal(latency=(1.0, *[3.0] * 99))
    portal.answers(1, error)
    world = World(portal, pairs(40), concurrency=concurrency)
    with pytest.raises(type(error)):
        virtual_time(world.run())
    assert len(portal.books) == concurrency


def test_after_an_error_of_the_ledger_nothing_more_is_sent(virtual_time: Run) -> None:
    """What is sent then cannot be recorded, so it only adds a row in doubt."""
    portal = Portal()
    world = World(portal, pairs(40), concurrency=1, record_error=BROKEN)
    with pytest.raises(LedgerError):
        virtual_time(world.run())
    assert len(portal.books) == 1
    assert world.in_doubt == [1]


class Stopping(World):
    """Stops as soon as an outcome is recorded, when a permit is about to become free."""

    async def conclude(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        await super().conclude(finished)
        self.dispatcher.stop()
        return ()


def test_a_stop_in_the_moment_an_outcome_is_recorded_sends_nothing_more(virtual_time: Run) -> None:
    world = Stopping(Portal(), pairs(40), concurrency=1)
    virtual_time(world.run())
    assert list(world.statuses) == [1]


def test_a_stop_in_the_moment_an_outcome_is_recorded_rereads_nothing_more(virtual_time: Run) -> None:
    portal = Portal(latency=(0.05, 0.3, 0.05))
    portal.answers(1, AMBIGUOUS, OK)
    portal.answers(2, AMBIGUOUS, OK)
    world = Stopping(portal, pairs(2), policy=RetryPolicy(max_attempts=1))
    virtual_time(world.run())
    assert [(sent.row, sent.kind) for sent in portal.books] == [
        (1, Kind.LINK),
        (2, Kind.LINK),
        (1, Kind.LOOK),
    ]
    assert world.in_doubt == [2]


def test_cancelling_the_run_cancels_the_lanes_and_leaves_no_task(virtual_time: Run) -> None:
    portal = Portal(latency=(100.0,))
    portal.answers(3, TRANSIENT)
    world = World(portal, pairs(40), concurrency=4)

    async def work() -> set[asyncio.Task[Any]]:
        running = asyncio.create_task(world.run())
        await asyncio.sleep(10.0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert virtual_time(work()) == set()
    assert world.lasted == pytest.approx(10.0)
    assert portal.in_flight == 0
    assert sorted(world.in_doubt) == [1, 2, 3, 4]


def test_a_cancellation_in_the_time_of_grace_ends_it(virtual_time: Run) -> None:
    """The second signal."""
    portal = Portal(latency=(100.0,))
    world = World(portal, pairs(40), concurrency=1)

    async def work() -> set[asyncio.Task[Any]]:
        running = asyncio.create_task(world.run_and_stop(after=5.0))
        await asyncio.sleep(10.0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert virtual_time(work()) == set()
    assert world.lasted == pytest.approx(10.0)
    assert world.in_doubt == [1]


@pytest.mark.parametrize("stopped", [True, False])
def test_a_run_that_ends_leaves_no_task(virtual_time: Run, *, stopped: bool) -> None:
    world = World(Portal(), pairs(5))

    async def work() -> set[asyncio.Task[Any]]:
        await (world.run_and_stop(after=0.06) if stopped else world.run())
        await asyncio.sleep(0)  # a cancelled task needs one round to end
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert virtual_time(work()) == set()
