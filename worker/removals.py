"""The values of links that are removed, or were and are made again: by a rollback, or by a sync.

Frozen, like those of the way there (:mod:`worker.models`).
"""

from dataclasses import dataclass
from datetime import datetime

from worker.models import Word


class Undo(Word):
    """What became of a link that was to be removed."""

    REMOVED = "removed"
    """It was there, and is no more."""
    GONE = "gone"
    """It was not there any more."""
    KEPT = "kept"
    """It was left as it is, for a reason that another try does not change."""
    FAILED = "failed"
    """It could not be removed, or it cannot be told; worth another try."""


@dataclass(frozen=True, slots=True)
class Made:
    """A link that a run made, as far as its ledger knows.

    Attributes:
        created: when its contact was, as the portal said when the link was made; None if it did not.
        begun: an earlier try to remove it may have reached the portal.
    """

    row: int
    opportunity_id: int
    contact_id: int
    created: datetime | None = None
    begun: bool = False

    @property
    def key(self) -> int:
        """Both ids in one, as :attr:`worker.models.Pair.key`."""
        return self.opportunity_id << 32 | self.contact_id


@dataclass(frozen=True, slots=True)
class Undoing:
    """The last word of one rollback on a link."""

    row: int
    state: Undo
    reason: str = ""
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class Extra:
    """A link at the portal that the input does not name.

    Attributes:
        created: when its contact was, as the portal says; None if it does not.
    """

    opportunity_id: int
    contact_id: int
    created: datetime | None = None

    @property
    def key(self) -> int:
        """Both ids in one, as :attr:`worker.models.Pair.key`."""
        return self.opportunity_id << 32 | self.contact_id


class Restored(Word):
    """What became of a link that was removed, and is to be made again."""

    RESTORED = "restored"
    """It was not there, and is now."""
    THERE = "there"
    """Somebody has made it again meanwhile."""
    REFUSED = "refused"
    """The portal says no, and will say it again."""
    FAILED = "failed"
    """It could not be made, or it cannot be told; worth another try."""


@dataclass(frozen=True, slots=True)
class Restoring:
    """The last word of one rollback on a link that a sync removed."""

    number: int
    state: Restored
    reason: str = ""
