"""The methods of the API: what each reads, checks, writes and answers. No faults, no rights, no sockets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import orjson

from worker.simulator import lists, replies, wire
from worker.simulator.bodies import Bodies
from worker.simulator.books import Books
from worker.simulator.doors import COOKIE, AuthDoor
from worker.simulator.edits import Others
from worker.simulator.lists import Page, Query
from worker.simulator.replies import Reply
from worker.simulator.routes import INT32, Kind, Route
from worker.simulator.scenario import Auth, Holdings


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as a method sees it.

    Attributes:
        limited: whether the user is no administrator, and does not see what is private.
    """

    route: Route
    query: Query
    content_type: str = ""
    body: bytes = b""
    limited: bool = False

    @property
    def xml(self) -> bool:
        """Whether the answer is XML (contract 1b)."""
        return self.route.is_xml(self.content_type)


_Method = Callable[[Ask], Reply]


class Methods:
    """Answers for one portal."""

    def __init__(self, holdings: Holdings, books: Books, others: Others, username: str) -> None:
        self.bodies = Bodies(holdings)
        self._holdings = holdings
        self._books = books
        self._others = others
        self._username = username
        self._methods: dict[Kind, _Method] = {
            "link": self._link,
            "members": self._member_list,
            "opportunity": self._opportunity,
            "opportunities": self._opportunities,
            "contact": self._contact,
            "contacts": self._contacts,
            "self": self._myself,
        }

    def answer(self, ask: Ask) -> Reply:
        """Do what is asked, in the portal's order: arguments, deal, contact, write, body (contract 0)."""
        route = ask.route
        if ask.query.has_bad_date:
            return replies.site_page(500)
        if max(route.opportunity, route.contact) > INT32:
            return replies.overflow(xml=ask.xml)
        return self._methods[route.kind](ask)

    def linked(self, ask: Ask, status: int) -> Reply:
        """Answer with the contact, as linking does, and do nothing."""
        return self.bodies.linked(ask.route.contact, status, ask.xml, ask.query.fields)

    def _link(self, ask: Ask) -> Reply:
        route, xml = ask.route, ask.xml
        if refusal := _refuse_body(ask):
            return refusal
        if not (route.opportunity and route.contact):
            return replies.bad_argument(xml=xml)
        if not self._sees_opportunity(ask) or not self._sees_whole_contact(ask):
            return replies.not_found(xml=xml)
        write = self._write_at_appserver if self._holdings.product == "appserver" else self._write
        return write(ask)

    def _write(self, ask: Ask) -> Reply:
        route = ask.route
        if route.method == "DELETE":
            self._books.unlink(route.opportunity, route.contact)
            return self.linked(ask, 200)
        self._books.link(route.opportunity, route.contact)
        return self.linked(ask, 201)

    def _write_at_appserver(self, ask: Ask) -> Reply:
        route = ask.route
        if route.method == "DELETE":
            for contact in self._books.members(route.opportunity):
                self._books.unlink(route.opportunity, contact)
        elif self._books.holds(route.opportunity, route.contact):
            return replies.error(500, "Duplicate entry for key 'PRIMARY'", replies.OTHER_ERROR, xml=ask.xml)
        else:
            self._books.link(route.opportunity, route.contact)
        return self.linked(ask, 200)

    def _member_list(self, ask: Ask) -> Reply:
        route, xml = ask.route, ask.xml
        # No argument check here: 0 is looked for, and not found (contract 1.5).
        if not self._sees_opportunity(ask):
            return replies.not_found(xml=xml)
        primary = self._holdings.primary.get(route.opportunity)
        held = self._visible_members(route.opportunity, ask)
        query = ask.query if self._holdings.product == "communityserver" else Query("count=0")
        page = lists.cut_in_memory(lists.choose(held, query, self.bodies.people.listed), query)
        fields = query.fields
        return _listing(ask, page, [self.bodies.listed(one, one == primary, xml, fields) for one in page.ids])

    def _opportunity(self, ask: Ask) -> Reply:
        route, xml = ask.route, ask.xml
        if not route.opportunity:
            return replies.bad_argument(xml=xml)
        if not self._sees_opportunity(ask):
            return replies.not_found(xml=xml)
        body = wire.single(self._opportunity_piece(route.opportunity, ask), 200, xml=xml)
        return replies.success(body, 200, xml=xml)

    def _opportunities(self, ask: Ask) -> Reply:
        every = range(1, self._holdings.opportunities + 1)
        ids = [one for one in every if self._has_opportunity(one, ask)]
        if contact := ask.query.number("contactid", 0):
            held = self._books.opportunities_of(contact)
            ids = [one for one in ids if one in held]

        def view(opportunity: int) -> dict[str, Any]:
            return self._opportunity_view(opportunity, ask)

        page = lists.cut_in_sql(lists.choose(ids, ask.query, view), ask.query)
        return _listing(ask, page, [self._opportunity_piece(one, ask) for one in page.ids])

    def _contact(self, ask: Ask) -> Reply:
        if not ask.route.contact:
            return replies.bad_argument(xml=ask.xml)
        if not self._sees_whole_contact(ask):
            return replies.not_found(xml=ask.xml)
        return self.linked(ask, 200)

    def _contacts(self, ask: Ask) -> Reply:
        # Newest first unless sorted (contract 5.8); ids grow with age.
        every = range(self._holdings.contacts, 0, -1)
        ids = [one for one in every if self._has_contact(one, ask)]
        page = lists.cut_in_sql(lists.choose(ids, ask.query, self.bodies.people.listed), ask.query)
        fields = ask.query.fields
        return _listing(ask, page, [self.bodies.listed(one, False, ask.xml, fields) for one in page.ids])  # noqa: FBT003 - nobody's primary contact

    def _myself(self, ask: Ask) -> Reply:
        profile = self.bodies.people.myself(self._username, limited=ask.limited)
        value = wire.piece(wire.only_fields(profile, ask.query.fields), xml=ask.xml)
        return replies.success(wire.single(value, 200, xml=ask.xml), 200, xml=ask.xml)

    def _has_opportunity(self, opportunity: int, ask: Ask) -> bool:
        held = self._holdings.has_opportunity(opportunity, limited=ask.limited)
        return held and self._others.sees_opportunity(opportunity)

    def _has_contact(self, contact: int, ask: Ask) -> bool:
        held = self._holdings.has_contact(contact, limited=ask.limited)
        return held and self._others.sees_contact(contact)

    def _sees_opportunity(self, ask: Ask) -> bool:
        return self._has_opportunity(ask.route.opportunity, ask)

    def _sees_whole_contact(self, ask: Ask) -> bool:
        # A dangling status is a 404 before anything is written, though lists show the contact (contract 4.6).
        contact = ask.route.contact
        return self._has_contact(contact, ask) and contact not in self._holdings.dangling_contacts

    def _visible_members(self, opportunity: int, ask: Ask) -> list[int]:
        members = self._books.members(opportunity)
        return [one for one in members if self._has_contact(one, ask)]

    def _opportunity_view(self, opportunity: int, ask: Ask) -> dict[str, Any]:
        return self.bodies.people.opportunity(opportunity, self._visible_members(opportunity, ask))

    def _opportunity_piece(self, opportunity: int, ask: Ask) -> bytes:
        value = wire.only_fields(self._opportunity_view(opportunity, ask), ask.query.fields)
        return wire.piece(value, xml=ask.xml)


def login(ask: Ask, auth: Auth, door: AuthDoor) -> Reply:
    """Answer ``POST authentication``: 201 with a token, 201 without one, or 500 (contract 6.1 to 6.4)."""
    if _is_json(ask) and (refusal := _refuse_body(ask)):
        return refusal
    given = _credentials(ask)
    result = door.login(given.get("username", ""), given.get("password", ""))
    if result != "ok":
        message = "User authentication failed" if result == "wrong" else "Login Fail. Too many attempts"
        return replies.error(500, message, replies.AUTHENTICATION, xml=ask.xml)
    cookie: tuple[tuple[str, str], ...] = ()
    match auth.two_factor:
        case "sms":
            expires = _moment(timedelta(minutes=10))
            data = {"token": None, "expires": expires, "sms": True, "phoneNoise": "+*******00"}
        case "tfa":
            data = {"token": None, "tfa": True}
        case _:
            token = door.issue()
            data = {"token": token, "expires": _moment(timedelta(days=365))}
            cookie = (("Set-Cookie", f"{COOKIE}={token}; path=/; HttpOnly"),)
    body = wire.single(wire.piece(data, xml=ask.xml), 201, xml=ask.xml)
    made = replies.success(body, 201, xml=ask.xml)
    return replace(made, headers=cookie)


def _listing(ask: Ask, page: Page, pieces: list[bytes]) -> Reply:
    body = wire.listing(pieces, xml=ask.xml, start=page.start, following=page.following, total=page.total)
    return replies.success(body, 200, xml=ask.xml)


def _refuse_body(ask: Ask) -> Reply | None:
    """Parse a body that nobody needs, as the portal does, to fail as it does (contract 1.6)."""
    kind = _kind(ask.content_type)
    if kind in _FORMS:
        return None
    if _is_json(ask):
        complaint = _complaint(ask.body)
        return replies.error(400, complaint, replies.OTHER_ERROR, xml=ask.xml) if complaint else None
    if kind == "text/xml" and not ask.body.strip():
        return replies.error(500, "Root element is missing.", replies.XML_ERROR, xml=ask.xml)
    if "/" not in kind:
        message = "The specified content type is invalid."
        return replies.error(500, message, replies.FORMAT_ERROR, xml=ask.xml)
    return None


_FORMS = frozenset({"", "application/x-www-form-urlencoded"})


@lru_cache(64)
def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_json(ask: Ask) -> bool:
    return _kind(ask.content_type) == "application/json"


def _complaint(body: bytes) -> str:
    """Give what the parser says against a JSON body; nothing against an object, null or no body at all."""
    if not body.strip():
        return ""
    where = "Path '', line 1, position 1."
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return f"Unexpected JsonToken when deserializing node: StartObject. {where}"
    if value is None or isinstance(value, dict):
        return ""
    return f"XmlNodeConverter can only convert JSON that begins with an object. {where}"


def _credentials(ask: Ask) -> dict[str, str]:
    given: dict[str, str] = {}
    if _is_json(ask):
        value = orjson.loads(ask.body) if ask.body.strip() else None
        members = value.items() if isinstance(value, dict) else ()
        given = {key: text for key, text in members if isinstance(text, str)}
    else:
        given = dict(parse_qsl(ask.body.decode("utf-8", "replace")))
    # The query comes last and wins, as the portal looks there first (contract 1.6).
    lowered = {key.lower(): text for key, text in given.items()}
    return lowered | {name: text for name in ("username", "password") if (text := ask.query.text(name))}


def _moment(ahead: timedelta) -> str:
    # Seven digits, unlike what the database gives (contract 2.3).
    return (datetime.now(UTC) + ahead).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
