"""How the path of a request is spelled. Pure: no I/O.

Every method of the API has two routes, with and without an extension that names the form of the answer
(contract 1.2). Mono refuses a few good addresses, some of them for minutes, and takes the same request under
the other spelling (contract 10.4). A slash at the end is no route (contract 10.1).
"""

from collections import OrderedDict

from worker.portal.wire import WireFormat

PATIENCE = 2
"""An address is refused so often before the other spelling is tried."""

_MOST_KEPT = 1000


class Spellings:
    """Which spelling comes next, by path; what was refused is forgotten with the first other answer.

    Args:
        wire: form in which answers are asked for; it decides which extensions there are (contract 1b).
    """

    def __init__(self, wire: WireFormat) -> None:
        self._usual, self._other = (".xml", ".tml") if wire == "xml" else ("", ".json")
        self._refused: OrderedDict[str, int] = OrderedDict()

    def is_other(self, path: str) -> bool:
        """Whether the usual spelling was refused too often."""
        return self._refused.get(path, 0) >= PATIENCE

    def of(self, path: str) -> str:
        """The path as it is to be sent now."""
        return path + (self._other if self.is_other(path) else self._usual)

    def learn(self, path: str, *, refused: bool) -> None:
        """Take an answer into account: whether it was a 400 that is not the API's own."""
        if not refused:
            self._refused.pop(path, None)
            return
        self._refused[path] = self._refused.get(path, 0) + 1
        if len(self._refused) > _MOST_KEPT:
            self._refused.popitem(last=False)
