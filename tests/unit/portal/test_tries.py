"""How often a question is asked again, in virtual time."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.unit.dealt import now
from worker.errors import PortalUnreachable
from worker.portal.tries import MOST, Tries, Waiting

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def waits(tries: Tries, named: list[float | None], *, throttled: bool) -> list[float]:
    """Seconds until each next try, as long as there is one."""
    waited = []
    for one in named:
        began = now()
        if not await tries.again(one, throttled=throttled):
            break
        waited.append(now() - began)
    return waited


def test_what_fails_is_tried_four_times(virtual_time: Run) -> None:
    async def story() -> list[float]:
        return await waits(Tries("portal", Waiting()), [None] * 9, throttled=False)

    assert virtual_time(story()) == [0.5, 1.0, 2.0]
    assert MOST == 4


def test_who_is_patient_goes_on_as_long_as_it_may_fail_and_seldom_enough_for_a_log_in(
    virtual_time: Run,
) -> None:
    notes: list[str] = []

    async def story() -> list[float]:
        tries = Tries("portal", Waiting(200.0, notes.append, is_patient=True))
        waited = await waits(tries, [None] * 99, throttled=False)
        tries.end()
        return waited

    waited = virtual_time(story())
    assert waited == pytest.approx([0.5, 1.0, 2.0, 30.0, 30.0, 30.0, 32.0, 60.0, 14.5])
    moments = [sum(waited[:at]) for at in range(len(waited) + 1)]
    assert max(sum(begin <= at < begin + 60.0 for at in moments) for begin in moments) <= 5
    assert notes[0] == "the portal fails: logging in again in 30 s"
    assert notes[-1] == ""


def test_a_throttled_question_is_asked_when_the_portal_says_and_ever_later_if_it_says_that_again(
    virtual_time: Run,
) -> None:
    notes: list[str] = []

    async def story() -> list[float]:
        tries = Tries("portal", Waiting(900.0, notes.append))
        waited = await waits(tries, [600.0, 0.0, None, 0.0, 0.0, 0.0], throttled=True)
        tries.end()
        return waited

    assert virtual_time(story()) == [600.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    first, *others, last = notes
    assert first.startswith("the portal asks to wait 10 min, until 20")
    assert others == [f"the portal asks to slow down: asking again in {n} s" for n in (8, 16)]
    assert last == ""


def test_a_short_wait_is_not_told_and_neither_is_its_end(virtual_time: Run) -> None:
    notes: list[str] = []

    async def story() -> None:
        tries = Tries("portal", Waiting(900.0, notes.append))
        await tries.again(4.0, throttled=True)
        tries.end()

    virtual_time(story())
    assert notes == []


def test_a_wait_that_is_too_long_ends_it_at_once(virtual_time: Run) -> None:
    async def story() -> float:
        tries = Tries("portal", Waiting(900.0))
        began = now()
        await tries.again(500.0, throttled=True)
        with pytest.raises(
            PortalUnreachable, match=r"portal: asks to wait 8 min, .*; --give-up-after is 15m"
        ):
            await tries.again(500.0, throttled=True)
        return now() - began

    assert virtual_time(story()) == 500.0


def test_throttling_without_end_is_given_up(virtual_time: Run) -> None:
    async def story() -> float:
        tries = Tries("portal", Waiting(100.0))
        began = now()
        with pytest.raises(PortalUnreachable, match="has only asked to slow down for 100s"):
            await waits(tries, [None] * 50, throttled=True)
        return now() - began

    assert virtual_time(story()) == pytest.approx(100.0)


def test_what_fails_and_names_a_time_is_not_asked_before_and_once_a_minute(
    virtual_time: Run,
) -> None:
    async def story() -> list[float]:
        return await waits(Tries("portal", Waiting()), [10.0, 3600.0], throttled=False)

    assert virtual_time(story()) == [10.0, 60.0]
