"""The live page of a piece of work: what it is shown, and what its buttons do there."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from worker.dashboard.about import Door, Page
from worker.dashboard.server import LivePage
from worker.dashboard.view import View
from worker.dashboard.words import ROWS, WORDS
from worker.limits.limiter import USER
from worker.models import Status
from worker.quantities import parse_rate
from worker.site import Site
from worker.tally import LinkTally, Pace, RunTally

_NOT_NOW = "not now: nothing is being sent"


class Live:
    """A piece of work as its live page sees it.

    Args:
        page: what it is about.
        tally: of the work.
        tell: told what a button did, in words for the user.

    Attributes:
        site: where it sends, as soon as that is open.
        ended: how it has ended, in words; empty while it is at work.
        goes_on: what follows on the same page, in words, if anything does.
        door: where it is served, once it is.
    """

    def __init__(self, page: Page, tally: RunTally | LinkTally, tell: Callable[[str], None]) -> None:
        self.site: Site | None = None
        self.ended = ""
        self.goes_on = ""
        self.door: Door | None = None
        self._about = page
        self._tally = tally
        self._tell = tell
        self._pace = Pace()
        self._done = ""
        self._began = asyncio.get_running_loop().time()

    def served(self) -> LivePage:
        """Its live page, not served yet."""
        return LivePage(self._about.door, self.look, self)

    def look(self) -> View:
        """How the work is now."""
        tally = self._tally
        seconds = asyncio.get_running_loop().time() - self._began
        if isinstance(tally, RunTally):
            words, total, done_here = ROWS, tally.rows, tally.settled_here
            begun, complete = tally.begun, tally.complete
            settled = {str(status): tally.settled[status] for status in Status}
        else:
            words, total, done_here = WORDS[tally.doing], tally.total, tally.done - tally.before
            begun, complete = self.site is not None, True
            settled = dict(tally.found)
        if not self.ended:
            self._pace.observe(seconds, done_here, tally.sent)
        view = View(
            words=words,
            run_id=self._about.run_id,
            source=self._about.source,
            portal=self._about.portal,
            begun=begun,
            complete=complete,
            done=tally.done,
            done_here=done_here,
            settled=settled,
            total=total,
            seconds=seconds,
            done_per_second=self._pace.links,
            requests_per_second=self._pace.requests,
            sent=tally.sent,
            throttled=tally.throttled,
            retries=tally.retries,
            in_flight=0,
            limit=0,
            rate=0.0,
            stated="",
            pause_left=0.0,
            paused_seconds=0.0,
            held=False,
            # What a button did is said beside it.
            note="" if tally.note == self._done else tally.note,
            causes=dict(tally.causes),
            ended=self.ended,
            goes_on=self.goes_on,
        )
        if self.site is None:
            return view
        limiter = self.site.limiter
        return replace(
            view,
            in_flight=limiter.in_flight,
            limit=limiter.permits.limit,
            rate=limiter.per_second,
            stated=str(self.site.stated_rate),
            pause_left=limiter.pause_left,
            paused_seconds=limiter.paused_seconds,
            held=limiter.is_held(USER),
        )

    def pause(self) -> str:
        """Send nothing until resumed."""
        self._at_work.pause()
        return self._told("paused from the live page: nothing is sent until it is resumed there")

    def resume(self) -> str:
        """Send again."""
        self._at_work.resume()
        return self._told("resumed from the live page")

    def slow_to(self, rate: str) -> str:
        """Send no more than that."""
        site, wanted, stated = self._at_work, parse_rate(rate), self._at_work.stated_rate
        if wanted.per_second > stated.per_second:
            raise ValueError(f"{wanted} is more than {stated}, which the run was told not to pass")
        site.slow_to(wanted)
        return self._told(f"rate changed from the live page: {wanted}")

    @property
    def _at_work(self) -> Site:
        if self.site is None or self.ended or self.goes_on:
            raise ValueError(_NOT_NOW)
        return self.site

    def _told(self, text: str) -> str:
        self._done = text
        self._tell(text)
        return text
