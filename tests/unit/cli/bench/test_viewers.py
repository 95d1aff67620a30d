"""What viewers of the live page take: measured in small, and reckoned from what was measured."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from worker.cli.bench.viewers import Run, figures_of
from worker.cli.bench.watching import Viewer, Watching
from worker.errors import WorkerError

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def test_the_middle_of_neighbours_counts() -> None:
    """A machine that becomes half as fast in between says nothing of viewers."""
    alone = [Run(0, pace, cost, 0) for pace, cost in ((1000.0, 100.0), (500.0, 200.0), (500.0, 50.0))]
    seen = [
        Run(50, pace, cost, 9 - n) for n, (pace, cost) in enumerate(((980.0, 101), (490.0, 202), (100, 60)))
    ]

    pace, cost, events = figures_of(alone, seen)

    assert [pace.value, cost.value] == [pytest.approx(0.98), pytest.approx(1.01)]
    assert pace.holds
    assert cost.holds
    assert events.value == 7
    pace, cost, _ = figures_of([Run(0, 1000.0, 100.0, 0)], [Run(50, 970.0, 103.0, 5)])
    assert (pace.holds, cost.holds) == (False, False)


@pytest.mark.parametrize("size", [1, 2, 5, 13, 1000])
def test_events_are_counted_however_they_are_cut(size: int) -> None:
    text = b"HTTP/1.1 200 OK\r\n\r\n" + b"event: parts\ndata: {}\n\n" * 3 + b"event: end\ndata: {}\n\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        viewer = Viewer(ours)
        for start in range(0, len(text), size):
            viewer.take(text[start : start + size])

    assert (viewer.events, viewer.has_seen_the_end) == (3, True)


PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"


@contextmanager
def page(*events: bytes, answer: bytes = PAGE) -> Iterator[str]:
    """A server of a page; each viewer gets the next of these events, and is hung up on."""
    left = iter(events)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                while True:
                    way, _ = server.accept()
                    with way:
                        way.recv(1000)
                        way.sendall(answer)
                        if b"/events" in way.recv(1000):
                            way.sendall(next(left))
            except OSError:  # closed
                pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/#token"
        server.shutdown(socket.SHUT_RDWR)


PARTS, END = b"event: parts\ndata: {}\n\n", b"event: end\ndata: {}\n\n"


def test_viewers_who_are_not_served_to_the_end_are_no_measurement() -> None:
    with (
        page(PARTS + END, PARTS) as address,
        pytest.raises(WorkerError, match="1 of 2 viewers were served to the end"),
        Watching(address, 2),
    ):
        pass


def test_viewers_who_are_served_to_the_end_saw_as_many_events_as_whoever_saw_least() -> None:
    with page(PARTS + END, 3 * PARTS + END) as address, Watching(address, 2) as watching:
        pass
    assert watching.least_events == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "503 Service Unavailable"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npage", "200 OK"),
        (b"nonsense\r\n\r\n", "nonsense"),
    ],
)
def test_a_page_that_does_not_come_is_named(answer: bytes, said: str) -> None:
    with (
        page(answer=answer) as address,
        pytest.raises(WorkerError, match=f"0 of 1 viewers were served to the end: .*{said}"),
        Watching(address, 1),
    ):
        pass


def test_a_page_that_cannot_be_reached_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        pytest.raises(WorkerError, match=r"0 of 1 viewers were served to the end: .*refused"),
        Watching(f"http://127.0.0.1:{port}/#t", 1),
    ):
        pass


@pytest.mark.long
def test_runs_with_and_without_viewers_are_compared(command: "Command") -> None:
    done = command("bench", "viewers", "--viewers", "5", "--pairs", "400", "--rounds", "2", "--json")

    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["viewers"], result["pairs"]) == (5, 400)
    assert [one["viewers"] for one in result["alone"]] == [0, 0]
    assert [one["viewers"] for one in result["looked_at"]] == [5, 5]
    pace, cost, events = result["figures"]
    assert (pace["goal"], pace["bound"], cost["goal"], cost["bound"]) == (0.97, ">", 1.03, "<")
    assert pace["value"] > 0
    assert cost["value"] > 0
    assert events["value"] >= 1
