"""The server of the live page: the page, its parts as they change (server-sent events), and its buttons."""

import asyncio
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.resources import files
from types import TracebackType
from typing import Protocol, Self

from aiohttp import web

from worker.dashboard.about import Door
from worker.dashboard.guard import is_ours, is_same_origin, is_token
from worker.dashboard.track import Track
from worker.dashboard.view import View, page_of, parts_of
from worker.dashboard.viewers import Viewers
from worker.errors import UsageError

TICK = 1.0
"""Seconds between two looks at the run."""

MOST_VIEWERS = 200
TOKEN_HEADER = "X-Bulklink-Token"  # noqa: S105 - the name of it
_LONGEST_WORD = 200
_GOODBYE = 1.0
"""Seconds that viewers get to take the last figures."""

_COME_BACK = b"retry: 1000\n\n"
"""After so many milliseconds a browser asks again, whose connection was lost."""

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Steering(Protocol):
    """What the buttons do. Each gives what was done, in words for the user.

    Raises:
        ValueError: what was asked for cannot be; the run goes on as before.
    """

    def pause(self) -> str:
        """Send nothing until resumed."""

    def resume(self) -> str:
        """Send again."""

    def slow_to(self, rate: str) -> str:
        """Send no more than that."""


class LivePage:
    """Serves it within the block.

    Args:
        door: where.
        look: gives how the run is now.
        steering: does what the buttons say.

    Raises:
        UsageError: on entering, if nobody can listen there.
    """

    def __init__(self, door: Door, look: Callable[[], View], steering: Steering) -> None:
        self._look = look
        self._steering = steering
        self._token = door.token or secrets.token_urlsafe(16)
        self._viewers = Viewers(partial(_event, "parts"))
        self._made: tuple[float, View, dict[str, str]] | None = None
        self._track = Track()
        self._runner: web.AppRunner | None = None
        self._ticking: asyncio.Task[None] | None = None
        self.address = ""
        """Where it is; behind the # the token that its buttons need, which no browser sends on."""
        self.door = door
        """Once it is served: where another one has to be for viewers to go on there, with the same token."""

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guarded], client_max_size=_LONGEST_WORD * 4)
        app.router.add_get("/", self._page)
        app.router.add_get("/events", self._events)
        for name, room, kind in (
            ("page.css", "report", "text/css"),
            ("live.js", "dashboard", "text/javascript"),
        ):
            text = files(f"worker.{room}").joinpath(name).read_text(encoding="utf-8")
            app.router.add_get(f"/{name}", _file(text, kind))
        app.router.add_post("/pause", self._steered(lambda _: self._steering.pause()))
        app.router.add_post("/resume", self._steered(lambda _: self._steering.resume()))
        app.router.add_post("/rate", self._steered(self._steering.slow_to))
        # Else whoever leaves would be served on, and the end waited for.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=_GOODBYE)
        await runner.setup()
        host, port = self.door.host, self.door.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise UsageError(f"--dashboard-port {port}: cannot listen on {host}: {_why(error)}") from None
        self._runner = runner
        name = f"[{host}]" if ":" in host else host
        self.door = Door(host, runner.addresses[0][1], self._token)
        self.address = f"http://{name}:{self.door.port}/#{self._token}"
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait({self._ticking})
        self._show()
        self._viewers.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._track.note(self._look())
            if self._viewers:
                self._show()

    def _show(self) -> None:
        self._made = None
        self._viewers.show(self._latest()[1])

    def _latest(self) -> tuple[View, dict[str, str]]:
        """The run and the parts of the page, at most a tick old: of many who come at once one is costly."""
        now = asyncio.get_running_loop().time()
        if self._made is None or now - self._made[0] >= TICK:
            view = self._look()
            self._made = now, view, parts_of(view, self._track.samples)
        return self._made[1:]

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Answer) -> web.StreamResponse:
        if not is_ours(request.host, self.door.host):
            return _said(403, "this page is not known by that name: use its address, or --dashboard-host")
        if request.method == "POST":
            if not is_same_origin(request.headers.get("Origin"), request.host):
                return _said(403, "that is not for pages of others")
            if not is_token(request.headers.get(TOKEN_HEADER), self._token):
                return _said(403, "that needs the token that was printed when the run began")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _said(error.status, error.reason.lower())

    async def _page(self, _: web.Request) -> web.StreamResponse:
        text = page_of(*self._latest())
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._viewers) >= MOST_VIEWERS:
            return _said(503, f"{MOST_VIEWERS} are looking already")
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        self._viewers.show(self._latest()[1])
        with suppress(ConnectionError), self._viewers.one() as box:
            await response.prepare(request)
            await response.write(_COME_BACK)
            while (text := await box.take()) is not None:
                await response.write(text)
            if not self._look().goes_on:
                await response.write(_event("end", {}))
        return response

    def _steered(self, do: Callable[[str], str]) -> _Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            text = (await request.text())[:_LONGEST_WORD]
            try:
                said = do(text)
            except ValueError as error:
                return _said(422, str(error))
            self._show()
            return _said(200, said)

        return answer


def _file(text: str, kind: str) -> _Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=kind, headers=_HEADERS)

    return answer


def _said(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=_HEADERS)


def _event(name: str, parts: Mapping[str, str]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(parts)}\n\n".encode()


def _why(error: OSError) -> str:
    """In the system's own words; a library puts an address and a number around them."""
    number = error.errno or 0
    return os.strerror(number).lower() if number > 0 else "there is no such host"
