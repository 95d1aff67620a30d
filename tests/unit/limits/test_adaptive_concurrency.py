"""The number in flight that is learned: up to the knee and no further, and not led astray by the portal."""

from itertools import pairwise

import pytest

from tests.unit.limits.closed_loop import ClosedLoop, Latency
from worker.limits.adaptive_concurrency import CAREFUL, DEAR, START, AdaptiveConcurrency
from worker.limits.change import Why


def knee(at_once: int, seconds: float = 0.2) -> Latency:
    """So many are worked on at once; more only make each take longer."""
    return lambda in_flight, _: seconds * max(1.0, in_flight / at_once)


def loop(latency: Latency, ceiling: int = 16, start: int | None = None) -> ClosedLoop:
    return ClosedLoop(AdaptiveConcurrency(ceiling, 0.0, start), latency)


@pytest.mark.parametrize("at_once", [2, 4, 8, 12])
def test_it_settles_at_the_knee(at_once: int) -> None:
    client = loop(knee(at_once))

    client.run(300)

    assert client.limits_in(60, 300) <= {at_once - 1, at_once, at_once + 1}
    assert client.speed(60, 300) >= 0.95 * at_once / 0.206
    assert client.limits[0][1] == START


def test_each_step_is_of_one_and_stays_only_if_it_did_good() -> None:
    client = loop(knee(8))

    client.run(120)

    limits = [limit for _, limit in client.limits]
    assert {abs(after - before) for before, after in pairwise(limits)} == {0, 1}
    assert set(client.reasons(0, 120)) == {Why.PROBE, Why.KEEP, Why.REVERT}


def test_a_portal_that_is_never_full_gets_as_many_as_the_ceiling_allows() -> None:
    client = loop(lambda *_: 0.3, ceiling=12)

    client.run(120)

    assert client.control.limit in {11, 12}
    assert max(client.limits_in(0, 120)) == 12


def test_a_limit_that_is_not_used_is_not_raised() -> None:
    client = loop(lambda *_: 0.2)
    client.busy = 1

    client.run(120)

    assert client.limits_in(0, 120) == {START}


def test_a_ceiling_of_one_leaves_nothing_to_try() -> None:
    client = loop(lambda *_: 0.2, ceiling=1)

    client.run(60)

    assert client.moves == []


def test_a_portal_that_can_do_less_than_it_could_gets_less() -> None:
    client = loop(lambda n, at: knee(8 if at < 100 else 4)(n, at))

    client.run(250)

    assert client.limits_in(80, 100) <= {7, 8, 9}
    assert client.limits_in(180, 250) <= {3, 4, 5}


def test_a_portal_that_can_do_more_than_it_could_gets_more() -> None:
    client = loop(lambda n, at: knee(4 if at < 100 else 8)(n, at))

    client.run(250)

    assert client.limits_in(180, 250) <= {7, 8, 9}


def test_a_portal_that_is_slow_for_reasons_of_its_own_is_not_left_with_less_nor_given_more() -> None:
    client = loop(lambda n, at: knee(8)(n, at) * (3.0 if 100 <= at < 160 else 1.0))

    client.run(240)

    assert client.limits_in(105, 160) <= {6, 7, 8, 9}
    assert Why.REBASELINE in client.reasons(100, 175)
    assert client.speed(190, 240) >= 0.9 * client.speed(50, 100)


def test_one_more_is_tried_again_when_it_has_been_slow_for_long() -> None:
    client = loop(lambda _, at: 0.2 if at < 100 else 1.2, ceiling=9)
    client.run(100)
    client.control.bound(12, 100.0)

    client.run(400)

    slow = next(at for at, why, _ in client.moves if at > 100 and why is Why.REBASELINE)
    assert max(client.limits_in(102, slow + CAREFUL)) <= 10
    assert max(client.limits_in(slow + CAREFUL, 500)) == 12


def test_if_nothing_comes_back_one_is_left_within_twenty_answers() -> None:
    client = loop(lambda _, at: 0.2 if at < 60 else -30.0)
    client.run(60)
    assert client.control.limit == 16
    before = client.answers

    client.run(100)
    while client.control.limit > 1:
        client.run(1)

    lost = [at for at, _, limit in client.moves if at > 60 and limit == 1]
    assert sum(60.2 < at <= lost[0] for at, _ in client.limits) <= 20
    assert client.answers - before > 20
    assert set(client.reasons(62, 300)) == {Why.CUT}


def test_after_an_outage_it_comes_back_fast() -> None:
    client = loop(lambda n, at: -0.5 if 100 <= at < 160 else knee(8)(n, at))

    client.run(240)

    assert client.control.limit >= 7
    assert 1 in client.limits_in(100, 161)
    assert client.reasons(160, 240).count(Why.RECOVER) == 2  # to 2 and 4, half of what it was
    assert client.speed(190, 240) >= 0.9 * client.speed(50, 100)


def test_a_few_failures_are_an_ordinary_day() -> None:
    numbers = iter(range(10**6))
    client = loop(lambda n, at: knee(8)(n, at) * (-1 if next(numbers) % 10 == 0 else 1))

    client.run(120)

    assert Why.CUT not in client.reasons(0, 120)
    assert client.control.limit >= 7


def test_failures_that_do_not_come_from_the_load_cut_it_once() -> None:
    numbers = iter(range(10**6))
    client = loop(lambda n, at: knee(8)(n, at) * (-1 if at > 60 and next(numbers) % 5 < 2 else 1))

    client.run(300)

    reasons = client.reasons(60, 300)
    assert reasons.count(Why.CUT) <= 2
    assert Why.REBASELINE in reasons
    assert client.control.limit >= 6


def test_failures_that_do_come_from_the_load_cut_it_until_they_are_gone() -> None:
    client = loop(lambda n, at: 0.2 * (-1 if n > 3 and at > 60 else 1))
    client.run(60)
    assert client.control.limit == 16

    client.run(10)
    assert client.control.limit <= 5

    client.run(100)
    assert max(client.limits_in(80, 170)) <= 5


def test_failures_that_a_cut_made_fewer_are_a_reason_for_another_one() -> None:
    control = AdaptiveConcurrency(16, 0.0, start=8)
    answers = [*"x.x.", *".x..x..x.."]
    limits = []
    for at, answer in enumerate(answers, 1):
        if answer == "x":
            control.failed(at - 0.5, float(at))
        else:
            control.worked(at - 0.5, float(at), 1)
        limits.append(control.limit)

    assert limits == [8, 8, 4, *[4] * 11]
    assert control.failed(14.5, 15.0) is Why.CUT


def test_one_in_flight_is_never_cut() -> None:
    control = AdaptiveConcurrency(16, 0.0, start=1)

    assert not control.throttled(1.0, 1.1)
    assert [control.failed(float(at), at + 0.5) for at in range(30)] == [None] * 30
    assert control.limit == 1


def test_a_throttle_answer_that_the_rate_does_not_explain_halves_it_once() -> None:
    control = AdaptiveConcurrency(16, 0.0, start=8)

    assert control.throttled(1.0, 1.2)
    assert not control.throttled(1.1, 1.3)
    assert control.throttled(1.3, 1.5)

    assert control.limit == 2


def refusing(at_once: int, until: float = 1e9) -> tuple[AdaptiveConcurrency, list[float]]:
    """A client at a portal that refuses what is more than so many at once; when it did, up to a time.

    Each request takes 0.2 s, and as many as are allowed are always in flight.
    """
    control, refused = AdaptiveConcurrency(16, 0.0), []
    at = 0.0
    while at < until:
        at += 0.2 / min(control.limit, at_once)
        control.flying(control.limit, at)
        if control.limit > at_once and control.refused_one_more(at, at):
            refused.append(at)
        control.worked(at - 0.2, at, 1)
    return control, refused


def test_one_more_that_is_refused_is_tried_again_after_a_while_and_after_a_longer_one_each_time() -> None:
    _, refused = refusing(4, until=600.0)

    waits = [after - before for before, after in pairwise(refused)]
    assert [round(wait / CAREFUL) for wait in waits] == [1, 2, 4]


def test_one_less_is_tried_seldom_also_where_one_more_is_not_allowed() -> None:
    client = loop(lambda *_: 0.2, ceiling=2, start=2)

    client.run(200)

    tried = [at for at, why, _ in client.moves if why is Why.PROBE]
    assert min(after - before for before, after in pairwise(tried[3:])) >= DEAR // 2


def test_a_lower_ceiling_holds_at_once() -> None:
    client = loop(lambda *_: 0.2)
    client.run(60)
    assert client.control.limit == 16

    client.control.bound(4, 60.0)
    client.run(60)

    assert client.limits_in(61, 120) <= {3, 4}


def test_when_another_limit_moves_a_probe_is_taken_back() -> None:
    client = loop(knee(8))
    while not client.control.is_probing:
        client.run(0.1)
    assert client.control.limit == START + 1

    assert client.control.start_anew(client.now) is Why.REVERT

    assert client.control.limit == START
    assert client.control.start_anew(client.now) is None


@pytest.mark.parametrize("step", [1, -1])
def test_that_a_portal_gets_faster_by_itself_is_no_merit_of_what_is_tried(step: int) -> None:
    pace = [1.0]
    client = loop(lambda n, at: knee(8, 0.6)(n, at) * pace[0], start=8)
    limit = 0
    while (client.control.limit - limit, client.control.is_probing) != (step, True):
        limit = client.control.limit
        client.run(0.1)
    began, tried = client.now, client.control.limit

    pace[0] = 0.3
    client.run(10)

    _, why, limit = next(move for move in client.moves if move[0] > began)
    assert (why, limit) == (Why.REBASELINE, tried - step)


@pytest.mark.parametrize(("start", "given"), [(None, 2), (6, 6), (40, 16)])
def test_what_was_learned_before_is_where_it_starts(start: int | None, given: int) -> None:
    assert AdaptiveConcurrency(16, 0.0, start).limit == given
