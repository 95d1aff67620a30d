"""Viewers get what has changed, and one that is slow gets the newest and not everything."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import ExitStack

from worker.dashboard.viewers import Viewers


def written(parts: Mapping[str, str]) -> bytes:
    return json.dumps(parts).encode()


async def test_a_viewer_begins_with_everything_and_then_gets_what_has_changed() -> None:
    viewers = Viewers(written)
    viewers.show({"now": "1", "rows": "a"})
    with viewers.one() as box:
        assert await box.take() == written({"now": "1", "rows": "a"})
        viewers.show({"now": "2", "rows": "a"})
        assert await box.take() == written({"now": "2"})


async def test_a_slow_viewer_is_sent_the_newest_of_each_part_and_nothing_piles_up() -> None:
    viewers = Viewers(written)
    with viewers.one() as box:
        for number in range(1000):
            viewers.show({"now": str(number), "rows": str(number // 500)})
        assert await box.take() == written({"now": "999", "rows": "1"})


async def test_what_did_not_change_is_not_sent() -> None:
    viewers = Viewers(written)
    viewers.show({"now": "1"})
    with viewers.one() as box:
        await box.take()
        viewers.show({"now": "1"})
        taking = asyncio.create_task(box.take())
        await asyncio.sleep(0.01)
        assert not taking.done()
        viewers.close()
        assert await taking is None


async def test_at_the_end_a_viewer_still_gets_the_last_figures() -> None:
    viewers = Viewers(written)
    with viewers.one() as box:
        viewers.show({"now": "ended"})
        viewers.close()
        assert await box.take() == written({"now": "ended"})
        assert await box.take() is None


def test_who_has_left_is_counted_no_more() -> None:
    viewers = Viewers(written)
    with viewers.one(), viewers.one():
        assert len(viewers) == 2
    assert len(viewers) == 0


async def test_what_all_are_sent_is_written_once_and_one_who_lags_behind_gets_it_together() -> None:
    made: list[Mapping[str, str]] = []

    def noted(parts: Mapping[str, str]) -> bytes:
        made.append(dict(parts))
        return written(parts)

    viewers = Viewers(noted)
    viewers.show({"now": "0", "rows": "a"})
    assert made == []  # nobody looks
    with ExitStack() as stack:
        boxes = [stack.enter_context(viewers.one()) for _ in range(50)]
        slow = stack.enter_context(viewers.one())
        assert made == [{"now": "0", "rows": "a"}]
        for box in boxes:
            await box.take()
        viewers.show({"now": "1", "rows": "a"})
        assert {await box.take() for box in boxes} == {written({"now": "1"})}
        assert made[1:] == [{"now": "1"}]
        assert await slow.take() == written({"now": "1", "rows": "a"})
        assert made[2:] == [{"now": "1", "rows": "a"}]
        late = stack.enter_context(viewers.one())
        assert await late.take() == written({"now": "1", "rows": "a"})
