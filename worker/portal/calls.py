"""What is sent for each question of an operation, and what the answer says. Pure: no I/O.

Verb and path are fixed here and never built from data: neighbours of these addresses delete opportunities
(contract 1.8). Both transports use it, so an answer means the same alone and as an item of a batch.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from worker.models import Ask, Attempt, Kind, Page, Result
from worker.operations.members import PAGE
from worker.portal.classify import Answer, BodyKind, Verdict, classify, read_body
from worker.portal.wire import Envelope, contact_of, contacts_of, members_of
from worker.reasons import NOT_FOUND


class Call(msgspec.Struct, frozen=True):
    """One call of the API; ``path`` is below its root, without an extension.

    Attributes:
        form: body of a form, urlencoded.
        dispensable: there is another way to do the same. If this route is refused that is a value.
    """

    method: str
    path: str
    query: Mapping[str, str] | None = None
    form: bytes | None = None
    dispensable: bool = False

    @property
    def writes(self) -> bool:
        """Whether it may change something at the portal."""
        return self.method != "GET"


class Read(msgspec.Struct, frozen=True):
    """The body of an answer, read.

    Attributes:
        proof: what it shows, if it shows what was asked for.
    """

    kind: BodyKind
    envelope: Envelope | None
    proof: "bytes | Envelope | list[Any] | None"


HARMLESS = Call("GET", "crm/opportunity/0/contact", {"count": "1", "fields": "id"})
"""A question about opportunity 0, which never exists: a portal in order answers with the API's own 404
(contract 1.5), and anything amiss answers otherwise (contract 3.3, 3.4)."""

_METHODS = {Kind.LINK: "POST", Kind.UNLINK: "DELETE"}
_LISTS = frozenset({Kind.LOOK, Kind.MEMBERS})


def call_for(ask: Ask) -> Call:
    """The call that asks this (contract 0, 4.6, 5.2, 5.5). Only CommunityServer removes one link (4.4)."""
    method = _METHODS.get(ask.kind)
    if method is not None:
        return Call(method, f"crm/opportunity/{ask.opportunity_id}/contact/{ask.contact_ids[0]}")
    if ask.kind is Kind.EXISTS:
        one = f"contact/{ask.contact_ids[0]}" if ask.contact_ids else f"opportunity/{ask.opportunity_id}"
        return Call("GET", f"crm/{one}", {"fields": "id"}, dispensable=True)
    members = f"crm/opportunity/{ask.opportunity_id}/contact"
    if ask.kind is Kind.LOOK:
        sought = ",".join(map(str, ask.contact_ids))
        query = {"filterBy": "id", "filterOp": "equals", "filterValue": sought}
        # Without id among them, fields would spoil later answers of the portal's process (contract 5.6).
        return Call("GET", members, {**query, "fields": "id"} if ask.ids_only else query)
    cut = {"count": str(PAGE), "startIndex": str(ask.start), "fields": "id,canEdit,created"}
    return Call("GET", members, cut)


def read_answer(ask: Ask | None, content_type: str | None, body: bytes, *, is_utf8: bool = False) -> Read:
    """Read a body, and look in it for what was asked for; ``ask`` is None for the harmless question."""
    kind, envelope = read_body(content_type, body, is_utf8=is_utf8)
    proof: bytes | Envelope | None = None
    if envelope is None:
        pass
    elif ask is None or ask.kind in _LISTS:
        # In XML an empty list is an empty element, and one of one item looks like an object (contract 2.7).
        is_list = envelope.wire == "xml" or envelope.is_list
        proof = envelope if envelope.error_message is None and is_list else None
    else:
        proof = contact_of(envelope, ask.contact_ids[0] if ask.contact_ids else ask.opportunity_id)
    return Read(kind, envelope, proof)


def judge(
    read: Read,
    status: int,
    *,
    writes: bool,
    is_paced: bool = False,
    location: str | None = None,
) -> Verdict:
    """What an answer proves, by the table of :mod:`worker.portal.classify`."""
    envelope = read.envelope
    return classify(
        Answer(
            http_status=status,
            body=read.kind,
            hresult=None if envelope is None else envelope.hresult,
            message=None if envelope is None else envelope.error_message,
            is_paced=is_paced,
            location=location,
            proven=read.proof is not None,
            sent=writes,
            names_class=writes and envelope is not None and envelope.error_type is not None,
        )
    )


def attempt_of(
    ask: Ask, verdict: Verdict, read: Read | None, http_status: int | None = None, seconds: float = 0.0
) -> Attempt:
    """What one answer, or the lack of one, says about one operation."""
    # A verdict that stops the run was raised before; what is left has a result.
    result, reason = verdict.result or Result.AMBIGUOUS, verdict.reason
    proof = None if read is None else read.proof
    if ask.kind not in _LISTS:
        body = proof if isinstance(proof, bytes) else b""
        return Attempt(result, reason, http_status, seconds, body)
    if result is Result.THROTTLED or reason == NOT_FOUND:
        return Attempt(result, reason, http_status, seconds)
    if not isinstance(proof, Envelope):
        # Whatever it was, it told nothing of the members.
        return Attempt(Result.AMBIGUOUS, reason, http_status, seconds)
    if ask.kind is Kind.MEMBERS:
        page = Page(proof.size, proof.count, proof.total)
        return Attempt(result, reason, http_status, seconds, found=members_of(proof), page=page)
    found = contacts_of(proof, ask.contact_ids)
    strangers = proof.size - len(found)
    return Attempt(result, reason, http_status, seconds, found=found, strangers=strangers)
