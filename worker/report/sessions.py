"""Starts of the program as a report tells of them: when, how each ended, which version, whose token."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from worker.ledger import LedgerReader, SessionRecord, sessions_of

SESSIONS = 30
"""Sessions that are told of, the latest ones."""

_OF_INTEREST = ("rate", "concurrency", "transport", "existing", "link_rate", "timeout", "max_attempts")
"""Settings that say how a session worked; the others are in the ledger."""


class UserPart(BaseModel):
    """Whom a portal took a session for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    id: str


class SessionPart(BaseModel):
    """A start of the program, and how it ended.

    Attributes:
        end_code: as an exit code; null if it was killed, or is at work.
        end_message: why it ended, if not for want of rows.
        version: of the program.
        user: whose token it was; null if the portal did not tell.
        settings: those that say how it worked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    started_at: datetime
    seconds: float
    end_code: int | None
    end_message: str
    version: str
    user: UserPart | None
    settings: dict[str, Any]


def latest_sessions(reader: LedgerReader) -> tuple[SessionPart, ...]:
    """The latest sessions of a run, in order."""
    return tuple(map(_part, sessions_of(reader)[-SESSIONS:]))


def of_interest(session: SessionRecord) -> dict[str, Any]:
    """The settings that say how a session worked, of those that it had."""
    return {name: session.settings[name] for name in _OF_INTEREST if session.settings.get(name) is not None}


def _part(session: SessionRecord) -> SessionPart:
    return SessionPart(
        started_at=datetime.fromtimestamp(session.started_at, UTC),
        seconds=round(session.seconds, 3),
        end_code=session.end_code,
        end_message=session.end_message,
        version=session.version,
        user=UserPart(name=session.user.get("name", ""), id=session.user.get("id", ""))
        if session.user
        else None,
        settings=of_interest(session),
    )
