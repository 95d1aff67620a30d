"""The simulator without sockets: an HTTP client that asks it here, and notes what it holds when."""

import asyncio
import time
from collections.abc import Mapping
from types import SimpleNamespace, TracebackType
from typing import Any, Self, cast

from multidict import CIMultiDict
from yarl import URL

from worker.portal.http import Failure, Reply
from worker.portal.throttle_headers import read_advice
from worker.simulator import Edit, Scenario, faults
from worker.simulator.app import App

BASE = "https://portal.example"

Link = tuple[int, int]


class InProcess:
    """A portal that is asked here, by whoever takes it for :class:`worker.portal.http.Http`.

    Attributes:
        app: the portal.
        moments: which links could be seen at the beginning, and after each call, alone or as an item.
        made: links written by those who asked that were not there.
        removed: links removed by those who asked that were there.
        edits: what others have done, oldest first.
    """

    origin = BASE

    def __init__(self, scenario: Scenario) -> None:
        self.app = app = App(scenario)
        self.moments = [self.seen()]
        self.made: set[Link] = set()
        self.removed: set[Link] = set()
        self.edits: list[Edit] = []
        spoiled, link, unlink, make = app._spoiled, app.books.link, app.books.unlink, app._others._make

        def noted(*args: Any) -> Any:
            reply = spoiled(*args)
            self.moments.append(self.seen())
            return reply

        def linked(*pair: int) -> None:
            if not app.books.holds(*pair):
                self.made.add(cast("Link", pair))
            link(*pair)

        def unlinked(*pair: int) -> None:
            if app.books.holds(*pair):
                self.removed.add(cast("Link", pair))
            unlink(*pair)

        def edited(edit: Edit) -> None:
            self.edits.append(edit)
            make(edit)

        app._others._make = edited  # type: ignore[method-assign]  # same
        app._spoiled = noted  # type: ignore[assignment,method-assign]  # nothing else is told of each call
        app.books.link = linked  # type: ignore[assignment,method-assign]  # same
        app.books.unlink = unlinked  # type: ignore[assignment,method-assign]  # same

    @property
    def held(self) -> frozenset[Link]:
        """The links in the books."""
        return frozenset(self.app.books.links())

    def seen(self) -> frozenset[Link]:
        """Those of them that whoever asks can see."""
        others = self.app._others
        return frozenset(
            (opportunity, contact)
            for opportunity, contact in self.app.books.links()
            if others.sees_opportunity(opportunity) and others.sees_contact(contact)
        )

    def calm_down(self) -> None:
        """From now on nothing fails, and nobody else does anything."""
        self.app._deck = self.app._batches._deck = faults.Deck(0, ())
        self.app._others._waiting = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is no connection to be closed."""

    def target(self, location: str) -> str:
        return location

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        data: bytes = b"",
    ) -> Reply | Failure:
        await asyncio.sleep(0)  # others get their turn, as they do while an answer is waited for
        url = URL(f"{BASE}/api/2.0/").joinpath(path).with_query(params)

        async def read() -> bytes:
            return data

        request = SimpleNamespace(
            headers=CIMultiDict(headers),
            cookies={},
            host="portal.example",
            can_read_body=bool(data),
            content=SimpleNamespace(read=read),
        )
        app, at = self.app, time.monotonic()
        route = app._route(method, url.raw_path)
        app.books.arrived(route, at)
        reply = await app._reply(cast("Any", request), route, url.raw_query_string, at)
        app.books.answered(route, at, reply.status, reply.items)
        if reply.ending in {"reset", "hang"}:
            return Failure("disconnected", "connection lost")
        if reply.ending == "half":
            return Failure("payload", "broken answer")
        told = CIMultiDict([("Content-Type", reply.content_type), *reply.headers])
        return Reply(reply.status, told, reply.body, 0.001, read_advice(reply.status, told, at))
