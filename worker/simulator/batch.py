"""Read a batch: what each of its items asks for, in the order in which they are carried out (contract 7).

Pure: a request in, steps out. Nothing is done here; ``batches`` takes the steps.
"""

import email
import email.policy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

import orjson

from worker.simulator import replies, routes
from worker.simulator.lists import Query
from worker.simulator.methods import Ask
from worker.simulator.replies import Reply

_FORM = "application/x-www-form-urlencoded"
_BODY_TYPE = f"{_FORM}; charset=utf-8"
_MOST_KEYS = 5000
"""Keys of a form; with more ASP.NET does not read it at all (contract 7.2)."""
_INDEXED = re.compile(r"\[([0-9]+)\](?:\[(\w+)\]|\.(\w+))", re.ASCII)
_SCHEME = re.compile(r"/*([a-z][a-z0-9+.-]*:)//", re.ASCII | re.IGNORECASE)
_CHARSET = re.compile(r"""charset\s*=\s*["']?[\w.:-]+""", re.ASCII | re.IGNORECASE)
_TYPE = re.compile(r"[\w.+-]+/[\w.+*-]+\s*(;.*)?", re.ASCII)


_USUAL = tuple((b"%%%02X" % ord(mark), mark.encode()) for mark in """{}[]":,/?= """)
"""Escapes of which JSON is full; taking them out leaves little to be read one by one. None makes another."""


class BrokenBatch(ValueError):  # noqa: N818 - a request is broken, not we
    """What came as the batch cannot be read; nothing of it is carried out."""


@dataclass(frozen=True, slots=True)
class Abort:
    """An item that breaks the dispatcher itself: the batch ends here, without a result (contract 7.6)."""

    message: str
    hresult: int


@dataclass(frozen=True, slots=True)
class Step:
    """One item of a batch.

    Attributes:
        name: what its result is called; None for nothing.
        does: what it asks; or the answer it gets without that; or that it breaks the batch; or None, as no
            route leads anywhere.
    """

    name: str | None
    does: Ask | Reply | Abort | None

    @property
    def pair(self) -> tuple[int, int] | None:
        """The pair that it would link or unlink, if it would do that."""
        if isinstance(self.does, Ask) and self.does.route.kind == "link":
            return self.does.route.opportunity, self.does.route.contact
        return None


_NULL = Abort("Object reference not set to an instance of an object", replies.NULL_REFERENCE)
_NO_CHARSET = Abort("Value cannot be null.\nParameter name: name", replies.NULL_REFERENCE)
_BAD_TYPE = Abort("The specified content type is invalid.", replies.FORMAT_ERROR)
_BAD_DATE = Abort("String was not recognized as a valid DateTime.", replies.FORMAT_ERROR)


def read_steps(ask: Ask) -> list[Step]:
    """Read the items of a batch; none if it has none, which is no error of the request's form.

    The portal looks in the query, then in the form; in cookies too, which nobody uses (contract 7.2).

    Raises:
        BrokenBatch: the JSON or the form cannot be read.
    """
    form = _form(ask)
    text = ask.query.text("batch") or form.get("batch", "")
    items = _from_json(text) if text else _from_form(form)
    if None in items:
        # They are sorted before the first is carried out, and null has no order (contract 10.13).
        return [Step(None, _NULL)]
    ordered = sorted(items, key=lambda item: (item or {}).get("order", 0))
    return [_step(item or {}, ask) for item in ordered]


def _form(ask: Ask) -> Mapping[str, str]:
    kind = ask.content_type.partition(";")[0].strip().lower()
    if ask.route.method == "GET" or kind not in {_FORM, "multipart/form-data"}:
        return {}
    if kind == _FORM:
        if lone := lone_batch(ask.body):
            return {"batch": lone}
        pairs = parse_qsl(ask.body.decode("utf-8", "replace"), keep_blank_values=True)
    else:
        head = f"Content-Type: {ask.content_type}\r\n\r\n".encode()
        whole = email.message_from_bytes(head + ask.body, policy=email.policy.HTTP)
        pairs = [
            (str(part.get_param("name", "", "content-disposition")), _payload(part))
            for part in whole.iter_parts()
        ]
    if len(pairs) > _MOST_KEYS:
        raise BrokenBatch("too many keys")
    # The first of a name counts here; the portal would join them, which nobody can mean.
    return {key.lower(): value for key, value in reversed(pairs)}


def lone_batch(body: bytes) -> str:
    """Read the form that has but a batch, the usual one, some twenty times faster than by the general way."""
    if not body.startswith(b"batch=") or b"&" in body:
        return ""
    text = body[len(b"batch=") :].replace(b"+", b" ")
    for escape, meant in _USUAL:
        text = text.replace(escape, meant)
    return unquote_to_bytes(text).decode("utf-8", "replace")


def _payload(part: Any) -> str:
    content = part.get_payload(decode=True)
    return content.decode("utf-8", "replace") if isinstance(content, bytes) else ""


def _from_json(text: str) -> list[dict[str, Any] | None]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BrokenBatch(error.msg) from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise BrokenBatch("no array")
    return [_members(item) for item in value]


def _members(item: object) -> dict[str, Any] | None:
    if item is None:
        return None
    if not isinstance(item, dict):
        raise BrokenBatch("no object")
    # Null is as good as left out.
    members = {key.lower(): value for key, value in item.items() if value is not None}
    for name, value in members.items():
        if type(value) in {dict, list} and name in _TEXTS:
            raise BrokenBatch("an object where a text should be")
    if "order" in members:
        members["order"] = _order(members["order"])
    return members


_TEXTS = ("relativeurl", "method", "name", "body", "bodycontenttype", "order")


def _from_form(form: Mapping[str, str]) -> list[dict[str, Any] | None]:
    found: dict[int, dict[str, Any]] = {}
    for key, value in form.items():
        if match := _INDEXED.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2] or match[3]] = value
    items: list[dict[str, Any] | None] = []
    while (item := found.get(len(items))) is not None:
        items.append(_members(item))
    return items


def _order(value: Any) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise BrokenBatch("an order that is no number") from error


def _step(item: Mapping[str, Any], batch: Ask) -> Step:
    name = item.get("name")
    return Step(None if name is None else str(name), _breaks(item) or _action(item, batch))


def _breaks(item: Mapping[str, Any]) -> Abort | None:
    """Say how an item breaks the dispatcher, if it does."""
    if "relativeurl" not in item:
        return _NULL
    url, body_type = str(item["relativeurl"]), item.get("bodycontenttype")
    if "://" in url and (match := _SCHEME.match(url)):
        return Abort(f"'~/{match[1]}' is not a valid virtual path.", replies.HTTP_ERROR)
    if body_type is None:
        return None
    if not _TYPE.fullmatch(str(body_type)):
        return _BAD_TYPE
    return _NO_CHARSET if item.get("body") and not _CHARSET.search(str(body_type)) else None


def _action(item: Mapping[str, Any], batch: Ask) -> Ask | Reply | Abort | None:
    ask = _asked(item, limited=batch.limited)
    match ask.route.kind:
        case "none":
            return None
        case "batch":
            return replies.error(404, "Method not found", replies.NO_METHOD, xml=ask.xml)
        case "options":
            return replies.options()
    if not ask.body and batch.route.method == "POST" and ask.route.method != "GET":
        # Mono reads the length of the whole batch for that of the item, and misses the rest (contract 10.11).
        return replies.error(500, "The request body is incomplete.", replies.HTTP_ERROR, xml=ask.xml)
    return _BAD_DATE if ask.query.has_bad_date else ask


def _asked(item: Mapping[str, Any], *, limited: bool) -> Ask:
    path, _, query = str(item["relativeurl"]).partition("#")[0].partition("?")
    return Ask(
        routes.find(str(item.get("method", "GET")), f"/{unquote(path).lstrip('/')}"),
        _query(query),
        str(item.get("bodycontenttype", _BODY_TYPE)),
        str(item.get("body", "")).encode(),
        limited,
    )


@lru_cache(256)
def _query(text: str) -> Query:
    return Query(text)
