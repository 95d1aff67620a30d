"""Find which method of the API a request means (contract 1.1 to 1.4). It judges the path, not the ids.

A request passes nginx first, an item of a batch does not; ``at_the_front`` is what nginx does to a path.
"""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "link",
    "members",
    "opportunity",
    "opportunities",
    "contact",
    "contacts",
    "self",
    "login",
    "batch",
    "options",
    "none",
    "slash",
    "nginx",
]
"""What is asked for. ``none`` is no route, which the site answers with a page; ``slash`` a path that ends in
one; ``nginx`` what the server in front answers, as the product has no such method."""

_BASE = r"/api/2\.0/"
# Literals are compared without case, extensions with it, and a slash at the end does ASP.NET no harm (1.3).
_END = r"(?P<ext>(?-i:\.json|\.xml|\.tml))?/?"
_PATTERNS: tuple[tuple[Kind, frozenset[str], str], ...] = (
    (
        "link",
        frozenset({"POST", "DELETE"}),
        r"crm/opportunity/(?P<opportunity>[0-9]+)/contact/(?P<contact>[0-9]+)",
    ),
    ("members", frozenset({"GET"}), r"crm/opportunity/(?P<opportunity>[0-9]+)/contact"),
    ("opportunities", frozenset({"GET"}), r"crm/opportunity/filter"),
    ("opportunity", frozenset({"GET"}), r"crm/opportunity/(?P<opportunity>[0-9]+)"),
    ("contacts", frozenset({"GET"}), r"crm/contact/filter"),
    ("contact", frozenset({"GET"}), r"crm/contact/(?P<contact>[0-9]+)"),
    ("self", frozenset({"GET"}), r"people/@self"),
    ("login", frozenset({"POST"}), r"authentication"),
    ("batch", frozenset({"POST", "GET"}), r"batch"),
)
_ROUTES = tuple(
    (kind, methods, re.compile(_BASE + pattern + _END, re.ASCII | re.IGNORECASE))
    for kind, methods, pattern in _PATTERNS
)
_ANY = re.compile(_BASE, re.IGNORECASE)
_SLASHES = re.compile(r"//+")

INT32 = 2_147_483_647
"""The highest id that the API takes (contract 1.5)."""

TOO_LARGE = INT32 + 1
"""Stands for any id above ``INT32``; a portal never reads more of it either."""


@dataclass(frozen=True, slots=True)
class Route:
    """A request that found its method.

    Attributes:
        kind: which one.
        method: the verb, in upper case.
        opportunity: id, 0 where the method takes none, ``TOO_LARGE`` for any that is.
        contact: the same for contacts.
        extension: ``.xml``, ``.tml``, ``.json`` or empty.
    """

    kind: Kind
    method: str
    opportunity: int = 0
    contact: int = 0
    extension: str = ""

    @property
    def is_link_post(self) -> bool:
        """Whether this is the request that everything is about."""
        return self.kind == "link" and self.method == "POST"

    def is_xml(self, content_type: str) -> bool:
        """Whether the answer is XML: the extension says so, unless the request claims JSON (contract 1b)."""
        return self.extension in {".xml", ".tml"} and "application/json" not in content_type.lower()


def at_the_front(path: str) -> str | None:
    """Give the path that nginx passes on: slashes merged; None for one that ends in a slash (10.1)."""
    merged = _SLASHES.sub("/", path)
    return None if merged.endswith("/") else merged


def find(method: str, path: str) -> Route:
    """Find the route of a path without its query, as ASP.NET does."""
    method = method.upper()
    if method == "OPTIONS" and _ANY.match(path):
        return Route("options", method)
    for kind, methods, pattern in _ROUTES:
        if method in methods and (match := pattern.fullmatch(path)):
            parts = match.groupdict("")
            opportunity, contact = parts.get("opportunity", "0"), parts.get("contact", "0")
            return Route(kind, method, _identity(opportunity), _identity(contact), parts["ext"])
    return Route("none", method)


def _identity(digits: str) -> int:
    if len(digits) < len(str(INT32)):
        return int(digits)
    significant = digits.lstrip("0") or "0"
    # Python refuses to read thousands of digits, which a portal merely finds too large.
    return min(int(significant), TOO_LARGE) if len(significant) <= len(str(INT32)) else TOO_LARGE
