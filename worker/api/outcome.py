"""What a program is told of each pair."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

from worker.models import Status

if TYPE_CHECKING:
    from worker.contact import Contact

Item: TypeAlias = tuple[int | str, int | str] | Mapping[str, Any]
"""A pair as a program gives it: opportunity and contact; or by names, as the columns of a file may have."""

ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True)
class Outcome(Generic[ItemT]):
    """The last word on a pair, or on what is none.

    Attributes:
        item: what the program gave.
        opportunity_id: None if it is no pair.
        contact_id: None if it is no pair.
        status: the state, as in the files of a run.
        reason: a stable word for the cause, see ``bulklink explain``; of what is no pair, what is wrong with
            it; empty when linked.
        http_status: of the answer that decided; None if there was none.
        attempts: requests for this pair alone, or items of a batch; 0 if looking at the members told enough.
        contact_json: the Contact, as the portal sent it, as JSON; empty unless the link is there.
    """

    item: ItemT
    opportunity_id: int | None
    contact_id: int | None
    status: Status
    reason: str = ""
    http_status: int | None = None
    attempts: int = 0
    contact_json: bytes = field(default=b"", repr=False)

    @property
    def is_linked(self) -> bool:
        """Whether the portal has confirmed that the link is there."""
        return self.status in {Status.LINKED, Status.ALREADY_LINKED}

    @cached_property
    def contact(self) -> "Contact | None":
        """The Contact, read when it is first asked for; None if there is none, or it is none we can read."""
        if not self.contact_json:
            return None
        import orjson  # noqa: PLC0415 - only who asks pays for it

        from worker.contact import parse_contact  # noqa: PLC0415 - same

        try:
            return parse_contact(orjson.loads(self.contact_json))
        except (ValueError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of the pairs that were taken are in which state; those without an outcome are in none yet.

    Attributes:
        rows: taken from the input; once all is over, the sum of the others.
    """

    rows: int = 0
    linked: int = 0
    already_linked: int = 0
    duplicate: int = 0
    invalid: int = 0
    rejected: int = 0
    retryable: int = 0
    unknown: int = 0
    not_attempted: int = 0

    @classmethod
    def of(cls, rows: int, states: Mapping[Status, int]) -> Self:
        """The same, of a count by state."""
        return cls(rows, **{str(status): states.get(status, 0) for status in Status})

    def as_dict(self) -> dict[str, int]:
        """By name, as in ``report.json``."""
        return {one.name: getattr(self, one.name) for one in fields(self)}
