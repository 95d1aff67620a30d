"""Read the body of a reply into an envelope, and find in it the Contact that proves a link.

Pure: bytes in, values out. It knows neither HTTP nor what follows from an answer; the size of a body is the
caller's to bound.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec
import orjson
from lxml import etree

from worker.contact import parse_contact
from worker.json_text import mend

WireFormat = Literal["json", "xml"]

_MAX_DEPTH = 32
"""The deepest real reply nests about eight levels; what nests deeper is meant to exhaust a reader."""

_INTEGER = re.compile(r"-?[0-9]{1,20}")

_BEFORE_RESPONSE = re.compile(
    rb'\{(?:"count":([0-9]{1,10}),)?(?:"startIndex":[0-9]{1,10},)?(?:"nextIndex":[0-9]{1,10},)?'
    rb'(?:"total":([0-9]{1,10}),)?"status":0,"statusCode":[0-9]{3},"response":'
)
"""How CommunityServer begins every answer that has a response (contract 2.2)."""


_LINE_FEED, _RETURN = b"\n\r"


class _Shown(msgspec.Struct):
    """What has to be known of an item; the rest is checked to be JSON, and passed over."""

    id: int | None = None


_SHOWN = msgspec.json.Decoder(_Shown)
_SHOWN_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])

_CHARACTER = re.compile(rb"&#(x?)([0-9a-fA-F]{1,10});")
_IN_XML = re.compile(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_XML = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)


class NotAnEnvelope(ValueError):  # noqa: N818 - it is an answer like another, and often no error of ours
    """The body is not what the API answers with: a page, half a reply, or an attack on the reader."""


class Envelope(msgspec.Struct, frozen=True):
    """What the API wraps each answer in (contract 2.2).

    Attributes:
        wire: how the body was written; the values of XML are text until a model types them.
        value: the response, if it had to be read to know it.
        written: the response as it was written; empty if that is not known.
        items: each item of a list, or the one object, as it was written; None if that is not known.
        shown_id: of the one object, if it has been read.
        error_message: text of the error, empty if it has none; None when the answer is no error.
        hresult: .NET's number of the error, the same in every language (contract 9.3).
        error_type: class of the error, which AppServer alone tells (contract 2.2, 2.9); else None.
        count: items of a list, as it says; None if it does not.
        total: items of the list that this is a part of; None if it does not say.
    """

    wire: WireFormat
    value: Any = None
    error_message: str | None = None
    hresult: int | None = None
    error_type: str | None = None
    written: bytes = b""
    items: Sequence[bytes] | None = None
    shown_id: int | None = None
    count: int | None = None
    total: int | None = None

    @property
    def response(self) -> Any:
        """An object, a list, or None when there is none, as in an error or an empty list in XML."""
        return self.value if self.items is None else orjson.loads(self.written)

    @property
    def is_list(self) -> bool:
        """Whether it is one for sure: in XML one item looks like an object (contract 2.7)."""
        return isinstance(self.value, list) if self.items is None else self.written.lstrip()[:1] == b"["

    @property
    def size(self) -> int:
        """Items of a list."""
        return len(as_list(self.value)) if self.items is None else len(self.items)


def read_envelope(body: bytes, wire: WireFormat, *, build: bool = False, is_utf8: bool = False) -> Envelope:
    """Read a whole body as the envelope of contract 2.2 (CommunityServer) or 2.9 (AppServer).

    Args:
        body: the body.
        wire: how it is written.
        build: all of the response will be looked at, so objects are made of it at once.
        is_utf8: that is known already, as of what was a text before.

    An answer without the member ``status`` is taken for somebody else's: both servers always send it.

    Raises:
        NotAnEnvelope: the body is anything else, also a batch error that was written twice (contract 7.6).
    """
    if wire == "json" and (plain := _read_plain(body, build=build, is_utf8=is_utf8)) is not None:
        return plain
    root = _read_json(body) if wire == "json" else _read_xml(body)
    # The documentation spells members in PascalCase (contract 2.8).
    members = {key.lower(): value for key, value in root.items()}
    if _integer(members.get("status")) not in {0, 1}:
        raise NotAnEnvelope("the body has no status of 0 or 1")
    message, hresult, error_type = _error(members.get("error"))
    response = members.get("response")
    return Envelope(
        wire=wire,
        value=None if response == "" else response,
        error_message=message,
        hresult=hresult,
        error_type=error_type,
        count=_integer(members.get("count")),
        total=_integer(members.get("total")),
    )


def as_list(response: Any) -> list[Any]:
    """Give the items of a list answer: in XML one item cannot be told from an object (contract 2.7)."""
    if response is None:
        return []
    return response if isinstance(response, list) else [response]


def contact_of(envelope: Envelope, contact_id: int) -> bytes | None:
    """Find the proof that this contact was linked: the Contact, as the answer to the POST (contract 2.5).

    Returns:
        Its JSON, as it was written if that is known; XML is typed, unless something in it does not fit the
        model, which is a link all the same. None if the body does not prove it: an error, another id or none,
        several contacts.
    """
    if envelope.error_message is not None:
        return None
    if envelope.items is not None:
        if envelope.shown_id is not None:
            return envelope.written if envelope.shown_id == contact_id else None
        is_it = len(envelope.items) == 1 and _written_id(envelope.items[0]) == contact_id
        return envelope.items[0] if is_it else None
    items = as_list(envelope.value)
    is_it = len(items) == 1 and _id(items[0]) == contact_id
    return _json(items[0], envelope.wire) if is_it else None


def contacts_of(envelope: Envelope, contact_ids: Collection[int]) -> dict[int, bytes]:
    """Those of the sought contacts that a list answer shows: their JSON, by id."""
    shown = _by_id(envelope)
    return {one: _text_of(shown[one], envelope.wire) for one in contact_ids if one in shown}


def members_of(envelope: Envelope) -> dict[int, bytes]:
    """All contacts that a list answer shows and whose ids can be read: their JSON, by id."""
    return {one: _text_of(item, envelope.wire) for one, item in _by_id(envelope).items()}


def _by_id(envelope: Envelope) -> dict[int, Any]:
    """The items whose ids can be read, as they were written if that is known."""
    if envelope.items is not None:
        found = ((_written_id(item), item) for item in envelope.items)
    else:
        found = ((_id(item), item) for item in as_list(envelope.value))
    return {one: item for one, item in found if one is not None}


def _text_of(item: Any, wire: WireFormat) -> bytes:
    return item if isinstance(item, bytes) else _json(item, wire)


def _written_id(item: bytes) -> int | None:
    try:
        shown = _SHOWN.decode(item)
    except msgspec.ValidationError:  # it is no object, or its id is no number
        return _id(orjson.loads(item))
    return _id(orjson.loads(item)) if shown.id is None else shown.id


def _id(item: object) -> int | None:
    if not isinstance(item, Mapping):
        return None
    return next((_integer(item[name]) for name in ("id", "Id", "ID") if name in item), None)


def _json(item: Mapping[str, object], wire: WireFormat) -> bytes:
    if wire == "json":
        return orjson.dumps(item)
    try:
        contact = parse_contact(item)
    except ValueError:
        return orjson.dumps(item)
    return contact.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _error(error: object) -> tuple[str | None, int | None, str | None]:
    # AppServer drops nulls (contract 2.9), others may write them; in XML a null is an empty element.
    if error is None or error == "":
        return None, None, None
    if not isinstance(error, Mapping):
        return _text(error), None, None
    said = {key.lower(): value for key, value in error.items()}
    return _text(said.get("message")), _integer(said.get("hresult")), _text(said.get("type")) or None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int | None:
    if isinstance(value, str):
        return int(value) if _INTEGER.fullmatch(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_plain(body: bytes, *, build: bool, is_utf8: bool) -> Envelope | None:
    """An answer that is nothing but what comes before the response, the response, and a bracket.

    That what lies between is JSON by itself proves that it is the response, and all of it. One that is spread
    over lines is not given back so: a Contact has to fit in one. Nothing is made of what it holds, so that it
    costs the same however deep it nests.
    """
    before = _BEFORE_RESPONSE.match(body)
    # The characters as numbers: of bytes it is first tried whether they are one, and that fails dearly.
    if before is None or not body.endswith(b"}") or _LINE_FEED in body or _RETURN in body:
        return None
    written = body[before.end() : -1]
    value = shown_id = None
    items: Sequence[bytes] | None = None
    try:
        if build:
            value = orjson.loads(written)
        else:
            if not is_utf8 and not written.isascii():
                written.decode()  # what msgspec passes over it does not look at for that
            if written.lstrip()[:1] == b"{":
                items, shown_id = (written,), _SHOWN.decode(written).id
            else:
                items = [bytes(item) for item in _SHOWN_ITEMS.decode(written)]
    except (ValueError, RecursionError):  # also if the id is no number, or the response neither of the two
        return None
    if shown_id is not None:
        return Envelope("json", written=written, items=items, shown_id=shown_id)
    count, total = (None if said is None else int(said) for said in before.groups())
    return Envelope("json", value, written=written, items=items, count=count, total=total)


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        root = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            root = orjson.loads(mend(body.decode()))  # half an emoji in a name says nothing against the id
        except ValueError:
            raise NotAnEnvelope(f"the body is not JSON: {error.msg}") from None
    if not isinstance(root, dict):
        raise NotAnEnvelope("the body is JSON, but no object")
    _refuse_deep(body, root, _MAX_DEPTH)
    return root


def _refuse_deep(written: bytes, value: object, most: int) -> None:
    # Counting brackets is some thirty times cheaper than walking, and clears every single contact.
    if written.count(b"{") + written.count(b"[") > most and _is_deep(value, most):
        raise NotAnEnvelope(f"the body nests deeper than {_MAX_DEPTH} levels")


def _is_deep(value: object, most: int) -> bool:
    level: list[object] = [value]
    for _ in range(most):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return any(isinstance(value, (dict, list)) for value in level)


def _read_xml(body: bytes) -> dict[str, Any]:
    try:
        try:
            root = etree.fromstring(body, _XML)
        except etree.XMLSyntaxError:
            root = etree.fromstring(_CHARACTER.sub(_replaced, body), _XML)
    except etree.XMLSyntaxError:
        raise NotAnEnvelope("the body is not XML") from None
    if root.getroottree().docinfo.internalDTD is not None:
        # No answer of the API has one; entities and external files can only come in through it.
        raise NotAnEnvelope("the body declares a document type")
    value = _value(root, 0) if root.tag.lower() == "result" else None
    if not isinstance(value, dict):
        raise NotAnEnvelope("the body is XML, but no <result> with members")
    return value


def _replaced(reference: re.Match[bytes]) -> bytes:
    """The reference to a character, or to the replacement character if XML has no such character."""
    try:
        character = chr(int(reference[2], 16 if reference[1] else 10))
    except (ValueError, OverflowError):
        return reference[0]
    return reference[0] if _IN_XML.fullmatch(character) else b"&#xFFFD;"


def _value(element: etree._Element, depth: int) -> str | dict[str, Any]:
    if len(element) == 0:
        return element.text or ""
    if depth == _MAX_DEPTH:
        raise NotAnEnvelope(f"the body nests deeper than {_MAX_DEPTH} levels")
    members: dict[str, Any] = {}
    for child in element:
        name, value = child.tag, _value(child, depth + 1)
        if name not in members:
            members[name] = value
        elif isinstance(members[name], list):
            members[name].append(value)
        else:
            members[name] = [members[name], value]
    return members
