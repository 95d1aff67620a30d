"""Charts as shapes of SVG: coordinates and texts, by attributes alone, so that they show where no style may.

Pure: figures in, shapes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.report.figures import LimitChange, Stretch

WIDTH, HEIGHT = 400, 150
"""Pixels; on a small phone it is drawn at three quarters of that, and its words must still be readable."""
_NOTHING = 1e-6
_MARK = 10
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 8, 22


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A text at a place on an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """A chart of something over time.

    Attributes:
        points: of the line, as SVG writes them: a list for each session, for there is nothing between them.
        pauses: times for which the portal held everyone back.
        across: texts along the time.
        up: texts along the figure.
        peak: the highest figure.
        lowered: marks where a limit was lowered, as a path of SVG; empty for none. ``raised`` likewise.
    """

    points: tuple[str, ...]
    pauses: tuple[Box, ...]
    across: tuple[Mark, ...]
    up: tuple[Mark, ...]
    peak: float
    lowered: str = ""
    raised: str = ""


def over_time(
    stretches: Sequence[Stretch], figures: Sequence[float], changes: Sequence[LimitChange] = ()
) -> Lines:
    """A line through figures, one for each stretch of time.

    Args:
        stretches: in order; at least one.
        figures: of each.
        changes: of limits, which are marked.
    """
    whole = stretches[-1].end or 1.0
    top = nice(max(figures))
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(seconds: float) -> float:
        return round(_LEFT + wide * seconds / whole, 1)

    def y(figure: float) -> float:
        return round(_TOP + high * (1 - figure / top), 1)

    lines: list[list[str]] = []
    pauses = []
    for stretch, figure in zip(stretches, figures, strict=True):
        if not lines or stretch.begins_session:
            lines.append([])
        lines[-1] += [f"{x(stretch.begin)},{y(figure)}", f"{x(stretch.end)},{y(figure)}"]
        if stretch.paused:
            width = (x(stretch.end) - x(stretch.begin)) * stretch.paused
            pauses.append(Box(x(stretch.begin), _TOP, round(max(1.0, width), 1), high))
    across = [Mark(x(whole * share), HEIGHT - 6, spoken(whole * share)) for share in (0.0, 0.5, 1.0)]
    digits = 0 if top > 1 else 2
    up = [Mark(_LEFT - 6, y(top * share) + 4, f"{top * share:,.{digits}f}") for share in (0.0, 0.5, 1.0)]
    drawn = tuple(" ".join(line) for line in lines)
    lowered = [x(min(one.at, whole)) for one in changes if one.now < one.was]
    raised = [x(min(one.at, whole)) for one in changes if one.now > one.was]
    return Lines(
        drawn,
        tuple(pauses),
        tuple(across),
        tuple(up),
        max(figures),
        # From the top down, and from the bottom up.
        "".join(f"M{at},{_TOP}v{_MARK}" for at in dict.fromkeys(lowered)),
        "".join(f"M{at},{_TOP + high}v-{_MARK}" for at in dict.fromkeys(raised)),
    )


@dataclass(frozen=True, slots=True)
class Bars:
    """A chart of counts side by side.

    Attributes:
        boxes: one for each count.
        across: what each is of, as far as there is room.
    """

    boxes: tuple[Box, ...]
    across: tuple[Mark, ...]


def side_by_side(counts: Sequence[tuple[float, int]]) -> Bars:
    """Bars for counts of answers: upper bound in milliseconds, and how many.

    Args:
        counts: in order; at least one.
    """
    most = max(count for _, count in counts) or 1
    wide, high = (WIDTH - _LEFT - _RIGHT) / len(counts), HEIGHT - _TOP - _BOTTOM
    boxes, across = [], []
    for number, (bound, count) in enumerate(counts):
        height = high * count / most
        left = _LEFT + wide * number
        sides = left + 1, _TOP + high - height, wide - 2, height
        boxes.append(Box(*(round(side, 1) for side in sides)))
        if len(counts) <= 6 or number % 2 == 0:  # noqa: PLR2004 - more would touch each other
            across.append(Mark(round(left + wide, 1), HEIGHT - 6, milliseconds(bound)))
    return Bars(tuple(boxes), tuple(across))


def nice(value: float) -> float:
    """The next figure with one digit, or one and a half, that is not below."""
    if value <= _NOTHING:
        return 1.0
    scale = 1.0
    while value > 10 * scale:
        scale *= 10
    while value <= scale:
        scale /= 10
    return next(step * scale for step in (1.5, 2, 3, 4, 5, 6, 8, 10) if value <= step * scale)


def spoken(seconds: float) -> str:
    """A time at work: ``0``, ``0.4 s``, ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 0.05:  # noqa: PLR2004 - what is shown has one digit
        return "0"
    if seconds < 10:  # noqa: PLR2004 - ten seconds
        return f"{seconds:.1f} s".replace(".0 ", " ")
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004 - two hours


def milliseconds(bound: float) -> str:
    """A time of an answer: ``8 ms``, ``1 s``, ``16 s``."""
    return f"{bound:.0f} ms" if bound < 1000 else f"{bound / 1000:.0f} s"  # noqa: PLR2004 - a second
