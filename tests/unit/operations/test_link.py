"""A link on its way to its outcome, answer by answer: what is asked next, when, why, and what is in doubt."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.dealt import Highest
from worker.models import Attempt, Kind, Outcome, Pair, Result, Status
from worker.operations.base import LOST_WAITS, MOST_LOST, Again
from worker.operations.link import Link
from worker.operations.policy import RetryPolicy
from worker.reasons import INTERNAL_FAULT, NOT_STORED, PERHAPS_LINKED

PAIR = Pair(3, 4, 12, 7)
DOUBTFUL = replace(PAIR, in_doubt=True)
BODY = b'{"id":7}'

POLICY = RetryPolicy(
    max_attempts=3, max_throttled=4, max_unreadable=2, max_seconds=1000.0, max_internal_faults=2, base=4.0
)
"""All bounds differ, so that a test knows which one it met."""

CREATED = Attempt(Result.OK, http_status=201, body=BODY)
BUSY = Attempt(Result.TRANSIENT, "unavailable", 503)
LOST = Attempt(Result.AMBIGUOUS, "timeout")
FAULT = Attempt(Result.AMBIGUOUS, INTERNAL_FAULT, 403)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429)
PERHAPS = Attempt(Result.AMBIGUOUS, PERHAPS_LINKED, 500)
NO = Attempt(Result.PERMANENT, "forbidden", 403)

THERE = Attempt(Result.OK, http_status=200, found={7: BODY})
ABSENT = Attempt(Result.OK, http_status=200)
UNREADABLE = Attempt(Result.AMBIGUOUS, "connection_lost")
GONE = Attempt(Result.PERMANENT, "not_found", 404)

CUT_OFF = Attempt(Result.AMBIGUOUS, "connection_lost", shared=True)
"""A request of many broke off."""

OVERDUE = replace(LOST, shared=True)


@dataclass(frozen=True)
class Told:
    """The end of a story, without the attempts."""

    status: Status
    reason: str = ""
    http_status: int | None = None


def retry(seconds: float) -> Again:
    return Again(seconds, is_retry=True)


def told(pair: Pair, *answers: Attempt) -> tuple[list[tuple[str, str]], list[Again], Told | None]:
    """What is asked and why, when it is to be asked again, and the end if there is one."""
    link = Link(pair, POLICY, Highest(0))
    asked: list[tuple[str, str]] = []
    agains: list[Again] = []
    for at, answer in enumerate(answers):
        ask = link.ask()
        assert (ask.opportunity_id, ask.contact_ids) == (12, (7,))
        asked.append((str(ask.kind), ask.because))
        link.leaves()
        step = link.take(answer)
        if isinstance(step, Outcome):
            assert at == len(answers) - 1, "it came to its end too early"
            assert (step.pair, step.attempts) == (pair, link.attempts)
            return asked, agains, Told(step.status, step.reason, step.http_status)
        agains.append(step)
    ask = link.ask()
    return [*asked, (str(ask.kind), ask.because)], agains, None


LINKED = Told(Status.LINKED, "", 201)
FOUND = Told(Status.LINKED, "", 200)


@pytest.mark.parametrize(
    ("answers", "asked", "agains", "end"),
    [
        pytest.param([], [("link", "")], [], None, id="the first question is to link it"),
        pytest.param([CREATED], [("link", "")], [], LINKED, id="it is linked"),
        pytest.param([NO], [("link", "")], [], Told(Status.REJECTED, "forbidden", 403), id="it is refused"),
        pytest.param(
            [BUSY, BUSY],
            [("link", ""), ("link", "unavailable"), ("link", "unavailable")],
            [retry(4.0), retry(8.0)],
            None,
            id="a failure is tried again after an ever longer wait, within the retry budget",
        ),
        pytest.param(
            [BUSY, LOST, CREATED],
            [("link", ""), ("link", "unavailable"), ("link", "timeout")],
            [retry(4.0), retry(8.0)],
            LINKED,
            id="each question says why it is asked again",
        ),
        pytest.param(
            [THROTTLED, CREATED],
            [("link", ""), ("link", "throttled")],
            [Again()],
            LINKED,
            id="after a throttled one it is asked at once, and that is no retry",
        ),
        pytest.param(
            [BUSY, THROTTLED, BUSY],
            [("link", ""), ("link", "unavailable"), ("link", "throttled"), ("link", "unavailable")],
            [retry(4.0), Again(), retry(8.0)],
            None,
            id="what follows a throttled retry is none, and makes no wait longer",
        ),
        pytest.param(
            [THROTTLED] * 4,
            [("link", ""), *[("link", "throttled")] * 3],
            [Again()] * 3,
            Told(Status.RETRYABLE, "throttled", 429),
            id="it is not throttled for ever",
        ),
        pytest.param(
            [BUSY] * 3,
            [("link", ""), *[("link", "unavailable")] * 2],
            [retry(4.0), retry(8.0)],
            Told(Status.RETRYABLE, "unavailable", 503),
            id="certain failures used up: it is worth another run, without a look",
        ),
        pytest.param(
            [BUSY, NO],
            [("link", ""), ("link", "unavailable")],
            [retry(4.0)],
            Told(Status.REJECTED, "forbidden", 403),
            id="certain failures tell nothing against a refusal",
        ),
        pytest.param(
            [BUSY, LOST, BUSY, THERE],
            [("link", ""), ("link", "unavailable"), ("link", "timeout"), ("look", "unavailable")],
            [retry(4.0), retry(8.0), retry(0.0)],
            FOUND,
            id="used up with an answer lost: a look at the members finds it",
        ),
        pytest.param(
            [LOST, LOST, BUSY, ABSENT],
            [("link", ""), ("link", "timeout"), ("link", "timeout"), ("look", "unavailable")],
            [retry(4.0), retry(8.0), retry(0.0)],
            Told(Status.RETRYABLE, "unavailable", 503),
            id="used up with an answer lost: the look does not find it, and the last failure is the reason",
        ),
        pytest.param(
            [LOST] * 3 + [GONE],
            [("link", ""), ("link", "timeout"), ("link", "timeout"), ("look", "timeout")],
            [retry(4.0), retry(8.0), retry(0.0)],
            Told(Status.RETRYABLE, "timeout", None),
            id="an opportunity that is not there has no such link",
        ),
        pytest.param(
            [LOST] * 3 + [UNREADABLE] * 2,
            [
                ("link", ""),
                ("link", "timeout"),
                ("link", "timeout"),
                ("look", "timeout"),
                ("look", "timeout"),
            ],
            [retry(4.0), retry(8.0), retry(0.0), retry(4.0)],
            Told(Status.UNKNOWN, "timeout", None),
            id="looks that tell nothing are repeated, and then nobody knows",
        ),
        pytest.param(
            [LOST] * 3 + [UNREADABLE, THROTTLED, ABSENT],
            [
                ("link", ""),
                ("link", "timeout"),
                ("link", "timeout"),
                ("look", "timeout"),
                ("look", "timeout"),
                ("look", "timeout"),
            ],
            [retry(4.0), retry(8.0), retry(0.0), retry(4.0), Again()],
            Told(Status.RETRYABLE, "timeout", None),
            id="a throttled look brings the end of unreadable ones no nearer",
        ),
        pytest.param(
            [LOST] * 3 + [THROTTLED] * 4,
            [("link", ""), ("link", "timeout"), ("link", "timeout"), ("look", "timeout")]
            + [("look", "timeout")] * 3,
            [retry(4.0), retry(8.0), retry(0.0)] + [Again()] * 3,
            Told(Status.UNKNOWN, "timeout", None),
            id="looks are not throttled for ever",
        ),
        pytest.param(
            [LOST, NO, ABSENT],
            [("link", ""), ("link", "timeout"), ("look", "forbidden")],
            [retry(4.0), retry(0.0)],
            Told(Status.REJECTED, "forbidden", 403),
            id="a refusal after a lost answer: the look confirms it",
        ),
        pytest.param(
            [LOST, NO, THERE],
            [("link", ""), ("link", "timeout"), ("look", "forbidden")],
            [retry(4.0), retry(0.0)],
            FOUND,
            id="a refusal after a lost answer: the look finds it linked",
        ),
        pytest.param(
            [FAULT, FAULT, ABSENT],
            [("link", ""), ("link", INTERNAL_FAULT), ("look", INTERNAL_FAULT)],
            [retry(4.0), retry(0.0)],
            Told(Status.REJECTED, INTERNAL_FAULT, 403),
            id="an internal fault that stays, and nothing stored, is a refusal",
        ),
        pytest.param(
            [LOST, THROTTLED, THROTTLED, THROTTLED, THROTTLED, ABSENT],
            [("link", ""), ("link", "timeout"), *[("link", "throttled")] * 3, ("look", "throttled")],
            [retry(4.0), *[Again()] * 4],
            Told(Status.RETRYABLE, "timeout", None),
            id="throttled is never the reason if there is another",
        ),
    ],
)
def test_a_pair_that_nobody_has_sent_before(
    answers: Sequence[Attempt], asked: list[tuple[str, str]], agains: list[Again], end: Told | None
) -> None:
    assert told(PAIR, *answers) == (asked, agains, end)


@pytest.mark.parametrize(
    ("answers", "asked", "agains", "end"),
    [
        pytest.param([], [("look", "")], [], None, id="it is looked for before it is sent"),
        pytest.param([THERE], [("look", "")], [], FOUND, id="it is there"),
        pytest.param(
            [ABSENT, CREATED],
            [("look", ""), ("link", "")],
            [Again()],
            LINKED,
            id="it is not there: the POST that follows is no repetition",
        ),
        pytest.param(
            [GONE, NO],
            [("look", ""), ("link", "")],
            [Again()],
            Told(Status.REJECTED, "forbidden", 403),
            id="an opportunity that is not there is for the POST to say",
        ),
        pytest.param(
            [THROTTLED, UNREADABLE, THERE],
            [("look", "")] * 3,
            [Again(), Again(4.0)],
            FOUND,
            id="a look is repeated with backoff, and is no retry of a link",
        ),
        pytest.param(
            [UNREADABLE, UNREADABLE, CREATED],
            [("look", ""), ("look", ""), ("link", "")],
            [Again(4.0), Again()],
            LINKED,
            id="what looks cannot tell is no reason to give it up: it is sent",
        ),
        pytest.param(
            [ABSENT, BUSY, BUSY],
            [("look", ""), ("link", ""), ("link", "unavailable"), ("link", "unavailable")],
            [Again(), retry(4.0), retry(8.0)],
            None,
            id="from the first POST on, all is as with any pair",
        ),
        pytest.param(
            [ABSENT, BUSY, BUSY, BUSY],
            [("look", ""), ("link", ""), ("link", "unavailable"), ("link", "unavailable")],
            [Again(), retry(4.0), retry(8.0)],
            Told(Status.RETRYABLE, "unavailable", 503),
            id="seen to be absent, and certainly not stored since",
        ),
        pytest.param(
            [UNREADABLE, UNREADABLE, LOST, LOST, LOST, UNREADABLE, ABSENT],
            [
                ("look", ""),
                ("look", ""),
                ("link", ""),
                ("link", "timeout"),
                ("link", "timeout"),
                ("look", "timeout"),
                ("look", "timeout"),
            ],
            [Again(4.0), Again(), retry(4.0), retry(8.0), retry(0.0), retry(4.0)],
            Told(Status.RETRYABLE, "timeout", None),
            id="looks before the POST do not use up those after it",
        ),
        pytest.param(
            [UNREADABLE, UNREADABLE, BUSY, BUSY, BUSY, THERE],
            [
                ("look", ""),
                ("look", ""),
                ("link", ""),
                ("link", "unavailable"),
                ("link", "unavailable"),
                ("look", "unavailable"),
            ],
            [Again(4.0), Again(), retry(4.0), retry(8.0), retry(0.0)],
            FOUND,
            id="not seen, and not sent now: an earlier session may still have linked it",
        ),
        pytest.param(
            [UNREADABLE, UNREADABLE, NO, UNREADABLE, UNREADABLE],
            [("look", ""), ("look", ""), ("link", ""), ("look", "forbidden"), ("look", "forbidden")],
            [Again(4.0), Again(), retry(0.0), retry(4.0)],
            Told(Status.UNKNOWN, "forbidden", 403),
            id="nor does a refusal tell what an earlier session did",
        ),
    ],
)
def test_a_pair_that_an_earlier_session_may_have_sent(
    answers: Sequence[Attempt], asked: list[tuple[str, str]], agains: list[Again], end: Told | None
) -> None:
    assert told(DOUBTFUL, *answers) == (asked, agains, end)


SOON, LATER = (Again(seconds) for seconds in LOST_WAITS)
NOT_DONE = Again(absent=True)


@pytest.mark.parametrize(
    ("answers", "asked", "agains", "end"),
    [
        pytest.param(
            [CUT_OFF, THERE],
            [("link", ""), ("look", "connection_lost")],
            [SOON],
            FOUND,
            id="a look finds it linked",
        ),
        pytest.param(
            [OVERDUE, THERE],
            [("link", ""), ("look", "timeout")],
            [LATER],
            FOUND,
            id="what took too long may still be carried out, so the look comes later",
        ),
        pytest.param(
            [CUT_OFF, ABSENT, CREATED],
            [("link", ""), ("look", "connection_lost"), ("link", "connection_lost")],
            [SOON, NOT_DONE],
            LINKED,
            id="a look does not find it: it is sent again, and where the request broke off is told",
        ),
        pytest.param(
            [CUT_OFF, GONE, NO],
            [("link", ""), ("look", "connection_lost"), ("link", "connection_lost")],
            [SOON, NOT_DONE],
            Told(Status.REJECTED, "forbidden", 403),
            id="seen to be absent, a refusal is believed without another look",
        ),
        pytest.param(
            [CUT_OFF, ABSENT, BUSY, BUSY, BUSY],
            [
                ("link", ""),
                ("look", "connection_lost"),
                ("link", "connection_lost"),
                ("link", "unavailable"),
                ("link", "unavailable"),
            ],
            [SOON, NOT_DONE, retry(4.0), retry(8.0)],
            Told(Status.RETRYABLE, "unavailable", 503),
            id="it has all its attempts left, and was certainly not stored",
        ),
        pytest.param(
            [CUT_OFF, UNREADABLE, THROTTLED, ABSENT, CREATED],
            [("link", ""), *[("look", "connection_lost")] * 3, ("link", "connection_lost")],
            [SOON, Again(4.0), Again(), NOT_DONE],
            LINKED,
            id="a look is repeated with backoff, and only one that tells says that it was not done",
        ),
        pytest.param(
            [CUT_OFF, UNREADABLE, UNREADABLE, NO, THERE],
            [
                ("link", ""),
                ("look", "connection_lost"),
                ("look", "connection_lost"),
                ("link", "connection_lost"),
                ("look", "forbidden"),
            ],
            [SOON, Again(4.0), Again(), retry(0.0)],
            FOUND,
            id="what looks cannot tell: it is sent, and a refusal proves nothing",
        ),
        pytest.param(
            [CUT_OFF, ABSENT, LOST, LOST, LOST, ABSENT],
            [
                ("link", ""),
                ("look", "connection_lost"),
                ("link", "connection_lost"),
                ("link", "timeout"),
                ("link", "timeout"),
                ("look", "timeout"),
            ],
            [SOON, NOT_DONE, retry(4.0), retry(8.0), retry(0.0)],
            Told(Status.RETRYABLE, "timeout", None),
            id="an answer of its own that is lost counts",
        ),
        pytest.param(
            [BUSY, CUT_OFF, ABSENT, BUSY],
            [
                ("link", ""),
                ("link", "unavailable"),
                ("look", "connection_lost"),
                ("link", "connection_lost"),
                ("link", "unavailable"),
            ],
            [retry(4.0), SOON, NOT_DONE, retry(8.0)],
            None,
            id="between failures of its own it makes the wait no longer",
        ),
        pytest.param(
            [replace(BUSY, shared=True), replace(THROTTLED, shared=True)],
            [("link", ""), ("link", "unavailable"), ("link", "throttled")],
            [SOON, Again()],
            None,
            id="a request of many that was certainly not carried out is nobody's failure",
        ),
        pytest.param(
            [CUT_OFF, ABSENT] * MOST_LOST + [CUT_OFF],
            [
                ("link", ""),
                *[("look", "connection_lost"), ("link", "connection_lost")] * MOST_LOST,
                ("link", "connection_lost"),
            ],
            [SOON, NOT_DONE] * MOST_LOST + [retry(4.0)],
            None,
            id="so many may be lost, and the next one counts",
        ),
        pytest.param(
            [CUT_OFF, ABSENT] * MOST_LOST + [CUT_OFF] * 3 + [THERE],
            [
                ("link", ""),
                *[("look", "connection_lost"), ("link", "connection_lost")] * MOST_LOST,
                *[("link", "connection_lost")] * 2,
                ("look", "connection_lost"),
            ],
            [SOON, NOT_DONE] * MOST_LOST + [retry(4.0), retry(8.0), retry(0.0)],
            FOUND,
            id="from then on all is as with any answer that is lost",
        ),
    ],
)
def test_a_pair_that_was_lost_in_a_request_of_many(
    answers: Sequence[Attempt], asked: list[tuple[str, str]], agains: list[Again], end: Told | None
) -> None:
    assert told(PAIR, *answers) == (asked, agains, end)


@pytest.mark.parametrize(
    ("answers", "asked", "agains", "end"),
    [
        pytest.param(
            [PERHAPS, THERE],
            [("link", ""), ("look", PERHAPS_LINKED)],
            [Again()],
            FOUND,
            id="it was there: one look at once, which is no retry",
        ),
        pytest.param(
            [PERHAPS, ABSENT, CREATED],
            [("link", ""), ("look", PERHAPS_LINKED), ("link", PERHAPS_LINKED)],
            [Again(), retry(4.0)],
            LINKED,
            id="it was a failure: it is tried again after a wait",
        ),
        pytest.param(
            [PERHAPS, UNREADABLE, THROTTLED, THERE],
            [("link", ""), *[("look", PERHAPS_LINKED)] * 3],
            [Again(), Again(4.0), Again()],
            FOUND,
            id="a look that tells nothing is repeated",
        ),
        pytest.param(
            [PERHAPS, UNREADABLE, UNREADABLE],
            [("link", ""), *[("look", PERHAPS_LINKED)] * 2],
            [Again(), Again(4.0)],
            Told(Status.UNKNOWN, PERHAPS_LINKED, 500),
            id="if none tells, nobody knows",
        ),
        pytest.param(
            [PERHAPS, ABSENT] * 3,
            [
                ("link", ""),
                *[("look", PERHAPS_LINKED), ("link", PERHAPS_LINKED)] * 2,
                ("look", PERHAPS_LINKED),
            ],
            [Again(), retry(4.0), Again(), retry(8.0), Again()],
            Told(Status.RETRYABLE, PERHAPS_LINKED, 500),
            id="it fails each time: it is worth another run",
        ),
        pytest.param(
            [LOST, PERHAPS, THERE],
            [("link", ""), ("link", "timeout"), ("look", PERHAPS_LINKED)],
            [retry(4.0), Again()],
            FOUND,
            id="what was lost was stored",
        ),
        pytest.param(
            [PERHAPS, ABSENT, LOST, BUSY, ABSENT],
            [
                ("link", ""),
                ("look", PERHAPS_LINKED),
                ("link", PERHAPS_LINKED),
                ("link", "timeout"),
                ("look", "unavailable"),
            ],
            [Again(), retry(4.0), retry(8.0), retry(0.0)],
            Told(Status.RETRYABLE, "unavailable", 503),
            id="what comes after it is as without it",
        ),
    ],
)
def test_a_pair_of_which_appserver_does_not_say_whether_it_failed_or_is_there(
    answers: Sequence[Attempt], asked: list[tuple[str, str]], agains: list[Again], end: Told | None
) -> None:
    assert told(PAIR, *answers) == (asked, agains, end)


def test_looks_after_each_lost_request_are_counted_anew() -> None:
    assert told(PAIR, *[CUT_OFF, UNREADABLE, ABSENT] * 3)[1] == [SOON, Again(4.0), NOT_DONE] * 3


def test_time_that_a_lost_request_of_many_took_is_not_the_pairs() -> None:
    """Ten of them at the longest would be all the time it has."""
    policy = RetryPolicy(max_seconds=21.0, base=4.0, cap=4.0)
    link = Link(PAIR, policy, Highest(0))
    for _ in range(MOST_LOST):
        link.take(replace(OVERDUE, seconds=30.0))
        link.take(replace(ABSENT, seconds=3.0))
    assert link.take(replace(BUSY, seconds=1.0)) == retry(4.0)


def test_looks_that_are_lost_in_requests_of_many_do_not_leave_a_pair_unknown() -> None:
    """A refusal of it is settled by looking, however often that goes together with others that break off."""
    lost_look = replace(UNREADABLE, shared=True)
    asked, steps, outcome = told(PAIR, LOST, NO, *[lost_look] * MOST_LOST, ABSENT)
    assert asked[2:] == [("look", "forbidden")] * (MOST_LOST + 1)
    assert steps[2:] == [retry(LOST_WAITS[0])] * MOST_LOST
    assert outcome is not None
    assert outcome.status is Status.REJECTED
    *_, unknown = told(PAIR, LOST, NO, *[lost_look] * (MOST_LOST + POLICY.max_unreadable))
    assert unknown is not None
    assert unknown.status is Status.UNKNOWN


def ended(pair: Pair, *answers: Attempt, policy: RetryPolicy = POLICY) -> Outcome:
    link = Link(pair, policy, Highest(0))
    steps = [link.take(answer) for answer in answers]
    assert isinstance(steps[-1], Outcome)
    return steps[-1]


def test_an_outcome_has_the_pair_all_attempts_in_their_order_and_the_cause() -> None:
    assert ended(PAIR, BUSY, THROTTLED, NO) == Outcome(
        PAIR, Status.REJECTED, (BUSY, THROTTLED, NO), "forbidden", 403
    )


@pytest.mark.parametrize("answers", [[CREATED], [BUSY, CREATED], [LOST, LOST, LOST, THERE]])
def test_a_linked_pair_has_the_contact_that_the_portal_showed(answers: list[Attempt]) -> None:
    assert ended(PAIR, *answers).body == BODY


def test_a_look_is_an_attempt_that_says_whether_the_link_is_there() -> None:
    *_, look = ended(PAIR, LOST, LOST, LOST, ABSENT).attempts
    assert look == Attempt(Result.TRANSIENT, NOT_STORED, 200)
    *_, look = ended(PAIR, LOST, LOST, LOST, GONE).attempts
    assert look == Attempt(Result.TRANSIENT, NOT_STORED, 404)
    look, _ = ended(DOUBTFUL, replace(ABSENT, seconds=0.5), CREATED).attempts
    assert look == Attempt(Result.TRANSIENT, NOT_STORED, 200, 0.5)


def test_another_contact_among_the_members_proves_nothing() -> None:
    other = replace(THERE, found={8: b'{"id":8}'})
    assert ended(PAIR, LOST, LOST, LOST, other).status is Status.RETRYABLE


def test_time_spent_sending_and_backing_off_is_bounded() -> None:
    """Five times a second of sending and four of backing off; the wait in our own queue is not counted."""
    policy = RetryPolicy(max_attempts=99, max_seconds=21.0, base=4.0, cap=4.0)
    slow = replace(BUSY, seconds=1.0)
    link = Link(PAIR, policy, Highest(0))
    assert [link.take(slow) for _ in range(4)] == [retry(4.0)] * 4
    last = link.take(slow)
    assert isinstance(last, Outcome)
    assert last.status is Status.RETRYABLE


def test_waiting_is_not_failing() -> None:
    """A pair that was throttled for an hour has used up neither its attempts nor its time."""
    policy = RetryPolicy(max_attempts=2, max_seconds=60.0)
    link = Link(PAIR, policy, Highest(0))
    assert {link.take(THROTTLED) for _ in range(12)} == {Again()}
    assert isinstance(link.take(BUSY), Again)
    last = link.take(CREATED)
    assert isinstance(last, Outcome)
    assert last.status is Status.LINKED


@pytest.mark.parametrize(
    ("answers", "doubt"),
    [
        ([], False),
        ([BUSY], False),
        ([BUSY, BUSY], False),
        ([THROTTLED], False),
        ([LOST], True),
        ([LOST, BUSY], True),
        ([BUSY, LOST], True),
        ([LOST, THROTTLED], True),
        ([LOST, NO], True),
        ([CREATED], True),
        ([NO], False),
        ([LOST, NO, UNREADABLE], True),
        ([CUT_OFF], True),
        ([CUT_OFF, UNREADABLE], True),
        ([CUT_OFF, ABSENT], True),
        ([CUT_OFF, ABSENT, BUSY], True),
    ],
)
def test_between_requests_a_link_is_in_doubt_if_an_answer_was_lost_or_is_not_recorded(
    answers: list[Attempt], *, doubt: bool
) -> None:
    link = Link(PAIR, POLICY, Highest(0))
    for answer in answers:
        link.leaves()
        link.take(answer)
    assert link.in_doubt is doubt


@pytest.mark.parametrize(("earlier", "doubt"), [([], False), ([BUSY], False), ([LOST], True)])
def test_on_its_way_a_link_is_in_doubt_and_a_refusal_of_us_takes_back_only_that(
    earlier: list[Attempt], *, doubt: bool
) -> None:
    link = Link(PAIR, POLICY, Highest(0))
    for answer in earlier:
        link.leaves()
        link.take(answer)
    before = link.ask()
    link.leaves()
    assert link.in_doubt
    link.returns()
    assert link.in_doubt is doubt
    assert link.ask() == before
    assert link.attempts == tuple(earlier)


def test_a_pair_in_doubt_is_so_before_it_is_sent() -> None:
    link = Link(DOUBTFUL, POLICY, Highest(0))
    assert link.in_doubt
    link.leaves()
    link.returns()
    assert link.in_doubt


SURE = {Status.LINKED: True, Status.RETRYABLE: False, Status.REJECTED: False}


@given(
    script=st.lists(
        st.sampled_from(
            [
                "fine",
                "busy",
                "throttled",
                "refused",
                "fault",
                "lost",
                "lost but done",
                "cut off",
                "cut off, done",
            ]
        ),
        max_size=30,
    ),
    in_doubt=st.booleans(),
    stored=st.booleans(),
    attempts=st.integers(1, 4),
)
def test_no_outcome_says_of_a_link_what_is_not_true_at_the_portal(
    script: list[str], attempts: int, *, in_doubt: bool, stored: bool
) -> None:
    stored = stored and in_doubt
    policy = RetryPolicy(max_attempts=attempts, max_throttled=5, max_unreadable=2)
    link = Link(replace(PAIR, in_doubt=in_doubt), policy, Random(0))  # noqa: S311 - backoffs
    step: Again | Outcome = Again()
    words = iter(script)
    while isinstance(step, Again):
        assert stored <= link.in_doubt
        ask, word = link.ask(), next(words, "fine")
        link.leaves()
        if ask.kind is Kind.LOOK:
            fine = THERE if stored else ABSENT
            step = link.take({"fine": fine, "throttled": THROTTLED}.get(word, UNREADABLE))
            continue
        stored = stored or word in {"fine", "lost but done", "cut off, done"}
        said = {"fine": CREATED, "busy": BUSY, "throttled": THROTTLED, "refused": NO, "fault": FAULT}
        said |= {"cut off": CUT_OFF, "cut off, done": OVERDUE}
        step = link.take(said.get(word, LOST))
    assert SURE.get(step.status, stored) is stored
    assert step.status in {*SURE, Status.UNKNOWN}
    event(step.status)
