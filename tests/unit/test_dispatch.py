"""Lanes against a portal that keeps books, under a virtual clock and a real limiter."""

import asyncio
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from itertools import cycle, pairwise
from typing import Any, Literal

import pytest

from tests.unit.dealt import Highest, now
from worker.dispatch import LANES_PER_PERMIT, Dispatcher
from worker.errors import LedgerError, PortalClosed, PortalRefused
from worker.limiter import Limiter
from worker.models import Attempt, Outcome, Pair, Result, Status
from worker.quantities import Rate
from worker.retry import RetryPolicy

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Kind = Literal["link", "reread"]

FAST = Rate(1000, 1.0)
OK = Attempt(0, Result.OK, http_status=201)
ABSENT = Attempt(0, Result.TRANSIENT, "not_stored", 200)
UNREADABLE = Attempt(0, Result.AMBIGUOUS, "connection_lost")
TRANSIENT = Attempt(0, Result.TRANSIENT, "unavailable", 503)
AMBIGUOUS = Attempt(0, Result.AMBIGUOUS, "timeout")
PERMANENT = Attempt(0, Result.PERMANENT, "not_found", 404)
REFUSED = PortalRefused("https://portal.example: HTTP 401 unauthorized")
BROKEN = LedgerError("ledger.db: disk full")


def throttled(retry_after: float | None = None) -> Attempt:
    return Attempt(0, Result.THROTTLED, "throttled", 429, retry_after)


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
    """Answers as scripted, else with success, after a latency that may differ from call to call."""

    def __init__(self, latency: Iterable[float] = (0.05,)) -> None:
        self.script: dict[int, deque[Attempt | Exception]] = {}
        self.books: list[Sent] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._latency = cycle(latency)

    def answers(self, row: int, *answers: Attempt | Exception) -> None:
        self.script[row] = deque(answers)

    async def link(self, pair: Pair, number: int) -> Attempt:
        return await self._answer(pair, "link", number)

    async def reread(self, pair: Pair, number: int) -> Attempt:
        return await self._answer(pair, "reread", number)

    async def _answer(self, pair: Pair, kind: Kind, number: int) -> Attempt:
        sent = Sent(now(), pair.row, kind, number)
        self.books.append(sent)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        seconds = next(self._latency)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.in_flight -= 1
        sent.told = now()
        script = self.script.get(pair.row)
        answer = script.popleft() if script else OK
        if isinstance(answer, Exception):
            raise answer
        return replace(answer, number=number, seconds=seconds)

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
    ) -> None:
        rng = Highest(0)
        self.portal = portal
        self.concurrency = concurrency
        self.limiter = Limiter(rate, concurrency, max_pause=300.0, rng=rng)
        self.todo = deque(todo)
        self.taken: list[int] = []
        self.outcomes: list[Outcome] = []
        self.recorded_at: dict[int, float] = {}
        self.observed: list[Attempt] = []
        self.begin = self.end = 0.0
        self.record_seconds = record_seconds
        self.record_error = record_error
        self.dispatcher = Dispatcher(
            portal,
            self.limiter,
            policy or RetryPolicy(),
            take=self.take,
            record=self.record,
            observe=self.observe,
            rng=rng,
        )

    async def take(self) -> Pair | None:
        if not self.todo:
            return None
        pair = self.todo.popleft()
        self.taken.append(pair.row)
        return pair

    async def record(self, outcome: Outcome) -> None:
        await asyncio.sleep(self.record_seconds)
        if self.record_error is not None:
            raise self.record_error
        self.outcomes.append(outcome)
        self.recorded_at[outcome.pair.row] = now()

    def observe(self, attempt: Attempt) -> None:
        self.observed.append(attempt)
        self.limiter.observe(attempt)

    async def run(self, grace: float = 25.0) -> None:
        self.begin = now()
        try:
            await self.dispatcher.run(self.concurrency, grace)
        finally:
            self.end = now()

    async def run_and_stop(self, after: float, grace: float = 25.0) -> None:
        asyncio.get_running_loop().call_later(after, self.dispatcher.stop)
        await self.run(grace)

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
    assert world.dispatcher.in_doubt == []


def test_an_outcome_holds_the_pair_all_attempts_and_the_cause(virtual_time: Run) -> None:
    portal = Portal(latency=(0.25,))
    portal.answers(1, TRANSIENT, throttled(0.0), PERMANENT)
    world = World(portal, pairs(1))
    virtual_time(world.run())

    attempts = tuple(
        replace(answer, number=number, seconds=0.25)
        for number, answer in enumerate((TRANSIENT, throttled(0.0), PERMANENT), 1)
    )
    assert world.outcomes == [Outcome(pairs(1)[0], Status.REJECTED, attempts, "not_found", 404)]
    assert [sent.number for sent in portal.books] == [1, 2, 3]


def test_each_attempt_is_observed_before_its_outcome_is_recorded(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, TRANSIENT, OK)
    world = World(portal, pairs(1), record_error=BROKEN)
    with pytest.raises(LedgerError):
        virtual_time(world.run())
    assert [(a.number, a.result) for a in world.observed] == [(1, Result.TRANSIENT), (2, Result.OK)]


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_never_more_than_concurrency_are_in_flight(virtual_time: Run, concurrency: int) -> None:
    portal = Portal(latency=(1.0, 0.3, 2.0))
    for row in range(1, 40, 3):
        portal.answers(row, TRANSIENT, AMBIGUOUS, OK)
    world = World(portal, pairs(40), concurrency=concurrency)
    virtual_time(world.run())
    assert portal.most_in_flight == concurrency


def test_there_are_lanes_enough_to_work_while_others_back_off(virtual_time: Run) -> None:
    portal = Portal()
    for row in range(1, 100):
        portal.answers(row, TRANSIENT)
    world = World(portal, pairs(99), concurrency=3, policy=RetryPolicy(base=100.0, cap=100.0))
    virtual_time(world.run_and_stop(after=50.0))
    assert len(world.taken) == len(portal.books) == 3 * LANES_PER_PERMIT


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
    assert world.taken[-1] == world.outcomes[-2].pair.row == 20
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
    assert Counter(sent.kind for sent in portal.books) == {"link": 30, "reread": 30}
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
    assert resumed[0] == pytest.approx(told + 7.0)
    assert world.most_sent_in(1.0) <= 20
    assert world.limiter.paused_seconds == pytest.approx(7.0)
    assert set(world.statuses.values()) == {Status.LINKED}


def test_waiting_is_not_failing(virtual_time: Run) -> None:
    """A pair that was throttled for an hour has used up neither its attempts nor its time."""
    portal = Portal()
    portal.answers(1, *[throttled(300.0)] * 12, TRANSIENT, OK)
    world = World(portal, pairs(1), policy=RetryPolicy(max_attempts=2, max_seconds=60.0))
    virtual_time(world.run())
    assert world.statuses == {1: Status.LINKED}
    assert world.lasted > 3600.0


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
    world = World(portal, pairs(8), rate=Rate(1, 10.0), concurrency=1, policy=policy)
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
    rereads = [sent for sent in portal.books if sent.kind == "reread"]
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
    assert sent == [("link", 1), ("link", 2), ("link", 3), ("reread", 4)]
    outcome = world.outcome(1)
    assert (outcome.status, outcome.reason, outcome.http_status) == (status, reason, http_status)
    assert [(a.number, a.result) for a in outcome.attempts[2:]] == [(3, Result.AMBIGUOUS), (4, read.result)]
    assert world.dispatcher.in_doubt == []


@pytest.mark.parametrize(
    ("answers", "sent", "status"),
    [
        ([OK], ["reread"], Status.LINKED),
        ([ABSENT, OK], ["reread", "link"], Status.LINKED),
        ([ABSENT, PERMANENT], ["reread", "link"], Status.REJECTED),
        ([throttled(1.0), UNREADABLE, OK], ["reread"] * 3, Status.LINKED),
        ([*[UNREADABLE] * 3, OK], [*["reread"] * 3, "link"], Status.LINKED),
        ([ABSENT, AMBIGUOUS, AMBIGUOUS, OK], ["reread", "link", "link", "reread"], Status.LINKED),
    ],
)
def test_a_pair_that_an_earlier_session_may_have_sent_is_looked_for_before_it_is_sent(
    virtual_time: Run, answers: list[Attempt], sent: list[str], status: Status
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
    assert set(world.dispatcher.in_doubt) == set(world.taken)


def test_attempts_handed_over_with_an_outcome_are_not_counted_again_when_the_lane_is_cancelled(
    virtual_time: Run,
) -> None:
    """The ledger writes the outcome all the same; whether it did so in time is for a look to tell."""
    portal = Portal(latency=(0.05,))
    world = World(portal, pairs(3), concurrency=1, record_seconds=5.0)
    virtual_time(world.run_and_stop(1.0, grace=0.0))
    assert world.outcomes == []
    assert world.dispatcher.unsettled == {}
    assert world.dispatcher.in_doubt == [1]


def test_retries_of_a_failing_portal_are_a_bounded_share_of_what_is_sent(virtual_time: Run) -> None:
    """200 pairs that all fail would be 1,000 requests; the budget makes the pairs wait, not fail sooner."""
    portal = Portal(latency=(0.01,))
    todo = pairs(200)
    for pair in todo:
        portal.answers(pair.row, *[TRANSIENT] * 9)
    world = World(portal, todo, rate=Rate(50, 1.0), concurrency=64)
    virtual_time(world.run())
    early = [sent for sent in portal.books if sent.time - world.begin < 10.0]
    retries = sum(sent.number > 1 for sent in early)
    assert retries <= 0.2 * len(early) + 0.1 * 50 * 10 + 10
    assert retries > 50
    assert Counter(outcome.status for outcome in world.outcomes) == {Status.RETRYABLE: 200}
    assert len(portal.books) == 1000


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
    assert world.dispatcher.in_doubt == []


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
    assert world.dispatcher.in_doubt == doubt


def test_a_refused_reread_leaves_its_pair_in_doubt(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, AMBIGUOUS, REFUSED)
    world = World(portal, pairs(1), policy=RetryPolicy(max_attempts=1))
    with pytest.raises(PortalRefused):
        virtual_time(world.run())
    assert world.dispatcher.in_doubt == [1]


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
    assert world.dispatcher.in_doubt == [1]


def test_a_stop_takes_no_more_pairs_and_those_in_flight_finish_and_are_recorded(virtual_time: Run) -> None:
    portal = Portal(latency=(10.0,))
    world = World(portal, pairs(40), concurrency=3, record_seconds=1.0)
    virtual_time(world.run_and_stop(after=4.0))
    assert len(portal.books) == 3
    assert set(world.statuses) == {1, 2, 3}
    assert world.lasted == pytest.approx(11.0, abs=0.01)
    assert len(world.taken) == 3 * LANES_PER_PERMIT
    assert world.dispatcher.in_doubt == []


def test_a_stop_while_recording_waits_for_the_record(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0,))
    world = World(portal, pairs(9), concurrency=1, record_seconds=10.0)
    virtual_time(world.run_and_stop(after=5.0))
    assert list(world.statuses) == [1]
    assert world.lasted == pytest.approx(11.0)


@pytest.mark.parametrize("failure", [TRANSIENT, throttled(300.0), AMBIGUOUS])
def test_an_answer_that_comes_after_a_stop_is_not_tried_again(virtual_time: Run, failure: Attempt) -> None:
    portal = Portal(latency=(2.0,))
    portal.answers(1, failure)
    world = World(portal, pairs(1))
    virtual_time(world.run_and_stop(after=1.0))
    assert world.lasted == pytest.approx(2.0)
    assert world.outcomes == []
    assert world.dispatcher.in_doubt == ([1] if failure is AMBIGUOUS else [])


def test_a_reread_that_falls_due_after_a_stop_is_not_sent(virtual_time: Run) -> None:
    """One that already waits for its turn at the stop is given up, so this one should be."""
    portal = Portal(latency=(2.0,))
    portal.answers(1, AMBIGUOUS, OK)
    world = World(portal, pairs(1), policy=RetryPolicy(max_attempts=1))
    virtual_time(world.run_and_stop(after=1.0))
    assert [sent.kind for sent in portal.books] == ["link"]
    assert world.dispatcher.in_doubt == [1]


def test_at_a_stop_lanes_that_back_off_give_up_at_once(virtual_time: Run) -> None:
    portal = Portal()
    for row in range(1, 10):
        portal.answers(row, TRANSIENT)
    world = World(portal, pairs(9), policy=RetryPolicy(base=500.0, cap=500.0))
    virtual_time(world.run_and_stop(after=3.0))
    assert world.lasted == pytest.approx(3.0)
    assert world.outcomes == []
    assert world.dispatcher.in_doubt == []


def test_at_a_stop_lanes_that_wait_for_a_turn_give_up_at_once(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, throttled(300.0))
    world = World(portal, pairs(9), concurrency=2, rate=Rate(1, 1.0))
    virtual_time(world.run_and_stop(after=3.0))
    assert world.lasted == pytest.approx(3.0)
    assert world.dispatcher.in_doubt == []


def test_at_a_stop_lanes_that_wait_for_input_give_up_at_once(virtual_time: Run) -> None:
    portal = Portal()
    world = World(portal, pairs(0))

    async def never() -> Pair | None:
        await asyncio.Event().wait()
        return None

    world.dispatcher = Dispatcher(
        portal,
        world.limiter,
        RetryPolicy(),
        take=never,
        record=world.record,
        observe=world.observe,
        rng=Highest(0),
    )
    virtual_time(world.run_and_stop(after=3.0))
    assert world.lasted == pytest.approx(3.0)


def test_a_stop_before_the_run_sends_nothing(virtual_time: Run) -> None:
    world = World(Portal(), pairs(9))
    world.dispatcher.stop()
    virtual_time(world.run())
    assert world.portal.books == []
    assert world.taken == []


def test_when_grace_is_over_requests_are_cancelled_and_their_rows_are_in_doubt(virtual_time: Run) -> None:
    portal = Portal(latency=(8.0, 100.0, 100.0))
    world = World(portal, pairs(3), concurrency=3)
    virtual_time(world.run_and_stop(after=5.0, grace=20.0))
    assert world.lasted == pytest.approx(25.0)
    assert world.statuses == {1: Status.LINKED}
    assert sorted(world.dispatcher.in_doubt) == [2, 3]
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
    assert world.dispatcher.in_doubt == doubt


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
    virtual_time: Run, answers: list[Attempt], doubt: list[int]
) -> None:
    portal = Portal()
    portal.answers(1, *answers, *[TRANSIENT] * 9)
    world = World(portal, pairs(1), policy=RetryPolicy(base=10.0, cap=10.0))
    virtual_time(world.run_and_stop(after=10.0 * len(answers) - 5.0))
    assert len(portal.books) == len(answers)
    assert world.outcomes == []
    assert world.dispatcher.in_doubt == doubt


def test_a_ledger_that_cannot_record_ends_the_run_with_its_error(virtual_time: Run) -> None:
    portal = Portal(latency=(1.0, 2.0))
    world = World(portal, pairs(40), concurrency=2, record_error=BROKEN)
    with pytest.raises(LedgerError) as raised:
        virtual_time(world.run())
    assert raised.value is BROKEN
    assert world.outcomes == []
    assert set(world.dispatcher.in_doubt) >= {1, 2}


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
    assert world.dispatcher.in_doubt == [1]


class Stopping(World):
    """Stops as soon as an outcome is recorded, when a permit is about to become free."""

    async def record(self, outcome: Outcome) -> None:
        await super().record(outcome)
        self.dispatcher.stop()


def test_a_stop_in_the_moment_an_outcome_is_recorded_sends_nothing_more(virtual_time: Run) -> None:
    world = Stopping(Portal(), pairs(40), concurrency=1)
    virtual_time(world.run())
    assert list(world.statuses) == [1]


def test_a_stop_in_the_moment_an_outcome_is_recorded_rereads_nothing_more(virtual_time: Run) -> None:
    portal = Portal()
    portal.answers(1, AMBIGUOUS, OK)
    portal.answers(2, AMBIGUOUS, OK)
    world = Stopping(portal, pairs(2), concurrency=1, policy=RetryPolicy(max_attempts=1))
    virtual_time(world.run())
    assert [(sent.row, sent.kind) for sent in portal.books] == [(1, "link"), (2, "link"), (1, "reread")]
    assert world.dispatcher.in_doubt == [2]


def test_a_ledger_that_gives_no_pairs_ends_the_run_with_its_error(virtual_time: Run) -> None:
    portal = Portal()

    async def broken() -> Pair | None:
        raise BROKEN

    world = World(portal, ())
    world.dispatcher = Dispatcher(
        portal,
        world.limiter,
        RetryPolicy(),
        take=broken,
        record=world.record,
        observe=world.observe,
        rng=Highest(0),
    )
    with pytest.raises(LedgerError):
        virtual_time(world.run())
    assert portal.books == []


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
    assert sorted(world.dispatcher.in_doubt) == [1, 2, 3, 4]


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
    assert world.dispatcher.in_doubt == [1]


@pytest.mark.parametrize("stopped", [True, False])
def test_a_run_that_ends_leaves_no_task(virtual_time: Run, *, stopped: bool) -> None:
    world = World(Portal(), pairs(5))

    async def work() -> set[asyncio.Task[Any]]:
        await (world.run_and_stop(after=0.06) if stopped else world.run())
        await asyncio.sleep(0)  # a cancelled task needs one round to end
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert virtual_time(work()) == set()
