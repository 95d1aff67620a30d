"""Viewers of a live page, in a thread: each loads the page and then takes its events, as a browser does."""

import selectors
import socket
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from worker.errors import WorkerError

_EVENT, _END = b"event: parts\n", b"event: end\n"
_CHUNK = 256 * 1024
_PATIENCE = 30.0
"""Seconds without a word after which a page is called silent; and those for the last words at the end."""


@dataclass(slots=True)
class Viewer:
    """One who looks.

    Attributes:
        events: taken so far.
        has_seen_the_end: the page has said that the run is over.
    """

    way: socket.socket
    events: int = 0
    has_seen_the_end: bool = False
    cut: bytes = b""

    def take(self, data: bytes) -> None:
        """Take what came; an event may be cut anywhere."""
        text = self.cut + data
        self.events += text.count(_EVENT)
        self.has_seen_the_end = self.has_seen_the_end or _END in text
        self.cut = text.rpartition(_EVENT)[2][1 - len(_EVENT) :]


class Watching:
    """Viewers, for as long as the block lasts; at its end they look on until the page has ended.

    Args:
        address: of the page.
        viewers: how many.

    Raises:
        WorkerError: on leaving, if one of them was not served to the end.
    """

    def __init__(self, address: str, viewers: int) -> None:
        parts = urlsplit(address)
        self._place = parts.hostname or "", parts.port or 80
        self._wanted = viewers
        self._viewers: list[Viewer] = []
        self._thread = threading.Thread(target=self._look, name="viewers", daemon=True)
        self._trouble: Exception | None = None

    @property
    def least_events(self) -> int:
        """Events that everyone has taken, at least."""
        return min((one.events for one in self._viewers), default=0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(None if error is None else 0.0)
        served = sum(one.has_seen_the_end for one in self._viewers)
        if error is None and served < self._wanted:
            why = f": {self._trouble}" if self._trouble is not None else ""
            raise WorkerError(f"bench: {served} of {self._wanted} viewers were served to the end{why}")

    def _look(self) -> None:
        try:
            for _ in range(self._wanted):
                viewer = Viewer(socket.create_connection(self._place, timeout=_PATIENCE))
                self._viewers.append(viewer)
                self._ask(viewer.way, "/")
                _take_page(viewer.way)
                self._ask(viewer.way, "/events")
            self._take_all()
        except (OSError, HTTPException) as error:
            self._trouble = error
        finally:
            for viewer in self._viewers:
                viewer.way.close()

    def _ask(self, way: socket.socket, path: str) -> None:
        way.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._place[0]}:{self._place[1]}\r\n\r\n".encode())

    def _take_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for viewer in self._viewers:
                selector.register(viewer.way, selectors.EVENT_READ, viewer)
            while selector.get_map():
                ready = selector.select(_PATIENCE)
                if not ready:
                    raise TimeoutError(f"nothing came for {_PATIENCE:.0f} s")
                for key, _ in ready:
                    data = key.data.way.recv(_CHUNK)
                    key.data.take(data)
                    if not data or key.data.has_seen_the_end:
                        selector.unregister(key.data.way)


def _take_page(way: socket.socket) -> None:
    """Read one answer of a stated length, on a connection that stays."""
    with HTTPResponse(way) as answer:
        answer.begin()
        if answer.status != HTTPStatus.OK or answer.will_close:
            raise ConnectionError(f"the page answered {answer.status} {answer.reason}")
        answer.read()
