"""The live page of a session: what it is shown, and what its buttons do there."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from worker.dashboard import Listen, LivePage, View
from worker.limits.limiter import USER
from worker.quantities import parse_rate
from worker.site import Site
from worker.tally import Pace, RunTally

_NOT_NOW = "not now: nothing is being sent"


class Live:
    """A session as its live page sees it.

    Args:
        run_id: of the run.
        source: what it reads.
        portal: where it links.
        tally: of the session.
        tell: told what a button did, in words for the user.

    Attributes:
        site: where it sends, as soon as that is open.
        ended: how it has ended, in words; empty while it is at work.
    """

    def __init__(
        self, run_id: str, source: str, portal: str, tally: RunTally, tell: Callable[[str], None]
    ) -> None:
        self.site: Site | None = None
        self.ended = ""
        self._names = run_id, source, portal
        self._tally = tally
        self._tell = tell
        self._pace = Pace()
        self._done = ""
        self._began = asyncio.get_running_loop().time()

    def page(self, listen: Listen) -> LivePage:
        """Its live page, not served yet."""
        return LivePage(listen, self.look, self)

    def look(self) -> View:
        """How the session is now."""
        tally = self._tally
        run_id, source, portal = self._names
        seconds = asyncio.get_running_loop().time() - self._began
        if not self.ended:
            self._pace.observe(seconds, tally.settled_here, tally.sent)
        view = View(
            run_id=run_id,
            source=source,
            portal=portal,
            begun=tally.begun,
            complete=tally.complete,
            settled=dict(tally.settled),
            settled_here=tally.settled_here,
            rows=tally.rows,
            seconds=seconds,
            links_per_second=self._pace.links,
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
        if self.site is None or self.ended:
            raise ValueError(_NOT_NOW)
        return self.site

    def _told(self, text: str) -> str:
        self._done = text
        self._tell(text)
        return text
