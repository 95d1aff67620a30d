"""What the live page shows, and its parts as HTML: with the shapes and the look of report.html. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from worker.dashboard.words import Words
from worker.ledger import Sample, SessionRecord
from worker.quantities import format_clock, format_duration
from worker.reasons import HINTS, hint_for
from worker.report.chart import over_time
from worker.report.figures import Stretch, stretches_of
from worker.report.html import states_of

PARTS = ("now", "states", "causes", "pace")
"""Names of the parts, which are replaced one by one as they change; each is an id of the page."""

MOST_CAUSES = 10
_PAUSE_SHOWN = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """A run, or what a verb does about one, at one moment.

    Attributes:
        words: how to speak of it.
        run_id: of the run.
        source: what it reads.
        portal: where it links.
        begun: the portal takes us.
        complete: no more is to be added to ``total``.
        done: rows, or links, with their last word.
        done_here: of these, in this session.
        settled: what became of them, by the word for it.
        total: rows read so far, or links to go through.
        seconds: since the session began.
        done_per_second: by the last minute; ``requests_per_second`` as well.
        sent: requests of this session; ``throttled`` and ``retries`` as in :class:`worker.tally.Tally`.
        in_flight: requests on their way, of ``limit``.
        rate: requests a second that may leave just now.
        stated: most of them, as the user said it; empty while nobody knows.
        pause_left: seconds for which the portal holds everyone back.
        paused_seconds: for which it has held them back so far.
        held: the user holds everyone back.
        note: something that was told.
        causes: what failed in this session, by reason and HTTP status.
        ended: how it ended; empty while it is at work.
        goes_on: what follows on the same page, if anything does; empty while it is at work.
    """

    words: Words
    run_id: str
    source: str
    portal: str
    begun: bool
    complete: bool
    done: int
    done_here: int
    settled: Mapping[str, int]
    total: int
    seconds: float
    done_per_second: float
    requests_per_second: float
    sent: int
    throttled: int
    retries: int
    in_flight: int
    limit: int
    rate: float
    stated: str
    pause_left: float
    paused_seconds: float
    held: bool
    note: str
    causes: Mapping[tuple[str, int | None], int]
    ended: str = ""
    goes_on: str = ""

    @property
    def left(self) -> str:
        """About how long it will take; empty if nobody can tell."""
        to_go = self.total - self.done
        if not self.complete or not self.done_per_second or to_go <= 0:
            return ""
        return format_clock(to_go / self.done_per_second)

    @property
    def pause(self) -> str:
        """For how long the portal holds everyone back; empty if it does not."""
        return format_duration(round(self.pause_left)) if self.pause_left >= _PAUSE_SHOWN else ""


def parts_of(view: View, samples: Sequence[Sample]) -> dict[str, str]:
    """Each part as HTML, by its name; whatever others wrote is escaped.

    Args:
        view: the run now.
        samples: how far it was earlier, in order.
    """
    made = _templates().get_template("live_parts.html").module
    stretches = stretches_of([_session(view.seconds)], [(1, sample) for sample in samples])
    lines = [
        over_time(stretches, [figure(one) for one in stretches])
        for figure in (_links, _requests)
        if stretches
    ]
    all_of_them = sum(view.settled.values())
    given: dict[str, tuple[Any, ...]] = {
        "now": (view,),
        "states": (view, states_of(view.settled, all_of_them), all_of_them),
        "causes": (view, _causes(view), len(view.causes) - MOST_CAUSES),
        "pace": (view, lines),
    }
    return {
        name: str(getattr(made, name)(*given[name]))
        for name in PARTS
        if name != "causes" or view.words.causes
    }


def page_of(view: View, parts: Mapping[str, str]) -> str:
    """The whole page."""
    return _templates().get_template("live.html").render(view=view, parts=parts)


@cache
def _templates() -> Environment:
    loader = ChoiceLoader([PackageLoader("worker", "dashboard"), PackageLoader("worker", "report")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def _links(stretch: Stretch) -> float:
    return stretch.links


def _requests(stretch: Stretch) -> float:
    return stretch.requests


def _session(seconds: float) -> SessionRecord:
    return SessionRecord(1, 0.0, seconds, 0.0, "", {}, None, "")


def _causes(view: View) -> list[dict[str, Any]]:
    worst = sorted(view.causes.items(), key=lambda item: (-item[1], item[0][0]))[:MOST_CAUSES]
    hints = view.words.hints
    return [
        {
            "reason": reason,
            "http_status": http_status,
            "count": count,
            "hint": hint_for(reason) if hints is None else hints.get(reason) or HINTS.get(reason, ""),
        }
        for (reason, http_status), count in worst
    ]
