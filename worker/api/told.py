"""What a program is told of links and members that are looked for."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic

from worker.api.outcome import ItemT


class Presence(StrEnum):
    """Whether a link is there."""

    THERE = "there"
    MISSING = "missing"
    """It is not, or the user of the token may not see it."""
    UNREAD = "unread"
    """The portal did not tell."""
    INVALID = "invalid"
    """Never a pair."""


@dataclass(frozen=True)
class Verified(Generic[ItemT]):
    """What a look at the portal says of a pair, or of what is none.

    Attributes:
        item: what the program gave.
        opportunity_id: None if it is no pair.
        contact_id: None if it is no pair.
        presence: whether the link is there.
        reason: a stable word for why it is not, or not known to be, see ``bulklink explain``; of what is no
            pair, what is wrong with it; empty if it is there, or just no member.
        http_status: of the answer that decided; None if there was none.
    """

    item: ItemT
    opportunity_id: int | None
    contact_id: int | None
    presence: Presence
    reason: str = ""
    http_status: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether the portal shows the link."""
        return self.presence is Presence.THERE


@dataclass(frozen=True, slots=True)
class Members:
    """The contacts of an opportunity.

    Attributes:
        item: what the program gave.
        opportunity_id: None if that is no id.
        contact_ids: in ascending order, as far as the user of the token may see them; of a list that is not
            known to be whole, a part or none.
        reason: a stable word for why this may not be all of them, see ``bulklink explain``; of what is no id,
            what is wrong with it; empty if it is.
    """

    item: int | str
    opportunity_id: int | None
    contact_ids: tuple[int, ...] = ()
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether these are all that the user of the token may see."""
        return not self.reason
