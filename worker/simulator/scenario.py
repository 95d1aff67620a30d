"""A scenario: what the portal holds, how fast it is and what goes wrong, as frozen data.

It decides nothing by itself: ``faults`` deals the faults, ``app`` lets them happen.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from worker.simulator.edits import Edit
from worker.simulator.tables import read_table
from worker.simulator.trouble import Fault, Outage


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What exists: ids 1 to N, less the missing ones (contract 1.5, 4.5, 4.6).

    Attributes:
        opportunities: highest id of an opportunity.
        contacts: highest id of a contact.
        missing_opportunities: ids in range that do not exist or are not visible, which looks the same.
        missing_contacts: the same for contacts.
        dangling_contacts: contacts whose status was deleted: listed, yet a 404 when linked or read alone.
        private_opportunities: ids that only the administrator sees, not ``auth.limited_token``.
        private_contacts: the same for contacts.
        companies_every: each n-th contact is a company; 0 for none by this rule.
        companies_from: contacts from this id on are companies; 0 for none by this rule.
        linked: links that exist at the start.
        primary: opportunity to its primary contact, which the member list shows as not editable.
        product: whose links these are. AppServer's POST answers 200, and 500 if the link is there already;
            its DELETE removes all links of the opportunity; its member list knows no filter and no pages;
            it has no batch; its JSON is its own, see ``appserver`` (contract 2.9, 4.2, 4.4, 5.5, 7.8). All
            else here is CommunityServer's.
    """

    opportunities: int = 5000
    contacts: int = 5000
    missing_opportunities: frozenset[int] = frozenset()
    missing_contacts: frozenset[int] = frozenset()
    dangling_contacts: frozenset[int] = frozenset()
    private_opportunities: frozenset[int] = frozenset()
    private_contacts: frozenset[int] = frozenset()
    companies_every: int = 5
    companies_from: int = 0
    linked: frozenset[tuple[int, int]] = frozenset()
    primary: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    product: Literal["communityserver", "appserver"] = "communityserver"

    def has_opportunity(self, opportunity: int, *, limited: bool = False) -> bool:
        """Whether the opportunity exists and is visible; ``limited`` is whether no administrator asks."""
        return (
            1 <= opportunity <= self.opportunities
            and opportunity not in self.missing_opportunities
            and not (limited and opportunity in self.private_opportunities)
        )

    def has_contact(self, contact: int, *, limited: bool = False) -> bool:
        """Whether the contact exists and is visible; ``limited`` is whether no administrator asks."""
        return (
            1 <= contact <= self.contacts
            and contact not in self.missing_contacts
            and not (limited and contact in self.private_contacts)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who gets in (contract 6).

    Attributes:
        token: a token that is valid from the start, of an administrator.
        limited_token: one of a user who is none, and does not see what is private; empty for no such user.
        username: login name for ``POST authentication``.
        password: its password.
        two_factor: what a login asks for on top; then it answers 201 without a token.
        expires_after_requests: authenticated requests after which a token dies; 0 for never.
        revoke_after_requests: the same for every token, and for logins as well.
    """

    token: str = "demo-token"  # noqa: S105 - of a portal that holds nothing
    limited_token: str = ""
    username: str = "user@portal.example"
    password: str = "demo-password"  # noqa: S105 - same
    two_factor: Literal["", "sms", "tfa"] = ""
    expires_after_requests: int = 0
    revoke_after_requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long the portal works on a request.

    Attributes:
        seconds: the mean; of a batch, the fixed part.
        jitter: the most it deviates either way.
        slow_fraction: share of requests that take ``slow_seconds`` more.
        slow_seconds: see ``slow_fraction``.
        item_seconds: what each item of a batch takes on top, one after the other (contract 7.4).
        compile_seconds: what the first read takes longer that uses a filter or an order of its kind; those of
            that kind which come meanwhile are 500s, as the compile race makes them (contract 5.5, 10.5).
        workers: requests worked on at once, the others queue; 0 for all. Makes latency grow with concurrency.
            A batch takes one, however many items it has.
    """

    seconds: float = 0.0
    jitter: float = 0.0
    slow_fraction: float = 0.0
    slow_seconds: float = 0.0
    item_seconds: float = 0.0
    compile_seconds: float = 0.0
    workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The rate limit that the vendor documents (contract 8): a sliding window over all API requests.

    A batch is one request, whatever it holds.

    Attributes:
        limit: requests served in any window; 0 for no limit.
        window: its length in seconds.
        status: status of a refusal.
        retry_after: text of the header: seconds, ``date:+2`` for an HTTP date two seconds ahead, any garbage,
            or empty for no header.
        body: what a refusal carries. nginx's limit_req answers a page of 503 without a header.
        announces: how each answer tells what is left of the limit, if at all: ``ietf`` as ``RateLimit`` and
            ``RateLimit-Policy``, ``ratelimit`` as ``RateLimit-Remaining`` and its like, ``x-ratelimit`` the
            same with ``X-`` and the reset in milliseconds since 1970.
    """

    limit: int = 0
    window: float = 10.0
    status: int = 503
    retry_after: str = "2"
    body: Literal["html", "empty"] = "html"
    announces: Literal["", "ietf", "ratelimit", "x-ratelimit"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What the books keep besides totals and links.

    Attributes:
        detail: keep arrival times, requests per pair and the latest visits; a benchmark needs none of them.
    """

    detail: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All there is to say about one portal. Field names are the keys of the TOML file."""

    seed: int = 0
    portal: Holdings = Holdings()
    auth: Auth = Auth()
    latency: Latency = Latency()
    throttle: Throttle = Throttle()
    books: Detail = Detail()
    faults: tuple[Fault, ...] = ()
    outages: tuple[Outage, ...] = ()
    edits: tuple[Edit, ...] = ()

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a scenario.

        Raises:
            ValueError: the text is no TOML, or a key is unknown or holds the wrong kind of value.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"not TOML: {error}") from None
        except (ValueError, RecursionError):  # a number of thousands of digits; brackets in brackets
            raise ValueError("not TOML: a value in it is too long or too deep") from None
        return read_table(cls, table)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a scenario from a file.

        Raises:
            ValueError: as ``from_toml``, with the path in front.
            OSError: the file cannot be read.
        """
        try:
            # Windows editors write a byte order mark.
            return cls.from_toml(Path(path).read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not UTF-8: save it as UTF-8") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Name the scenarios that come with the package."""
        found = (entry.name for entry in (files("worker.simulator") / "scenarios").iterdir())
        return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))

    @classmethod
    def named(cls, name: str) -> Self:
        """Read a scenario that comes with the package.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in cls.names():
            raise ValueError(f"no scenario named {name!r}; there are {', '.join(cls.names())}")
        return cls.from_toml((files("worker.simulator") / "scenarios" / f"{name}.toml").read_text("utf-8"))
