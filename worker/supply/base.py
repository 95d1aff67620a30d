"""Where the pairs of a run come from, whatever it is, and what it is owed when they have their outcome."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from worker.ledger import Ledger
from worker.models import Outcome, Pair
from worker.tally import RunTally


class Supply(Protocol):
    """Brings rows into the ledger and pairs to the lanes."""

    @property
    def is_endless(self) -> bool:
        """What has not been read when the sending ends is left where it is."""

    @property
    def waits_for_reasons(self) -> bool:
        """It is told of an outcome only when nothing more will be found out about its reason."""

    async def read(self) -> None:
        """Bring rows until there are no more, or until cancelled.

        Raises:
            WorkerError: they cannot be read any further.
        """

    async def take(self, most: int) -> Sequence[Pair]:
        """The next pairs, about so many, their intents durable; none when there are no more."""

    async def settled(self, outcome: Outcome) -> None:
        """This outcome is durable."""

    async def close(self) -> None:
        """Nothing is read, taken or settled any more. Must not raise for what a later run can make good."""


class Input(Protocol):
    """What a run was told to read."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What the ledger is told about it."""

    @property
    def lost(self) -> str:
        """Why rows that were never read can never be read; empty if they can."""

    async def open(self, ledger: Ledger, tally: RunTally, tell: Callable[[str], None]) -> Supply:
        """Open it, to be read into this ledger; ``tell`` is told of trouble, in words for the user.

        Raises:
            WorkerError: it cannot be opened.
        """

    def close(self) -> None:
        """Close what is open before and after the reading."""
