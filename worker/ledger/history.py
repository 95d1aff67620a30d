"""How the sessions of a run went: what each was told, how far it was when, and how it ended."""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from worker.ledger.reader import LedgerReader
from worker.ledger.store import Store
from worker.ledger.trouble import damaged

_LATEST = "(SELECT max(session) FROM sessions)"

_USER = "user"
"""Key among the settings of a session, which are named otherwise."""

FINEST = 5.0
"""Seconds between two samples, at least."""

_SHARE = 0.005


@dataclass(frozen=True, slots=True)
class Sample:
    """How far a session was.

    Attributes:
        seconds: since it began.
        links: pairs that had their last word by then, in this session.
        requests: requests by then, in this session.
        throttled: those of them that were answered so.
        paused_seconds: time for which the portal had held everyone back.
        permits: requests that might be in flight just then.
    """

    seconds: float
    links: int
    requests: int
    throttled: int
    paused_seconds: float
    permits: int


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as the ledger knows it.

    Attributes:
        number: from 1 on.
        started_at: epoch seconds.
        seconds: that it lasted.
        paused_seconds: of these the portal held everyone back for so many.
        version: of the program.
        settings: what it was told, without secrets.
        end_code: as an exit code; None if it was killed, or is at work.
        end_message: why it ended, if not for want of rows.
        user: name and id of whoever the portal took the session for; empty if it did not tell.
    """

    number: int
    started_at: float
    seconds: float
    paused_seconds: float
    version: str
    settings: Mapping[str, Any]
    end_code: int | None
    end_message: str
    user: Mapping[str, str] = field(default_factory=dict)


def next_sample(seconds: float) -> float:
    """When a sample is due after one that was taken after so many seconds: a worker may go on for months."""
    return seconds + max(FINEST, _SHARE * seconds)


def describe(
    store: Store, version: str, settings: Mapping[str, object], user: Mapping[str, str] | None
) -> None:
    """Note what the session that has begun was told, and whom the portal takes it for if that is known."""
    known = settings if user is None else {**settings, _USER: user}
    store.execute(
        f"UPDATE sessions SET version = ?, settings = ? WHERE session = {_LATEST}",  # noqa: S608 - a constant
        [(version, json.dumps(known))],
    )


def name_user(store: Store, user: Mapping[str, str]) -> None:
    """Note whom the portal takes the session for that was described."""
    store.execute(
        f"UPDATE sessions SET settings = json_set(settings, '$.{_USER}', json(?)) WHERE session = {_LATEST}",  # noqa: S608 - constants
        [(json.dumps(user),)],
    )


def end(store: Store, code: int, message: str) -> None:
    """Note how the session has ended."""
    store.execute(
        f"UPDATE sessions SET end_code = ?, end_message = ? WHERE session = {_LATEST}",  # noqa: S608 - same
        [(code, message)],
    )


def add_sample(store: Store, sample: Sample) -> None:
    """Note how far the session is."""
    store.execute(
        f"INSERT INTO samples VALUES ({_LATEST}, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - same
        [astuple(sample)],
    )


def sessions_of(reader: LedgerReader) -> list[SessionRecord]:
    """All sessions, in order.

    Raises:
        LedgerError: the ledger is not sound.
    """
    found = reader.query(
        "SELECT session, started_at, seconds, paused_seconds, version, settings, end_code, end_message"
        " FROM sessions ORDER BY session"
    )
    made = []
    for number, at, seconds, paused, version, text, code, message in found:
        try:
            told = json.loads(text)
            user = {name: str(value) for name, value in told.pop(_USER, {}).items()}
        except (ValueError, AttributeError, TypeError) as error:
            raise damaged(reader.path, "what a session was told is no JSON") from error
        made.append(SessionRecord(number, at, seconds, paused, version, told, code, message, user))
    return made


def samples_of(reader: LedgerReader) -> list[tuple[int, Sample]]:
    """All samples with the number of their session, in order."""
    found = reader.query(
        "SELECT session, seconds, links, requests, throttled, paused_seconds, permits"
        " FROM samples ORDER BY session, seconds"
    )
    return [(session, Sample(*values)) for session, *values in found]
