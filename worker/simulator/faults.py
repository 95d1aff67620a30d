"""Deal faults to requests, and spoil answers with them. Nothing is stored or sent here."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import NamedTuple

from worker.simulator import replies, wire
from worker.simulator.bodies import Bodies
from worker.simulator.replies import Reply
from worker.simulator.routes import Route
from worker.simulator.trouble import SHAPES, Fault, FaultOn, Outage, Trouble

_ON: dict[tuple[str, str], FaultOn] = {
    ("link", "POST"): "post",
    ("link", "DELETE"): "delete",
    ("login", "POST"): "login",
}
_CODES: dict[FaultOn, int] = {"post": 0, "delete": 1, "get": 2, "login": 3, "batch": 4}
_Pairs = frozenset[tuple[int, int]]


class _Target(NamedTuple):
    """What a fault may hit: a request or an item, and how often its pair was asked for."""

    on: FaultOn
    route: Route
    asked: int
    posts: int
    pairs: _Pairs
    is_item: bool


class Deck:
    """Deals at most one fault to a request; who is hit depends on the seed and the pair, not on the order."""

    def __init__(self, seed: int, faults: tuple[Fault, ...]) -> None:
        self._seed = seed
        self._faults = faults
        self._hits = [0] * len(faults)
        self._asked: dict[int, int] = {}
        self._batches = 0
        self._draws = any(0.0 < fault.share < 1.0 for fault in faults)
        self._counts = self._draws or any(fault.per_pair for fault in faults)

    def deal(self, route: Route, posts: int) -> Fault | None:
        """Deal to a request; ``posts`` is how many link POSTs have arrived, this one included."""
        return self._deal(route, posts, frozenset({(route.opportunity, route.contact)}), is_item=False)

    def deal_batch(self, route: Route, posts: int, pairs: _Pairs) -> Fault | None:
        """Deal to a batch as a whole, which is to link or unlink these pairs."""
        return self._deal(route, posts, pairs, is_item=False)

    def deal_item(self, route: Route, posts: int) -> Fault | None:
        """Deal to an item of a batch, by the same draws as if it had come alone."""
        if not self._faults:
            return None
        return self._deal(route, posts, frozenset({(route.opportunity, route.contact)}), is_item=True)

    def draws_for_batch(self) -> Random:
        """Give the generator of what a fault leaves to the seed, for the batch that was dealt to last."""
        return Random(f"{self._seed} batch {self._batches}")

    def _deal(self, route: Route, posts: int, pairs: _Pairs, *, is_item: bool) -> Fault | None:
        self._batches += route.kind == "batch"
        if not self._faults:
            return None
        on = "batch" if route.kind == "batch" else _ON.get((route.kind, route.method), "get")
        asked = self._count(on, route) if self._counts else 0
        target = _Target(on, route, asked, posts, pairs, is_item)
        rng = Random(f"{self._seed} {self._key(on, route)} {asked}") if self._draws else None
        for index, fault in enumerate(self._faults):
            # Each fault draws, whether it may hit or not: one fault's window must not move another's hits.
            draw = rng.random() if rng else 0.0
            if draw < fault.share and self._may_hit(index, target):
                self._hits[index] += 1
                return fault
        return None

    def _may_hit(self, index: int, target: _Target) -> bool:
        fault = self._faults[index]
        return (
            fault.on in {target.on, "any"}
            and (fault.hits_items or not target.is_item)
            and not (fault.times and self._hits[index] >= fault.times)
            and not (fault.per_pair and target.asked > fault.per_pair)
            and target.posts >= fault.after
            and not (fault.until and target.posts > fault.until)
            and (not fault.only or not fault.only.isdisjoint(target.pairs))
            and fault.extension in {"any", target.route.extension}
        )

    def _key(self, on: FaultOn, route: Route) -> int:
        return (_CODES[on] << 32 | route.opportunity) << 32 | route.contact

    def _count(self, on: FaultOn, route: Route) -> int:
        key = self._key(on, route)
        self._asked[key] = count = self._asked.get(key, 0) + 1
        return count


class Outages:
    """Knows which outage is on."""

    def __init__(self, outages: tuple[Outage, ...]) -> None:
        self._outages = outages
        self._began: dict[int, float] = {}

    def current(self, posts: int, now: float) -> Outage | None:
        """Give the first outage that is on, starting those whose moment has come."""
        for index, outage in enumerate(self._outages):
            if posts < outage.after:
                continue
            began = self._began.setdefault(index, now)
            if not outage.seconds or now - began < outage.seconds:
                return outage
        return None


def spoil(trouble: Trouble, bodies: Bodies, contact: int, good: Reply, *, xml: bool) -> Reply:
    """Give the answer that the trouble makes out of a good one, whose work may or may not have been done."""
    made = _SPOILERS[trouble.kind](trouble, bodies, contact, good, xml)
    return replace(made, status=trouble.status or made.status, delay=trouble.delay)


def _status(trouble: Trouble, _bodies: Bodies, _contact: int, _good: Reply, xml: bool) -> Reply:
    status, headers = trouble.status or 500, replies.retry_after(trouble.retry_after)
    if trouble.body == "html":
        return replies.page(status, headers)
    if trouble.body == "empty":
        return replies.empty(status, headers)
    message = trouble.message or "Fatal error encountered during command execution."
    made = replies.error(status, message, trouble.hresult or replies.OTHER_ERROR, xml=xml)
    return replace(made, headers=headers)


def _doubled(trouble: Trouble, bodies: Bodies, contact: int, good: Reply, xml: bool) -> Reply:
    return replies.doubled(_status(trouble, bodies, contact, good, xml))


def _denied(status: int, message: str, hresult: int, reason: str) -> "_Spoiler":
    def make(trouble: Trouble, _bodies: Bodies, _contact: int, _good: Reply, xml: bool) -> Reply:
        text, number = trouble.message or message, trouble.hresult or hresult
        return replies.error(status, text, number, xml=xml, reason=reason)

    return make


def _bare(status: int) -> "_Spoiler":
    # The checks of the portal's state answer without a body and without a hint when to return (contract 3.4).
    return lambda trouble, *_: replies.empty(status, replies.retry_after(trouble.retry_after))


def _wrong_id(_trouble: Trouble, bodies: Bodies, contact: int, _good: Reply, xml: bool) -> Reply:
    return replies.success(bodies.single(contact + 1, 201, xml, frozenset()), 201, xml=xml)


def _odd_body(_trouble: Trouble, _bodies: Bodies, contact: int, _good: Reply, xml: bool) -> Reply:
    odd = {
        "firstName": 17,
        "addresses": "none",
        "created": False,
        "commonData": {"phone": [1, None]},
        "isCompany": "perhaps",
        "shareType": "all",
        "currency": ["EUR"],
        "novelty": 2**40,
        "id": contact,
    }
    return replies.success(wire.single(wire.piece(odd, xml=xml), 201, xml=xml), 201, xml=xml)


def _oversized(trouble: Trouble, _bodies: Bodies, contact: int, _good: Reply, xml: bool) -> Reply:
    bare = wire.single(wire.piece({"about": "", "id": contact}, xml=xml), 201, xml=xml)
    filler = "x" * max(0, trouble.bytes - len(bare))
    body = wire.single(wire.piece({"about": filler, "id": contact}, xml=xml), 201, xml=xml)
    return replies.success(body, 201, xml=xml)


def _xml_bomb(_trouble: Trouble, _bodies: Bodies, contact: int, _good: Reply, _xml: bool) -> Reply:
    # Nine entities of ten each: a gigabyte, if a reader expands them.
    entities = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 9))
    declared = f'<!DOCTYPE result [<!ENTITY e0 "{"ha" * 5}">{entities}]>'
    body = (
        f"{declared}<result><count>1</count><status>0</status><statusCode>201</statusCode>"
        f"<response><about>&e8;</about><id>{contact}</id></response></result>"
    )
    return replies.success(body.encode(), 201, xml=True)


def _gzip_junk(_trouble: Trouble, _bodies: Bodies, _contact: int, good: Reply, _xml: bool) -> Reply:
    # Not marked as the API's own, or it would be compressed once more, and correctly.
    junk = b"\x1f\x8b\x08\x00 this is no deflate stream"
    return Reply(good.status, junk, good.content_type, headers=(("Content-Encoding", "gzip"),))


_Spoiler = Callable[[Trouble, Bodies, int, Reply, bool], Reply]

_SPOILERS: dict[str, _Spoiler] = {
    "status": _status,
    "doubled_envelope": _doubled,
    "reset": lambda *_: Reply(0, ending="reset"),
    "hang": lambda *_: Reply(0, ending="hang"),
    "truncated": lambda _t, _b, _c, good, _x: replace(good, ending="half"),
    "slow": lambda _t, _b, _c, good, _x: good,
    "html_200": lambda *_: replies.page(200),
    "empty_200": lambda *_: replies.empty(200),
    "empty_201": lambda *_: replies.empty(201),
    "redirect": lambda trouble, *_: replies.empty(302, (("Location", trouble.location),)),
    "wrong_id": _wrong_id,
    "odd_body": _odd_body,
    "oversized": _oversized,
    "xml_bomb": _xml_bomb,
    "gzip_junk": _gzip_junk,
    # These were made where the list of results was written.
    **{shape: lambda _t, _b, _c, good, _x: good for shape in SHAPES},
    "internal_403": _denied(
        403,
        "Operation is not valid due to the current state of the object.",
        replies.INVALID_OPERATION,
        "Server error",
    ),
    "forbidden_403": _denied(403, "Forbidden", replies.HTTP_ERROR, "Access denied"),
    "payment_402": _bare(402),
    "closed_404": _bare(404),
    "closed_503": _bare(503),
    "ip_403": _bare(403),
}
