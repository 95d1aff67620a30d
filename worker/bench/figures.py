"""What is read off the books of a trial: one number for a stretch of time. Pure."""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence

from worker.bench.trial import Books

Stretch = tuple[float, float]


def goodput(books: Sequence[Books], time: Stretch) -> float:
    """Links made a second, by all clients."""
    return sum(says == "ok" for _, _, says in _told(books, time)) / (time[1] - time[0])


def throttled(books: Sequence[Books], time: Stretch) -> float:
    """Share of the requests that were refused for being too many."""
    told = _told(books, time)
    return sum(says == "throttled" for _, _, says in told) / max(len(told), 1)


def in_flight(books: Sequence[Books], time: Stretch) -> float:
    """Requests on their way, on the mean, of all clients."""
    begin, end = time
    answers = (answer for client in books for answer in client.answers)
    busy = sum(max(0.0, min(told, end) - max(sent, begin)) for sent, told, _ in answers)
    return busy / (end - begin)


def sent(books: Sequence[Books], time: Stretch) -> float:
    """Requests about pairs a second, of all clients."""
    begin, end = time
    times = (at for client in books for at, _, _ in client.answers)
    return sum(begin <= at < end for at in times) / (end - begin)


def limits(books: Sequence[Books], time: Stretch) -> list[tuple[float, int]]:
    """Seconds that the first client was allowed so many in flight, one after the other."""
    begin, end = time
    steps = [*books[0].limits, (end, 0)]
    spans = (
        (max(at, begin), min(until, end), limit) for (at, limit), (until, _) in itertools.pairwise(steps)
    )
    return [(until - at, limit) for at, until, limit in spans if until > at]


def mean_limit(books: Sequence[Books], time: Stretch) -> float:
    """Requests in flight that were allowed, on the mean."""
    return sum(seconds * limit for seconds, limit in limits(books, time)) / (time[1] - time[0])


def least_limit(books: Sequence[Books], time: Stretch) -> float:
    """Fewest in flight that were allowed."""
    return min(limit for _, limit in limits(books, time))


def most_limit(books: Sequence[Books], time: Stretch) -> float:
    """Most in flight that were allowed."""
    return max(limit for _, limit in limits(books, time))


def answers_until_one(books: Sequence[Books], time: Stretch) -> float:
    """Answers that failed until one in flight was left; all there were if it never was."""
    begin, end = time
    at = next((at for at, limit in books[0].limits if begin <= at < end and limit == 1), end)
    return sum(says == "timeout" for _, _, says in _told(books, (begin, at + 1e-9)))


def worst_window(arrivals: Sequence[float], period: float) -> int:
    """Most requests that arrived in any time so long, ends included."""
    return max((bisect_right(arrivals, at + period) - i for i, at in enumerate(arrivals)), default=0)


def _told(books: Sequence[Books], time: Stretch) -> list[tuple[float, float, str]]:
    begin, end = time
    return [answer for client in books for answer in client.answers if begin <= answer[1] < end]


FIGURES: dict[str, Callable[[Sequence[Books], Stretch], float]] = {
    "goodput": goodput,
    "throttled": throttled,
    "in flight": in_flight,
    "sent": sent,
    "mean limit": mean_limit,
    "least limit": least_limit,
    "most limit": most_limit,
    "answers until one in flight": answers_until_one,
}
"""By the names that scenarios call them; a ``limit`` that is bounded is so at each moment."""
