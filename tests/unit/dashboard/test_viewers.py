"""Viewers get what has changed, and one that is slow gets the newest and not everything."""

import asyncio

from worker.dashboard.viewers import Viewers


async def test_a_viewer_begins_with_everything_and_then_gets_what_has_changed() -> None:
    viewers = Viewers()
    viewers.show({"now": "1", "rows": "a"})
    with viewers.one() as box:
        assert await box.take() == {"now": "1", "rows": "a"}
        viewers.show({"now": "2", "rows": "a"})
        assert await box.take() == {"now": "2"}


async def test_a_slow_viewer_is_sent_the_newest_of_each_part_and_nothing_piles_up() -> None:
    viewers = Viewers()
    with viewers.one() as box:
        for number in range(1000):
            viewers.show({"now": str(number), "rows": str(number // 500)})
        assert await box.take() == {"now": "999", "rows": "1"}


async def test_what_did_not_change_is_not_sent() -> None:
    viewers = Viewers()
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
    viewers = Viewers()
    with viewers.one() as box:
        viewers.show({"now": "ended"})
        viewers.close()
        assert await box.take() == {"now": "ended"}
        assert await box.take() is None


def test_who_has_left_is_counted_no_more() -> None:
    viewers = Viewers()
    with viewers.one(), viewers.one():
        assert len(viewers) == 2
    assert len(viewers) == 0
