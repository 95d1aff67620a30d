"""The rate that is learned: what lowers it, what raises it, how it comes to rest below what is too much."""

from collections import deque
from itertools import pairwise

import pytest

from worker.limits.adaptive_rate import (
    FLOOR,
    LONGEST_PATIENCE,
    PATIENCE,
    QUIET,
    QUIET_BELOW,
    UNSURE,
    AdaptiveRate,
)

LATENCY = 0.1


class Portal:
    """Takes so many requests in any second; is sent as many as the rate allows, or as there are."""

    def __init__(self, rate: AdaptiveRate, most: float) -> None:
        self.rate = rate
        self.most = most
        self.offered = 1000.0
        self.now = 0.0
        self.sent = self.refused = 0
        self.throttled_at: list[float] = []
        self._taken: deque[float] = deque()

    def work(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 1 / min(self.rate.value, self.offered)
            self.sent += 1
            self.rate.sent(self.now)
            while self._taken and self._taken[0] <= self.now - 1:
                self._taken.popleft()
            if len(self._taken) >= self.most:
                self.refused += 1
                self.throttled_at.append(self.now)
                self.rate.throttled(self.now, self.now + LATENCY)
                self.now += 1 + LATENCY  # the pause that it asks for
            else:
                self._taken.append(self.now)
                self.rate.taken(self.now, self.now + LATENCY)


def test_it_starts_at_its_ceiling_and_stays_there_while_nobody_complains() -> None:
    portal = Portal(AdaptiveRate(50.0), most=1000)

    portal.work(60)

    assert portal.rate.value == 50.0
    assert portal.rate.cuts_in_a_row == 0


def test_a_throttle_answer_leaves_seven_tenths_of_what_was_sent() -> None:
    rate = AdaptiveRate(50.0)
    for number in range(20):
        rate.sent(0.05 * number)  # 20 a second, 50 are allowed

    assert rate.throttled(1.0, 1.2)

    assert rate.value == pytest.approx(0.7 * 20)


def test_one_that_comes_first_leaves_seven_tenths_of_the_rate() -> None:
    rate = AdaptiveRate(50.0)

    assert rate.throttled(0.0, 0.1)

    assert rate.value == pytest.approx(35.0)


def test_what_was_sent_before_a_cut_is_no_reason_for_another_one_and_no_sign_of_quiet() -> None:
    rate = AdaptiveRate(50.0)
    rate.throttled(0.0, 0.3)

    assert not rate.throttled(0.2, 0.4)
    assert not rate.taken(0.2, 20.0)

    assert rate.value == pytest.approx(35.0)
    assert rate.cuts_in_a_row == 1


def test_it_grows_by_a_tenth_after_each_quiet_time_and_never_beyond_the_ceiling() -> None:
    rate = AdaptiveRate(50.0)
    rate.throttled(0.0, 0.0)
    portal = Portal(rate, most=1000)

    portal.work(QUIET_BELOW + 1)
    assert rate.value == pytest.approx(38.5)

    portal.work(200)
    assert rate.value == 50.0


def test_the_last_step_to_where_it_was_throttled_takes_a_longer_quiet_time_than_those_before() -> None:
    rate = AdaptiveRate(50.0)
    rate.throttled(0.0, 0.0)
    portal = Portal(rate, most=1000)

    portal.work(3 * QUIET_BELOW + 1)
    assert rate.value == pytest.approx(0.7 * 50 * 1.1**3)

    portal.work(QUIET - 2)
    assert rate.value == pytest.approx(0.7 * 50 * 1.1**3)

    portal.work(3)
    assert rate.value == pytest.approx(0.95 * 50)


def sent_slowly() -> Portal:
    """One that throttled once though far less was sent than was allowed."""
    rate = AdaptiveRate(50.0)
    portal = Portal(rate, most=1000)
    portal.offered = 20.0
    portal.work(5)
    rate.throttled(portal.now, portal.now)
    portal.offered = 1000.0
    return portal


def test_what_happened_to_be_sent_when_it_throttled_is_gone_back_to_first() -> None:
    portal = sent_slowly()

    portal.work(3 * QUIET_BELOW + QUIET + UNSURE - 1)

    assert portal.rate.value == pytest.approx(0.95 * 20, rel=0.01)


def test_but_it_is_passed_soon_and_forgotten_if_nobody_complains() -> None:
    portal = sent_slowly()

    portal.work(3 * QUIET_BELOW + 2 * QUIET + UNSURE + 3)
    assert portal.rate.value == pytest.approx(20, rel=0.01)

    portal.work(QUIET)
    assert portal.rate.value == pytest.approx(22, rel=0.01)

    portal.work(120)
    assert portal.rate.value == 50.0


def test_a_rate_that_is_not_used_does_not_grow() -> None:
    rate = AdaptiveRate(50.0)
    rate.throttled(0.0, 0.0)
    portal = Portal(rate, most=1000)
    portal.offered = 20.0

    portal.work(100)

    assert rate.value == pytest.approx(35.0)


@pytest.mark.parametrize("most", [3, 20, 45])
def test_an_unknown_limit_is_found_and_nearly_all_of_it_used(most: int) -> None:
    portal = Portal(AdaptiveRate(50.0), most)
    portal.work(60)
    sent, refused = portal.sent, portal.refused

    portal.work(600)

    assert (portal.sent - sent) / 600 >= 0.9 * most
    assert (portal.refused - refused) / (portal.sent - sent) <= 0.02


def test_what_was_throttled_is_tried_again_after_a_while_and_after_a_longer_one_each_time() -> None:
    portal = Portal(AdaptiveRate(50.0), most=20)
    portal.work(100)
    known = len(portal.throttled_at)

    portal.work(4 * LONGEST_PATIENCE)

    tried = portal.throttled_at[known - 1 :]
    waits = [after - before for before, after in pairwise(tried)]
    assert waits[0] >= PATIENCE
    assert waits == sorted(waits)
    assert LONGEST_PATIENCE <= waits[-1] <= LONGEST_PATIENCE + 2 * QUIET


def test_a_portal_that_takes_more_than_it_did_gets_more() -> None:
    portal = Portal(AdaptiveRate(50.0), most=20)
    portal.work(60)
    portal.most = 1000

    portal.work(400)

    assert portal.rate.value == 50.0


def test_a_portal_that_takes_less_than_it_did_gets_less() -> None:
    portal = Portal(AdaptiveRate(50.0), most=40)
    portal.work(100)
    portal.most = 10

    portal.work(30)
    sent = portal.sent
    portal.work(60)

    assert 9 <= (portal.sent - sent) / 60 <= 10


def test_what_happened_to_be_sent_moves_nothing_that_is_known() -> None:
    portal = Portal(AdaptiveRate(50.0), most=20)
    portal.work(300)
    known, refused = portal.rate.value, portal.refused
    portal.offered = 5.0
    portal.work(30)

    portal.rate.throttled(portal.now, portal.now)
    portal.offered = 1000.0
    portal.work(220)

    assert portal.rate.value == pytest.approx(known, rel=0.06)
    assert portal.refused == refused


def test_something_is_left_however_often_it_is_throttled() -> None:
    rate = AdaptiveRate(50.0)
    for second in range(100):
        rate.throttled(float(second), second + 0.1)
    assert rate.value == FLOOR

    slow = AdaptiveRate(0.1)
    slow.throttled(0.0, 0.1)
    assert slow.value == 0.1


def test_what_was_learned_before_is_gone_on_from() -> None:
    rate = AdaptiveRate(50.0, start=20.0)
    assert rate.value == 20.0

    portal = Portal(rate, most=1000)
    portal.work(PATIENCE)
    assert rate.value == 20.0  # no more than that, until it has been quiet for long

    assert AdaptiveRate(50.0, start=80.0).value == 50.0


def test_another_ceiling_is_gone_up_to_if_it_was_at_the_old_one() -> None:
    rate = AdaptiveRate(50.0)
    rate.bound(80.0)
    assert rate.value == 80.0

    rate.throttled(0.0, 0.1)
    rate.bound(100.0)
    assert rate.value == pytest.approx(56.0)

    rate.bound(10.0)
    assert rate.value == 10.0


def test_if_it_was_not_the_rate_what_it_was_throttled_at_is_forgotten() -> None:
    rate = AdaptiveRate(50.0)
    rate.throttled(0.0, 0.1)
    rate.forget()
    assert rate.cuts_in_a_row == 0

    portal = Portal(rate, most=1000)
    portal.now = 0.2
    portal.work(50)

    assert rate.value == 50.0
