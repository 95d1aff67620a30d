"""How far several sessions were together, whenever any of them was at work. Pure.

Each was sampled by a clock of its own. Between two samples, what a session did is taken as spread evenly.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from worker.ledger.history import Sample

MOST = 240
"""Samples of one stretch of time: more than a page shows."""

_NOTHING = Sample(0.0, 0, 0, 0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A session with its samples.

    Attributes:
        began: epoch seconds.
        seconds: that it lasted.
        samples: in order.
    """

    began: float
    seconds: float
    samples: tuple[Sample, ...]


def together(sessions: Sequence[Sampled], began: float, seconds: float) -> list[Sample]:
    """Samples of a stretch of time in which some sessions were at work, as if they had been one.

    Args:
        sessions: that lie in it; others are not counted.
        began: epoch seconds.
        seconds: its length.
    """
    inside = [one for one in sessions if began <= one.began <= began + seconds]
    moments = sorted({one.began + sample.seconds for one in inside for sample in one.samples})
    step = -(-len(moments) // MOST) or 1
    chosen = dict.fromkeys((*moments[::step], *moments[-1:]))
    return [_summed([_at(one, moment) for one in inside], moment - began) for moment in chosen]


def _at(session: Sampled, moment: float) -> Sample:
    """How far a session was at a moment."""
    seconds = moment - session.began
    after = bisect_right([sample.seconds for sample in session.samples], seconds)
    before = session.samples[after - 1] if after else _NOTHING
    if seconds < 0 or not session.samples:
        return _NOTHING
    permits = session.samples[min(after, len(session.samples) - 1)].permits
    if after == len(session.samples):
        over = seconds > session.seconds
        return Sample(
            seconds,
            before.links,
            before.requests,
            before.throttled,
            before.paused_seconds,
            0 if over else permits,
        )
    following = session.samples[after]
    share = (seconds - before.seconds) / (following.seconds - before.seconds)

    def between(first: float, last: float) -> float:
        return first + share * (last - first)

    return Sample(
        seconds,
        round(between(before.links, following.links)),
        round(between(before.requests, following.requests)),
        round(between(before.throttled, following.throttled)),
        between(before.paused_seconds, following.paused_seconds),
        permits,
    )


def _summed(samples: Sequence[Sample], seconds: float) -> Sample:
    return Sample(
        seconds,
        sum(one.links for one in samples),
        sum(one.requests for one in samples),
        sum(one.throttled for one in samples),
        sum(one.paused_seconds for one in samples),
        sum(one.permits for one in samples),
    )
