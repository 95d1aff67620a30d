"""A loop whose time is not that of the world."""

import asyncio
import time

from worker.bench.virtual_time import run_in_virtual_time


def test_an_hour_takes_no_time() -> None:
    async def work() -> float:
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(10))
        return asyncio.get_running_loop().time()

    began = time.monotonic()

    assert 3600 <= run_in_virtual_time(work()) < 3600.1
    assert time.monotonic() - began < 5
