"""How a run goes, in one line: what to say, in the order of its weight, cut to the width there is. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.models import Status
from worker.quantities import counted, format_clock, format_duration
from worker.tally import LinkTally, Pace, RunTally

_BAR = 20
_LEAST_BAR = 6
_FAILED = (Status.REJECTED, Status.RETRYABLE, Status.UNKNOWN)
_NOT_SO = {"missing", "there_again", "unread", "kept", "refused", "failed"}
"""What became of links that somebody may have to see to."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something to say.

    Attributes:
        weight: what weighs least is left out first where there is no room.
    """

    text: str
    weight: int


def parts_of(tally: RunTally | LinkTally, pace: Pace) -> list[Part]:
    """What there is to say, in the order in which it is read."""
    said = list(_links(tally, pace) if isinstance(tally, LinkTally) else _rows(tally, pace))
    if tally.held and not tally.ended:
        said.insert(1, Part("paused from the live page", 95))
    elif tally.pause_left >= 1.0 and not tally.ended:
        said.insert(1, Part(f"paused, {format_duration(round(tally.pause_left))}", 95))
    return said


def line_of(parts: Sequence[Part]) -> str:
    """All of it, where there is room for any line."""
    return ", ".join(part.text for part in parts)


def fitted(parts: Sequence[Part], width: int) -> str:
    """As much as fits, the weightiest first; in the same order."""
    kept = list(parts)
    while len(line_of(kept)) > width and len(kept) > 1:
        kept.remove(min(kept, key=lambda part: part.weight))
    return line_of(kept)[: max(0, width)]


def bar(share: float | None, text: str, width: int) -> str:
    """The text with a bar before it as wide as there is room for; without one if nobody knows the share."""
    room = min(_BAR, width - len(text) - len("[] "))
    if share is None or room < _LEAST_BAR:
        return text
    return f"[{'#' * int(share * room):<{room}}] {text}"


def share_of(tally: RunTally | LinkTally) -> float | None:
    """Share of the work that is done; None while nobody knows how much there is."""
    if isinstance(tally, LinkTally):
        return min(1.0, tally.done / tally.total) if tally.total else None
    return tally.done / tally.rows if tally.complete and tally.rows else None


def done_of(tally: RunTally | LinkTally) -> int:
    """What a pace is measured by: pairs or links that have their last word in this session."""
    return tally.done - tally.before if isinstance(tally, LinkTally) else tally.settled_here


def _links(tally: LinkTally, pace: Pace) -> Iterator[Part]:
    total = f"/{tally.total:,}" if tally.total else ""
    yield Part(f"{tally.done:,}{total} {tally.unit}", 100)
    for word, count in tally.found.items():
        if count:
            yield Part(f"{count:,} {word.replace('_', ' ')}", 90 if word in _NOT_SO else 60)
    yield Part(f"{pace.links:,.0f}/s", 80)
    yield from _wire(tally, pace)
    yield from _left(tally.total - tally.done, pace)


def _rows(tally: RunTally, pace: Pace) -> Iterator[Part]:
    settled = tally.settled
    failed = sum(settled[status] for status in _FAILED)
    yield Part(f"{tally.done:,}/{tally.rows:,}{'' if tally.complete else '+'} rows", 100)
    yield Part(f"{settled[Status.LINKED]:,} linked", 85)
    if settled[Status.ALREADY_LINKED]:
        yield Part(f"{settled[Status.ALREADY_LINKED]:,} linked before", 60)
    if failed:
        yield Part(f"{failed:,} failed", 90)
    # Rows of the file that no portal has seen: no sign that anything goes wrong.
    if unusable := settled[Status.INVALID]:
        yield Part(f"{counted(unusable, 'unusable row')} in the file", 50)
    yield Part(f"{pace.links:,.0f} links/s", 80)
    yield from _wire(tally, pace)
    if tally.complete:
        yield from _left(tally.rows - tally.done, pace)


def _wire(tally: RunTally | LinkTally, pace: Pace) -> Iterator[Part]:
    if tally.sent:
        yield Part(f"{pace.requests:,.0f} requests/s", 40)
    if tally.limit:
        yield Part(f"{tally.in_flight} of {tally.limit} in flight", 20)
    if tally.retries:
        yield Part(counted(tally.retries, "retry"), 30)
    if tally.throttled:
        yield Part(f"{tally.throttled:,} throttled", 35)


def _left(count: int, pace: Pace) -> Iterator[Part]:
    if count > 0 and pace.links > 0:
        yield Part(f"about {format_clock(count / pace.links)} left", 70)
