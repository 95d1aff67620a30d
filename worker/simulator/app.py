"""The portal as one request sees it: the books, the doors, the weather, the method, the answer.

The order is the contract's: the portal's state masks authentication (3.4), and a fault that strikes before
the store leaves nothing behind, while one after it leaves the link.
"""

import asyncio
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from random import Random
from typing import Any

import orjson
from aiohttp import web

from worker.simulator import faults, methods, replies, routes
from worker.simulator.books import Books
from worker.simulator.doors import COOKIE, AuthDoor, RateDoor
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
        route = routes.find(request.method, path)
        self.books.arrived(route, at)
        status = 0
        try:
            reply = await self._reply(request, route, query, at)
            response = await send(request, reply)
            status = 0 if reply.ending in {"reset", "hang"} else reply.status
        finally:
            self.books.answered(route, at, status)
        return response

    async def _reply(self, request: web.BaseRequest, route: Route, query: str, at: float) -> Reply:
        posts = self.books.posts
        ask = Ask(route, Query(query), request.headers.get("Content-Type", ""))
        if refusal := self._turn_away(request, ask, at):
            return refusal
        if request.can_read_body:
            ask = replace(ask, body=await request.read())
        if route.kind == "login":
            return await self._work(ask, posts)
        admission = self._door.admit(request.headers, request.cookies)
        if not admission.admitted:
            return replies.unauthorized(
                request.host, had_header=admission.had_header, clear_cookie=admission.had_cookie
            )
        reply = await self._work(ask, posts)
        if admission.header_token and reply.is_api:
            cookie = ("Set-Cookie", f"{COOKIE}={admission.header_token}; path=/; HttpOnly")
            reply = replace(reply, headers=(*reply.headers, cookie))
        return reply

    def _turn_away(self, request: web.BaseRequest, ask: Ask, at: float) -> Reply | None:
        """Answer what never reaches authentication."""
        if outage := self._outages.current(self.books.posts, at):
            return self._spoil(outage, ask, self._methods.linked(ask, 201))
        if not self._rate.lets_in(at):
            throttle = self._scenario.throttle
            return replies.page(throttle.status, replies.retry_after(throttle.retry_after))
        if len(request.query_string) >= _LONG_QUERY:
            return replies.page(400)
        if ask.route.kind == "none":
            return replies.page(_UNROUTED.get(ask.route.method, 405))
        if ask.route.kind == "options":
            return Reply(200, headers=_CORS)
        return replies.page(411) if request.method == "POST" and not _has_length(request) else None

    async def _work(self, ask: Ask, posts: int) -> Reply:
        async with self._workers:
            if delay := self._latency():
                await asyncio.sleep(delay)
            fault = self._deck.deal(ask.route, posts)
            if fault is not None and not fault.stores:
                if fault.kind != "slow":
                    return self._spoil(fault, ask, self._methods.linked(ask, 201))
                await asyncio.sleep(fault.delay)
                fault = None
            reply = self._answer(ask)
        # A refusal stays one: nothing was stored that the fault could hide.
        return reply if fault is None or reply.status >= 300 else self._spoil(fault, ask, reply)  # noqa: PLR2004 - no success

    def _answer(self, ask: Ask) -> Reply:
        if ask.route.kind == "login":
            return methods.login(ask, self._scenario.auth, self._door)
        return self._methods.answer(ask)

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
        self._methods = Methods(scenario.portal, self.books)
        self._rate = RateDoor(scenario.throttle)
        self._deck = faults.Deck(scenario.seed, scenario.faults)
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
        }
        if (method, path) == ("POST", "/_books/reset"):
            self.reset()
            return _json(self.books.summary())
        view = views.get((method, path))
        return web.Response(status=404) if view is None else _json(view())


_LONG_QUERY = 2048
"""Characters; a query of so many is refused before it is looked at (contract 10.3)."""

_UNROUTED = {"GET": 404, "HEAD": 404, "POST": 500}
"""The page for an address that is none, by verb; 405 for all others (contract 10.2)."""

_CORS = (
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS"),
    ("Access-Control-Allow-Headers", "origin, authorization, accept, content-type"),
)


def _has_length(request: web.BaseRequest) -> bool:
    return "Content-Length" in request.headers or "Transfer-Encoding" in request.headers


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
