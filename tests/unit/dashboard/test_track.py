"""The chart covers the whole session with a bounded number of samples."""

from tests.unit.dashboard.seen import view
from worker.dashboard.track import MOST, Track


def test_a_session_of_days_has_few_samples_and_they_reach_from_its_beginning_to_its_end() -> None:
    track = Track()
    for second in range(1, 200_001):
        track.note(view(seconds=float(second), done_here=10 * second))

    seconds = [one.seconds for one in track.samples]
    assert MOST / 3 < len(seconds) <= MOST
    assert seconds[0] < 2_000
    assert seconds[-1] > 198_000
    assert seconds == sorted(set(seconds))
    assert all(one.links == 10 * one.seconds for one in track.samples)


def test_time_that_stands_still_gives_no_sample() -> None:
    track = Track()
    track.note(view(seconds=5.0))
    track.note(view(seconds=5.0))

    assert len(track.samples) == 1
