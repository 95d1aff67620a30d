"""Count different numbers among any many of them, in little memory."""

from array import array
from pathlib import Path

_SHARES = 61
"""A prime, so that numbers which are alike in their last bits are dealt out all the same."""

_HELD = 500_000
"""Numbers of 64 bits that are held before they are written away."""


class Distinct:
    """Counts how many of the numbers that it is given are different.

    They are dealt to as many files as there are remainders: what is the same is in the same file, so only one
    of these is held at a time, and not before the end.

    Args:
        folder: where it may leave files.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [folder / f"numbers-{share}" for share in range(_SHARES)]
        self._shares = [array("Q") for _ in range(_SHARES)]
        self._held = 0
        self._is_written = False

    def add(self, number: int) -> None:
        """One more number, of 64 bits at most."""
        self._shares[number % _SHARES].append(number)
        self._held += 1
        if self._held == _HELD:
            self._write()

    def count(self) -> int:
        """How many of those that were added are different; nothing may be added after it."""
        if not self._is_written:
            return sum(len(set(share)) for share in self._shares)
        self._write()
        return sum(len(set(array("Q", path.read_bytes()))) for path in self._files)

    def _write(self) -> None:
        for path, share in zip(self._files, self._shares, strict=True):
            with path.open("ab") as file:
                share.tofile(file)
            del share[:]
        self._held, self._is_written = 0, True
