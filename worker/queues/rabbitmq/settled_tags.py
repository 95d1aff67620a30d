"""Which deliveries of one channel are settled, so that one acknowledgement may stand for many. Pure."""

from collections.abc import Collection


class SettledTags:
    """The tags of a channel that are settled; the broker numbers its deliveries from 1.

    An acknowledgement of a tag may be said to hold for all before it. That is true only if each single one of
    them is settled, so a number that nobody has spoken of, for whatever reason, ends what is said at once.
    """

    def __init__(self) -> None:
        self._low = 0
        self._above: set[int] = set()

    def settle(self, tags: Collection[int]) -> tuple[int | None, list[int]]:
        """Note that these are settled, none of which was before.

        Returns:
            The one of them that stands for itself and for all before it, None if there is no such one; and
            the others that it does not stand for, in ascending order.
        """
        self._above.update(tags)
        while self._low + 1 in self._above:
            self._low += 1
            self._above.remove(self._low)
        rest = sorted(tag for tag in tags if tag > self._low)
        last = max((tag for tag in tags if tag <= self._low), default=None)
        return last, rest
