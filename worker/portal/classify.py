"""What each answer of the portal proves, as one table. Pure: no clock, no I/O.

The first rule that fits decides. A rule gives either what the attempt proves about its pair, or the error
that stops the run because the answer is about us and not about a pair. Reasons are stable words; reports and
retries go by them, and :mod:`worker.reasons` has a sentence for each.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec.structs import replace

from worker.errors import PortalClosed, PortalError, PortalRefused, WrongBaseUrl
from worker.models import Result, Word
from worker.portal.wire import Envelope, NotAnEnvelope, WireFormat, read_envelope
from worker.reasons import (
    BAD_REQUEST,
    BUSY_OR_CLOSED,
    HINTS,
    HINTS_OF_READS,
    MAINTENANCE,
    PERHAPS_LINKED,
    UNAVAILABLE,
)


class BodyKind(Word):
    """What a body is; the same status means different things with different bodies (contract 1.4, 3.4)."""

    JSON_ENVELOPE = "json_envelope"
    XML_ENVELOPE = "xml_envelope"
    HTML = "html"
    TEXT = "text"
    EMPTY = "empty"
    OTHER = "other"


class Answer(msgspec.Struct, frozen=True):
    """One reply, as far as the table looks at it.

    Attributes:
        is_paced: its headers speak of our pace, by :mod:`worker.portal.throttle_headers`.
        location: where a redirect leads.
        proven: the body shows the contact that was asked for, by :func:`worker.portal.wire.contact_of`.
        sent: a write left with the request. False for a read, after which nothing can have been stored.
        names_class: it is an error about a write that names its class, as AppServer's do (contract 2.9).
    """

    http_status: int
    body: BodyKind
    hresult: int | None = None
    message: str | None = None
    is_paced: bool = False
    location: str | None = None
    proven: bool = False
    sent: bool = True
    names_class: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """What an answer or a failure proves. Either ``result`` or ``stop`` is set, never both.

    Attributes:
        reason: a stable word, empty when ok.
        stop: the error that ends the run.
        hint: a sentence for the user, empty when ok.
    """

    result: Result | None
    reason: str
    stop: type[PortalError] | None = None
    hint: str = ""

    @property
    def is_pacing(self) -> bool:
        """Whether it can mean nothing but that we are too fast."""
        return self.result is Result.THROTTLED and self.reason not in BUSY_OR_CLOSED


_XML, _JSON = BodyKind.XML_ENVELOPE, BodyKind.JSON_ENVELOPE
_ENVELOPE = frozenset({BodyKind.JSON_ENVELOPE, BodyKind.XML_ENVELOPE})
_EMPTY = frozenset({BodyKind.EMPTY})
_ANY = frozenset(BodyKind)
_2XX, _3XX, _4XX, _5XX = (range(first, first + 100) for first in (200, 300, 400, 500))

_HTTP_FAULT = -2147467259
_INVALID_OPERATION = -2146233079
_SECURITY = -2146233078


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: the conditions, all of which must hold; where they come from; and what follows.

    None as a condition always holds. ``section`` is of the contract; ``policy`` where that is silent.
    """

    section: str
    reason: str
    follows: Result | type[PortalError]
    statuses: Collection[int]
    bodies: frozenset[BodyKind] = _ANY
    hresult: int | None = None
    message: str | None = None
    proven: bool | None = None
    is_error: bool | None = None
    is_paced: bool | None = None
    names_class: bool | None = None

    def fits(self, answer: Answer) -> bool:
        """Whether all conditions hold."""
        return (
            answer.http_status in self.statuses
            and answer.body in self.bodies
            and self.hresult in {None, answer.hresult}
            and (self.message is None or self.message == (answer.message or "").strip().lower())
            and self.proven in {None, answer.proven}
            and self.is_error in {None, answer.message is not None or answer.hresult is not None}
            and self.is_paced in {None, answer.is_paced}
            and self.names_class in {None, answer.names_class}
        )


RULES: tuple[Rule, ...] = (
    Rule("3.1", "", Result.OK, _2XX, proven=True),
    Rule("9.2", "error_in_success", Result.AMBIGUOUS, _2XX, _ENVELOPE, is_error=True),
    Rule("9.2", "wrong_id", Result.AMBIGUOUS, _2XX, _ENVELOPE),
    Rule("9.2", "html_200", Result.AMBIGUOUS, _2XX, frozenset({BodyKind.HTML})),
    Rule("9.2", "empty_body", Result.AMBIGUOUS, _2XX, _EMPTY),
    Rule("9.2", "odd_body", Result.AMBIGUOUS, _2XX),
    # For API paths a portal never redirects, not even to its login page.
    Rule("3.4", "redirected", WrongBaseUrl, _3XX),
    Rule("3.2", "bad_argument", Result.PERMANENT, {400}, _ENVELOPE),
    # Mono refuses a few good addresses so, before the API has a say (10.4).
    Rule("10.4", "bad_request", Result.TRANSIENT, {400}),
    Rule("3.4", "unauthorized", PortalRefused, {401}),
    Rule("3.3", "payment_required", PortalClosed, {402}),
    Rule("3.4", "address_not_allowed", PortalClosed, {403}, _EMPTY),
    Rule("3.4", "blocked_by_proxy", PortalRefused, {403}, _ANY - _ENVELOPE - _EMPTY),
    # Texts of a 403 are in the user's language, so the number goes first (9.3).
    Rule("3.2", "internal_fault", Result.AMBIGUOUS, {403}, hresult=_INVALID_OPERATION),
    Rule("3.2", "access_denied", Result.PERMANENT, {403}, hresult=_SECURITY),
    Rule("3.3", "crm_not_allowed", PortalRefused, {403}, hresult=_HTTP_FAULT),
    Rule("3.3", "crm_not_allowed", PortalRefused, {403}, message="forbidden"),
    Rule("3.2", "forbidden", Result.PERMANENT, {403}),
    Rule("3.2", "no_such_route", WrongBaseUrl, {404}, _ENVELOPE, message="method not found"),
    Rule("3.2", "not_found", Result.PERMANENT, {404}, _ENVELOPE),
    Rule("3.4", "portal_gone", PortalClosed, {404}, _EMPTY),
    Rule("1.4", "no_such_route", WrongBaseUrl, {404}),
    # Verb and path are the same for each pair, so what is wrong with them is not the pair.
    Rule("1.4", "request_not_accepted", WrongBaseUrl, {405, 411, 413, 414, 415, 431}),
    Rule("policy", "proxy_password", PortalRefused, {407}),
    Rule("policy", "request_timeout", Result.TRANSIENT, {408}),
    Rule("policy", "too_early", Result.TRANSIENT, {425}),
    Rule("8", "throttled", Result.THROTTLED, {429}),
    Rule("policy", "refused", Result.PERMANENT, _4XX, _ENVELOPE),
    # Without its envelope it is not the API that speaks, so nothing is said about a pair.
    Rule("policy", "not_the_api", WrongBaseUrl, _4XX),
    Rule("8", "throttled", Result.THROTTLED, {503}, is_paced=True),
    # One answer does not tell a portal that is closed from a proxy that finds us too fast: what goes on does.
    Rule("3.4", MAINTENANCE, Result.THROTTLED, {503}, _EMPTY),
    Rule("policy", UNAVAILABLE, Result.THROTTLED, {503}),
    Rule("3.4", "gateway_error", Result.AMBIGUOUS, {502, 504, *range(520, 530)}),
    Rule("policy", "not_supported", Result.PERMANENT, {501, 505}, _ENVELOPE),
    Rule("policy", "not_the_api", WrongBaseUrl, {501, 505}),
    # What a POST to an address that is none gets, too (10.2).
    Rule("10.2", "server_page", Result.AMBIGUOUS, {500}, frozenset({BodyKind.HTML})),
    Rule("4.2", PERHAPS_LINKED, Result.AMBIGUOUS, {500}, _ENVELOPE, names_class=True),
    Rule("3.2", "server_error", Result.AMBIGUOUS, _5XX),
)
"""Tried in order. A status that no rule names proves nothing: ``odd_status``."""

_PAGES = (
    (b"sent to HTTPS port", "The server wants https:// at this port."),
    (b"SSL certificate", "The server wants a certificate of us, or another one; see --client-cert."),
)
"""Words of nginx on its 400 pages, and what to do."""

FailureKind = Literal["connect", "timeout", "disconnected", "payload", "too_large"]

FAILURES: Mapping[FailureKind, tuple[Result, str]] = {
    "connect": (Result.TRANSIENT, "cannot_connect"),
    "timeout": (Result.AMBIGUOUS, "timeout"),
    "disconnected": (Result.AMBIGUOUS, "connection_lost"),
    "payload": (Result.AMBIGUOUS, "body_cut"),
    "too_large": (Result.AMBIGUOUS, "body_too_large"),
}
"""What a request proves that got no whole answer (contract 9.1): only if it never left, anything."""


@lru_cache(maxsize=256)
def classify(answer: Answer) -> Verdict:
    """Say what an answer proves, by the first of :data:`RULES` that fits."""
    rule = next((rule for rule in RULES if rule.fits(answer)), None)
    if rule is None:
        return _verdict(Result.AMBIGUOUS, "odd_status", sent=answer.sent)
    if isinstance(rule.follows, Result):
        return _verdict(rule.follows, rule.reason, sent=answer.sent)
    hint = HINTS[rule.reason]
    if rule.statuses is _3XX and answer.location is not None:
        hint = f"{hint} It leads to {answer.location}."
    return Verdict(result=None, reason=rule.reason, stop=rule.follows, hint=hint)


def classify_failure(kind: FailureKind, *, sent: bool = True) -> Verdict:
    """Say what a request proves that got no whole answer, by :data:`FAILURES`."""
    return _verdict(*FAILURES[kind], sent=sent)


def _verdict(result: Result, reason: str, *, sent: bool) -> Verdict:
    # After a read there is nothing that might be stored: it can be repeated without a doubt.
    settled = Result.TRANSIENT if result is Result.AMBIGUOUS and not sent else result
    hint = HINTS[reason] if reason else ""
    return Verdict(settled, reason, hint=hint if sent else HINTS_OF_READS.get(reason, hint))


def read_body(
    content_type: str | None, body: bytes, *, build: bool = False, is_utf8: bool = False
) -> tuple[BodyKind, Envelope | None]:
    """Tell what a body is, and read it if it is an envelope.

    The body decides, not its label: a 401 is plain text labelled ``text/html`` (contract 3.4), and
    AppServer's XML may have no label at all (contract 1b).
    """
    start = body.lstrip()[:1]
    if not start:
        return BodyKind.EMPTY, None
    wire: WireFormat = "xml" if start == b"<" else "json"
    try:
        envelope = read_envelope(body, wire, build=build, is_utf8=is_utf8)
    except NotAnEnvelope:
        label = (content_type or "").partition(";")[0].strip().lower()
        if start == b"<" and "xml" not in label.replace("xhtml+xml", ""):
            return BodyKind.HTML, None
        is_text = label.startswith("text/") and label != "text/xml" and start not in b"{["
        return (BodyKind.TEXT if is_text else BodyKind.OTHER), None
    return (_XML if wire == "xml" else _JSON), envelope


def heed_page(verdict: Verdict, body: bytes) -> Verdict:
    """The same verdict, with what the page says of TLS as its hint if it was refused for that."""
    told = None
    if verdict.reason == BAD_REQUEST:
        told = next((hint for words, hint in _PAGES if words in body), None)
    return verdict if told is None else replace(verdict, hint=told)
