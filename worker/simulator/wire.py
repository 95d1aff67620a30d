"""Write JSON and XML as CommunityServer does (contract 2.1, 2.2, 2.7). Values in, bytes out.

It knows no contact: what is left out of an object was left out by the caller, except the envelope's own keys.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import orjson

_ESCAPED = re.compile(rb'\\[\\"bfnrt]|/')

_ESCAPES = {
    b"/": rb"\/",
    rb"\b": rb"\u0008",
    rb"\t": rb"\u0009",
    rb"\n": rb"\u000a",
    rb"\f": rb"\u000c",
    rb"\r": rb"\u000d",
    # Listed so that the backslash of an escaped backslash never starts a match of its own.
    rb"\\": rb"\\",
    rb"\"": rb"\"",
}


def json_bytes(value: object) -> bytes:
    r"""Write compact JSON: ``/`` as ``\/``, control characters as ``\u000a``, the rest raw UTF-8."""
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], orjson.dumps(value))


def xml_bytes(name: str, value: object) -> bytes:
    """Write a value as an element; an array becomes siblings of that name, so an empty one is nothing."""
    return "".join(_elements(name, value)).encode()


def piece(value: object, *, xml: bool) -> bytes:
    """Write one item of a response, to be put into ``envelope``."""
    return xml_bytes("response", value) if xml else json_bytes(value)


def envelope(head: Mapping[str, object], response: bytes | None, *, xml: bool) -> bytes:
    """Put a written response behind the envelope's other keys; None where there is none, as in an error."""
    if xml:
        return b"<result>%b%b</result>" % (
            b"".join(xml_bytes(name, value) for name, value in head.items()),
            response or b"",
        )
    start = json_bytes(head)
    return start if response is None else b'%b,"response":%b}' % (start[:-1], response)


def single(response: bytes, status: int, *, xml: bool) -> bytes:
    """Wrap one object (contract 2.2)."""
    return envelope({"count": 1, "status": 0, "statusCode": status}, response, xml=xml)


def listing(
    pieces: Sequence[bytes],
    *,
    xml: bool,
    start: int = 0,
    following: int | None = None,
    total: int | None = None,
    status: int = 200,
) -> bytes:
    """Wrap a page of a list: ``count`` and ``startIndex`` vanish when they are 0 (contract 2.2)."""
    head: dict[str, object] = {"count": len(pieces), "startIndex": start}
    head = {name: value for name, value in head.items() if value}
    if following is not None:
        head["nextIndex"] = following
    if total is not None:
        head["total"] = total
    head |= {"status": 0, "statusCode": status}
    body = b"".join(pieces) if xml else b"[%b]" % b",".join(pieces)
    return envelope(head, body, xml=xml)


def failure(status: int, message: str, hresult: int, *, xml: bool) -> bytes:
    """Wrap an error (contract 2.2)."""
    error = {"message": message, "hresult": hresult, "data": {}}
    return envelope({"status": 1, "statusCode": status, "error": error}, None, xml=xml)


def only_fields(value: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Keep the named members; a nested company, being of a related type, is cut as well (contract 5.6)."""
    if not names:
        return value
    return {
        key: only_fields(member, names) if key == "company" and isinstance(member, dict) else member
        for key, member in value.items()
        if key.lower() in names
    }


def _elements(name: str, value: object) -> list[str]:
    match value:
        case None:
            return [f"<{name} />"]
        case dict():
            if not value:
                return [f"<{name} />"]
            inner = (part for key, member in value.items() for part in _elements(key, member))
            return [f"<{name}>", *inner, f"</{name}>"]
        case list():
            return [part for item in value for part in _elements(name, item)]
        case bool():
            return [f"<{name}>{'true' if value else 'false'}</{name}>"]
        case _:
            return [f"<{name}>{escape(str(value))}</{name}>"]
