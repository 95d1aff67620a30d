"""The methods of the API: what each reads, checks, writes and answers. No faults, no rights, no sockets."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import orjson

from worker.simulator import lists, replies, wire
from worker.simulator.bodies import Bodies
from worker.simulator.books import Books
from worker.simulator.doors import COOKIE, AuthDoor
from worker.simulator.lists import Page, Query
from worker.simulator.replies import Reply
from worker.simulator.routes import INT32, Kind, Route
from worker.simulator.scenario import Auth, Holdings


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as a method sees it."""

    route: Route
    query: Query
    content_type: str = ""
    body: bytes = b""

    @property
    def xml(self) -> bool:
        """Whether the answer is XML (contract 1b)."""
        return self.route.is_xml(self.content_type)


_Method = Callable[[Ask], Reply]


class Methods:
    """Answers for one portal."""

    def __init__(self, holdings: Holdings, books: Books) -> None:
        self.bodies = Bodies(holdings)
        self._holdings = holdings
        self._books = books
        self._methods: dict[Kind, _Method] = {
            "link": self._link,
            "members": self._member_list,
            "opportunity": self._opportunity,
            "opportunities": self._opportunities,
            "contact": self._contact,
            "contacts": self._contacts,
        }

    def answer(self, ask: Ask) -> Reply:
        """Do what is asked, in the portal's order: arguments, deal, contact, write, body (contract 0)."""
        route = ask.route
        if max(route.opportunity, route.contact) > INT32:
            return replies.overflow(xml=ask.xml)
        return self._methods[route.kind](ask)

    def linked(self, ask: Ask, status: int) -> Reply:
        """Answer with the contact, as linking does, and do nothing."""
        body = self.bodies.single(ask.route.contact, status, ask.xml, ask.query.fields)
        return replies.success(body, status, xml=ask.xml)

    def _link(self, ask: Ask) -> Reply:
        route, xml = ask.route, ask.xml
        if refusal := _refuse_body(ask):
            return refusal
        if not (route.opportunity and route.contact):
            return replies.bad_argument(xml=xml)
        if not self._holdings.has_opportunity(route.opportunity):
            return replies.not_found(xml=xml)
        if not self._has_whole_contact(route.contact):
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
        if not self._holdings.has_opportunity(route.opportunity):
            return replies.not_found(xml=xml)
        primary = self._holdings.primary.get(route.opportunity)
        held = [one for one in self._books.members(route.opportunity) if self._holdings.has_contact(one)]
        query = ask.query if self._holdings.product == "communityserver" else Query("count=0")
        page = lists.cut_in_memory(lists.choose(held, query, self.bodies.people.listed), query)
        fields = query.fields
        return _listing(ask, page, [self.bodies.listed(one, one == primary, xml, fields) for one in page.ids])

    def _opportunity(self, ask: Ask) -> Reply:
        route, xml = ask.route, ask.xml
        if not route.opportunity:
            return replies.bad_argument(xml=xml)
        if not self._holdings.has_opportunity(route.opportunity):
            return replies.not_found(xml=xml)
        body = wire.single(self._opportunity_piece(route.opportunity, ask), 200, xml=xml)
        return replies.success(body, 200, xml=xml)

    def _opportunities(self, ask: Ask) -> Reply:
        ids = [
            one for one in range(1, self._holdings.opportunities + 1) if self._holdings.has_opportunity(one)
        ]
        if contact := ask.query.number("contactid", 0):
            held = self._books.opportunities_of(contact)
            ids = [one for one in ids if one in held]
        page = lists.cut_in_sql(lists.choose(ids, ask.query, self._opportunity_view), ask.query)
        return _listing(ask, page, [self._opportunity_piece(one, ask) for one in page.ids])

    def _contact(self, ask: Ask) -> Reply:
        if not ask.route.contact:
            return replies.bad_argument(xml=ask.xml)
        if not self._has_whole_contact(ask.route.contact):
            return replies.not_found(xml=ask.xml)
        return self.linked(ask, 200)

    def _contacts(self, ask: Ask) -> Reply:
        # Newest first unless sorted (contract 5.8); ids grow with age.
        ids = [one for one in range(self._holdings.contacts, 0, -1) if self._holdings.has_contact(one)]
        page = lists.cut_in_sql(lists.choose(ids, ask.query, self.bodies.people.listed), ask.query)
        fields = ask.query.fields
        return _listing(ask, page, [self.bodies.listed(one, False, ask.xml, fields) for one in page.ids])  # noqa: FBT003 - nobody's primary contact

    def _has_whole_contact(self, contact: int) -> bool:
        # A dangling status is a 404 before anything is written, though lists show the contact (contract 4.6).
        return self._holdings.has_contact(contact) and contact not in self._holdings.dangling_contacts

    def _opportunity_view(self, opportunity: int) -> dict[str, Any]:
        held = [one for one in self._books.members(opportunity) if self._holdings.has_contact(one)]
        return self.bodies.people.opportunity(opportunity, held)

    def _opportunity_piece(self, opportunity: int, ask: Ask) -> bytes:
        value = wire.only_fields(self._opportunity_view(opportunity), ask.query.fields)
        return wire.piece(value, xml=ask.xml)


def login(ask: Ask, auth: Auth, door: AuthDoor) -> Reply:
    """Answer ``POST authentication``: 201 with a token, 201 without one, or 500 (contract 6.1 to 6.4)."""
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
    return Reply(made.status, made.body, made.content_type, headers=cookie, is_api=True)


def _listing(ask: Ask, page: Page, pieces: list[bytes]) -> Reply:
    body = wire.listing(pieces, xml=ask.xml, start=page.start, following=page.following, total=page.total)
    return replies.success(body, 200, xml=ask.xml)


def _refuse_body(ask: Ask) -> Reply | None:
    """Parse a body that nobody needs, as the portal does, to fail as it does (contract 1.6)."""
    kind = ask.content_type.partition(";")[0].strip().lower()
    if not kind:
        return None
    if kind == "application/json":
        return None if _is_object(ask.body) else _unparsable(400, "Error parsing JSON.", ask)
    if kind == "text/xml" and not ask.body.strip():
        return _unparsable(500, "Root element is missing.", ask)
    if "/" not in kind:
        return _unparsable(500, "The specified content type is invalid.", ask)
    return None


def _unparsable(status: int, message: str, ask: Ask) -> Reply:
    return replies.error(status, message, replies.OTHER_ERROR, xml=ask.xml)


def _is_object(body: bytes) -> bool:
    if not body.strip():
        return True
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return value is None or isinstance(value, dict)


def _credentials(ask: Ask) -> dict[str, str]:
    given: dict[str, str] = {}
    if "application/json" in ask.content_type.lower():
        try:
            value = orjson.loads(ask.body)
        except orjson.JSONDecodeError:
            value = None
        given = (
            {key: text for key, text in value.items() if isinstance(text, str)}
            if isinstance(value, dict)
            else {}
        )
    else:
        given = dict(parse_qsl(ask.body.decode("utf-8", "replace")))
    # The query comes last and wins, as the portal looks there first (contract 1.6).
    lowered = {key.lower(): text for key, text in given.items()}
    return lowered | {name: text for name in ("username", "password") if (text := ask.query.text(name))}


def _moment(ahead: timedelta) -> str:
    # Seven digits, unlike what the database gives (contract 2.3).
    return (datetime.now(UTC) + ahead).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
