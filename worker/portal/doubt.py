"""Whether it is batches that get no answers, and not the portal that fails. Pure: no clock, no I/O.

A portal that is down loses batches and requests of one alike, and both get through when it is back. A proxy
that spoils batches without a word that it does, or a portal that fails their items, loses only those: all of
them, for ever, though each pair could be linked alone. So after a batch that was lost like the one before it
the next request goes alone, and once that was answered often enough no more batches are sent.

To be throttled says only that we are too fast, and a limit lets one through alone where the batch before it
came too early. So of throttled batches it takes several in a row, each sent after the pause that followed the
one before, until one goes alone, each time.
"""


class Doubt:
    """What became of batches since the last one that was answered.

    Args:
        first: batches in a row that may be lost before one request goes alone.
        then: as many further ones before the next goes alone.
        heard: requests of one that are answered, each after that, before batches are given up.

    Attributes:
        lost: batches in a row, each sent when it was known what became of the one before.
    """

    def __init__(self, first: int, then: int, heard: int) -> None:
        self.lost = 0
        self._first = first
        self._then = then
        self._enough = heard
        self._asked_at = 0
        self._heard = 0

    @property
    def is_grave(self) -> bool:
        """Whether so many were lost in a row that it may be for their size."""
        return self.lost >= self._first

    @property
    def wants_one_alone(self) -> bool:
        """Whether it is time to see if one that goes alone is answered."""
        return self.lost - self._asked_at >= (self._then if self._asked_at else self._first)

    def batch_answered(self) -> None:
        """Batches get through."""
        self.lost = self._asked_at = self._heard = 0

    def batch_lost(self, lost_before: int) -> bool:
        """A batch was lost; whether that was the last that is sent.

        Args:
            lost_before: what :attr:`lost` was when it was sent; those in flight together are one word.
        """
        if lost_before == self.lost:
            self.lost += 1
        return self._heard >= self._enough

    def one_sent(self, *, answered: bool) -> None:
        """One went alone, and the portal worked on it, or did not."""
        if self.wants_one_alone:
            self._asked_at = self.lost
            self._heard += answered
