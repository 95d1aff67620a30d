"""How far a run was, a bounded number of times: for a chart of the whole session, however long it lasts."""

from collections.abc import Sequence

from worker.dashboard.view import View
from worker.ledger import Sample

MOST = 600


class Track:
    """Samples of a session; when they are too many, every second one goes, and they come half as often."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._every = 0.0

    @property
    def samples(self) -> Sequence[Sample]:
        """In order."""
        return self._samples

    def note(self, view: View) -> None:
        """Take a sample, if it is time for one."""
        last = self._samples[-1].seconds if self._samples else 0.0
        if view.seconds <= last or view.seconds - last < self._every:
            return
        self._samples.append(
            Sample(view.seconds, view.done_here, view.sent, view.throttled, view.paused_seconds, view.limit)
        )
        if len(self._samples) > MOST:
            del self._samples[::2]
            self._every = self._samples[-1].seconds / len(self._samples)
