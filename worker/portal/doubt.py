"""Whether it is batches that get no answers, and not the portal that fails. Pure: no clock, no I/O.

A portal that is down loses batches and requests of one alike, and both get through when it is back. A proxy
that spoils batches without a word that it does, or a portal that fails their items, loses only those: all of
them, for ever, though each pair could be linked alone. So after a batch that was lost like the one before it
the next request goes alone, and once that was answered often enough no more batches are sent.
"""

PATIENCE = 2
"""Batches in a row that may be lost before one goes alone after each."""

HEARD = 4
"""Requests of one that are answered, each after another batch that was lost, before batches are given up."""


class Doubt:
    """What became of batches since the last one that was answered.

    Attributes:
        lost: batches in a row, each sent when it was known what became of the one before.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._asked_at = 0
        self._heard = 0

    @property
    def wants_one_alone(self) -> bool:
        """Whether it is time to see if one that goes alone is answered."""
        return self.lost >= PATIENCE and self._asked_at < self.lost

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
        return self._heard >= HEARD

    def one_sent(self, *, answered: bool) -> None:
        """One went alone, and the portal worked on it, or did not."""
        if self.wants_one_alone:
            self._asked_at = self.lost
            self._heard += answered
