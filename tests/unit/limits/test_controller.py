"""Which knob is turned: throttle answers first the rate, then batches, then the number in flight."""

from typing import TYPE_CHECKING

import pytest

from worker.limits.adaptive_concurrency import CAREFUL, AdaptiveConcurrency
from worker.limits.adaptive_rate import QUIET_BELOW, AdaptiveRate
from worker.limits.batch_size import BatchSize
from worker.limits.change import Change, Knob, Learned, Why
from worker.limits.controller import RATE_CUTS, Controller
from worker.models import Kind, Request, Result

if TYPE_CHECKING:
    from collections.abc import Sequence


def request(
    result: Result = Result.OK, kind: Kind = Kind.LINK, seconds: float = 0.2, items: int = 1
) -> Request:
    return Request(kind, result, items, seconds=seconds)


THROTTLED = request(Result.THROTTLED, seconds=0.01)


def steady(controller: Controller, begin: float, end: float, in_flight: int) -> list[Change]:
    """So many are always in flight, each for as long."""
    changes: list[Change] = []
    controller.flying(in_flight, begin)
    step = 0.2 / in_flight
    for number in range(1, int((end - begin) / step) + 1):
        changes += controller.observe(request(), begin + step * number)
    return changes


def tried_in(controller: Controller, concurrency: AdaptiveConcurrency, begin: float, end: float) -> set[int]:
    """What is tried if as many as are allowed are always in flight, each for as long."""
    tried, at = set(), begin
    while at < end:
        controller.flying(concurrency.limit, at)
        at += 0.2 / concurrency.limit
        changes = controller.observe(request(), at)
        tried |= {int(change.now) for change in changes if change.why is Why.PROBE}
    return tried


def test_nothing_is_changed_that_is_fixed() -> None:
    controller = Controller()
    controller.flying(8, 0.0)

    for second in range(100):
        result = (Result.OK, Result.THROTTLED, Result.AMBIGUOUS)[second % 3]
        assert not controller.observe(request(result), float(second))
    assert controller.learned == Learned()


def test_a_throttle_answer_lowers_the_rate_and_nothing_else() -> None:
    controller = Controller(AdaptiveRate(50.0), AdaptiveConcurrency(16, 0.0, start=8))

    (change,) = controller.observe(THROTTLED, 1.0)

    assert change == Change(1.0, Knob.RATE, 50.0, 35.0, Why.THROTTLED)
    assert controller.learned == Learned(rate=35.0, concurrency=8)


def test_one_that_was_sent_before_the_last_cut_changes_nothing() -> None:
    controller = Controller(AdaptiveRate(50.0))
    controller.observe(THROTTLED, 1.0)

    assert not controller.observe(request(Result.THROTTLED, seconds=1.5), 2.0)


def test_when_the_rate_does_not_explain_it_the_number_in_flight_is_halved() -> None:
    controller = Controller(AdaptiveRate(50.0), AdaptiveConcurrency(16, 0.0, start=8))

    changes = [controller.observe(THROTTLED, float(second))[0] for second in range(1, RATE_CUTS + 3)]

    assert [change.knob for change in changes] == [*[Knob.RATE] * RATE_CUTS, Knob.CONCURRENCY, Knob.RATE]
    assert changes[RATE_CUTS] == Change(4.0, Knob.CONCURRENCY, 8, 4, Why.THROTTLED)


@pytest.mark.parametrize("concurrency", [None, 1])
def test_where_there_is_no_number_to_halve_it_stays_the_rate(concurrency: int | None) -> None:
    adaptive = None if concurrency is None else AdaptiveConcurrency(16, 0.0, start=concurrency)
    controller = Controller(AdaptiveRate(50.0), adaptive)

    for second in range(10):
        (change,) = controller.observe(THROTTLED, float(second))
        assert change.knob is Knob.RATE


def test_a_rate_that_is_shared_leaves_the_number_in_flight_to_be_halved() -> None:
    controller = Controller(None, AdaptiveConcurrency(16, 0.0, start=8))

    (change,) = controller.observe(THROTTLED, 1.0)
    assert change == Change(1.0, Knob.CONCURRENCY, 8, 4, Why.THROTTLED)
    assert not controller.observe(request(Result.THROTTLED, seconds=0.5), 1.2)

    assert controller.observe(THROTTLED, 2.0)
    assert controller.observe(THROTTLED, 3.0)
    assert not controller.observe(THROTTLED, 4.0)  # one is left


def test_a_quiet_time_raises_the_rate_and_begins_a_new_window() -> None:
    controller = Controller(AdaptiveRate(20.0), AdaptiveConcurrency(2, 0.0, start=2))
    controller.observe(THROTTLED, 0.0)

    changes = steady(controller, 0.0, QUIET_BELOW + 1, in_flight=4)

    raised = next(change for change in changes if change.knob is Knob.RATE)
    assert (raised.was, raised.why) == (14.0, Why.RECOVER)
    assert raised.now == pytest.approx(15.4)


def probing() -> tuple[Controller, AdaptiveConcurrency]:
    """Three in flight are tried, and have not been in flight so far."""
    concurrency = AdaptiveConcurrency(16, 0.0, start=2)
    controller = Controller(AdaptiveRate(50.0), concurrency)
    (probe,) = steady(controller, 0.0, 1.5, in_flight=2)
    assert (probe.knob, probe.now, probe.why) == (Knob.CONCURRENCY, 3, Why.PROBE)
    return controller, concurrency


def test_a_probe_that_another_knob_disturbs_is_taken_back() -> None:
    controller, _ = probing()
    steady(controller, 1.5, 2.0, in_flight=3)

    rate, back = controller.observe(THROTTLED, 2.0)

    assert rate.knob is Knob.RATE
    assert back == Change(2.0, Knob.CONCURRENCY, 3, 2, Why.REVERT)


def test_a_throttle_answer_to_one_more_in_flight_takes_that_back_and_leaves_the_rate() -> None:
    controller, concurrency = probing()
    controller.flying(3, 1.6)

    (change,) = controller.observe(THROTTLED, 1.61)

    assert change == Change(1.61, Knob.CONCURRENCY, 3, 2, Why.THROTTLED)
    assert controller.learned == Learned(rate=50.0, concurrency=2)
    assert tried_in(controller, concurrency, 1.7, 1.6 + CAREFUL) == {1}
    assert 3 in tried_in(controller, concurrency, 1.6 + CAREFUL, 100.0)


def test_one_that_was_sent_before_one_more_was_tried_is_no_answer_to_that() -> None:
    controller, _ = probing()
    controller.flying(3, 1.6)

    rate, *_ = controller.observe(request(Result.THROTTLED, seconds=1.0), 1.61)

    assert rate.knob is Knob.RATE


def test_if_as_few_as_ever_are_throttled_too_it_was_the_rate_and_one_more_may_soon_be_tried() -> None:
    controller, concurrency = probing()
    controller.flying(3, 1.6)
    controller.observe(THROTTLED, 1.61)

    (rate,) = controller.observe(THROTTLED, 3.0)

    assert rate.knob is Knob.RATE
    assert 3 in tried_in(controller, concurrency, 3.1, 20.0)


def test_what_others_wait_for_says_nothing_of_the_number_in_flight() -> None:
    controller = Controller(None, AdaptiveConcurrency(16, 0.0, start=8))

    for second in range(30):
        assert not controller.observe(request(Result.AMBIGUOUS, Kind.PROBE), float(second))
        assert not controller.observe(request(Result.TRANSIENT, Kind.LOGIN), float(second))


def test_failures_halve_the_number_in_flight() -> None:
    controller = Controller(None, AdaptiveConcurrency(16, 0.0, start=8))
    lost: Sequence[Change] = ()
    for second in range(2):
        lost = controller.observe(request(Result.AMBIGUOUS, seconds=0.5), second + 1.0)

    assert lost == [Change(2.0, Knob.CONCURRENCY, 8, 4, Why.CUT)]


def test_a_batch_that_was_too_large_makes_batches_smaller_and_nothing_else() -> None:
    controller = Controller(None, AdaptiveConcurrency(4, 0.0, start=2))
    sizes = BatchSize(longest=10.0)
    controller.sizes(sizes)
    assert controller.learned == Learned(concurrency=2, batch_size=20)

    changes: list[Change] = []
    for second in (20, 40):
        sizes.observe(20, 20.0)
        changes += controller.observe(request(Result.AMBIGUOUS, Kind.BATCH, 20.0, items=20), float(second))

    assert changes[0] == Change(20.0, Knob.BATCH_SIZE, 20, 2, Why.RESIZED)
    assert {change.knob for change in changes} == {Knob.BATCH_SIZE}


def test_the_size_of_batches_stays_while_one_more_in_flight_is_tried() -> None:
    concurrency = AdaptiveConcurrency(4, 0.0, start=2)
    controller = Controller(None, concurrency)
    sizes = BatchSize(longest=10.0)
    controller.sizes(sizes)
    steady(controller, 0.0, 1.5, in_flight=2)
    assert concurrency.is_probing

    for _ in range(5):
        sizes.observe(20, 0.5)
    assert sizes.size == 20

    concurrency.start_anew(2.0)
    sizes.observe(20, 0.5)
    assert sizes.size == 30


def test_with_a_fixed_number_in_flight_batches_change_as_they_like() -> None:
    controller = Controller()
    sizes = BatchSize(longest=10.0)
    controller.sizes(sizes)

    for _ in range(3):
        sizes.observe(20, 0.5)

    (change,) = controller.observe(request(kind=Kind.BATCH, items=20), 1.0)
    assert change == Change(1.0, Knob.BATCH_SIZE, 20, 30, Why.RESIZED)


def test_what_is_refused_again_while_others_get_through_changes_nothing() -> None:
    controller = Controller(AdaptiveRate(100.0))
    again = Request(Kind.LINK, Result.THROTTLED, 1, 1, ("unavailable",), seconds=0.1)
    works = Request(Kind.LINK, Result.OK, 1, seconds=0.1)

    controller.observe(works, 1.0)
    assert controller.observe(again, 2.0) == ()
    # Nothing got through since: it may be the portal after all.
    assert [change.knob for change in controller.observe(again, 3.0)] == [Knob.RATE]
    # One that was never refused before says something of our pace, whatever else gets through.
    controller.observe(works, 4.0)
    first = Request(Kind.LINK, Result.THROTTLED, 1, seconds=0.1)
    assert [change.knob for change in controller.observe(first, 5.0)] == [Knob.RATE]
