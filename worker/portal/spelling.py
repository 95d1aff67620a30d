"""How the path of a request is spelled. Pure: no I/O.

Every method of the API has two routes, with and without an extension that names the form of the answer
(contract 1.2). Mono refuses a few good addresses, some of them for minutes, and takes the same request under
the other spelling (contract 10.4). A slash at the end is no route (contract 10.1).
"""

from collections import OrderedDict
from dataclasses import dataclass

from worker.portal.wire import WireFormat

PATIENCE = 2
"""A spelling is refused so often, with no other answer between, before the other one is tried."""

_MOST_KEPT = 1000


@dataclass(slots=True)
class _Use:
    """What is known of a path that was refused.

    Attributes:
        is_other: it goes by the other spelling.
        refused: how often it was refused since that spelling was last answered, or taken up.
        is_on_trial: that spelling was not answered since it was taken up.
    """

    is_other: bool = False
    refused: int = 0
    is_on_trial: bool = False


class Spellings:
    """Which spelling comes next, by path: the one that works is kept until it is refused.

    Args:
        wire: form in which answers are asked for; it decides which extensions there are (contract 1b).
    """

    def __init__(self, wire: WireFormat) -> None:
        self._usual, self._other = (".xml", ".tml") if wire == "xml" else ("", ".json")
        self._uses: OrderedDict[str, _Use] = OrderedDict()

    def of(self, path: str) -> str:
        """The path as it is to be sent now."""
        use = self._uses.get(path)
        return path + (self._usual if use is None or not use.is_other else self._other)

    def is_on_trial(self, path: str) -> bool:
        """Whether one spelling was refused too often, and the one in use now was not answered yet."""
        use = self._uses.get(path)
        return use is not None and use.is_on_trial

    def learn(self, path: str, address: str, *, refused: bool) -> None:
        """Take an answer into account.

        Args:
            path: what was asked for.
            address: the path as it was sent. What comes after the spelling has changed says nothing new.
            refused: the answer was a 400 that is not the API's own.
        """
        if address != self.of(path):
            return
        if not refused:
            self._answered(path)
            return
        use = self._uses.setdefault(path, _Use())
        self._uses.move_to_end(path)
        use.refused += 1
        if use.refused >= PATIENCE:
            use.is_other, use.refused, use.is_on_trial = not use.is_other, 0, True
        if len(self._uses) > _MOST_KEPT:
            self._uses.popitem(last=False)

    def _answered(self, path: str) -> None:
        use = self._uses.get(path)
        if use is None:
            return
        if not use.is_other:
            del self._uses[path]
            return
        use.refused, use.is_on_trial = 0, False
        self._uses.move_to_end(path)
