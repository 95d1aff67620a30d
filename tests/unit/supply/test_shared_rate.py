"""A rate that is kept to together, while the server that holds it comes and goes, under a virtual clock."""

from typing import Any, cast

import pytest

from tests.unit.dealt import now
from tests.unit.lanes import Run
from worker.errors import QueueError, QueueUnavailable
from worker.supply.shared_rate import SharedTurns


class Server:
    """Holds a rate; away until its time has come."""

    def __init__(self, back_at: float, error: type[QueueError] = QueueUnavailable) -> None:
        self.back_at = back_at
        self.error = error
        self.events: list[str] = []

    async def open(self) -> None:
        self._reach()
        self.events.append("open")

    async def book(self, *, step: float, late: float, pause: float) -> float:
        self._reach()
        return step + late + pause

    async def close(self) -> None:
        self.events.append("close")

    def _reach(self) -> None:
        if now() < self.back_at:
            raise self.error("redis://host: away")


def turns_of(server: Server, notes: list[str], wait_for: float = 60.0) -> SharedTurns:
    return SharedTurns(cast("Any", server), wait_for=wait_for, tell=notes.append)


def test_a_server_that_is_away_at_the_start_is_waited_for(virtual_time: Run) -> None:
    async def story() -> None:
        notes: list[str] = []
        server = Server(now() + 5.0)
        async with turns_of(server, notes):
            assert server.events == ["open"]
        assert server.events == ["open", "close"]
        assert notes == ["redis://host: away; trying again"] * (len(notes) - 1) + [""]

    virtual_time(story())


@pytest.mark.parametrize("error", [QueueUnavailable, QueueError])
def test_one_that_does_not_come_or_refuses_us_is_an_error_and_left_closed(
    virtual_time: Run, error: type[QueueError]
) -> None:
    async def story() -> None:
        server = Server(now() + 1e6, error)
        begin = now()
        with pytest.raises(error) as caught:
            async with turns_of(server, []):
                pass
        assert server.events == ["close"]
        if error is QueueUnavailable:
            assert str(caught.value) == "shared rate: redis://host: away; nothing was sent"
            assert 30.0 < now() - begin <= 60.0
        else:
            assert now() == begin

    virtual_time(story())


def test_no_turn_is_given_while_nobody_knows_what_others_send(virtual_time: Run) -> None:
    async def story() -> None:
        notes: list[str] = []
        server = Server(0.0)
        async with turns_of(server, notes) as turns:
            server.back_at = now() + 1000.0
            assert await turns.book(step=1.0, late=2.0, pause=4.0) == 7.0
            assert now() >= server.back_at
        assert notes[-1] == ""

    virtual_time(story())
