"""The removal of a link, answer by answer, and what looks before and after it say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace as replaced

from tests.unit.dealt import Highest
from worker.models import Ask, Attempt, Kind, Result
from worker.operations.base import LOST_WAITS, MOST_LOST, Again
from worker.operations.look import Told
from worker.operations.policy import RetryPolicy
from worker.operations.unlink import Removed, Unlink, judge_after, judge_before, kept
from worker.reasons import ANOTHER_CONTACT, NO_OPPORTUNITY, STILL_THERE, TOUCHED_SINCE
from worker.removals import Made, Undo, Undoing

THEN = datetime(2023, 5, 12, 14, 28, tzinfo=UTC)
LINK = Made(1, 12, 7, THEN)
POLICY = RetryPolicy(max_attempts=3, max_throttled=4, max_seconds=20.0, base=4.0)

DONE = Attempt(Result.OK, http_status=200)
BUSY = Attempt(Result.TRANSIENT, "unavailable", 503)
LOST = Attempt(Result.AMBIGUOUS, "timeout")
NO = Attempt(Result.PERMANENT, "forbidden", 403)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429)
GONE = Attempt(Result.PERMANENT, "not_found", 404)
UNREADABLE = Attempt(Result.AMBIGUOUS, "connection_lost")


def read(*members: int, created: datetime = THEN) -> Attempt:
    bodies = {one: f'{{"id":{one},"created":"{created.isoformat()}"}}'.encode() for one in members}
    return Attempt(Result.OK, http_status=200, found=bodies)


def test_it_is_asked_for_the_link_and_why_again() -> None:
    unlink = Unlink(LINK, POLICY, Highest(0))
    asked = [unlink.ask()]
    for answer in (BUSY, THROTTLED):
        unlink.leaves()
        assert isinstance(unlink.take(answer), Again)
        asked.append(unlink.ask())
    assert asked == [Ask(Kind.UNLINK, 12, (7,), because) for because in ("", "unavailable", "throttled")]


@pytest.mark.parametrize(
    ("answers", "agains"),
    [
        ([DONE], []),
        ([NO], []),
        ([LOST, NO], [Again(4.0, is_retry=True)]),
        ([BUSY, LOST, DONE], [Again(4.0, is_retry=True), Again(8.0, is_retry=True)]),
        ([BUSY, LOST, BUSY], [Again(4.0, is_retry=True), Again(8.0, is_retry=True)]),
        ([THROTTLED, BUSY, DONE], [Again(), Again(4.0, is_retry=True)]),
        ([THROTTLED] * 4, [Again()] * 3),
    ],
)
def test_it_is_tried_again_while_that_may_help_and_the_last_answer_is_handed_on(
    answers: list[Attempt], agains: list[Again]
) -> None:
    unlink = Unlink(LINK, POLICY, Highest(0))
    assert [unlink.take(answer) for answer in answers] == [*agains, Removed(LINK, answers[-1])]


def test_the_time_of_requests_and_of_backoffs_is_bounded() -> None:
    unlink = Unlink(LINK, replace(POLICY, max_attempts=99, cap=4.0), Highest(0))
    slow = replaced(BUSY, seconds=4.0)
    again = Again(4.0, is_retry=True)
    assert [unlink.take(slow) for _ in range(3)] == [again, again, Removed(LINK, slow)]


def test_a_refusal_of_us_leaves_a_removal_as_it_was() -> None:
    unlink = Unlink(LINK, POLICY, Highest(0))
    unlink.leaves()
    unlink.returns()
    assert unlink.ask() == Unlink(LINK, POLICY, Highest(0)).ask()
    assert unlink.take(DONE) == Removed(LINK, DONE)


REMOVE = None
"""The link is to be removed."""


@pytest.mark.parametrize(
    ("link", "last", "verdict"),
    [
        (LINK, read(7), REMOVE),
        (LINK, read(7, 8), REMOVE),
        (LINK, read(8), Undoing(1, Undo.GONE)),
        (replace(LINK, begun=True), read(8), Undoing(1, Undo.REMOVED)),
        (replace(LINK, begun=True), read(7), REMOVE),
        (LINK, read(7, created=THEN + timedelta(days=1)), Undoing(1, Undo.KEPT, ANOTHER_CONTACT)),
        (replace(LINK, created=None), read(7), REMOVE),
        (LINK, Attempt(Result.OK, http_status=200, found={7: b'{"id":7}'}), REMOVE),
        (LINK, Attempt(Result.OK, http_status=200, found={7: b"?"}), REMOVE),
        (LINK, GONE, Undoing(1, Undo.KEPT, NO_OPPORTUNITY, 404)),
        (replace(LINK, begun=True), GONE, Undoing(1, Undo.KEPT, NO_OPPORTUNITY, 404)),
        (LINK, UNREADABLE, Undoing(1, Undo.FAILED, "connection_lost")),
        (LINK, THROTTLED, Undoing(1, Undo.FAILED, "throttled", 429)),
    ],
)
def test_a_look_before_says_what_is_to_be_removed_and_the_last_word_on_the_rest(
    link: Made, last: Attempt, verdict: Undoing | None
) -> None:
    other = replace(link, row=2, contact_id=9, begun=False)
    settled, to_remove = judge_before(Told((link, other), (THROTTLED, last)))
    assert [one for one in settled if one.row == 1] == ([] if verdict is None else [verdict])
    assert to_remove == ((link,) if verdict is None else ())
    assert [one.row for one in settled if one.row == 2] == [2]


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        (read(7), Undoing(1, Undo.KEPT, TOUCHED_SINCE)),
        (read(7, created=THEN + timedelta(days=1)), Undoing(1, Undo.KEPT, ANOTHER_CONTACT)),
        (read(8), Undoing(1, Undo.GONE)),
        (UNREADABLE, Undoing(1, Undo.FAILED, "connection_lost")),
    ],
)
def test_a_link_that_another_run_has_touched_since_is_not_removed(last: Attempt, verdict: Undoing) -> None:
    assert judge_before(Told((LINK,), (last,)), {LINK.key}) == ([verdict], ())


@pytest.mark.parametrize(
    ("asked", "last", "undoing"),
    [
        (DONE, read(), Undoing(1, Undo.REMOVED, "", 200)),
        (LOST, read(8), Undoing(1, Undo.REMOVED)),
        (NO, read(), Undoing(1, Undo.REMOVED, "", 403)),
        (GONE, read(8), Undoing(1, Undo.GONE, "", 404)),
        (DONE, GONE, Undoing(1, Undo.REMOVED, "", 200)),
        (LOST, GONE, Undoing(1, Undo.KEPT, NO_OPPORTUNITY, 404)),
        (GONE, GONE, Undoing(1, Undo.KEPT, NO_OPPORTUNITY, 404)),
        (GONE, read(7), Undoing(1, Undo.KEPT, "not_found", 404)),
        (DONE, read(7), Undoing(1, Undo.FAILED, STILL_THERE, 200)),
        (LOST, read(7), Undoing(1, Undo.FAILED, "timeout")),
        (THROTTLED, read(7), Undoing(1, Undo.FAILED, "throttled", 429)),
        (NO, read(7), Undoing(1, Undo.KEPT, "forbidden", 403)),
        (DONE, UNREADABLE, Undoing(1, Undo.FAILED, "connection_lost")),
        (NO, THROTTLED, Undoing(1, Undo.FAILED, "throttled", 429)),
    ],
)
def test_only_the_look_after_says_whether_a_link_is_removed(
    asked: Attempt, last: Attempt, undoing: Undoing
) -> None:
    assert judge_after(Told((LINK,), (last,)), {1: asked}) == [undoing]


def test_links_whose_opportunity_is_gone_are_kept() -> None:
    other = replace(LINK, row=2)
    assert kept((LINK, other)) == [Undoing(row, Undo.KEPT, NO_OPPORTUNITY) for row in (1, 2)]


SHARED = Attempt(Result.AMBIGUOUS, "timeout", shared=True)
"""What befell a request of many."""


def lost(most_unreadable: int = 3) -> Unlink:
    """A removal that was in a request of many that broke off."""
    policy = RetryPolicy(max_attempts=1, max_unreadable=most_unreadable, base=4.0)
    unlink = Unlink(LINK, policy, Highest(0))
    assert unlink.take(SHARED) == Again(LOST_WAITS[1])
    assert unlink.ask() == Ask(Kind.LOOK, 12, (7,), "timeout", ids_only=True)
    return unlink


@pytest.mark.parametrize("look", [read(), GONE])
def test_a_removal_that_a_broken_request_of_many_has_done_is_not_sent_again(look: Attempt) -> None:
    assert lost().take(look) == Removed(LINK, SHARED)


def test_one_that_it_has_not_done_says_so_to_be_sent_alone() -> None:
    unlink = lost()
    assert unlink.take(read(7)) == Again(absent=True)
    assert unlink.ask() == Ask(Kind.UNLINK, 12, (7,), "timeout")
    assert unlink.take(DONE) == Removed(LINK, DONE)


def test_one_that_cannot_be_looked_for_is_sent_again_for_that_is_safe() -> None:
    unlink = lost(2)
    assert unlink.take(UNREADABLE) == Again(4.0)
    assert unlink.ask().kind is Kind.LOOK
    assert unlink.take(UNREADABLE) == Again()
    assert unlink.ask().kind is Kind.UNLINK


def test_a_removal_lost_in_requests_of_many_counts_for_nothing_ten_times() -> None:
    unlink = Unlink(LINK, RetryPolicy(max_attempts=1), Highest(0))
    for _ in range(MOST_LOST):
        assert unlink.take(SHARED) == Again(LOST_WAITS[1])
        assert unlink.take(read(7)) == Again(absent=True)
    assert unlink.take(SHARED) == Removed(LINK, SHARED)


def test_a_request_of_many_that_was_certainly_not_carried_out_is_no_reason_to_look() -> None:
    unlink = Unlink(LINK, RetryPolicy(max_attempts=1), Highest(0))
    assert unlink.take(replaced(BUSY, shared=True)) == Again(LOST_WAITS[0])
    assert unlink.ask().kind is Kind.UNLINK


def test_a_look_that_is_lost_in_a_request_of_many_is_made_again_and_counts_for_nothing() -> None:
    unlink = lost(1)
    assert unlink.take(SHARED) == Again(LOST_WAITS[1])
    assert unlink.take(read()) == Removed(LINK, SHARED)
