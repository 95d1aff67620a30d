"""What a portal answers that is there to be fast: links, looks at members, batches of both, and nothing else.

It is made for measuring a client. No rights, no faults, no latency: every opportunity and contact exists. A
Contact is some 2.5 kB, written once; only the ids in it change. Values in, bytes out; ``stub_server`` has the
sockets.
"""

import gzip
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import orjson

from worker.simulator import replies, results, wire
from worker.simulator.batch import lone_batch
from worker.simulator.people import People
from worker.simulator.scenario import Holdings

_ID = 1234567
"""Id of the one contact that is written; where it stands, the id asked for is put."""

_MEMBERS = re.compile(r"/?api/2\.0/crm/opportunity/([0-9]+)/contact(?:\.json)?(?:\?(.*))?", re.ASCII)
_LINK = re.compile(r"/?api/2\.0/crm/opportunity/([0-9]+)/contact/([0-9]+)(?:\.json)?", re.ASCII)
_BATCH = re.compile(r"/api/2\.0/batch(?:\.json)?(?:\?.*)?", re.ASCII)
_SOUGHT = re.compile(r"(?:^|&)filterValue=([0-9,]*)")
_BOOKS = "/_stub"

_EXTRA_FIELDS = 10


def _contact() -> dict[str, object]:
    contact = People(Holdings()).single(_ID)
    for number in range(_EXTRA_FIELDS):
        field_ = {"entityId": _ID, "label": f"Field {number}", "fieldValue": "from the old CRM"}
        contact["customFields"].append(
            {**field_, "fieldType": 0, "position": number + 2, "mask": "", "id": number}
        )
    return contact


class _Template:
    """A text in which an id stands at several places."""

    def __init__(self, text: bytes) -> None:
        self._parts = text.split(b"%d" % _ID)

    def of(self, contact: bytes) -> bytes:
        return contact.join(self._parts)


_PIECE = wire.json_bytes(_contact())
_WHOLE = wire.single(_PIECE, 201, xml=False)
_SINGLE, _LISTED, _QUOTED = map(_Template, (_WHOLE, _PIECE, wire.json_bytes(_WHOLE.decode())))
_NO_MEMBERS = wire.listing((), xml=False)
_NOT_FOUND = replies.not_found(xml=False).body
_NO_PAGE = replies.page(404).body
_NO_BATCH = results.without_batch(xml=False).body


@dataclass(slots=True)
class Books:
    """What was asked for since they were opened. Times are of the machine's monotonic clock, in seconds.

    Attributes:
        requests: that arrived, held ones included; looks into these books do not count.
        posts: links that were asked for, alone or in batches.
        links: that it holds: different pairs.
        first: arrival of the first request.
        first_post: arrival of the first request that asked for a link.
        last: when the last request was answered.
        holding: a request waits, because so many links were made already.
    """

    requests: int = 0
    posts: int = 0
    links: int = 0
    first: float = 0.0
    first_post: float = 0.0
    last: float = 0.0
    holding: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; ``status`` with its phrase, and the body in pieces, which are joined once."""

    status: str
    body: Sequence[bytes]
    content_type: str = replies.JSON


class Stub:
    """A portal without troubles.

    Attributes:
        books: what was asked for.
    """

    def __init__(self) -> None:
        self.books = Books()
        self._linked: set[int] = set()
        self._most: int | None = None

    def hold(self, most: int | None) -> None:
        """Answer nothing any more once that many links were asked for; None takes it back."""
        self._most = most
        self.books.holding = False

    def open_books(self, *, keep: bool = False) -> None:
        """Begin anew, with no links, unless they are to be kept."""
        if not keep:
            self._linked.clear()
        self.books = Books(links=len(self._linked))

    def answer(self, method: str, target: str, body: bytes = b"") -> Answer | None:
        """Answer one request; None to leave it without an answer."""
        if target.startswith(_BOOKS):
            return self._about_itself(target)
        books, now = self.books, time.monotonic()
        books.requests += 1
        books.first = books.first or now
        if self._most is not None and books.posts >= self._most:
            books.holding = True
            return None
        before = books.posts
        answer = self._answer(method, target, body)
        if books.posts > before:
            books.first_post = books.first_post or now
        books.links = len(self._linked)
        books.last = time.monotonic()
        return answer

    def _answer(self, method: str, target: str, body: bytes) -> Answer:
        if method == "POST":
            if link := _LINK.fullmatch(target):
                contact = self._link(link)
                return Answer("201 Created", (_SINGLE.of(contact),))
            if _BATCH.fullmatch(target):
                return self._batch(body)
        status, answer = self._look(method, target)
        if status:
            return Answer("200 OK" if status == 200 else "404 The record could not be found", (answer,))  # noqa: PLR2004 - HTTP
        return Answer("404 Not Found", (_NO_PAGE,), replies.HTML)

    def _link(self, link: re.Match[str]) -> bytes:
        opportunity, contact = link.groups()
        self.books.posts += 1
        self._linked.add(int(opportunity) << 32 | int(contact))
        return contact.encode()

    def _look(self, method: str, target: str) -> tuple[int, bytes]:
        """Status and body for a look at members; status 0 if it is none."""
        members = _MEMBERS.fullmatch(target)
        if members is None or method != "GET":
            return 0, b""
        opportunity = int(members[1])
        if not opportunity:
            return 404, _NOT_FOUND
        sought = _SOUGHT.search(unquote(members[2] or ""))
        there = [
            contact
            for contact in (sought[1].split(",") if sought else ())
            if contact and opportunity << 32 | int(contact) in self._linked
        ]
        if not there:
            return 200, _NO_MEMBERS
        return 200, wire.listing([_LISTED.of(contact.encode()) for contact in there], xml=False)

    def _batch(self, body: bytes) -> Answer:
        try:
            items = orjson.loads(lone_batch(body) or "null")
        except orjson.JSONDecodeError:
            items = None
        if not isinstance(items, list) or not items:
            return Answer("200 OK", (_NO_BATCH,))
        pieces = [b'{"count":%d,"status":0,"statusCode":201,"response":[' % len(items)]
        for item in items:
            pieces += (self._item(item), b",")
        pieces[-1] = b"]}"
        return Answer("201 Created", pieces)

    def _item(self, item: dict[str, str]) -> bytes:
        """The result of one item, always without its headers."""
        method, url = item.get("method", "GET"), item["relativeUrl"]
        if method == "POST" and (link := _LINK.fullmatch(url)):
            status, data = 201, _QUOTED.of(self._link(link))
        else:
            status, written = self._look(method, url)
            if not status:
                return b"null"
            data = wire.json_bytes(written.decode())
        return b'{"name":%b,"status":%d,"data":%b}' % (orjson.dumps(item.get("name")), status, data)

    def _about_itself(self, target: str) -> Answer:
        _, _, word = target.partition("?")
        match word.partition("="):
            case ("open", _, _):
                self.open_books()
            case ("turn", _, _):
                self.open_books(keep=True)
            case ("hold", _, most):
                self.hold(int(most) if most else None)
        facts = {name: getattr(self.books, name) for name in Books.__slots__}
        text = orjson.dumps({**facts, "cpu": time.process_time()})
        return Answer("200 OK", (text,))


def write(answer: Answer, *, zipped: bool) -> bytes:
    """Head and body; compressed if ``zipped`` and a success."""
    body, encoding = answer.body, ""
    if zipped and answer.status.startswith("2"):
        body, encoding = (gzip.compress(b"".join(body), 1, mtime=0),), "Content-Encoding: gzip\r\n"
    head = (
        f"HTTP/1.1 {answer.status}\r\nContent-Type: {answer.content_type}\r\n"
        f"Cache-Control: {replies.API_CACHING}\r\nX-AspNet-Version: {replies.ASPNET}\r\n"
        f"{encoding}Content-Length: {sum(map(len, body))}\r\n\r\n"
    )
    return b"".join((head.encode(), *body))
