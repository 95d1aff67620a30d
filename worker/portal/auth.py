"""Who we are to the portal: a token, given or logged in for, and renewed when it no longer counts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from worker.errors import UsageError

LOGIN_INTERVAL = 15.0
"""Seconds between two log-ins: more than five in a minute lock the account for us (contract 6.4)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the user gave us; a token wins over a user name. Values are never shown.

    Raises:
        UsageError: it is not enough to get in.
    """

    token: SecretStr | None = None
    token_file: Path | None = None
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None

    def __post_init__(self) -> None:
        if self.has_token:
            return
        if self.username is None:
            raise UsageError(
                "no credentials: set BULKLINK_TOKEN or BULKLINK_TOKEN_FILE,"
                " or BULKLINK_USERNAME with BULKLINK_PASSWORD or BULKLINK_PASSWORD_FILE"
            )
        if self.password is None and self.password_file is None:
            raise UsageError("no password: set BULKLINK_PASSWORD or BULKLINK_PASSWORD_FILE")

    @property
    def has_token(self) -> bool:
        """A token was given, so there is no log-in."""
        return self.token is not None or self.token_file is not None

    def read_token(self) -> str:
        """The given token, from its file as that stands now."""
        return _header_value("token", _read("BULKLINK_TOKEN_FILE", self.token, self.token_file))

    def read_login(self) -> tuple[str, str]:
        """User name and password."""
        return self.username or "", _read("BULKLINK_PASSWORD_FILE", self.password, self.password_file)


class Tokens:
    """One token for all requests, fetched once however many ask (contract 6.4, 6.5).

    Args:
        log_in: exchanges user name and password for a token, or raises a PortalError.
    """

    def __init__(self, credentials: Credentials, log_in: Callable[[str, str], Awaitable[str]]) -> None:
        self._credentials = credentials
        self._log_in = log_in
        self._token: str | None = None
        self._proven = False
        self._logged_in_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def ready(self) -> None:
        """Make sure that there is a token; the first of those who wait fetches it.

        Raises:
            PortalError: the log-in was refused, or did not get through.
            UsageError: the token cannot be read.
        """
        if self._token is None:
            async with self._one_at_a_time:
                if self._token is None:
                    self._token = await self._fetch()

    @property
    def token(self) -> str:
        """The token to send, after :meth:`ready`; empty if it was refused since, as this will be."""
        return self._token or ""

    def accepted(self, token: str) -> None:
        """The portal took this token: when it stops doing so, there is reason to hope for a new one."""
        self._proven = self._proven or token == self._token

    def refused(self, token: str) -> bool:
        """The portal answered 401 to this token. Whether there is hope of another: :meth:`ready` gets it."""
        if token != self._token:
            return True  # somebody else has noticed meanwhile
        if self._credentials.has_token:
            self._token = self._credentials.read_token()
            self._proven = False
            return self._token != token
        if not self._proven:
            return False  # fresh from the log-in and refused at once: the next would be too
        self._token, self._proven = None, False
        return True

    async def change(self, credentials: Credentials) -> None:
        """Go on with these credentials.

        Raises:
            UsageError: there is no token to be read; nothing has changed.
        """
        token = credentials.read_token() if credentials.has_token else None
        async with self._one_at_a_time:
            self._credentials = credentials
            if token is not None and token != self._token:
                self._token, self._proven = token, False

    async def _fetch(self) -> str:
        if self._credentials.has_token:
            return self._credentials.read_token()
        await asyncio.sleep(self._logged_in_at + LOGIN_INTERVAL - time.monotonic())
        self._logged_in_at = time.monotonic()
        return _header_value("token of the log-in", await self._log_in(*self._credentials.read_login()))


def _read(variable: str, value: SecretStr | None, path: Path | None) -> str:
    if value is not None:
        return value.get_secret_value()
    try:
        text = (path or Path()).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise UsageError(f"{variable}: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{variable}: {path}: not UTF-8 text") from error
    if not text:
        raise UsageError(f"{variable}: {path}: is empty")
    return text


def _header_value(name: str, value: str) -> str:
    token = value.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise UsageError(f"the {name} is no token: it is empty, or has characters no token has")
    return token
