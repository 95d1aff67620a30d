"""Learns from each answer how much of a portal may be used, and turns one knob at a time. Pure.

In this order: a throttle answer takes back one more in flight that is tried, if it comes of that, and else
lowers the rate; a batch that was too large lowers the size of batches; latency, throughput and failures move
the number in flight. Whatever was turned, that begins a new window.
"""

from collections.abc import Sequence

from worker.limits.adaptive_concurrency import FLOOR, AdaptiveConcurrency
from worker.limits.adaptive_rate import AdaptiveRate
from worker.limits.batch_size import BatchSize
from worker.limits.change import Change, Knob, Learned, Why
from worker.models import QUESTIONS, Request, Result

RATE_CUTS = 3
"""Cuts of the rate, with no quiet time between, after which it is not the rate that the portal minds."""

_WORKED = {Result.OK, Result.PERMANENT}


class Controller:
    """What may be turned, and who turns it.

    Args:
        rate: None for one that is not to be changed.
        concurrency: None for one that is not to be changed.
    """

    def __init__(
        self, rate: AdaptiveRate | None = None, concurrency: AdaptiveConcurrency | None = None
    ) -> None:
        self.rate = rate
        self.concurrency = concurrency
        self._sizes: BatchSize | None = None
        self._size = 0
        self._worked = False

    def sizes(self, sizes: BatchSize) -> None:
        """Batches are sent, of a size that they learn; not while it is tried what one more in flight does."""
        self._sizes, self._size = sizes, sizes.size
        sizes.may_change = lambda: self.concurrency is None or not self.concurrency.is_probing

    @property
    def learned(self) -> Learned:
        """What the next one who works at this portal may start with."""
        return Learned(
            None if self.rate is None else self.rate.value,
            None if self.concurrency is None else self.concurrency.limit,
            None if self._sizes is None else self._sizes.size,
        )

    def flying(self, count: int, at: float, *, leaves: bool = False) -> None:
        """From now on so many requests are in flight; ``leaves`` if there is one more."""
        if leaves and self.rate is not None:
            self.rate.sent(at)
        if self.concurrency is not None:
            self.concurrency.flying(count, at)

    def observe(self, request: Request, at: float) -> Sequence[Change]:
        """Learn from a request whose answer came at a time; gives what is changed by it, mostly nothing."""
        sent_at = at - request.seconds
        if request.result is Result.THROTTLED:
            is_one_of_its_own = self._worked and request.items == 1 and not request.is_first
            self._worked = False
            # What is refused again while others get through says something of itself, not of our pace.
            return () if is_one_of_its_own else self._throttled(sent_at, at)
        if request.result in _WORKED and request.kind not in QUESTIONS:
            self._worked = True
        if self.rate is not None and request.result in _WORKED:
            before = self.rate.value
            if self.rate.taken(sent_at, at):
                change = Change(at, Knob.RATE, before, self.rate.value, Why.RECOVER)
                return [change, *self._start_anew(at)]
        if self._sizes is not None and self._sizes.size != self._size:
            before, self._size = self._size, self._sizes.size
            return [Change(at, Knob.BATCH_SIZE, before, self._size, Why.RESIZED), *self._start_anew(at)]
        if self.concurrency is None or request.kind in QUESTIONS:
            return ()
        return self._in_flight(self.concurrency, request, sent_at, at)

    def _throttled(self, sent_at: float, at: float) -> Sequence[Change]:
        rate, concurrency = self.rate, self.concurrency
        if concurrency is not None:
            tried = concurrency.limit
            if concurrency.refused_one_more(sent_at, at):
                return [Change(at, Knob.CONCURRENCY, tried, concurrency.limit, Why.THROTTLED)]
        explains = rate is not None and (rate.cuts_in_a_row < RATE_CUTS or concurrency is None)
        if concurrency is not None and concurrency.limit > FLOOR and not explains:
            before = concurrency.limit
            if concurrency.throttled(sent_at, at):
                if rate is not None:
                    rate.forget()
                return [Change(at, Knob.CONCURRENCY, before, concurrency.limit, Why.THROTTLED)]
        elif rate is not None:
            before_it = rate.value
            if rate.throttled(sent_at, at):
                if concurrency is not None:
                    concurrency.minds_the_rate()
                return [Change(at, Knob.RATE, before_it, rate.value, Why.THROTTLED), *self._start_anew(at)]
        return ()

    def _in_flight(
        self, concurrency: AdaptiveConcurrency, request: Request, sent_at: float, at: float
    ) -> Sequence[Change]:
        before = concurrency.limit
        if request.result in _WORKED:
            why = concurrency.worked(sent_at, at, request.items)
        else:
            why = concurrency.failed(sent_at, at)
        return [] if why is None else [Change(at, Knob.CONCURRENCY, before, concurrency.limit, why)]

    def _start_anew(self, at: float) -> Sequence[Change]:
        if self.concurrency is None:
            return ()
        before = self.concurrency.limit
        why = self.concurrency.start_anew(at)
        return [Change(at, Knob.CONCURRENCY, before, self.concurrency.limit, why)] if why else ()
