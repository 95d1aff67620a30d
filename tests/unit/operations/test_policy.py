"""The whole decision table of a retry: each result, at, below and above each bound."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.models import Attempt, Result, Status
from worker.operations.policy import Reread, RetryIn, RetryPolicy, Settle, Step
from worker.reasons import INTERNAL_FAULT, SERVER_ERROR

POLICY = RetryPolicy(
    max_attempts=4,
    max_server_errors=3,
    max_internal_faults=2,
    max_throttled=5,
    max_seconds=100.0,
    base=1.0,
    cap=6.0,
)
"""All bounds differ, so that a test knows which one it met."""

LAST_LOOK = replace(POLICY, max_unreadable=1)

OK = Attempt(Result.OK, http_status=201)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429)
TRANSIENT = Attempt(Result.TRANSIENT, "unavailable", 503)
AMBIGUOUS = Attempt(Result.AMBIGUOUS, "gateway_error", 502)
LOST = Attempt(Result.AMBIGUOUS, "timeout")
SERVER = Attempt(Result.AMBIGUOUS, SERVER_ERROR, 500)
INTERNAL = Attempt(Result.AMBIGUOUS, INTERNAL_FAULT, 403)
ABSENT = Attempt(Result.TRANSIENT, "not_stored", 200)
PERMANENT = Attempt(Result.PERMANENT, "not_found", 404)

LINKED = Settle(Status.LINKED, "", 201)
REJECTED = Settle(Status.REJECTED, "not_found", 404)
FAULTY = Settle(Status.REJECTED, INTERNAL_FAULT, 403)
UNAVAILABLE = Settle(Status.RETRYABLE, "unavailable", 503)
TOO_FAST = Settle(Status.RETRYABLE, "throttled", 429)


class Highest(Random):
    """Deals the upper end of each range asked for, and remembers the ranges."""

    def __init__(self) -> None:
        super().__init__(0)
        self.asked: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return b


def after(*attempts: Attempt, spent: float = 0.0, policy: RetryPolicy = POLICY) -> Step:
    return policy.after(attempts, spent, Highest())


@pytest.mark.parametrize(
    ("attempts", "step"),
    [
        ([OK], LINKED),
        ([TRANSIENT, OK], LINKED),
        ([AMBIGUOUS, OK], LINKED),
        ([AMBIGUOUS] * 4 + [OK], LINKED),
        ([THROTTLED] * 5 + [OK], LINKED),
        ([PERMANENT], REJECTED),
        ([TRANSIENT, PERMANENT], REJECTED),
        ([AMBIGUOUS, PERMANENT], Reread()),
        ([THROTTLED] * 5 + [PERMANENT], REJECTED),
        # attempts that count: at most 4
        ([TRANSIENT] * 1, RetryIn(1.0)),
        ([TRANSIENT] * 3, RetryIn(4.0)),
        ([TRANSIENT] * 4, UNAVAILABLE),
        ([TRANSIENT] * 5, UNAVAILABLE),
        ([AMBIGUOUS] * 1, RetryIn(1.0)),
        ([AMBIGUOUS] * 3, RetryIn(4.0)),
        ([AMBIGUOUS] * 4, Reread()),
        ([AMBIGUOUS] * 5, Reread()),
        # an ambiguous anywhere: it may be stored, whatever came later
        ([AMBIGUOUS, *[TRANSIENT] * 2], RetryIn(4.0)),
        ([AMBIGUOUS, *[TRANSIENT] * 3], Reread()),
        ([TRANSIENT, AMBIGUOUS, TRANSIENT, TRANSIENT], Reread()),
        ([*[TRANSIENT] * 3, AMBIGUOUS], Reread()),
        ([LOST, *[THROTTLED] * 5], Reread()),
        # throttled: at most 5, and none of them counts among the 4
        ([THROTTLED] * 1, RetryIn(0.0)),
        ([THROTTLED] * 4, RetryIn(0.0)),
        ([THROTTLED] * 5, TOO_FAST),
        ([THROTTLED] * 6, TOO_FAST),
        ([THROTTLED] * 4 + [TRANSIENT] * 3, RetryIn(4.0)),
        ([THROTTLED] * 4 + [TRANSIENT] * 4, UNAVAILABLE),
        ([TRANSIENT] * 3 + [THROTTLED] * 4, RetryIn(0.0)),
        ([TRANSIENT] * 3 + [THROTTLED] * 5, TOO_FAST),
        # of 500 alone: at most 3
        ([SERVER] * 2, RetryIn(2.0)),
        ([SERVER] * 3, Reread()),
        ([SERVER] * 4, Reread()),
        ([SERVER, AMBIGUOUS, SERVER], RetryIn(4.0)),
        ([SERVER, TRANSIENT, SERVER, SERVER], Reread()),
        ([SERVER, SERVER, AMBIGUOUS], RetryIn(4.0)),
        # internal faults: at most 2
        ([INTERNAL] * 1, RetryIn(1.0)),
        ([INTERNAL] * 2, Reread()),
        ([INTERNAL] * 3, Reread()),
        ([INTERNAL, TRANSIENT], RetryIn(2.0)),
        ([INTERNAL, TRANSIENT, INTERNAL], Reread()),
        ([*[TRANSIENT] * 3, INTERNAL], Reread()),
        ([INTERNAL, *[TRANSIENT] * 3], Reread()),
    ],
)
def test_the_last_attempt_and_the_counts_decide(attempts: list[Attempt], step: Step) -> None:
    assert after(*attempts) == step


@pytest.mark.parametrize(
    ("last", "step"),
    [
        (OK, LINKED),
        (PERMANENT, REJECTED),
        (TRANSIENT, UNAVAILABLE),
        (THROTTLED, TOO_FAST),
        (INTERNAL, Reread()),
        (AMBIGUOUS, Reread()),
        (SERVER, Reread()),
    ],
)
@pytest.mark.parametrize("spent", [100.0, 100.5])
def test_at_max_seconds_no_more_is_tried(last: Attempt, step: Step, spent: float) -> None:
    assert after(last, spent=spent) == step


@pytest.mark.parametrize(
    ("attempts", "step"),
    [
        ([OK], LINKED),
        ([TRANSIENT] * 3, RetryIn(4.0)),
        ([TRANSIENT] * 4, Reread()),
        ([THROTTLED] * 5, Reread()),
        ([PERMANENT], Reread()),
    ],
)
def test_what_an_earlier_session_may_have_stored_is_looked_for_before_a_pair_is_given_up(
    attempts: list[Attempt], step: Step
) -> None:
    assert POLICY.after(tuple(attempts), 0.0, Highest(), in_doubt=True) == step


@pytest.mark.parametrize("last", [TRANSIENT, THROTTLED, INTERNAL, AMBIGUOUS, SERVER])
def test_below_max_seconds_it_is_tried_again(last: Attempt) -> None:
    assert isinstance(after(last, spent=99.9), RetryIn)


def test_a_500_is_repeated_less_than_a_502() -> None:
    def tries(failure: Attempt) -> int:
        return next(n for n in range(1, 99) if after(*[failure] * n, policy=RetryPolicy()) == Reread())

    assert (tries(SERVER), tries(AMBIGUOUS)) == (3, 5)


@pytest.mark.parametrize(
    ("attempts", "settled"), [((LOST, PERMANENT), REJECTED), ((INTERNAL, INTERNAL), FAULTY)]
)
def test_a_refusal_holds_once_the_members_show_that_nothing_is_stored(
    attempts: tuple[Attempt, ...], settled: Settle
) -> None:
    assert LAST_LOOK.after_reread(attempts, (ABSENT,), Highest()) == settled
    assert LAST_LOOK.after_reread(attempts, (OK,), Highest()) == LINKED
    assert isinstance(settled_in_doubt := LAST_LOOK.after_reread(attempts, (LOST,), Highest()), Settle)
    assert settled_in_doubt.status is Status.UNKNOWN


@pytest.mark.parametrize("doubtful", [LOST, AMBIGUOUS])
def test_an_internal_fault_does_not_hide_that_an_earlier_attempt_may_be_stored(doubtful: Attempt) -> None:
    """A rejected row reads as not linked, but nobody has looked."""
    assert after(doubtful, INTERNAL, INTERNAL) == Reread()


@pytest.mark.parametrize(("failed", "ceiling"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 6.0), (5, 6.0), (50, 6.0)])
def test_jitter_is_full_and_comes_after_the_cap(failed: int, ceiling: float) -> None:
    """Were it before the cap, all pairs would line up at the cap."""
    rng = Highest()
    policy = RetryPolicy(max_attempts=99, base=1.0, cap=6.0)
    assert policy.after((TRANSIENT,) * failed, 0.0, rng) == RetryIn(ceiling)
    assert rng.asked == [(0.0, ceiling)]


def test_the_backoff_is_what_the_generator_deals() -> None:
    class Middle(Highest):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    assert POLICY.after((TRANSIENT, TRANSIENT), 0.0, Middle()) == RetryIn(1.0)


@pytest.mark.parametrize(
    ("attempts", "ceiling"),
    [
        ([*[THROTTLED] * 4, TRANSIENT], 1.0),
        ([TRANSIENT, THROTTLED, THROTTLED, TRANSIENT], 2.0),
        ([AMBIGUOUS, THROTTLED, INTERNAL, TRANSIENT], 4.0),
    ],
)
def test_the_backoff_does_not_grow_with_throttled_attempts(attempts: list[Attempt], ceiling: float) -> None:
    assert after(*attempts) == RetryIn(ceiling)


def test_a_throttled_pair_adds_no_wait_of_its_own() -> None:
    """The limiter already holds everyone back."""
    rng = Highest()
    assert POLICY.after((TRANSIENT, TRANSIENT, THROTTLED), 0.0, rng) == RetryIn(0.0)
    assert rng.asked == []


def test_the_defaults_are_bounded_in_number_and_in_time() -> None:
    policy = RetryPolicy()
    assert isinstance(after(*[TRANSIENT] * 4, policy=policy), RetryIn)
    assert after(*[TRANSIENT] * 5, policy=policy) == UNAVAILABLE
    assert isinstance(after(*[THROTTLED] * 99, policy=policy), RetryIn)
    assert after(*[THROTTLED] * 100, policy=policy) == TOO_FAST
    assert isinstance(after(INTERNAL, policy=policy), RetryIn)
    assert after(INTERNAL, INTERNAL, policy=policy) == Reread()
    assert after(TRANSIENT, policy=policy) == RetryIn(0.5)
    assert isinstance(after(TRANSIENT, spent=599.9, policy=policy), RetryIn)
    assert after(TRANSIENT, spent=600.0, policy=policy) == UNAVAILABLE
    patient = RetryPolicy(max_attempts=99)
    assert after(*[TRANSIENT] * 6, policy=patient) == RetryIn(16.0)
    assert after(*[TRANSIENT] * 98, policy=patient) == RetryIn(30.0)


def test_a_throttled_reread_is_repeated_within_the_bound_on_throttled_answers() -> None:
    throttled = Attempt(Result.THROTTLED, "throttled", 429)
    before = (LOST, AMBIGUOUS)
    bound = POLICY.max_throttled

    assert POLICY.after_reread(before, (throttled,) * (bound - 1), Highest()) == Reread()
    assert POLICY.after_reread(before, (throttled,) * bound, Highest()) == Settle(
        Status.UNKNOWN, "gateway_error", 502
    )


@pytest.mark.parametrize("reason", ["unavailable", "maintenance"])
def test_a_503_that_does_not_speak_of_our_pace_is_no_attempt_but_is_not_sent_for_as_often(
    reason: str,
) -> None:
    policy = replace(POLICY, max_throttled=50, max_unexplained=20)
    again = Attempt(Result.THROTTLED, reason, 503)
    assert after(*[again] * 19, *[THROTTLED] * 30, OK, policy=policy) == LINKED
    assert after(*[THROTTLED] * 30, *[again] * 19, policy=policy) == RetryIn(0.0)
    assert after(*[again] * 20, policy=policy) == Settle(Status.RETRYABLE, reason, 503)
    looks = policy.look_again((again,) * 19, Highest()), policy.look_again((again,) * 20, Highest())
    assert looks == (Reread(0.0), None)


def test_members_that_cannot_be_read_are_asked_for_again_with_backoff_and_then_it_stays_unknown() -> None:
    unreadable = Attempt(Result.AMBIGUOUS, "timeout")
    looks = (THROTTLED, unreadable)

    assert POLICY.after_reread((LOST,), looks[1:], Highest()) == Reread(1.0)
    assert POLICY.after_reread((LOST,), (*looks, unreadable), Highest()) == Reread(2.0)
    assert POLICY.after_reread((LOST,), (*looks, unreadable, unreadable), Highest()) == Settle(
        Status.UNKNOWN, "timeout"
    )


@pytest.mark.parametrize(
    ("looks", "step"),
    [
        ([Attempt(Result.OK, http_status=200)], Settle(Status.LINKED, "", 200)),
        ([Attempt(Result.TRANSIENT, "not_stored", 200)], RetryIn(0.0)),
        ([THROTTLED], Reread(0.0)),
        ([AMBIGUOUS], Reread(1.0)),
        ([AMBIGUOUS, THROTTLED, AMBIGUOUS], Reread(2.0)),
        ([AMBIGUOUS, AMBIGUOUS, AMBIGUOUS], RetryIn(0.0)),
        ([AMBIGUOUS, Attempt(Result.TRANSIENT, "not_stored", 200)], RetryIn(0.0)),
        ([THROTTLED] * 100, RetryIn(0.0)),
    ],
)
def test_a_pair_in_doubt_is_linked_if_the_members_show_it_and_sent_if_they_do_not(
    looks: list[Attempt], step: Step
) -> None:
    assert POLICY.after_look(tuple(looks), Highest()) == step


@pytest.mark.parametrize(
    ("reread", "settled"),
    [
        (Attempt(Result.OK, http_status=200), Settle(Status.LINKED, "", 200)),
        (Attempt(Result.TRANSIENT, "not_stored", 200), Settle(Status.RETRYABLE, "gateway_error", 502)),
        (Attempt(Result.AMBIGUOUS, "timeout"), Settle(Status.UNKNOWN, "gateway_error", 502)),
        (Attempt(Result.PERMANENT, "not_found", 404), Settle(Status.UNKNOWN, "gateway_error", 502)),
    ],
)
def test_a_reread_decides_and_the_cause_stays_that_of_the_attempts(reread: Attempt, settled: Settle) -> None:
    assert LAST_LOOK.after_reread((LOST, AMBIGUOUS), (reread,), Highest()) == settled


@pytest.mark.parametrize(
    ("attempts", "cause"),
    [
        ([AMBIGUOUS, LOST], ("timeout", None)),
        ([LOST, TRANSIENT], ("unavailable", 503)),
        ([LOST, SERVER, THROTTLED, THROTTLED], (SERVER_ERROR, 500)),
    ],
)
@pytest.mark.parametrize(
    ("proof", "status"), [(Result.TRANSIENT, Status.RETRYABLE), (Result.AMBIGUOUS, Status.UNKNOWN)]
)
def test_the_cause_is_the_last_attempt_that_was_not_throttled(
    attempts: list[Attempt], cause: tuple[str, int | None], proof: Result, status: Status
) -> None:
    settled = LAST_LOOK.after_reread(tuple(attempts), (Attempt(proof, "read", 418),), Highest())
    assert settled == Settle(status, *cause)


@given(
    st.lists(
        st.sampled_from([OK, THROTTLED, TRANSIENT, AMBIGUOUS, LOST, SERVER, INTERNAL, PERMANENT]),
        min_size=1,
        max_size=12,
    ),
    st.floats(0, 200),
)
def test_every_history_has_a_step_and_no_doubtful_one_settles_as_retryable(
    attempts: list[Attempt], spent: float
) -> None:
    step = after(*attempts, spent=spent)
    if isinstance(step, Settle) and step.status is Status.RETRYABLE:
        assert all(a.result is not Result.AMBIGUOUS for a in attempts)
    if isinstance(step, Reread):
        assert any(a.result is Result.AMBIGUOUS for a in attempts)
    if isinstance(step, RetryIn):
        assert attempts[-1].result not in {Result.OK, Result.PERMANENT}
        assert 0.0 <= step.seconds <= POLICY.cap
