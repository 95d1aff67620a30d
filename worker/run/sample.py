"""Some pairs of an input of any length, each as likely as any other. No I/O."""

from random import Random

from worker.models import ids_of

SIZE = 10
"""Pairs; so many opportunities and contacts at most are looked at."""


class Sample:
    """Keeps some of the pairs that pass.

    Args:
        rng: chooses.
        size: so many are kept.
    """

    def __init__(self, rng: Random, size: int = SIZE) -> None:
        self._rng = rng
        self._size = size
        self._seen = 0
        self._keys: list[int] = []

    def add(self, key: int) -> None:
        """A pair passes, by its :attr:`worker.models.Pair.key`."""
        self._seen += 1
        if len(self._keys) < self._size:
            self._keys.append(key)
        elif (place := int(self._rng.random() * self._seen)) < self._size:
            self._keys[place] = key

    @property
    def opportunities(self) -> list[int]:
        """The opportunities of those that were kept, sorted."""
        return sorted({ids_of(key)[0] for key in self._keys})

    @property
    def contacts(self) -> list[int]:
        """Their contacts, sorted."""
        return sorted({ids_of(key)[1] for key in self._keys})
