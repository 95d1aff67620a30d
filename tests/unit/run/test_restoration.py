"""Links made again that a sync removed, in lanes and virtual time, while others are at work."""

from collections.abc import Sequence
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import VirtualLoop
from tests.unit.lanes import BUSY, FORBIDDEN, LOST, Key, Portal, Run, site_of
from worker.models import Kind, Pair, PreState
from worker.removals import Restored, Restoring
from worker.run.links import go_through
from worker.run.restoration import Restoration


class World:
    """A rollback that makes links again, and what it noted."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.noted: dict[int, Restoring] = {}
        self.done = 0

    async def restore(self, restored: Sequence[Restoring]) -> None:
        self.noted.update({one.number: one for one in restored})

    async def make_again(self, *keys: Key) -> list[Restored]:
        site = site_of(self.portal)
        restoration = Restoration(site, cast("Any", self), self.count)
        pairs = [Pair(number, 0, *key, pre=PreState.UNREAD) for number, key in enumerate(sorted(keys), 1)]
        await go_through(iter(pairs), site, restoration.conclude)
        assert self.done == len(pairs)
        return [self.noted[pair.row].state for pair in pairs]

    def count(self, restored: Sequence[Restoring]) -> None:
        self.done += len(restored)


def posts(portal: Portal) -> list[Key]:
    return [sent.key for sent in portal.sent(Kind.LINK)]


def test_what_is_there_again_is_not_asked_for(virtual_time: Run) -> None:
    portal = Portal({(1, 5): None})
    assert virtual_time(World(portal).make_again((1, 5), (1, 6))) == [Restored.THERE, Restored.RESTORED]
    assert posts(portal) == [(1, 6)]
    assert set(portal.members) == {(1, 5), (1, 6)}


def test_what_the_portal_does_not_take_is_refused(virtual_time: Run) -> None:
    portal = Portal(missing={1}, refused={(2, 6): FORBIDDEN})
    assert virtual_time(World(portal).make_again((1, 5), (2, 6))) == [Restored.REFUSED] * 2
    assert portal.members == {}


def test_what_cannot_be_told_is_worth_another_try(virtual_time: Run) -> None:
    portal = Portal()
    portal.shows(1, *[LOST] * 9)
    portal.answers(2, 6, *[BUSY] * 9)
    assert virtual_time(World(portal).make_again((1, 5), (2, 6))) == [Restored.FAILED] * 2


KEYS = st.sets(st.tuples(st.integers(1, 3), st.integers(1, 6)))


@settings(max_examples=100)
@given(KEYS, KEYS, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(0, 2))))
def test_all_that_was_removed_is_there_again_and_nothing_else_has_changed(
    there: set[Key], gone: set[Key], odd: list[tuple[int, int, int]]
) -> None:
    portal = Portal(dict.fromkeys(there))
    for opportunity, contact, which in odd:
        portal.answers(opportunity, contact, (BUSY, LOST, LOST.but_done())[which])
    loop = VirtualLoop()
    try:
        said = loop.run_until_complete(World(portal).make_again(*gone))
    finally:
        loop.close()
    assert set(portal.members) == there | gone
    assert said == [Restored.THERE if key in there else Restored.RESTORED for key in sorted(gone)]
    assert set(posts(portal)) == gone - there
