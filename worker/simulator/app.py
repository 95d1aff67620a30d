"""The portal as one request sees it: the books, the doors, the weather, the method, the answer.

The order is the contract's: the portal's state masks authentication (3.4), nginx and the site answer what has
no route (10.1, 10.2), and a fault that strikes before the store leaves nothing behind, while one after it
leaves the link.
"""

import asyncio
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from random import Random
from typing import Any

import orjson
from aiohttp import web

from worker.simulator import appserver, faults, methods, replies, routes
from worker.simulator.batches import Batches
from worker.simulator.books import Books
from worker.simulator.compile_race import CompileRace
from worker.simulator.doors import COOKIE, AuthDoor, RateDoor
from worker.simulator.edits import Others
from worker.simulator.lists import Query
from worker.simulator.methods import Ask, Methods
from worker.simulator.replies import Reply
from worker.simulator.routes import Route
from worker.simulator.scenario import Scenario
from worker.simulator.sending import send
from worker.simulator.trouble import Trouble


class App:
    """Handles the requests of one portal."""

    def __init__(self, scenario: Scenario) -> None:
        self.books = Books(scenario.portal.linked, detail=scenario.books.detail)
        self._scenario = scenario
        self._door = AuthDoor(scenario.auth, time.monotonic)
        self._set_up()

    @property
    def scenario(self) -> Scenario:
        """The scenario that is played; a new one keeps the books, and the tokens if ``auth`` is the same."""
        return self._scenario

    @scenario.setter
    def scenario(self, scenario: Scenario) -> None:
        if scenario.auth != self._scenario.auth:
            self._door = AuthDoor(scenario.auth, time.monotonic)
        self._scenario = scenario
        self.books.detail = scenario.books.detail
        self._set_up()

    def reset(self) -> None:
        """Start the scenario again: books, tokens, throttle and the counts of faults."""
        self.books.reset()
        self._door = AuthDoor(self._scenario.auth, time.monotonic)
        self._set_up()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        at = time.monotonic()
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/_books"):
            return self._show_books(request.method, path)
        route = self._route(request.method, path)
        self.books.arrived(route, at)
        status = items = 0
        try:
            reply = self._announced(await self._reply(request, route, query, at))
            response = await send(request, reply)
            status, items = 0 if reply.ending in {"reset", "hang"} else reply.status, reply.items
        finally:
            self.books.answered(route, at, status, items)
        return response

    def _route(self, method: str, path: str) -> Route:
        passed = routes.at_the_front(path)
        route = routes.Route("slash", method) if passed is None else routes.find(method, passed)
        lacks_it = route.kind == "batch" and self._is_appserver
        return routes.Route("nginx", route.method) if lacks_it else route

    async def _reply(self, request: web.BaseRequest, route: Route, query: str, at: float) -> Reply:
        posts = self.books.posts
        ask = Ask(route, Query(query), request.headers.get("Content-Type", ""))
        if refusal := self._turn_away(ask, query, at):
            return refusal
        if (page := _outside(route)) is not None:
            return _with_cookie(page, self._door.header_token(request.headers))
        if request.can_read_body:
            try:
                # Not request.read(), which takes no more than a megabyte; a portal takes a gigabyte (7.7).
                ask = replace(ask, body=await request.content.read())
            except (OSError, web.RequestPayloadError):
                # Whoever cuts an upload short has left; nothing was carried out (contract 10.14).
                return Reply(0, ending="reset")
        return await self._admitted(request, ask, posts)

    async def _admitted(self, request: web.BaseRequest, ask: Ask, posts: int) -> Reply:
        """Answer whoever has a good token, or asks for one."""
        if ask.route.kind == "login":
            return await self._work(ask, posts)
        admission = self._door.admit(request.headers, request.cookies, ask.query.text(COOKIE))
        if not admission.admitted:
            if self._is_appserver:
                return replies.empty(401)
            return replies.unauthorized(
                request.host, had_header=admission.had_header, clear_cookie=admission.had_cookie
            )
        ask = replace(ask, limited=admission.limited)
        reply = await self._work(ask, posts)
        return _with_cookie(reply, admission.header_token)

    def _turn_away(self, ask: Ask, query: str, at: float) -> Reply | None:
        """Answer what never reaches authentication."""
        if outage := self._outages.current(self.books.posts, at):
            return self._spoil(outage, ask, self._methods.linked(ask, 201))
        if not self._rate.lets_in(at):
            throttle = self._scenario.throttle
            refuse = replies.empty if throttle.body == "empty" else replies.page
            return refuse(throttle.status, replies.retry_after(throttle.retry_after))
        return replies.site_page(400) if len(query) >= _TOO_LONG else None

    def _announced(self, reply: Reply) -> Reply:
        """Tell what is left of the limit, if the scenario's portal does."""
        throttle = self._scenario.throttle
        if not throttle.announces:
            return reply
        left = self._rate.quota(time.monotonic())
        headers = replies.quota(throttle.announces, throttle.limit, throttle.window, *left)
        return replace(reply, headers=(*reply.headers, *headers))

    async def _work(self, ask: Ask, posts: int) -> Reply:
        async with self._workers:
            if delay := self._latency():
                await asyncio.sleep(delay)
            if ask.route.kind == "batch":
                return await self._batches.carry_out(ask)
            fault = self._deck.deal(ask.route, posts)
            if fault is not None and not fault.stores and fault.kind == "slow":
                await asyncio.sleep(fault.delay)
                fault = None
            took, is_lost = self._race.enter(ask.query, time.monotonic())
            if took:
                await asyncio.sleep(took)
            return self._race.lost(xml=ask.xml) if is_lost else self._spoiled(fault, ask)

    def _item(self, ask: Ask) -> Reply:
        """Answer an item of a batch; it is dealt faults as if it had come alone."""
        if self._race.enter(ask.query, time.monotonic())[1]:
            return self._race.lost(xml=ask.xml)
        return self._spoiled(self._deck.deal_item(ask.route, self.books.posts), ask)

    def _spoiled(self, fault: Trouble | None, ask: Ask) -> Reply:
        self._others.called(time.monotonic())
        if fault is not None and not fault.stores:
            return self._spoil(fault, ask, self._methods.linked(ask, 201))
        reply = self._answer(ask)
        # A refusal stays one: nothing was stored that the fault could hide.
        return reply if fault is None or reply.status >= 300 else self._spoil(fault, ask, reply)  # noqa: PLR2004 - no success

    def _answer(self, ask: Ask) -> Reply:
        if ask.route.kind == "login":
            return methods.login(ask, self._scenario.auth, self._door)
        reply = self._methods.answer(ask)
        return appserver.reshaped(reply, ask.route.kind) if self._is_appserver else reply

    def _spoil(self, fault: Trouble, ask: Ask, good: Reply) -> Reply:
        return faults.spoil(fault, self._methods.bodies, ask.route.contact, good, xml=ask.xml)

    def _latency(self) -> float:
        plan = self._scenario.latency
        delay = plan.seconds
        if plan.jitter:
            delay += self._rng.uniform(-plan.jitter, plan.jitter)
        if plan.slow_fraction and self._rng.random() < plan.slow_fraction:
            delay += plan.slow_seconds
        return max(0.0, delay)

    def _set_up(self) -> None:
        scenario = self._scenario
        self._is_appserver = scenario.portal.product == "appserver"
        self._others = Others(scenario.edits, self.books)
        self._methods = Methods(scenario.portal, self.books, self._others, scenario.auth.username)
        self._rate = RateDoor(scenario.throttle)
        self._deck = faults.Deck(scenario.seed, scenario.faults)
        self._race = CompileRace(scenario.latency.compile_seconds)
        self._batches = Batches(
            self._item, self.books, self._deck, self._methods.bodies, scenario.latency.item_seconds
        )
        self._outages = faults.Outages(scenario.outages)
        self._rng = Random(scenario.seed)
        workers = scenario.latency.workers
        self._workers: AbstractAsyncContextManager[Any] = (
            asyncio.Semaphore(workers) if workers else nullcontext()
        )

    def _show_books(self, method: str, path: str) -> web.Response:
        views = {
            ("GET", "/_books"): self.books.summary,
            ("GET", "/_books/links"): self.books.links,
            ("GET", "/_books/arrivals"): self.books.since_first,
            ("GET", "/_books/posts"): self.books.repeated,
            ("GET", "/_books/visits"): self.books.latest,
        }
        if (method, path) == ("POST", "/_books/reset"):
            self.reset()
            return _json(self.books.summary())
        self._others.catch_up(time.monotonic())
        view = views.get((method, path))
        return web.Response(status=404) if view is None else _json(view())


_TOO_LONG = 2048
"""Characters of a query that are too many for the site (contract 10.3)."""


def _outside(route: Route) -> Reply | None:
    """Answer what is not the API's; None for what is."""
    match route.kind:
        case "none":
            return replies.unrouted(route.method)
        case "slash":
            return replies.site_page(404)
        case "nginx":
            return replies.page(404 if route.method == "GET" else 405)
        case "options":
            return replies.options()
        case _:
            return None


def _with_cookie(reply: Reply, token: str) -> Reply:
    """Set the cookie, as each reply does to a good token in the header, whatever it says (contract 6.6)."""
    if not token or reply.origin == "elsewhere":
        return reply
    return replace(reply, headers=(*reply.headers, ("Set-Cookie", f"{COOKIE}={token}; path=/; HttpOnly")))


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
