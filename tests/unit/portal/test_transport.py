"""What bounds the batches of the way that is chosen."""

import asyncio
from typing import Any, cast

import pytest

from worker.portal import transport
from worker.portal.batch import Batch, FirstBatch
from worker.portal.transport import BatchLimits, choose


async def takes_batches(_: object) -> FirstBatch:
    return FirstBatch("")


def nothing(_: str) -> None:
    pass


@pytest.mark.parametrize(
    ("timeout", "grace", "seconds", "shrinks"),
    [
        pytest.param(30.0, 25.0, 2.9, False, id="three seconds are what a batch may take"),
        pytest.param(30.0, 25.0, 3.3, True, id="and no more"),
        pytest.param(2.0, 25.0, 1.6, True, id="its answer comes before the time-out"),
        pytest.param(30.0, 4.0, 2.3, True, id="its answer comes within the grace"),
        pytest.param(30.0, 0.0, 0.9, False, id="no grace at all does not make batches of one"),
        pytest.param(1.0, 0.0, 0.8, True, id="and the time-out bounds it then, too"),
    ],
)
def test_a_batch_takes_no_longer_than_the_limits_allow(
    monkeypatch: pytest.MonkeyPatch,
    timeout: float,
    grace: float,
    seconds: float,
    *,
    shrinks: bool,
) -> None:
    monkeypatch.setattr(transport, "first_batch", takes_batches)
    client = cast("Any", None)
    route = asyncio.run(choose(client, "auto", BatchLimits(None, timeout, grace), nothing))
    assert isinstance(route.transport, Batch)
    before = route.transport.size
    route.transport._size.observe(before, seconds)
    assert (route.transport.size < before) is shrinks
