"""Looks at members: as often as it takes, and no oftener; answer by answer, and many of them in lanes."""

from itertools import pairwise

import pytest

from tests.unit.dealt import Highest
from tests.unit.lanes import BUSY, FAST, NOT_FOUND, Portal, Run, send_all, site_of, throttled
from worker.errors import PortalRefused
from worker.limits.limiter import MOST_JITTER
from worker.models import Ask, Attempt, Kind, Result
from worker.operations.base import LOST_WAITS, MOST_LOST, Again
from worker.operations.look import Look, Told
from worker.operations.policy import RetryPolicy
from worker.quantities import Rate

POLICY = RetryPolicy(max_throttled=20, max_unreadable=3, base=4.0)

READ = Attempt(Result.OK, http_status=200, found={7: b'{"id":7}'})
GONE = Attempt(Result.PERMANENT, "not_found", 404)
UNREADABLE = Attempt(Result.AMBIGUOUS, "unavailable", 503)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429)


def look(opportunity_id: int = 5, policy: RetryPolicy = POLICY) -> Look[str]:
    return Look("about", opportunity_id, (7, 8), policy, Highest(0))


def told(*answers: Attempt) -> Told[str]:
    one = look()
    steps = [one.take(answer) for answer in answers]
    assert all(isinstance(step, Again) for step in steps[:-1]), "it came to its end too early"
    assert isinstance(steps[-1], Told)
    return steps[-1]


@pytest.mark.parametrize("answer", [READ, GONE])
def test_a_look_that_tells_is_made_once_and_for_all_that_is_sought(answer: Attempt) -> None:
    assert look().ask() == Ask(Kind.LOOK, 5, (7, 8))
    end = told(answer)
    assert end == Told("about", (answer,))
    assert (end.is_told, end.last) == (True, answer)


def test_all_requests_of_a_look_are_handed_back_and_the_last_one_tells() -> None:
    end = told(UNREADABLE, THROTTLED, READ)
    assert end.attempts == (UNREADABLE, THROTTLED, READ)
    assert end.last.found == READ.found


def test_each_question_says_why_it_is_asked_again() -> None:
    one = look()
    asked = [one.ask()]
    for answer in (UNREADABLE, THROTTLED):
        one.leaves()
        assert isinstance(one.take(answer), Again)
        asked.append(one.ask())
    assert asked == [Ask(Kind.LOOK, 5, (7, 8), because) for because in ("", "unavailable", "throttled")]


def test_a_refusal_of_us_leaves_a_look_as_it_was() -> None:
    one = look()
    one.leaves()
    one.returns()
    assert one.ask() == look().ask()
    assert one.take(READ) == Told("about", (READ,))


def test_members_that_cannot_be_read_are_asked_for_three_times_with_backoff() -> None:
    one = look()
    assert [one.take(UNREADABLE) for _ in range(3)] == [
        Again(4.0, is_retry=True),
        Again(8.0, is_retry=True),
        Told("about", (UNREADABLE,) * 3),
    ]
    end = told(*[UNREADABLE] * 3)
    assert (end.is_told, end.last.reason, end.last.http_status) == (False, "unavailable", 503)


def test_throttled_looks_bring_the_end_of_unreadable_ones_no_nearer() -> None:
    answers = (THROTTLED, UNREADABLE, THROTTLED, THROTTLED, UNREADABLE, THROTTLED, READ)
    assert told(*answers) == Told("about", answers)


def test_a_throttled_look_is_not_repeated_for_ever() -> None:
    end = told(*[THROTTLED] * 20)
    assert not end.is_told


@pytest.mark.parametrize(("first", "pays"), [(THROTTLED, False), (UNREADABLE, True)])
def test_only_a_look_that_is_repeated_for_another_reason_than_throttling_pays_retry_budget(
    first: Attempt, *, pays: bool
) -> None:
    again = look().take(first)
    assert isinstance(again, Again)
    assert again.is_retry is pays


def looks(count: int, policy: RetryPolicy) -> list[Look[str]]:
    return [look(opportunity_id, policy) for opportunity_id in range(1, count + 1)]


def test_a_throttled_look_holds_back_all_others_for_as_long_as_the_portal_asks(virtual_time: Run) -> None:
    portal = Portal()
    portal.shows(1, throttled(60.0))

    async def story() -> None:
        await send_all(site_of(portal, concurrency=1), looks(3, POLICY))

    virtual_time(story())
    first, *others = portal.books
    assert first.told is not None
    assert sorted(asked.opportunity_id for asked in others) == [1, 2, 3]
    assert min(asked.time for asked in others) == pytest.approx(first.told + 60.0, abs=MOST_JITTER)


def test_no_permit_is_held_while_a_look_backs_off(virtual_time: Run) -> None:
    portal = Portal()
    portal.shows(1, BUSY)

    async def story() -> None:
        await send_all(site_of(portal, concurrency=1), looks(20, RetryPolicy(base=10.0)))

    virtual_time(story())
    first, second = (asked for asked in portal.books if asked.opportunity_id == 1)
    assert first.told is not None
    assert second.time == pytest.approx(first.told + 10.0)
    assert max(asked.time for asked in portal.books[:-1]) < first.told + 2.0


@pytest.mark.parametrize("concurrency", [1, 3])
def test_never_more_looks_than_permits_are_in_flight(virtual_time: Run, concurrency: int) -> None:
    portal = Portal(latency=(1.0, 0.3, 2.0))
    portal.shows(2, BUSY, BUSY)

    async def story() -> None:
        await send_all(site_of(portal, concurrency=concurrency), looks(20, POLICY))

    virtual_time(story())
    assert portal.most_in_flight == concurrency
    assert len(portal.books) == 22


def test_a_stall_leaves_no_stale_turns_to_be_spent_in_a_burst(virtual_time: Run) -> None:
    """The permit comes before the turn: a turn taken first would wait for a permit, and go stale."""
    portal = Portal(latency=[5.0] * 4 + [0.0] * 96)

    async def story() -> None:
        await send_all(site_of(portal, rate=Rate(10, 1.0)), looks(100, POLICY))

    virtual_time(story())
    assert len(portal.books) == 100
    assert min(later.time - earlier.time for earlier, later in pairwise(portal.books)) > 0.09


def test_a_refusal_of_us_is_raised_at_once_and_its_permit_is_given_back(virtual_time: Run) -> None:
    refused = PortalRefused("https://portal.example: HTTP 401 unauthorized")
    portal = Portal()
    portal.shows(1, refused)
    portal.shows(2, NOT_FOUND)

    async def story() -> None:
        site = site_of(portal, concurrency=1, rate=FAST)
        with pytest.raises(PortalRefused) as raised:
            await send_all(site, looks(1, POLICY))
        assert raised.value is refused
        _, second = looks(2, POLICY)
        ((_, end),) = await send_all(site, [second])
        assert (end.is_told, end.last.result) == (True, Result.PERMANENT)

    virtual_time(story())
    assert [asked.opportunity_id for asked in portal.books] == [1, 2]


def test_a_look_lost_in_a_request_of_many_is_asked_again_and_counts_for_nothing_ten_times() -> None:
    lost = Attempt(Result.AMBIGUOUS, "gateway_error", 502, shared=True)
    one = Look("it", 1, (2, 3), RetryPolicy(max_unreadable=1), Highest(0))
    steps = [one.take(lost) for _ in range(MOST_LOST)]
    assert steps == [Again(LOST_WAITS[0])] * MOST_LOST
    told = one.take(lost)
    assert isinstance(told, Told)
    assert not told.is_told
