"""Listen on a socket: inside a test's event loop, or until told to stop."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from aiohttp import web

from worker.simulator.app import App
from worker.simulator.books import Books
from worker.simulator.scenario import Scenario
from worker.simulator.trouble import Fault

_GRACE = 0.2
"""Seconds that a hanging request may still take when the portal closes."""

_KEEP_ALIVE = 65.0
"""Idle time after which nginx drops a connection (contract 8)."""


class Portal:
    """A portal on a socket, for as long as the context lasts.

    Attributes:
        url: where it listens, without a slash at the end.
    """

    def __init__(self, scenario: Scenario | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app = App(scenario or Scenario())
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None
        self.url = ""

    @property
    def books(self) -> Books:
        """What the portal holds and what arrived."""
        return self._app.books

    @property
    def scenario(self) -> Scenario:
        """What is played; may be set at any time, and counts of faults then start anew."""
        return self._app.scenario

    @scenario.setter
    def scenario(self, scenario: Scenario) -> None:
        self._app.scenario = scenario

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults of the scenario; may be set at any time."""
        return self.scenario.faults

    @faults.setter
    def faults(self, faults: tuple[Fault, ...]) -> None:
        self.scenario = replace(self.scenario, faults=faults)

    def reset(self) -> None:
        """Start the scenario again, with the links it began with."""
        self._app.reset()

    async def __aenter__(self) -> Self:
        server = web.Server(self._app.handle, access_log=None, keepalive_timeout=_KEEP_ALIVE)
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, reuse_address=True)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


async def serve(scenario: Scenario, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until cancelled; ``announce`` gets the URL once the portal listens."""
    async with Portal(scenario, host=host, port=port) as portal:
        announce(portal.url)
        await asyncio.Event().wait()
