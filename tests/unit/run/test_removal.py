"""Links removed from a portal that keeps books, by real lanes under a virtual clock and a real limiter."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as redone
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.conftest import VirtualLoop
from tests.unit.dealt import now
from tests.unit.lanes import (
    BUSY,
    FAST,
    FORBIDDEN,
    LOST,
    NOT_FOUND,
    Answer,
    Key,
    Portal,
    Run,
    site_of,
    throttled,
)
from worker.errors import CannotUndo, LedgerError, PortalRefused
from worker.limits.limiter import JITTER, LONGEST_FLOOR
from worker.models import Ask, Exchange, Kind, Request, Result
from worker.operations.policy import RetryPolicy
from worker.quantities import Rate
from worker.reasons import ANOTHER_CONTACT, NO_OPPORTUNITY
from worker.removals import Made, Undo, Undoing
from worker.run.links import go_through
from worker.run.removal import NOBODY, Removal

if TYPE_CHECKING:
    from worker.site import Site

THEN = datetime(2023, 5, 12, 14, 28, tzinfo=UTC)
LATER = THEN + timedelta(days=400)

REFUSED = PortalRefused("https://portal.example: HTTP 401 unauthorized")
BROKEN = LedgerError("ledger.db: disk full")


class World:
    """A rollback with what it needs, and what it noted; in one story it may be gone on with."""

    def __init__(
        self,
        portal: Portal,
        *,
        rate: Rate = FAST,
        concurrency: int = 4,
        policy: RetryPolicy | None = None,
        begin_seconds: float = 0.0,
        begin_error: Exception | None = None,
        settle_seconds: float = 0.0,
    ) -> None:
        self.portal = portal
        self.observed: list[Request] = []
        self.begun: dict[int, float] = {}
        self.undoings: list[Undoing] = []
        self.done = 0
        self._limits: dict[str, Any] = {"rate": rate, "concurrency": concurrency, "policy": policy}
        self._begin_seconds = begin_seconds
        self._begin_error = begin_error
        self._settle_seconds = settle_seconds
        self._opened: tuple[Site, Removal] | None = None

    async def begin(self, rows: Sequence[int]) -> None:
        await asyncio.sleep(self._begin_seconds)
        if self._begin_error is not None:
            raise self._begin_error
        self.begun.update(dict.fromkeys(rows, now()))

    async def conclude(self, undoings: Sequence[Undoing]) -> None:
        await asyncio.sleep(self._settle_seconds)
        self.undoings += undoings

    def count(self, settled: Sequence[Undoing]) -> None:
        self.done += len(settled)

    async def remove(self, *links: Made) -> list[Undoing]:
        return await self.remove_from([links])

    async def remove_from(self, groups: Iterable[Sequence[Made]]) -> list[Undoing]:
        """Work on all opportunities, as a rollback does; gives what it noted, in its order."""
        if self._opened is None:
            site = site_of(self.portal, observers=[self.observed.append], **self._limits)
            self._opened = site, Removal(site, cast("Any", self), [self.count])
        site, removal = self._opened
        before = len(self.undoings)
        await go_through(chain.from_iterable(groups), site, removal.conclude)
        return self.undoings[before:]


def deletes(portal: Portal) -> list[Key]:
    return [sent.key for sent in portal.sent(Kind.UNLINK)]


def made(contact: int, opportunity: int = 1, *, created: datetime | None = THEN, begun: bool = False) -> Made:
    """A link of a run; its row is told by its ids."""
    return Made(opportunity * 1000 + contact, opportunity, contact, created, begun)


def holding(*contacts: int, **changes: Any) -> Portal:
    """A portal whose opportunity 1 has these contacts."""
    return Portal({(1, contact): THEN for contact in contacts}, **changes)


def test_only_the_links_given_are_removed_whatever_else_the_opportunity_has(virtual_time: Run) -> None:
    portal = holding(5, 6, 7, 8, 9)
    portal.members[2, 6] = THEN
    world = World(portal)
    assert virtual_time(world.remove(made(6), made(8))) == [
        Undoing(1006, Undo.REMOVED, "", 200),
        Undoing(1008, Undo.REMOVED, "", 200),
    ]
    assert set(portal.members) == {(1, 5), (1, 7), (1, 9), (2, 6)}
    assert deletes(portal) == [(1, 6), (1, 8)]


def test_an_opportunity_is_looked_at_once_before_and_once_after_for_all_its_links(virtual_time: Run) -> None:
    portal = holding(6, 7, 8)
    world = World(portal)
    virtual_time(world.remove(made(6), made(7), made(9)))
    assert portal.sought == [(1, [6, 7, 9]), (1, [NOBODY]), (1, [6, 7])]
    assert portal.kinds == [Kind.LOOK, Kind.LOOK, Kind.UNLINK, Kind.UNLINK, Kind.LOOK]


@pytest.mark.parametrize(("begun", "state"), [(False, Undo.GONE), (True, Undo.REMOVED)])
def test_a_link_that_is_not_there_is_gone_or_removed_if_an_earlier_try_had_begun(
    virtual_time: Run, state: Undo, *, begun: bool
) -> None:
    portal = holding(9)
    world = World(portal)
    assert virtual_time(world.remove(made(7, begun=begun))) == [Undoing(1007, state)]
    assert deletes(portal) == []
    assert world.begun == {}


def test_a_portal_of_which_nothing_is_to_be_removed_is_not_asked_what_it_is(virtual_time: Run) -> None:
    portal = holding(9)
    virtual_time(World(portal).remove(made(7)))
    assert portal.sought == [(1, [7])]


def test_a_link_of_another_contact_with_the_same_id_is_kept(virtual_time: Run) -> None:
    portal = holding(7, 8)
    portal.members[1, 7] = LATER
    world = World(portal)
    undoings = virtual_time(world.remove(made(7), made(8)))
    assert undoings == [Undoing(1007, Undo.KEPT, ANOTHER_CONTACT), Undoing(1008, Undo.REMOVED, "", 200)]
    assert set(portal.members) == {(1, 7)}
    assert deletes(portal) == [(1, 8)]
    assert set(world.begun) == {1008}


@pytest.mark.parametrize(
    ("linked", "there"),
    [
        (THEN, THEN.astimezone(timezone(timedelta(hours=3)))),
        (None, THEN),
        (THEN, None),
        (None, None),
    ],
)
def test_a_contact_created_at_the_same_moment_or_who_knows_when_is_the_same(
    virtual_time: Run, linked: datetime | None, there: datetime | None
) -> None:
    portal = Portal({(1, 7): there})
    undoings = virtual_time(World(portal).remove(made(7, created=linked)))
    assert [one.state for one in undoings] == [Undo.REMOVED]
    assert portal.members == {}


def test_a_member_that_cannot_be_read_as_a_contact_is_removed(virtual_time: Run) -> None:
    class Unreadable(Portal):
        async def send(self, asks: Sequence[Ask]) -> Exchange:
            exchange = await super().send(asks)
            (attempt,) = exchange.attempts
            odd = replace(attempt, found=dict.fromkeys(attempt.found, b"?"))
            return replace(exchange, attempts=(odd,))

    portal = Unreadable({(1, 7): THEN})
    assert virtual_time(World(portal).remove(made(7))) == [Undoing(1007, Undo.REMOVED, "", 200)]
    assert portal.members == {}


@pytest.mark.parametrize("begun", [False, True])
def test_an_opportunity_that_is_not_found_keeps_its_links(virtual_time: Run, *, begun: bool) -> None:
    portal = holding(7, missing={1})
    world = World(portal)
    assert virtual_time(world.remove(made(7, begun=begun), made(8))) == [
        Undoing(1007, Undo.KEPT, NO_OPPORTUNITY, 404),
        Undoing(1008, Undo.KEPT, NO_OPPORTUNITY, 404),
    ]
    assert deletes(portal) == []
    assert world.begun == {}


@pytest.mark.parametrize(("answer", "times"), [(BUSY, 3), (throttled(), 100)])
def test_nothing_is_removed_if_it_cannot_be_seen_before(
    virtual_time: Run, answer: Answer, times: int
) -> None:
    portal = holding(7)
    portal.shows(1, *[answer] * times)
    world = World(portal)
    assert virtual_time(world.remove(made(7), made(8, begun=True))) == [
        Undoing(1007, Undo.FAILED, answer.reason, answer.http_status),
        Undoing(1008, Undo.FAILED, answer.reason, answer.http_status),
    ]
    assert len(portal.books) == times
    assert world.begun == {}


def test_what_is_to_be_removed_is_durable_before_its_delete_leaves(virtual_time: Run) -> None:
    portal = holding(6, 7, 8)
    world = World(portal, begin_seconds=5.0)
    virtual_time(world.remove(made(6), made(7), made(8)))
    sent_at = {1000 + sent.contacts[0]: sent.time for sent in portal.books if sent.kind is Kind.UNLINK}
    assert list(world.begun) == list(sent_at) == [1006, 1007, 1008]
    assert all(world.begun[row] <= sent_at[row] < world.begun[row] + 1.0 for row in sent_at)


def test_a_removal_that_cannot_be_noted_is_not_asked_for(virtual_time: Run) -> None:
    portal = holding(7)
    with pytest.raises(LedgerError) as raised:
        virtual_time(World(portal, begin_error=BROKEN).remove(made(7)))
    assert raised.value is BROKEN
    assert deletes(portal) == []


def test_a_link_that_is_there_after_its_delete_was_answered_has_not_been_removed(virtual_time: Run) -> None:
    portal = holding(7, 8, deaf={(1, 7)})
    assert virtual_time(World(portal).remove(made(7), made(8))) == [
        Undoing(1007, Undo.FAILED, "still_there", 200),
        Undoing(1008, Undo.REMOVED, "", 200),
    ]
    assert deletes(portal) == [(1, 7), (1, 8)]


def test_a_link_that_is_gone_was_removed_though_every_answer_was_lost(virtual_time: Run) -> None:
    portal = holding(7)
    portal.answers(1, 7, *[LOST.but_done()] * 9)
    assert virtual_time(World(portal).remove(made(7))) == [Undoing(1007, Undo.REMOVED)]
    assert deletes(portal) == [(1, 7)] * 5


@pytest.mark.parametrize(("answer", "times"), [(LOST, 5), (BUSY, 5), (throttled(), 100)])
def test_a_link_that_is_there_after_every_delete_failed_is_worth_another_try(
    virtual_time: Run, answer: Answer, times: int
) -> None:
    portal = holding(7)
    portal.answers(1, 7, *[answer] * 200)
    assert virtual_time(World(portal).remove(made(7))) == [
        Undoing(1007, Undo.FAILED, answer.reason, answer.http_status)
    ]
    assert deletes(portal) == [(1, 7)] * times
    assert set(portal.members) == {(1, 7)}


@pytest.mark.parametrize("answer", [NOT_FOUND, FORBIDDEN])
@pytest.mark.parametrize("earlier", [(), (LOST,), (throttled(), BUSY)])
def test_a_link_whose_removal_is_refused_is_kept_for_the_reason_that_the_portal_gives(
    virtual_time: Run, earlier: tuple[Answer, ...], answer: Answer
) -> None:
    portal = holding(7, 8, refused={(1, 7): answer})
    portal.answers(1, 7, *earlier)
    assert virtual_time(World(portal).remove(made(7), made(8))) == [
        Undoing(1007, Undo.KEPT, answer.reason, answer.http_status),
        Undoing(1008, Undo.REMOVED, "", 200),
    ]
    assert sorted(deletes(portal)) == [(1, 7)] * (len(earlier) + 1) + [(1, 8)]


def test_a_link_of_an_opportunity_that_is_hidden_just_then_is_not_called_removed(virtual_time: Run) -> None:
    portal = holding(7)

    def hide(ask: Ask) -> None:
        if ask.kind is Kind.UNLINK:
            portal.missing.add(1)

    portal.leaves = hide
    assert virtual_time(World(portal).remove(made(7))) == [Undoing(1007, Undo.KEPT, NO_OPPORTUNITY, 404)]
    assert set(portal.members) == {(1, 7)}


def test_a_link_that_cannot_be_seen_since_its_removal_was_not_heard_is_gone(virtual_time: Run) -> None:
    """Who was not found for the removal may be hidden from the look, too."""
    portal = holding(7)
    portal.answers(1, 7, LOST.but_done(), NOT_FOUND)
    assert virtual_time(World(portal).remove(made(7))) == [Undoing(1007, Undo.GONE, "", 404)]


def test_links_are_removed_if_their_opportunity_is_no_more_afterwards(virtual_time: Run) -> None:
    portal = holding(7)
    portal.shows(1, None, None, NOT_FOUND)
    assert virtual_time(World(portal).remove(made(7))) == [Undoing(1007, Undo.REMOVED, "", 200)]


def test_what_cannot_be_seen_afterwards_is_worth_another_try(virtual_time: Run) -> None:
    portal = holding(7, 8)
    portal.shows(1, None, None, *[BUSY] * 3)
    world = World(portal)
    undoings = virtual_time(world.remove(made(7), made(8), made(9)))
    assert sorted(undoings, key=lambda one: one.row) == [
        Undoing(1007, Undo.FAILED, "unavailable", 503),
        Undoing(1008, Undo.FAILED, "unavailable", 503),
        Undoing(1009, Undo.GONE),
    ]
    assert set(world.begun) == {1007, 1008}


def test_two_rows_of_one_link_are_both_told_that_it_was_removed(virtual_time: Run) -> None:
    """A queue may ask for a pair again when its first row is settled."""
    portal = holding(7, 8)
    twin = redone(made(7), row=2)
    assert [(one.row, one.state) for one in virtual_time(World(portal).remove(made(7), twin))] == [
        (1007, Undo.REMOVED),
        (2, Undo.REMOVED),
    ]
    assert set(portal.members) == {(1, 8)}


def test_throttled_and_transient_answers_are_tried_again_after_a_wait(virtual_time: Run) -> None:
    portal = holding(7)
    portal.answers(1, 7, throttled(30.0), BUSY, LOST)
    world = World(portal, policy=RetryPolicy(base=4.0))
    assert virtual_time(world.remove(made(7))) == [Undoing(1007, Undo.REMOVED, "", 200)]
    sent = portal.sent(Kind.UNLINK)
    assert [one.because for one in sent] == ["", "throttled", "unavailable", "timeout"]
    waits = [later.time - earlier.time for earlier, later in pairwise(sent)]
    assert waits == [pytest.approx(0.05 + wait) for wait in (30.0 * (1 + JITTER), 4.0, 8.0)]


def test_a_removal_is_given_up_when_it_has_taken_too_long(virtual_time: Run) -> None:
    """What counts is the time of requests and of backoffs."""
    portal = holding(7, latency=[0.0, 0.0, *[100.0] * 9])
    portal.answers(1, 7, *[BUSY] * 9)
    policy = RetryPolicy(base=150.0, cap=150.0, max_seconds=400.0)
    assert [one.state for one in virtual_time(World(portal, policy=policy).remove(made(7)))] == [Undo.FAILED]
    assert deletes(portal) == [(1, 7)] * 3  # after 100, 350 and 600 seconds


def test_a_throttled_removal_holds_everyone_back(virtual_time: Run) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 20)})
    portal.answers(3, 7, throttled(40.0))
    world = World(portal)
    virtual_time(world.remove_from([made(7, at)] for at in range(1, 20)))
    longest = max(later.time - earlier.time for earlier, later in pairwise(portal.books))
    assert longest == pytest.approx(40.0 * (1 + JITTER), abs=0.1)
    assert portal.members == {}


def test_no_permit_is_held_while_a_removal_backs_off(virtual_time: Run) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 9)})
    portal.answers(1, 7, BUSY)
    world = World(portal, concurrency=1, policy=RetryPolicy(base=50.0, cap=50.0))
    virtual_time(world.remove_from([made(7, at)] for at in range(1, 9)))
    (again,) = (sent for sent in portal.sent(Kind.UNLINK) if sent.because)
    soon = {sent.key for sent in portal.sent(Kind.UNLINK) if sent.time < again.time}
    assert soon == {(at, 7) for at in range(1, 9)}
    assert portal.members == {}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_never_more_than_concurrency_are_in_flight_and_looks_count(
    virtual_time: Run, concurrency: int
) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 20)}, latency=(0.3, 1.0, 0.1))
    world = World(portal, concurrency=concurrency)
    virtual_time(world.remove_from([made(7, at)] for at in range(1, 20)))
    assert portal.most_in_flight == concurrency


def test_looks_and_deletes_together_keep_to_the_rate_also_when_repeated(virtual_time: Run) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 31)}, latency=(0.01, 0.4))
    for at in range(1, 31):
        portal.answers(at, 7, throttled(), BUSY)
        portal.shows(at, throttled())
    world = World(portal, rate=Rate(10, 1.0), policy=RetryPolicy(base=0.001))
    virtual_time(world.remove_from([made(7, at)] for at in range(1, 31)))
    assert portal.most_sent_in(1.0) == 10
    assert len(deletes(portal)) == 90
    assert portal.members == {}


def test_retries_of_a_failing_portal_are_a_bounded_share_of_what_is_sent_while_there_is_more_to_send(
    virtual_time: Run,
) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 201)}, latency=(0.01,))
    for at in range(1, 201):
        portal.answers(at, 7, *[BUSY] * 9)
    world = World(portal, rate=Rate(50, 1.0), policy=RetryPolicy(base=0.001, cap=0.001))
    undoings = virtual_time(world.remove_from([made(7, at)] for at in range(1, 201)))
    fresh = [sent.time for sent in portal.books if not sent.because and sent.contacts != [NOBODY]][:200]
    again = [sent.time for sent in portal.sent(Kind.UNLINK) if sent.because]
    soon = [time for time in again if time < fresh[-1]]
    # Ten in reserve, a tenth of the rate, and a fifth of what is sent for the first time.
    assert 10 < len(soon) <= 10 + 5 * (fresh[-1] - again[0]) + 0.2 * len(fresh)
    assert {one.state for one in undoings} == {Undo.FAILED}
    assert len(deletes(portal)) == 1000


def test_retries_take_the_whole_rate_when_there_is_nothing_else_to_send(virtual_time: Run) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 21)}, latency=(0.01,))
    for at in range(1, 21):
        portal.answers(at, 7, *[BUSY] * 4)
    world = World(portal, rate=Rate(10, 1.0), policy=RetryPolicy(base=0.001, cap=0.001))
    virtual_time(world.remove_from([made(7, at)] for at in range(1, 21)))
    assert portal.members == {}
    assert len(portal.books) == 20 + 1 + 5 * 20 + 20
    assert portal.books[-1].time - portal.books[0].time == pytest.approx(14.2, abs=0.5)


def test_a_throttled_removal_uses_no_retries_up(virtual_time: Run) -> None:
    """Waiting is not failing: what the portal refuses for now is held back by its pauses alone."""
    portal = holding(7, latency=(0.01,))
    portal.answers(1, 7, *[throttled()] * 60)
    virtual_time(World(portal, rate=Rate(10, 1.0)).remove(made(7)))
    floors = sum((1 + JITTER) * min(2.0**number, LONGEST_FLOOR) for number in range(59))
    assert portal.books[-1].time - portal.books[0].time == pytest.approx(floors, abs=8.0)
    assert portal.members == {}


def test_every_request_is_observed(virtual_time: Run) -> None:
    portal = holding(7)
    portal.shows(1, throttled())
    portal.answers(1, 7, BUSY)
    world = World(portal)
    virtual_time(world.remove(made(7)))
    kinds = [Kind.LOOK, Kind.LOOK, Kind.LOOK, Kind.UNLINK, Kind.UNLINK, Kind.LOOK]
    results = [Result.THROTTLED, Result.OK, Result.OK, Result.TRANSIENT, Result.OK, Result.OK]
    assert portal.kinds == kinds
    assert [(one.kind, one.result) for one in world.observed] == list(zip(kinds, results, strict=True))
    assert [one.repeated for one in world.observed] == [(), (), (), (), ("unavailable",), ()]


def test_progress_counts_the_links_that_have_their_last_word(virtual_time: Run) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 6)}, missing={4}, deaf={(2, 7)})
    world = World(portal)
    virtual_time(world.remove_from([made(7, at), made(8, at)] for at in range(1, 6)))
    assert world.done == 10


@pytest.mark.parametrize("where", ["before", "removing", "after"])
def test_a_refusal_of_us_is_raised_and_nothing_more_is_sent(virtual_time: Run, where: str) -> None:
    portal = holding(7, 8)
    if where == "removing":
        portal.answers(1, 7, REFUSED)
    else:
        portal.shows(1, *[None] * (2 if where == "after" else 0), REFUSED)
    with pytest.raises(PortalRefused) as raised:
        virtual_time(World(portal, concurrency=1).remove(made(7), made(8)))
    assert raised.value is REFUSED
    assert len(portal.books) == {"before": 1, "removing": 3, "after": 5}[where]


def appserver(*contacts: int, opportunities: int = 1) -> Portal:
    portal = Portal(appserver=True)
    portal.members |= {(at, contact): THEN for at in range(1, opportunities + 1) for contact in contacts}
    return portal


@pytest.mark.parametrize(
    ("contacts", "sought"),
    [
        pytest.param((7, 8, 9), [(1, [7, 8])], id="strangers in the first look"),
        pytest.param((7, 8), [(1, [7, 8]), (1, [NOBODY])], id="everybody for contact 0"),
    ],
)
def test_nothing_is_removed_where_one_delete_would_remove_all(
    virtual_time: Run, contacts: tuple[int, ...], sought: list[tuple[int, list[int]]]
) -> None:
    portal = appserver(*contacts)
    world = World(portal)
    with pytest.raises(CannotUndo, match="may be AppServer"):
        virtual_time(world.remove(made(7), made(8)))
    assert portal.sought == sought
    assert deletes(portal) == []
    assert world.begun == {}
    assert set(portal.members) == {(1, contact) for contact in contacts}


def test_nothing_is_removed_if_it_cannot_be_told_what_the_portal_is(virtual_time: Run) -> None:
    portal = holding(7)
    portal.shows(1, None, *[BUSY] * 3)
    world = World(portal)
    with pytest.raises(CannotUndo, match="cannot be told"):
        virtual_time(world.remove(made(7)))
    assert portal.sought == [(1, [7]), *[(1, [NOBODY])] * 3]
    assert deletes(portal) == []
    assert world.begun == {}


@pytest.mark.parametrize("contacts", [(7,), (7, 8)])
def test_nothing_is_removed_of_many_opportunities_at_once_where_one_delete_would_remove_all(
    virtual_time: Run, contacts: tuple[int, ...]
) -> None:
    portal = appserver(*contacts, opportunities=9)
    with pytest.raises(CannotUndo):
        virtual_time(World(portal).remove_from([made(7, at)] for at in range(1, 10)))
    assert deletes(portal) == []
    assert len(portal.members) == 9 * len(contacts)


def test_a_portal_that_is_seen_not_to_filter_later_on_is_believed(virtual_time: Run) -> None:
    """Behind one address there may be more than one server."""
    portal = Portal({(1, 7): THEN, (2, 7): THEN, (2, 8): THEN})
    world = World(portal)
    virtual_time(world.remove(made(7)))
    portal.appserver = True
    with pytest.raises(CannotUndo):
        virtual_time(world.remove(made(7, 2)))
    assert set(portal.members) == {(2, 7), (2, 8)}


def test_a_portal_is_asked_once_what_it_is_however_many_opportunities_there_are(virtual_time: Run) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 30)}, latency=(0.5, 0.1, 2.0))
    world = World(portal, concurrency=8)
    virtual_time(world.remove_from([made(7, at)] for at in range(1, 30)))
    virtual_time(world.remove(made(7, 30)))
    assert [contacts for _, contacts in portal.sought].count([NOBODY]) == 1
    assert portal.members == {}


def test_nothing_is_removed_before_it_is_known_what_the_portal_is(virtual_time: Run) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 10)}, latency=(0.5, 0.1, 2.0))
    virtual_time(World(portal).remove_from([made(7, at)] for at in range(1, 10)))
    (asked,) = (at for at, sent in enumerate(portal.books) if sent.contacts == [NOBODY])
    assert set(portal.kinds[:asked]) == {Kind.LOOK}
    told = portal.books[asked].told
    assert told is not None
    assert portal.sent(Kind.UNLINK)[0].time >= told


def test_what_could_not_be_told_once_is_asked_again_by_the_next_rollback(virtual_time: Run) -> None:
    portal = Portal({(1, 7): THEN, (2, 7): THEN})
    portal.shows(1, None, *[BUSY] * 3)
    with pytest.raises(CannotUndo):
        virtual_time(World(portal).remove(made(7)))
    virtual_time(World(portal).remove(made(7, 2)))
    assert portal.sought[4:] == [(2, [7]), (2, [NOBODY]), (2, [7])]
    assert set(portal.members) == {(1, 7)}


def test_opportunities_that_are_found_gone_one_after_the_other_leave_the_question_to_the_next(
    virtual_time: Run,
) -> None:
    portal = Portal({(at, 7): THEN for at in range(1, 5)}, seconds={4: 0.06})
    for at in (1, 2, 3):
        portal.shows(at, None, *[NOT_FOUND] * 9)
    undoings = virtual_time(World(portal).remove_from([made(7, at)] for at in range(1, 5)))
    assert {one.row: one.state for one in undoings} == {
        **dict.fromkeys((1007, 2007, 3007), Undo.KEPT),
        4007: Undo.REMOVED,
    }
    assert set(portal.members) == {(1, 7), (2, 7), (3, 7)}


def test_a_look_that_is_told_while_an_opportunity_is_noted_as_gone_asks_no_second_question(
    virtual_time: Run,
) -> None:
    """Two lanes are at it: one waits for the ledger, the other finds that nobody asks what the portal is."""
    portal = Portal({(1, 7): THEN, (2, 7): THEN}, seconds={1: 0.05, 2: 0.12})
    portal.shows(1, None, NOT_FOUND)
    world = World(portal, settle_seconds=0.05)
    undoings = virtual_time(world.remove_from([[made(7)], [made(7, 2)]]))
    assert {one.row: one.state for one in undoings} == {1007: Undo.KEPT, 2007: Undo.REMOVED}
    assert [contacts for _, contacts in portal.sought].count([NOBODY]) == 2
    assert set(portal.members) == {(1, 7)}


def test_an_opportunity_that_is_gone_when_it_is_asked_for_nobody_tells_nothing_of_the_portal(
    virtual_time: Run,
) -> None:
    """It was there a moment before. That it has no strangers now does not show that the portal filters."""
    portal = Portal({(1, 7): THEN, (2, 7): THEN, (2, 8): LATER}, appserver=True)
    portal.shows(1, None, *[NOT_FOUND] * 9)
    world = World(portal)
    assert virtual_time(world.remove(made(7), made(9))) == [
        Undoing(1009, Undo.GONE),
        Undoing(1007, Undo.KEPT, NO_OPPORTUNITY),
    ]
    with pytest.raises(CannotUndo):
        virtual_time(world.remove(made(7, 2), made(8, 2)))
    assert deletes(portal) == []
    assert world.begun == {}


@dataclass(frozen=True)
class Told:
    """What happened to a link of the run since, and how the portal answers those who remove it."""

    fate: Literal["there", "undated", "dropped", "id taken", "refused", "deaf"]
    odd: tuple[Answer, ...]


@dataclass(frozen=True)
class Place:
    """An opportunity: what the run linked, who else is there, and how the portal answers those who look."""

    kind: Literal["there", "missing", "silent"]
    links: list[Told]
    others: int
    hiccups: tuple[Answer, ...]


_odd = st.sampled_from([throttled(), throttled(2.0), BUSY, LOST, LOST.but_done(), BUSY.but_done()])
_fate = st.sampled_from(["there", "there", "undated", "dropped", "id taken", "refused", "deaf"])
_told = st.builds(Told, _fate, st.lists(_odd, max_size=4).map(tuple))
_hiccups = st.lists(st.sampled_from([throttled(), throttled(), BUSY]), max_size=4).filter(
    lambda answers: answers.count(BUSY) < 3
)
_place = st.builds(
    Place,
    st.sampled_from(["there", "there", "there", "missing", "silent"]),
    st.lists(_told, min_size=1, max_size=6),
    st.integers(0, 3),
    _hiccups.map(tuple),
)


def expected(place: Place, told: Told) -> tuple[Undo, str]:
    """How a link ends, worked out without asking anybody."""
    if place.kind != "there":
        return (Undo.KEPT, NO_OPPORTUNITY) if place.kind == "missing" else (Undo.FAILED, "unavailable")
    return {
        "there": (Undo.REMOVED, ""),
        "undated": (Undo.REMOVED, ""),
        "dropped": (Undo.GONE, ""),
        "id taken": (Undo.KEPT, ANOTHER_CONTACT),
        # What was done unheard, and is not found then, might as well be hidden: it is not there any more.
        "refused": (Undo.GONE, "") if any(o.done for o in told.odd) else (Undo.KEPT, "not_found"),
        "deaf": (Undo.REMOVED, "") if any(o.done for o in told.odd) else (Undo.FAILED, "still_there"),
    }[told.fate]


def portal_of(places: Sequence[Place], latency: Sequence[float]) -> Portal:
    portal = Portal(latency=latency)
    for at, place in enumerate(places, 1):
        portal.shows(at, *([BUSY] * 99 if place.kind == "silent" else place.hiccups))
        portal.members |= {(at, 100 + other): LATER for other in range(place.others)}
        if place.kind == "missing":
            portal.missing.add(at)
        for contact, told in enumerate(place.links, 1):
            portal.answers(at, contact, *told.odd)
            if told.fate != "dropped":
                portal.members[at, contact] = {"undated": None, "id taken": LATER}.get(told.fate, THEN)
            if told.fate == "refused":
                portal.refused[at, contact] = NOT_FOUND
            if told.fate == "deaf":
                portal.deaf.add((at, contact))
    return portal


@given(
    places=st.lists(_place, min_size=1, max_size=5),
    concurrency=st.integers(1, 4),
    latency=st.lists(st.sampled_from([0.0, 0.03, 0.7]), min_size=1, max_size=3),
)
@settings(max_examples=150)
def test_a_rollback_takes_from_the_portal_what_is_still_as_the_run_made_it_and_nothing_else(
    places: list[Place], concurrency: int, latency: list[float]
) -> None:
    portal = portal_of(places, latency)
    before = dict(portal.members)
    groups = [[made(n, at) for n in range(1, len(p.links) + 1)] for at, p in enumerate(places, 1)]
    ends = {
        link.row: expected(place, told)
        for place, group in zip(places, groups, strict=True)
        for link, told in zip(group, place.links, strict=True)
    }
    world = World(portal, rate=Rate(20, 1.0), concurrency=concurrency, begin_seconds=0.02)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        undoings = runner.run(world.remove_from(groups))

        assert sorted(one.row for one in undoings) == sorted(ends)
        assert {one.row: (one.state, one.reason) for one in undoings} == ends
        removed = {
            divmod(row, 1000) for row, (state, _) in ends.items() if state in {Undo.REMOVED, Undo.GONE}
        }
        assert portal.members == {key: created for key, created in before.items() if key not in removed}
        assert len(world.observed) == len(portal.books)
        assert portal.most_sent_in(1.0) <= 20
        assert portal.most_in_flight <= concurrency
        asked = [
            (at * 1000 + contact, sent.time)
            for sent in portal.sent(Kind.UNLINK)
            for at, contact in [sent.key]
        ]
        assert {row for row, _ in asked} == set(world.begun)
        assert all(world.begun[row] <= time for row, time in asked)
        assert world.done == len(ends)

        left = dict(portal.members)
        again = [[redone(link, begun=link.row in world.begun) for link in group] for group in groups]
        for at, place in enumerate(places, 1):
            if place.kind == "silent":
                portal.shows(at, *[BUSY] * 99)
        undoings = runner.run(world.remove_from(again))
    assert portal.members == left
    ends |= {
        row: (Undo.REMOVED, "")
        for row, (state, _) in ends.items()
        if state is Undo.GONE and row in world.begun
    }
    assert {one.row: (one.state, one.reason) for one in undoings} == ends
    for state in {state for state, _ in ends.values()}:
        event(state)
