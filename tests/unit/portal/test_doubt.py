"""Whether batches are given up, event by event."""

from hypothesis import given
from hypothesis import strategies as st

from worker.portal.doubt import Doubt

PATIENCE, HEARD = 2, 4


def lost_ones() -> Doubt:
    return Doubt(first=PATIENCE, then=1, heard=HEARD)


def test_after_two_in_a_row_one_goes_alone_and_then_one_after_each_further_loss() -> None:
    doubt, told = lost_ones(), []
    for _ in range(4):
        doubt.batch_lost(doubt.lost)
        told.append(doubt.wants_one_alone)
        doubt.one_sent(answered=True)
        assert not doubt.wants_one_alone
    assert told == [False, True, True, True]


def test_where_it_takes_several_each_time_one_goes_alone_after_as_many_more() -> None:
    doubt, told = Doubt(first=3, then=3, heard=3), []
    while not doubt.batch_lost(doubt.lost):
        told.append(doubt.wants_one_alone)
        doubt.one_sent(answered=True)
    assert told == [False, False, True] * 3


def test_batches_in_flight_together_are_one_loss() -> None:
    doubt = lost_ones()
    assert not any(doubt.batch_lost(0) for _ in range(20))
    assert (doubt.lost, doubt.wants_one_alone) == (1, False)


def test_one_loss_is_followed_by_one_request_that_counts() -> None:
    doubt = lost_ones()
    for _ in range(PATIENCE):
        doubt.batch_lost(doubt.lost)
    for _ in range(20):
        doubt.one_sent(answered=True)
    assert not doubt.batch_lost(doubt.lost)


def test_a_late_loss_says_nothing_once_another_was_answered() -> None:
    doubt = lost_ones()
    for _ in range(PATIENCE):
        doubt.batch_lost(doubt.lost)
    doubt.batch_answered()
    doubt.batch_lost(PATIENCE)
    assert doubt.lost == 0


EVENTS = st.lists(st.sampled_from(["answered", "lost", "late", "heard", "unheard"]), max_size=60)


@given(EVENTS)
def test_batches_are_given_up_only_when_several_were_lost_and_as_many_alone_answered_since_the_last_answer(
    events: list[str],
) -> None:
    doubt, lost, heard = lost_ones(), 0, 0
    for event in events:
        if event == "answered":
            doubt.batch_answered()
            lost = heard = 0
        elif event in {"lost", "late"}:
            lost += event == "lost"
            if doubt.batch_lost(doubt.lost if event == "lost" else doubt.lost - 1):
                assert lost >= HEARD + PATIENCE - 1
                assert heard >= HEARD
        else:
            heard += event == "heard"
            doubt.one_sent(answered=event == "heard")
