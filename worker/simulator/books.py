"""The portal's books: which links it holds, and what arrived when. Tests assert on them.

They record, and refuse nothing. A batch is one request, which is what limits count (contract 8); what it asks
for are its items, and a link POST is one, whether it came alone or as an item. Memory grows with the number
of pairs, by about a hundred bytes each, and by eight bytes with each entry of ``arrivals``; visits are kept
for the latest ten thousand requests and items only.
"""

from array import array
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

from worker.simulator.routes import Route

_VISITS = 10_000


class Visit(NamedTuple):
    """One request or item: when it reached the handler (monotonic), what it asked, and the status.

    A status of 0 is no answer. ``items`` is how many a batch had that were carried out.
    """

    at: float
    method: str
    kind: str
    opportunity: int
    contact: int
    status: int
    items: int = 0


class Books:
    """Links and arrivals of one portal.

    Attributes:
        requests: API requests that arrived, refused ones included; a batch is one.
        batches: batches among them.
        items: items of batches that were carried out, unroutable ones included.
        posts: link POSTs that arrived, alone or as an item that was carried out.
        repeats: link POSTs beyond the first for a pair.
        stored: links written, those included that were there already (contract 4.1).
        created: links written that were not there.
        removed: links removed that were there.
        edits: things that others did, see ``scenario``; what they link and unlink is in no other figure.
        by_status: answers by HTTP status; 0 counts requests that got none. Items are not in it.
        max_in_flight: most requests that were being answered at once.
        visits: the latest requests.
        item_visits: the latest items.
        arrivals: monotonic times at which requests that may link reached the handler: link POSTs and batches.
    """

    def __init__(self, linked: Iterable[tuple[int, int]] = (), *, detail: bool = True) -> None:
        self._linked = frozenset(linked)
        self.detail = detail
        self.reset()

    def reset(self) -> None:
        """Forget what arrived, and hold the links of the scenario again."""
        self.requests = self.batches = self.items = self.posts = self.repeats = 0
        self.stored = self.created = self.removed = self.edits = 0
        self.in_flight = self.max_in_flight = 0
        self.by_status: Counter[int] = Counter()
        self.visits: deque[Visit] = deque(maxlen=_VISITS)
        self.item_visits: deque[Visit] = deque(maxlen=_VISITS)
        self.arrivals = array("d")
        self.first_arrival: float | None = None
        self.last_arrival: float | None = None
        self._posts: dict[int, int] = {}
        self._members: dict[int, set[int]] = {}
        for opportunity, contact in self._linked:
            self._members.setdefault(opportunity, set()).add(contact)

    def arrived(self, route: Route, at: float) -> None:
        """Enter a request at the door."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.first_arrival = at if self.first_arrival is None else self.first_arrival
        self.last_arrival = at
        self.batches += route.kind == "batch"
        if self.detail and (route.is_link_post or route.kind == "batch"):
            self.arrivals.append(at)
        if route.is_link_post:
            self._posted(route)

    def began(self, route: Route | None) -> None:
        """Enter an item of a batch whose turn has come; None is one without a route."""
        self.items += 1
        if route is not None and route.is_link_post:
            self._posted(route)

    def ended(self, route: Route, at: float, status: int) -> None:
        """Enter how an item ended; ``at`` is when its turn came."""
        if self.detail:
            visit = Visit(at, route.method, route.kind, route.opportunity, route.contact, status)
            self.item_visits.append(visit)

    def _posted(self, route: Route) -> None:
        self.posts += 1
        if self.detail:
            key = route.opportunity << 32 | route.contact
            count = self._posts.get(key, 0) + 1
            self._posts[key] = count
            self.repeats += count > 1

    def answered(self, route: Route, at: float, status: int, items: int = 0) -> None:
        """Enter how a request ended; ``at`` is when it arrived, ``items`` what was carried out of a batch."""
        # A request that was under way when the books were reset must not take them below zero.
        self.in_flight = max(0, self.in_flight - 1)
        self.by_status[status] += 1
        if self.detail:
            visit = Visit(at, route.method, route.kind, route.opportunity, route.contact, status, items)
            self.visits.append(visit)

    def link(self, opportunity: int, contact: int) -> None:
        """Write a link; writing it again changes nothing (contract 4.1)."""
        members = self._members.setdefault(opportunity, set())
        self.stored += 1
        self.created += contact not in members
        members.add(contact)

    def unlink(self, opportunity: int, contact: int) -> None:
        """Remove exactly this link, if it is there (contract 4.3)."""
        members = self._members.get(opportunity, set())
        self.removed += contact in members
        members.discard(contact)

    def linked_by_others(self, opportunity: int, contact: int) -> None:
        """Write a link that nobody asked for here."""
        self._members.setdefault(opportunity, set()).add(contact)

    def unlinked_by_others(self, opportunity: int, contact: int) -> None:
        """Remove a link that nobody asked to be removed here."""
        self._members.get(opportunity, set()).discard(contact)

    def deleted_by_others(self, opportunity: int, contact: int) -> None:
        """Remove all links of an opportunity or a contact; the other id is 0 (contract 4.8)."""
        self._members.pop(opportunity, None)
        for members in self._members.values():
            members.discard(contact)

    def holds(self, opportunity: int, contact: int) -> bool:
        """Whether the link is there."""
        return contact in self._members.get(opportunity, ())

    def members(self, opportunity: int) -> list[int]:
        """Give the linked contacts in a fixed order that follows nothing: none is promised (contract 5.1)."""
        return sorted(self._members.get(opportunity, ()), key=lambda contact: contact * 2_654_435_761 % 2**32)

    def opportunities_of(self, contact: int) -> set[int]:
        """Give the opportunities that a contact is linked to."""
        return {opportunity for opportunity, members in self._members.items() if contact in members}

    def posts_of(self, opportunity: int, contact: int) -> int:
        """Count the POSTs that arrived for a pair."""
        return self._posts.get(opportunity << 32 | contact, 0)

    def links(self) -> list[tuple[int, int]]:
        """Give all links, sorted."""
        return sorted(
            (opportunity, contact) for opportunity, held in self._members.items() for contact in held
        )

    def repeated(self) -> list[tuple[int, int, int]]:
        """Give the pairs that were posted more than once, sorted, each with its count."""
        return sorted((key >> 32, key & 0xFFFFFFFF, n) for key, n in self._posts.items() if n > 1)

    def since_first(self) -> list[float]:
        """Give the arrivals of requests that may link, in seconds since the first of them."""
        return [at - self.arrivals[0] for at in self.arrivals]

    def latest(self) -> list[tuple[object, ...]]:
        """Give the latest requests, in the order in which they arrived, each as the fields of a visit."""
        return [tuple(visit) for visit in sorted(self.visits)]

    def most_in_window(self, seconds: float) -> int:
        """Give the most ``arrivals`` in any half-open window ``[t, t + seconds)``."""
        most = first = 0
        for last, at in enumerate(self.arrivals):
            while at - self.arrivals[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def summary(self) -> dict[str, object]:
        """Sum up, for a report and for people."""
        return {
            "links": sum(map(len, self._members.values())),
            "requests": self.requests,
            "batches": self.batches,
            "items": self.items,
            "posts": self.posts,
            "repeats": self.repeats,
            "stored": self.stored,
            "created": self.created,
            "removed": self.removed,
            "edits": self.edits,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "max_in_flight": self.max_in_flight,
            "first_arrival": self.first_arrival,
            "last_arrival": self.last_arrival,
        }
