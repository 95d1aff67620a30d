"""What became of a message: what is published about it, and why it was given up. Pure."""

from dataclasses import dataclass

import orjson

from worker.models import Pair, Status
from worker.queues import Failure, Message
from worker.sources import MESSAGE_COLUMNS, read_message


@dataclass(frozen=True, slots=True)
class MessageResult:
    """The last word on a message, so far.

    Attributes:
        pair: that it asks for; None if it is no pair.
        status: of its row.
        reason: of the status.
        http_status: of the answer that decided; None if there was none.
        attempts: requests made for it here.
        contact: as the portal sent it; empty if there is none.
    """

    pair: Pair | None
    status: Status
    reason: str
    http_status: int | None = None
    attempts: int = 0
    contact: bytes = b""

    @property
    def failure(self) -> Failure:
        """Why it is given up, if it is."""
        return Failure(self.reason, self.status, self.http_status, self.attempts)

    def to_json(self, message: Message) -> bytes:
        """What is published about the message."""
        cells = read_message(message.body).cells
        return orjson.dumps(
            {
                "id": cells[MESSAGE_COLUMNS.index("id")] or message.identity,
                "opportunity_id": None if self.pair is None else self.pair.opportunity_id,
                "contact_id": None if self.pair is None else self.pair.contact_id,
                "status": self.status,
                "reason": self.reason,
                "http_status": self.http_status,
                "attempts": self.attempts,
                "contact": orjson.Fragment(self.contact) if self.contact else None,
            }
        )
