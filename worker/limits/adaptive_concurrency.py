"""How many requests may be in flight: as few as give all the throughput that there is to be had. Pure.

One request more, or one less, is tried for a window, and stays if throughput says so. So a portal that is
slower or faster for reasons of its own moves nothing for long: there it does not matter how many are tried.
"""

from collections import deque

from worker.limits.change import Why
from worker.limits.window import LONGEST, Throughputs, Window

START, FLOOR = 2, 1

GAIN = 0.05
"""Share by which throughput must rise for one more to stay. From ten in flight on it is half of what one more
can give at all."""

USED = 0.9
"""Share of the limit that must have been in flight: what was not used proves nothing."""

SLOW = 1.5
"""Times the usual latency, from which on the portal is overloaded, or in trouble of its own."""

CAREFUL, MOST_CAREFUL = 60.0, 960.0
"""Seconds without one more, after the portal became slower for reasons of its own, or refused one more; they
double each time it refuses that again."""

PRESSURE, AT_LEAST = 0.3, 2
"""Share, and number, of failures among the last answers that cut the limit."""

LAST_ANSWERS, ENOUGH = 20, 10
"""Answers that are looked at for failures, and those that tell whether a cut has changed their share."""

DEAR = 8
"""Requests in flight; with fewer, one less costs more, and is tried as much less often."""

LONGEST_PATIENCE = 4
"""Windows at most between two tries."""

_SMOOTH = 0.3
_BETTER, _WORSE = 1.3, 1.25


class AdaptiveConcurrency:
    """Requests in flight.

    Args:
        ceiling: most.
        at: the time, in seconds by the clock that all others are by.
        start: what was learned before.
    """

    def __init__(self, ceiling: int, at: float, start: int | None = None) -> None:
        self.ceiling = ceiling
        self.limit = max(FLOOR, min(start or START, ceiling))
        self._at = at
        self._flying = 0
        self._flying_since = at
        self._throughputs = Throughputs()
        self._spread = 0.5
        self._baseline: float | None = None
        self._probe = 0
        self._direction = 1
        self._wait = 0
        self._patience = 1
        self._slow = False
        self._before_slow = 0
        self._no_more_until = float("-inf")
        self._is_refused = False
        self._careful = CAREFUL
        self._takes = 0.0
        self._outcomes: deque[bool] = deque(maxlen=LAST_ANSWERS)
        self._cut_at = float("-inf")
        self._lost_in_a_row = 0
        self._recover_to = 0
        self._borne = PRESSURE
        self._worked_before: float | None = None
        self._window = Window(self.limit, at)

    @property
    def is_probing(self) -> bool:
        """Whether this window is to show what one more or one less does."""
        return self._probe != 0

    def bound(self, ceiling: int, at: float) -> None:
        """Go on under another ceiling."""
        self.ceiling = ceiling
        self._recover_to = min(self._recover_to, ceiling)
        if self.limit > ceiling:
            self._probe = 0
            self._move(ceiling, at)

    def start_anew(self, at: float) -> Why | None:
        """Another limit has changed, so what this window shows is not of this one; a probe is given up."""
        self._throughputs.clear()
        step, self._probe = self._probe, 0
        self._move(self.limit - step, at)
        return Why.REVERT if step else None

    def flying(self, count: int, at: float) -> None:
        """From now on so many requests are in flight."""
        self._window.in_flight(self._flying, self._flying_since, at)
        self._flying, self._flying_since = count, at

    def worked(self, sent_at: float, at: float, items: int) -> Why | None:
        """The portal did its work on a request; why that changes the limit, if it does."""
        self._lost_in_a_row = 0
        if sent_at >= self._cut_at:
            self._outcomes.append(False)
        self._window.answered(sent_at, at, items)
        return self._look(at)

    def failed(self, sent_at: float, at: float) -> Why | None:
        """It did not; why that changes the limit, if it does.

        What was sent before the last cut is no reason for another one, unless nothing but failures came since
        and as many as are now allowed.
        """
        self._lost_in_a_row += 1
        self._window.answered(sent_at, at, 0, worked=False)
        if sent_at >= self._cut_at:
            self._outcomes.append(True)
        elif self._lost_in_a_row < self.limit:
            return None
        nothing_else = self._lost_in_a_row >= max(AT_LEAST, self.limit)
        answers, failures = len(self._outcomes), sum(self._outcomes)
        if not nothing_else and (failures < AT_LEAST or failures < self._borne * answers):
            return None
        if nothing_else or self._worked_before is None:
            return self._cut(at)
        if answers < ENOUGH:
            return None
        worked = 1 - failures / answers
        if worked >= self._worked_before * _BETTER:
            return self._cut(at)
        # Half the load, and hardly fewer failures: it is not the load that they come from.
        self._borne, self._worked_before = min(1.0, _WORSE * (1 - worked)), None
        self._outcomes.clear()
        return Why.REBASELINE

    def refused_one_more(self, sent_at: float, at: float) -> bool:
        """The portal throttled; whether it minds the one more that is tried, which is taken back then.

        It does if it never had so many for as long as a request takes, for one that minds the rate works on
        them until that is used up.
        """
        if self._probe <= 0 or sent_at < self._window.begins_at:
            return False
        self.flying(self._flying, at)
        if self._window.full - (at - sent_at) >= self._takes:
            return False
        self._is_refused, self._no_more_until = True, at + self._careful
        self._careful = min(2 * self._careful, MOST_CAREFUL)
        self._revert(at)
        return True

    def minds_the_rate(self) -> None:
        """It throttled though no more were in flight than ever: what it minds is the rate, and was before."""
        if self._is_refused:
            self._is_refused, self._no_more_until, self._careful = False, float("-inf"), CAREFUL

    def throttled(self, sent_at: float, at: float) -> bool:
        """The portal did not take a request, and it is not the rate; whether that cuts the limit."""
        return sent_at >= self._cut_at and self._cut(at) is not None

    def _cut(self, at: float) -> Why | None:
        """Halve the limit; it comes back fast to half of what it was, and from there as ever."""
        if self.limit == FLOOR:
            return None
        self._probe = 0
        self._worked_before = self._outcomes.count(False) / max(len(self._outcomes), 1) or None
        half = max(FLOOR, self.limit // 2)
        self._recover_to = max(self._recover_to, half) if self.limit <= self._recover_to else half
        self._cut_at = at
        self._lost_in_a_row = 0
        self._outcomes.clear()
        self._throughputs.clear()
        self._wait, self._patience, self._direction = 0, 1, 1
        self._move(half, at)
        return Why.CUT

    def _move(self, limit: int, at: float) -> None:
        self.limit = limit
        self._window = Window(limit, at)

    def _look(self, at: float) -> Why | None:
        """At the end of a window, decide about the next one."""
        window = self._window
        # Whether it is our load that makes it slow is worth more time: else it would be lowered by chance.
        if not window.is_over(self._spread, (1 + self._slow) * LONGEST):
            return None
        self.flying(self._flying, at)
        self._window = Window.next_to(window, at)
        if window.latency is None or (window.used < USED and not self._probe):
            return None
        self._spread += _SMOOTH * (window.spread - self._spread)
        self._throughputs.add(window)
        self._takes = window.takes
        if self._probe and not self._is_faster(window.latency):
            return self._judge(window.latency, at)
        if self._probe:  # that is no merit of the probe
            self._revert(at)
        if why := self._heed(window.latency):
            return why
        if self.limit < self._recover_to:
            self._move(min(self._recover_to, 2 * self.limit), at)
            return Why.RECOVER
        self._recover_to = 0
        return self._try(at)

    def _heed(self, latency: float) -> Why | None:
        """Compare with the usual latency, which is not learned from a portal that is overloaded."""
        usual = self._baseline
        if usual is None:
            self._baseline = latency
        elif self._is_faster(latency):
            self._recover_to = max(self._recover_to, self._before_slow)
            self._no_more_until, self._before_slow = float("-inf"), 0
            return self._learn_anew(latency)
        elif latency <= usual * SLOW:
            self._slow = False
            self._baseline = usual + _SMOOTH * (latency - usual)
        elif not self._slow:
            self._slow = True
            self._before_slow = max(self._before_slow, self.limit)
            self._throughputs.clear()
            self._direction, self._wait, self._patience = -1, 1, 1
        return None

    def _is_faster(self, latency: float) -> bool:
        return self._baseline is not None and latency * SLOW < self._baseline

    def _learn_anew(self, latency: float) -> Why:
        self._baseline, self._slow = latency, False
        self._throughputs.clear()
        self._direction, self._wait, self._patience = 1, 1, 1
        return Why.REBASELINE

    def _try(self, at: float) -> Why | None:
        """One more or one less, unless it is too soon."""
        if self._wait:
            self._wait -= 1
            return None
        step = self._direction if self._may(self._direction, at) else -self._direction
        if not self._may(step, at):
            return None
        self._probe = step
        self._move(self.limit + step, at)
        return Why.PROBE

    def _may(self, step: int, at: float) -> bool:
        if step < 0:
            return self.limit > FLOOR
        return self.limit < self.ceiling and not self._slow and at >= self._no_more_until

    def _judge(self, latency: float, at: float) -> Why | None:
        """Whether a probe did good."""
        before = self._throughputs.of(self.limit - self._probe, at)
        now = self._throughputs.of(self.limit, at)
        if self._probe > 0:
            good = now >= before * (1 + min(GAIN, 0.5 / (self.limit - 1)))
        else:
            good = now >= before * (1 - min(GAIN, 0.5 / (self.limit + 1)))
        if not good:
            if self._slow and self._probe < 0:
                self._no_more_until = at + CAREFUL
                self._revert(at)
                return self._learn_anew(latency)
            return self._revert(at)
        if not self._slow:
            self._baseline = latency
        if self._probe > 0:
            self._is_refused, self._careful = False, CAREFUL
        self._direction, self._patience, self._wait = self._probe, 1, 0
        self._probe = 0
        if self._may(self._direction, at):
            self._probe = self._direction
            self._move(self.limit + self._probe, at)
        return Why.KEEP

    def _revert(self, at: float) -> Why:
        step, self._probe = self._probe, 0
        self._direction = -step
        is_less_next = step > 0 or not self._may(1, at)
        self._wait = self._patience * (max(1, DEAR // self.limit) if is_less_next else 1)
        self._patience = min(2 * self._patience, LONGEST_PATIENCE)
        self._move(self.limit - step, at)
        return Why.REVERT
