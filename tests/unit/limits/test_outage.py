"""Waiting out a failing portal, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import chain, cycle, repeat
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.limits.failing import (
    AGAIN,
    DONE,
    DOWN,
    FAILING,
    UNEXPLAINED,
    UP,
    Portal,
    calm,
    opened,
    sends,
)
from worker.errors import OutageError, PortalClosed, PortalUnreachable
from worker.limits import Limiter
from worker.limits.breaker import WINDOW
from worker.limits.limiter import USER
from worker.limits.outage import LONGEST_WAIT, PAUSES, Outage
from worker.models import Kind, Request, Result
from worker.quantities import Rate

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_nobody_sends_until_the_portal_answers_and_it_is_asked_ever_less_often(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(DOWN, DOWN, DOWN, UP)
        outage, limiter, notes = opened(portal)
        began = asyncio.get_running_loop().time()
        watching = asyncio.create_task(outage.watch())

        await limiter.turn()

        waited = asyncio.get_running_loop().time() - began
        assert [at - began for at in portal.asked] == [1.0, 3.0, 7.0, 15.0]
        assert 15.0 <= waited < 15.1
        assert notes == [*(f"the portal fails: asking again in {n} s" for n in (1, 2, 4, 8)), ""]
        watching.cancel()

    virtual_time(story())


def test_the_wait_has_a_bound(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(*[DOWN] * 12, UP)
        outage, limiter, _ = opened(portal)
        watching = asyncio.create_task(outage.watch())
        await limiter.turn()
        gaps = [later - earlier for earlier, later in zip(portal.asked, portal.asked[1:], strict=False)]
        assert max(gaps) == LONGEST_WAIT
        watching.cancel()

    virtual_time(story())


def test_a_portal_that_answers_but_goes_on_failing_pairs_is_asked_less_and_less(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(UP)
        outage, limiter, _ = opened(portal)
        watching = asyncio.create_task(outage.watch())
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            await limiter.turn()
            for _ in range(WINDOW):
                outage.observe(DOWN)
        await limiter.turn()
        assert [round(at - began) for at in portal.asked] == [1, 3, 7, 15]
        # A pair that is done says that all is well again.
        outage.observe(DONE)
        for _ in range(WINDOW):
            outage.observe(DOWN)
        await limiter.turn()
        assert portal.asked[-1] - portal.asked[-2] == pytest.approx(1.0, abs=0.1)
        watching.cancel()

    virtual_time(story())


def test_it_gives_up_after_the_time_allowed_without_a_pair_done(virtual_time: Run) -> None:
    async def story() -> None:
        for answer, error in ((FAILING, OutageError), (DOWN, PortalUnreachable)):
            outage, _, _ = opened(Portal(answer), give_up_after=100.0)
            began = asyncio.get_running_loop().time()
            with pytest.raises(error, match="100s"):
                await outage.watch()
            assert asyncio.get_running_loop().time() - began == pytest.approx(100.0, abs=0.01)

    virtual_time(story())


def test_a_portal_that_answers_with_a_refusal_of_us_ends_the_run(virtual_time: Run) -> None:
    async def refuse() -> Request:
        raise PortalClosed("portal_gone")

    async def story() -> None:
        outage, _, _ = opened(Portal(DOWN))
        outage._ask = refuse
        with pytest.raises(PortalClosed):
            await outage.watch()

    virtual_time(story())


def test_a_throttled_question_is_answered(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(Request(Kind.PROBE, Result.THROTTLED, reason="throttled", retry_after=5.0))
        outage, limiter, notes = opened(portal)
        watching = asyncio.create_task(outage.watch())
        began = asyncio.get_running_loop().time()
        await limiter.turn()
        assert len(portal.asked) == 1
        assert asyncio.get_running_loop().time() - began >= 1.0
        assert notes[-1] == ""
        watching.cancel()

    virtual_time(story())


def throttled(retry_after: float | None = None) -> Request:
    return Request(Kind.LINK, Result.THROTTLED, 1, reason="throttled", retry_after=retry_after)


@pytest.mark.parametrize("retry_after", [None, 0.0, 1.0])
def test_throttling_without_end_ends_after_the_time_allowed_and_is_not_hammered(
    virtual_time: Run, retry_after: float | None
) -> None:
    async def story() -> None:
        outage, limiter, notes = calm(Portal(UP), give_up_after=100.0)
        began = asyncio.get_running_loop().time()
        sending = asyncio.create_task(sends(outage, limiter, lambda: throttled(retry_after)))
        with pytest.raises(OutageError, match="slow down for 100s"):
            await outage.watch()
        assert asyncio.get_running_loop().time() - began == pytest.approx(100.0, abs=0.1)
        sending.cancel()
        assert len(await sending) <= 10
        assert notes

    virtual_time(story())


def test_throttled_and_failing_in_turns_ends_after_the_time_allowed_too(virtual_time: Run) -> None:
    async def story() -> None:
        outage, limiter, _ = calm(Portal(UP), give_up_after=100.0)
        answers = cycle([throttled(0.0), FAILING])
        sending = asyncio.create_task(sends(outage, limiter, lambda: next(answers)))
        with pytest.raises(OutageError, match="100s"):
            await asyncio.wait_for(outage.watch(), 200.0)
        sending.cancel()

    virtual_time(story())


def test_a_pair_that_is_done_in_between_begins_the_time_allowed_anew(virtual_time: Run) -> None:
    async def story() -> None:
        outage, limiter, _ = calm(Portal(UP), give_up_after=100.0)
        answers = cycle([throttled(60.0), DONE])
        sending = asyncio.create_task(sends(outage, limiter, lambda: next(answers)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outage.watch(), 10_000.0)
        sending.cancel()

    virtual_time(story())


def test_a_long_pause_is_told_at_once_and_once_and_so_is_its_end(virtual_time: Run) -> None:
    async def story() -> None:
        outage, limiter, notes = calm(Portal(UP))
        for answer in (*[throttled(4.0)] * 3, *[throttled(20.0)] * 3, *[throttled(600.0)] * 3):
            limiter.observe(answer)
            outage.observe(answer)
        assert [note.partition(", until 20")[0] for note in notes] == [
            "the portal asks to wait 20 s",
            "the portal asks to wait 10 min",
        ]
        outage.observe(DONE)  # it was sent before
        assert len(notes) == 2
        await limiter.turn()
        outage.observe(DONE)
        assert notes[2:] == [""]

    virtual_time(story())


@pytest.mark.parametrize("named", [0.0, 0.5])
def test_a_pause_that_is_longer_than_what_was_named_is_told_as_ours(virtual_time: Run, named: float) -> None:
    async def story() -> None:
        outage, limiter, notes = calm(Portal(UP))
        for _ in range(5):
            limiter.observe(throttled(named))
            outage.observe(throttled(named))
            await limiter.turn()
        assert notes == ["the portal asks to slow down: sending again in 8 s"]

    virtual_time(story())


def test_a_quota_that_is_used_up_is_told_if_the_next_one_is_far_off(virtual_time: Run) -> None:
    async def story() -> None:
        outage, limiter, notes = calm(Portal(UP))
        for left in (4.0, 60.0, 60.0):
            answer = replace(DONE, retry_after=left)
            limiter.observe(answer)
            outage.observe(answer)
        (note,) = notes
        assert note.startswith("the portal asks to wait 6")
        assert note.endswith(": its quota is used up")

    virtual_time(story())


def test_a_wait_that_is_longer_than_is_waited_for_ends_at_once_and_says_until_when(virtual_time: Run) -> None:
    async def story() -> None:
        outage, limiter, notes = calm(Portal(UP), give_up_after=900.0)
        watching = asyncio.create_task(outage.watch())
        await asyncio.sleep(1.0)
        began = asyncio.get_running_loop().time()
        for answer in (DONE, throttled(86400.0), DONE):
            limiter.observe(answer)
            outage.observe(answer)
        with pytest.raises(OutageError, match=r"asks to wait 24 h, until 20.*; --give-up-after is 15m"):
            await watching
        assert asyncio.get_running_loop().time() == began
        assert notes[0].startswith("the portal asks to wait 24 h, until 20")

    virtual_time(story())


def test_a_wait_counts_against_what_was_waited_before(virtual_time: Run) -> None:
    async def story() -> None:
        outage, limiter, _ = calm(Portal(UP), give_up_after=900.0)
        began = asyncio.get_running_loop().time()
        answers = iter([throttled(500.0), throttled(500.0)])
        sending = asyncio.create_task(sends(outage, limiter, lambda: next(answers)))
        with pytest.raises(OutageError, match="asks to wait 8 min"):
            await outage.watch()
        assert 500.0 <= asyncio.get_running_loop().time() - began <= 505.0
        sending.cancel()

    virtual_time(story())


def test_a_question_that_is_told_to_wait_for_too_long_ends_it_too(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(Request(Kind.PROBE, Result.THROTTLED, reason="throttled", retry_after=86400.0))
        outage, _, _ = opened(portal)
        with pytest.raises(OutageError, match="asks to wait 24 h"):
            await outage.watch()
        assert len(portal.asked) == 1

    virtual_time(story())


def unexplained(reason: str, kind: Kind = Kind.LINK) -> Request:
    return Request(kind, Result.THROTTLED, 1, reason=reason, http_status=503)


@pytest.mark.parametrize("reason", ["unavailable", "maintenance"])
def test_a_503_between_successes_is_pace_and_nobody_asks_whether_the_portal_works(
    virtual_time: Run, reason: str
) -> None:
    async def story() -> None:
        portal = Portal(UP)
        outage, limiter, notes = calm(portal, give_up_after=20.0)
        answers = cycle([unexplained(reason), unexplained(reason), DONE])
        watching = asyncio.create_task(outage.watch())
        sending = asyncio.create_task(sends(outage, limiter, lambda: next(answers)))
        await asyncio.sleep(1000.0)
        sending.cancel()
        watching.cancel()
        assert (portal.asked, notes) == ([], [])
        assert len(await sending) > 800

    virtual_time(story())


@pytest.mark.parametrize(
    ("reason", "error", "words"),
    [
        ("unavailable", OutageError, "the portal has failed for 100s"),
        ("maintenance", PortalClosed, "has answered 503 for 100s, maintenance: "),
    ],
)
def test_a_503_that_goes_on_without_any_success_is_a_portal_that_is_down_or_closed(
    virtual_time: Run, reason: str, error: type[Exception], words: str
) -> None:
    """After a few pauses it is asked something harmless, so that no pair is sent in vain."""

    async def story() -> None:
        portal = Portal(unexplained(reason, Kind.PROBE))
        outage, limiter, notes = calm(portal, give_up_after=100.0)
        began = asyncio.get_running_loop().time()
        sending = asyncio.create_task(sends(outage, limiter, lambda: unexplained(reason)))
        with pytest.raises(error, match=words):
            await outage.watch()
        assert asyncio.get_running_loop().time() - began == pytest.approx(100.0, abs=0.1)
        sending.cancel()
        assert len(await sending) == PAUSES + 1
        assert len(portal.asked) >= 5
        assert notes[-1].startswith("the portal fails: asking again in")

    virtual_time(story())


def test_when_a_portal_that_answered_503_works_again_everyone_sends_again(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(*[unexplained("maintenance", Kind.PROBE)] * 3, UP)
        outage, limiter, _ = calm(portal, give_up_after=100.0)
        watching = asyncio.create_task(outage.watch())
        answers = chain([unexplained("maintenance")] * (PAUSES + 1), repeat(DONE))
        sending = asyncio.create_task(sends(outage, limiter, lambda: next(answers)))
        await asyncio.sleep(60.0)
        watching.cancel()
        sending.cancel()
        assert len(portal.asked) == 4
        assert len(await sending) > 500

    virtual_time(story())


def test_a_portal_of_which_only_the_questions_pass_is_given_up_too(virtual_time: Run) -> None:
    async def story() -> None:
        outage, limiter, _ = calm(Portal(UP), give_up_after=100.0)
        sending = asyncio.create_task(sends(outage, limiter, lambda: unexplained("maintenance")))
        with pytest.raises(PortalClosed):
            await asyncio.wait_for(outage.watch(), 200.0)
        sending.cancel()
        assert len(await sending) < 40

    virtual_time(story())


def test_a_time_without_work_after_throttling_is_over_is_no_time_of_failure(virtual_time: Run) -> None:
    async def story() -> None:
        outage, _, _ = calm(Portal(UP), give_up_after=100.0)
        watching = asyncio.create_task(outage.watch())
        for answer in (throttled(1.0), DONE):
            outage.observe(answer)
            await asyncio.sleep(10.0)
        await asyncio.sleep(10_000.0)
        assert not watching.done()
        watching.cancel()

    virtual_time(story())


@pytest.mark.parametrize(
    ("answer", "error"),
    [(UNEXPLAINED, PortalClosed), (DOWN, PortalUnreachable), (FAILING, OutageError)],
    ids=["closed", "unreachable", "failing"],
)
def test_what_the_portal_says_last_is_why_it_is_given_up(
    virtual_time: Run, answer: Request, error: type[Exception]
) -> None:
    """Whatever began it: pairs that failed, or pairs that were answered 503."""

    async def story() -> None:
        for began in (DOWN, UNEXPLAINED):
            outage, limiter, _ = calm(Portal(answer), give_up_after=100.0)
            for _ in range(WINDOW):
                limiter.observe(began)
                outage.observe(began)
                await asyncio.sleep(limiter.pause_left)
                if outage._held:
                    break
            with pytest.raises(error):
                await outage.watch()

    virtual_time(story())


def test_a_time_without_work_is_no_time_of_failure(virtual_time: Run) -> None:
    """A worker of an empty queue, whose portal fails for a moment after hours."""

    async def story() -> None:
        portal = Portal(UP)
        outage, limiter, _ = calm(portal, give_up_after=100.0)
        watching = asyncio.create_task(outage.watch())
        outage.observe(DONE)
        await asyncio.sleep(10_000.0)
        for _ in range(WINDOW):
            outage.observe(DOWN)
        await limiter.turn()
        assert len(portal.asked) == 1
        watching.cancel()

    virtual_time(story())


def test_good_answers_that_were_on_their_way_when_everyone_was_held_leave_nobody_held(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        portal = Portal(UP)
        outage, limiter, _ = opened(portal, give_up_after=100.0)
        for _ in range(WINDOW):
            outage.observe(DONE)
        watching = asyncio.create_task(outage.watch())
        await asyncio.wait_for(limiter.turn(), 10.0)
        watching.cancel()

    virtual_time(story())


def test_when_only_pairs_that_failed_before_fail_the_portal_is_asked_at_once_and_no_time_is_lost(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        limiter = Limiter(Rate(1000, 1.0), 8, max_pause=300.0, rng=Random(1))  # noqa: S311 - jitter
        portal = Portal(UP)
        outage = Outage(limiter, portal.question, 100.0, lambda _: None)
        watching = asyncio.create_task(outage.watch())
        began = asyncio.get_running_loop().time()
        for _ in range(200):  # more than the portal could fail for
            for _ in range(WINDOW):
                outage.observe(AGAIN)
            await limiter.turn()
            await asyncio.sleep(1.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(200.0, abs=1.0)
        assert len(portal.asked) == 200
        portal.answers = [FAILING]
        for _ in range(WINDOW):
            outage.observe(AGAIN)
        with pytest.raises(OutageError, match="100s"):
            await watching

    virtual_time(story())


def test_a_good_answer_that_comes_late_does_not_put_the_end_off_for_ever(virtual_time: Run) -> None:
    async def story() -> None:
        outage, _, _ = opened(Portal(DOWN), give_up_after=100.0)
        outage.observe(DONE)
        with pytest.raises(PortalUnreachable):
            await asyncio.wait_for(outage.watch(), 1_000.0)

    virtual_time(story())


def test_that_it_answers_questions_is_no_work_done(virtual_time: Run) -> None:
    async def story() -> None:
        portal = Portal(UP)
        outage, _, _ = opened(portal, give_up_after=50.0)
        watching = asyncio.create_task(outage.watch())
        while not watching.done():
            await asyncio.sleep(0.5)
            outage.observe(UP)
            for _ in range(WINDOW):
                outage.observe(DOWN)
        with pytest.raises(OutageError):
            await watching

    virtual_time(story())


def test_a_pause_that_the_user_wants_is_no_time_in_which_the_portal_only_asked_to_slow_down(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        outage, limiter, _ = calm(Portal(UP), give_up_after=60.0)
        throttled = Request(Kind.LINK, Result.THROTTLED, 1, retry_after=1.0, http_status=429)
        outage.observe(throttled)
        watching = asyncio.create_task(outage.watch())
        await asyncio.sleep(30.0)
        outage.pause()
        await asyncio.sleep(3600.0)
        assert limiter.is_held(USER)
        outage.resume()
        assert not limiter.is_held(USER)
        await asyncio.sleep(50.0)
        assert not watching.done()
        await asyncio.sleep(20.0)
        with pytest.raises(OutageError, match="only asked to slow down for 1m"):
            await watching

    virtual_time(story())
