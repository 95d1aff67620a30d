"""Who gets in: tokens, cookies and logins (contract 6), and how many (contract 8). No bodies, no statuses."""

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from worker.simulator.scenario import Auth, Throttle

COOKIE = "asc_auth_key"
_ATTEMPTS = 5
_MINUTE = 60.0

LoginResult = Literal["ok", "wrong", "too_many"]


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a request's credentials.

    Attributes:
        admitted: whether it may go on.
        header_token: the token, if it came in the header: each such reply sets the cookie (contract 6.6).
        had_header: whether there was an Authorization header at all.
        had_cookie: whether there was a cookie.
        limited: whether the user is no administrator.
    """

    admitted: bool
    header_token: str
    had_header: bool
    had_cookie: bool
    limited: bool = False


class AuthDoor:
    """Knows the tokens that live, and counts what ends their lives."""

    def __init__(self, auth: Auth, clock: Callable[[], float]) -> None:
        self._auth = auth
        self._clock = clock
        self._uses = {token: 0 for token in (auth.token, auth.limited_token) if token}
        self._served = 0
        self._issued = 0
        self._attempts: dict[str, deque[float]] = {}

    def admit(self, headers: Mapping[str, str], cookies: Mapping[str, str], asked: str = "") -> Admission:
        """Judge a request: a good header beats the cookie, a good cookie makes up for a bad header.

        ``asked`` is a token in the query, under the cookie's name, which comes last (contract 6.6).
        """
        header, cookie = headers.get("Authorization", ""), cookies.get(COOKIE, "")
        by_header = self.header_token(headers)
        token = next((one for one in (by_header, cookie, asked) if one and self._is_alive(one)), "")
        if token:
            self._served += 1
            self._uses[token] += 1
        limited = token != "" and token == self._auth.limited_token
        return Admission(bool(token), by_header, bool(header), bool(cookie), limited)

    def header_token(self, headers: Mapping[str, str]) -> str:
        """Give the good token of the header, or an empty text; nothing is counted."""
        # The scheme is compared with case; anything else is taken for a bare token (contract 6.6).
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        return token if token and self._is_alive(token) else ""

    def login(self, username: str, password: str) -> LoginResult:
        """Judge a login. It counts before it is checked, and is forgiven after success (contract 6.4)."""
        now = self._clock()
        attempts = self._attempts.setdefault(username, deque())
        while attempts and attempts[0] <= now - _MINUTE:
            attempts.popleft()
        attempts.append(now)
        if len(attempts) > _ATTEMPTS:
            return "too_many"
        if (username, password) != (self._auth.username, self._auth.password) or self._is_revoked():
            return "wrong"
        attempts.pop()
        return "ok"

    def issue(self) -> str:
        """Make a token; it is base64, so it may hold ``+``, ``/`` and ``=`` (contract 6.5)."""
        self._issued += 1
        seed = f"{self._auth.token}:{self._issued}".encode()
        token = base64.b64encode(hashlib.sha256(seed).digest()).decode()
        self._uses[token] = 0
        return token

    def _is_revoked(self) -> bool:
        limit = self._auth.revoke_after_requests
        return 0 < limit <= self._served

    def _is_alive(self, token: str) -> bool:
        uses, limit = self._uses.get(token), self._auth.expires_after_requests
        return uses is not None and not (0 < limit <= uses) and not self._is_revoked()


class RateDoor:
    """A sliding window: any half-open window holds at most ``limit`` served requests (contract 8)."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._served: deque[float] = deque()

    def lets_in(self, now: float) -> bool:
        """Judge a request that arrives now. Refused ones take no place in the window."""
        if not self._throttle.limit:
            return True
        while self._served and self._served[0] <= now - self._throttle.window:
            self._served.popleft()
        if len(self._served) >= self._throttle.limit:
            return False
        self._served.append(now)
        return True

    def quota(self, now: float) -> tuple[int, float]:
        """Tell how many more are served now, and in how many seconds there will be one more again."""
        served = [at for at in self._served if at > now - self._throttle.window]
        reset = served[0] + self._throttle.window - now if served else 0.0
        return max(0, self._throttle.limit - len(served)), reset
