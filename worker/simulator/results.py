"""Write the answer to a batch: the list of its results (contract 7.5). It does not know what they mean."""

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from worker.simulator import lists, replies, wire
from worker.simulator.lists import Query
from worker.simulator.replies import Reply

_TAGS = Random()
_NAMES = ("name", "status", "headers", "data")
SHOWN = 1000
"""Results that a reply holds at most; all items are carried out all the same (contract 10.15)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item.

    Attributes:
        name: as its item was named; None for not at all.
        status: HTTP status that it would have had alone.
        content_type: of ``data``.
        data: the body that it would have had alone, byte for byte (contract 10.10).
    """

    name: str | None
    status: int
    content_type: str = replies.JSON
    data: bytes = b""


def write(results: list[Result | None], query: Query, status: int, *, xml: bool, most: int = SHOWN) -> Reply:
    """Write the results, null for each that has none, through the filter that all lists pass.

    Args:
        results: in order.
        query: of the batch; ``fields``, ``count`` and the like are about the list of results.
        status: 201 for a batch that was posted, 200 for another, however many items failed.
        xml: whether the list is written as XML; what is in it stays as it is.
        most: results shown at most.
    """
    chosen = _chosen(results, query)
    page = lists.cut_in_memory(chosen, query, most=most)
    names = [name for name in _NAMES if not query.fields or name in query.fields]
    write_one = _xml_piece if xml else _json_piece
    pieces = [write_one(results[index], names) for index in page.ids]
    body = wire.listing(
        pieces, xml=xml, start=page.start, following=page.following, total=page.total, status=status
    )
    return replies.success(body, status, xml=xml)


def without_batch(*, xml: bool) -> Reply:
    """Answer that there was nothing to be done: a 200 with an error, whose envelope says status 0 (7.6)."""
    error = {"message": "no batch specified", "hresult": replies.INVALID_OPERATION, "data": {}}
    return replies.success(wire.envelope({"status": 0, "error": error}, None, xml=xml), 200, xml=xml)


def aborted(message: str, hresult: int, *, xml: bool) -> Reply:
    """Answer that an item broke the batch: the error twice, which makes it unreadable (contract 10.13)."""
    return replies.doubled(replies.error(500, message, hresult, xml=xml))


def _chosen(results: list[Result | None], query: Query) -> list[int]:
    every = list(range(len(results)))
    if query.compiled is None:
        return every

    def view(index: int) -> dict[str, object]:
        one = results[index]
        return {} if one is None else {"name": one.name, "status": one.status, "data": one.data.decode()}

    return lists.choose(every, query, view)


def _value(result: Result, names: list[str]) -> dict[str, Any]:
    headers = {
        "x-AspNet-Version": replies.ASPNET,
        "cache-Control": replies.API_CACHING,
        "eTag": _tag(),
        "content-Type": result.content_type,
    }
    members = {"status": result.status, "headers": headers, "data": result.data.decode()}
    if result.name is not None:
        members = {"name": result.name, **members}
    return {name: member for name, member in members.items() if name in names}


def _xml_piece(result: Result | None, names: list[str]) -> bytes:
    return wire.piece(None if result is None else _value(result, names), xml=True)


def _json_piece(result: Result | None, names: list[str]) -> bytes:
    """Write a result by hand: a batch has a hundred, of few different contacts."""
    if result is None:
        return b"null"
    parts = []
    if result.name is not None and "name" in names:
        parts.append(b'"name":' + wire.json_bytes(result.name))
    if "status" in names:
        parts.append(b'"status":%d' % result.status)
    if "headers" in names:
        parts.append(_headers(result.content_type) % _tag().encode())
    if "data" in names:
        parts.append(b'"data":' + _quoted(result.data))
    return b"{%b}" % b",".join(parts)


@lru_cache(8)
def _headers(content_type: str) -> bytes:
    head = {"x-AspNet-Version": replies.ASPNET, "cache-Control": replies.API_CACHING, "eTag": "%b"}
    return b'"headers":' + wire.json_bytes({**head, "content-Type": content_type})


@lru_cache(8192)
def _quoted(data: bytes) -> bytes:
    return wire.json_bytes(data.decode())


def _tag() -> str:
    return f"{_TAGS.getrandbits(128):032x}"
