"""A whole run between its supply and its ledger: looks, links, and what ends it, under a virtual clock."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.conftest import VirtualLoop
from tests.unit.dealt import now
from tests.unit.judged import judged
from tests.unit.lanes import (
    BUSY,
    LOST,
    Answer,
    Key,
    Portal,
    Run,
    site_of,
    throttled,
)
from tests.unit.supply.queue_desk import HereLedger
from worker.errors import InputError, LedgerError, PortalRefused, UsageError
from worker.ledger import LedgerReader, audit
from worker.models import Ask, Kind, Outcome, Pair, PreState, Status
from worker.operations.look import MOST_SOUGHT
from worker.operations.policy import RetryPolicy
from worker.quantities import parse_rate
from worker.run.pipeline import READY, Pipeline
from worker.run.progress import show_often
from worker.supply.base import Supply
from worker.supply.file import FileInput
from worker.tally import RunTally

ENDLESS = 1e6
"""Seconds, which pass quickly here, after which nothing more will happen."""

REFUSED = PortalRefused("https://portal.example: HTTP 401 unauthorized")
BROKEN = LedgerError("ledger.db: disk full")


def pairs(*ids: Key) -> list[Pair]:
    """Rows from 1 on that ask for these opportunities and contacts."""
    return [Pair(row, row + 1, *both) for row, both in enumerate(ids, 1)]


def of_one(count: int, opportunity_id: int = 1) -> list[Pair]:
    return pairs(*[(opportunity_id, contact_id) for contact_id in range(1, count + 1)])


def of_many(count: int) -> list[Pair]:
    return pairs(*[(opportunity_id, 7) for opportunity_id in range(1, count + 1)])


class Witness(HereLedger):
    """Notes what is settled together; breaks when told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.settled: list[list[int]] = []
        self.seconds = 0.0
        self.error: Exception | None = None

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        self.settled.append([outcome.pair.row for outcome in outcomes])
        await super().settle(outcomes)


class World:
    """A run with what it needs, and what its ledger says afterwards.

    What an earlier session has left is told by the pairs.
    """

    def __init__(
        self,
        portal: Portal,
        todo: Iterable[Pair],
        *,
        existing: str = "check",
        rate: str = "1000/s",
        concurrency: int = 8,
        policy: RetryPolicy | None = None,
        give_up_after: float | None = None,
    ) -> None:
        self.portal = portal
        self.todo = list(todo)
        self.look_first = existing == "check"
        self.rate, self.concurrency = parse_rate(rate), concurrency
        self.policy = policy or RetryPolicy(base=0.0)
        self.give_up_after = give_up_after
        self.tally = RunTally()
        self.instead: Callable[[Supply], Supply] = lambda supply: supply
        self.during: Callable[[], None] = lambda: None
        self.settle_error: Exception | None = None
        self.settle_seconds = 0.0
        self.lasted = 0.0
        self.left_behind: set[asyncio.Task[Any]] = set()
        self.rows: dict[int, tuple[str, str, str]] = {}
        self.settled: list[list[int]] = []

    async def run(self) -> None:
        """Until it is over; its accounts are in order then, however it ended."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ledger.db"
            try:
                async with Witness(path) as ledger:
                    await self._run(ledger)
            finally:
                with LedgerReader(path) as reader:
                    assert audit(reader) == []
                    found = reader.query("SELECT row, status, reason, pre FROM links ORDER BY row")
                    self.rows = {row: tuple(rest) for row, *rest in found}
                    self.counts = {state: n for state, n in reader.counts().items() if n}
                    self.traffic = reader.traffic()

    async def _run(self, ledger: Witness) -> None:
        await ledger.admit([judged(p) for p in self.todo])
        odd = [p for p in self.todo if p.in_doubt or p.pre is not PreState.UNREAD]
        ledger._db.executemany(
            "UPDATE rows SET sent_at = 1.0, session = 1, pre = ? WHERE row = ?",
            [(None if p.pre is PreState.UNREAD else p.pre, p.row) for p in odd],
        )
        await ledger.begin_session()
        ledger.error, ledger.seconds, self.settled = self.settle_error, self.settle_seconds, ledger.settled
        site = site_of(
            self.portal,
            rate=self.rate,
            concurrency=self.concurrency,
            policy=self.policy,
            observers=[self.tally.observe, ledger.note],
            give_up_after=self.give_up_after,
        )
        source = FileInput("x.csv", None, complete=True, look_first=self.look_first, limit=None)
        supply = self.instead(await source.open(ledger, self.tally, print))
        self.portal.leaves = lambda ask: self._leaves(ledger, ask)
        self.pipeline = Pipeline(supply, ledger, site, look_first=self.look_first, grace=25.0)
        self.pipeline.observers.append(self._count)
        self.pipeline.side_tasks.append(
            partial(show_often, self.tally, lambda _: self.during(), site.limiter)
        )
        begin, before = now(), asyncio.all_tasks()
        try:
            async with asyncio.timeout(ENDLESS):
                await self.pipeline.run()
        finally:
            self.lasted = now() - begin
            await asyncio.sleep(0)
            self.left_behind = asyncio.all_tasks() - before
            # As a run does at its end: what was sent last is committed with it.
            await ledger.beat(self.lasted, 0.0)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.tally.recorded(outcome)

    def _leaves(self, ledger: Witness, ask: Ask) -> None:
        """No link leaves before it is noted that it does, and what was there before if that was seen."""
        if ask.kind is not Kind.LINK:
            return
        key = ask.opportunity_id << 32 | ask.contact_ids[0]
        ((sent_at, pre),) = ledger._db.execute("SELECT sent_at, pre FROM rows WHERE key = ?", (key,))
        assert sent_at is not None, f"{ask} leaves before it is noted"
        (pair,) = (p for p in self.todo if p.key == key)
        if self.look_first and not pair.in_doubt:
            assert pre == PreState.ABSENT, f"{ask} leaves, and it is not noted what was there"

    @property
    def statuses(self) -> dict[int, str]:
        return {row: status for row, (status, *_) in self.rows.items()}


# -- Which side is missing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("existing", "asked"), [("check", [(0, [88])]), ("post", [(1, []), (0, [88])])])
def test_rows_of_a_missing_contact_say_so_after_a_question_or_two(
    virtual_time: Run, existing: str, asked: list[Any]
) -> None:
    portal = Portal(missing_contacts={88})
    todo = [(opportunity, contact) for opportunity in range(1, 31) for contact in (7, 88)]
    world = World(portal, pairs(*todo), existing=existing, concurrency=4, rate="20/s")
    virtual_time(world.run())
    assert [(sent.opportunity_id, sent.contacts) for sent in portal.sent(Kind.EXISTS)] == asked
    assert {reason for status, reason, _ in world.rows.values() if status == "rejected"} == {
        "contact_missing"
    }
    assert world.counts == {Status.LINKED: 30, Status.REJECTED: 30}
    assert portal.most_sent_in(1.0) <= 20


def test_rows_of_a_missing_opportunity_say_so_also_if_nobody_looks_first(virtual_time: Run) -> None:
    world = World(Portal(missing={1}), of_one(20), existing="post")
    virtual_time(world.run())
    assert set(world.rows.values()) == {("rejected", "opportunity_missing", "unread")}
    assert len(world.portal.sent(Kind.EXISTS)) == 2


def test_a_question_that_tells_nothing_changes_nothing(virtual_time: Run) -> None:
    portal = Portal(missing_contacts={88})
    portal.answers(0, 88, BUSY, LOST)
    world = World(portal, pairs((1, 88), (2, 88)))
    virtual_time(world.run())
    assert set(world.rows.values()) == {("rejected", "not_found", "absent")}
    assert len(portal.sent(Kind.EXISTS)) == 2
    assert world.traffic.retries == 0


# -- Looking first ------------------------------------------------------------------------------------------


def test_each_opportunity_is_looked_at_once_however_its_rows_lie_in_the_input(virtual_time: Run) -> None:
    ids = [(opportunity, contact_id) for opportunity in range(1, 31) for contact_id in range(1, 41)]
    Random(1).shuffle(ids)  # noqa: S311 - a file of a test
    world = World(Portal(), pairs(*ids))
    virtual_time(world.run())
    assert len(ids) > 10 * READY
    assert Counter(at for at, _ in world.portal.sought) == dict.fromkeys(range(1, 31), 1)
    assert Counter(world.portal.kinds) == {Kind.LOOK: 30, Kind.LINK: 1200}
    assert world.counts == {Status.LINKED: 1200}


def test_a_request_seeks_at_most_a_hundred_contacts(virtual_time: Run) -> None:
    world = World(Portal(), of_one(250))
    virtual_time(world.run())
    assert [len(contacts) for _, contacts in world.portal.sought] == [100, 100, 50]


def test_nothing_is_looked_at_if_nobody_asks_for_it(virtual_time: Run) -> None:
    world = World(Portal({(1, 2): None}), of_one(3), existing="post")
    virtual_time(world.run())
    assert world.portal.kinds == [Kind.LINK] * 3
    assert world.rows == dict.fromkeys((1, 2, 3), ("linked", "", "unread"))


def test_pairs_of_one_opportunity_are_linked_in_input_order(virtual_time: Run) -> None:
    world = World(Portal(), pairs((2, 9), (1, 5), (2, 3), (1, 8), (2, 7)), concurrency=1)
    virtual_time(world.run())
    assert world.portal.sought == [(1, [5, 8]), (2, [9, 3, 7])]
    assert [sent.key for sent in world.portal.sent(Kind.LINK)] == [(1, 5), (1, 8), (2, 9), (2, 3), (2, 7)]


def test_looks_and_links_together_keep_to_the_rate_and_the_permits(virtual_time: Run) -> None:
    portal = Portal(seconds={at: (0.9, 0.1, 1.7)[at % 3] for at in range(1, 41)})
    world = World(portal, of_many(40), rate="10/s", concurrency=4)
    virtual_time(world.run())
    assert Counter(portal.kinds) == {Kind.LOOK: 40, Kind.LINK: 40}
    assert portal.most_sent_in(1.0) <= 10
    assert portal.most_in_flight == 4
    assert world.counts == {Status.LINKED: 40}


def test_a_throttled_look_is_repeated_until_it_tells_and_ends_no_pair(virtual_time: Run) -> None:
    portal = Portal({(1, 2): None})
    portal.shows(1, *[throttled()] * 50)
    world = World(portal, of_one(3))
    virtual_time(world.run())
    assert len(portal.sought) == 51
    assert world.statuses == {1: "linked", 2: "already_linked", 3: "linked"}
    assert (world.traffic.looks, world.traffic.throttled, world.traffic.retries) == (51, 50, 0)


def test_pairs_whose_look_cannot_be_read_end_as_retryable_with_its_reason(virtual_time: Run) -> None:
    portal = Portal()
    portal.shows(1, *[BUSY] * 9)
    world = World(portal, pairs((1, 1), (2, 1), (1, 2)), policy=RetryPolicy(base=4.0))
    virtual_time(world.run())
    assert [at for at, _ in portal.sought].count(1) == 3
    assert world.rows == {
        1: ("retryable", "unavailable", "unread"),
        2: ("linked", "", "absent"),
        3: ("retryable", "unavailable", "unread"),
    }
    assert world.lasted == pytest.approx(4.0 + 8.0 + 0.15, abs=0.05)


def test_pairs_of_an_opportunity_that_is_not_there_are_rejected_and_not_sent(virtual_time: Run) -> None:
    world = World(Portal(missing={1}), of_one(130))
    virtual_time(world.run())
    assert world.portal.kinds == [Kind.LOOK] * 2
    assert set(world.rows.values()) == {("rejected", "opportunity_missing", "unread")}


def test_what_is_there_costs_one_request_and_one_commit_for_all_that_are_sought(virtual_time: Run) -> None:
    portal = Portal({(1, contact_id): None for contact_id in range(1, 101)})
    world = World(portal, of_one(100))
    virtual_time(world.run())
    assert len(portal.books) == 1
    assert world.settled == [list(range(1, 101))]
    assert set(world.rows.values()) == {("already_linked", "", "present")}


def test_what_is_seen_to_be_absent_is_sent_before_anything_else_is_looked_for(virtual_time: Run) -> None:
    """What has been noted as about to be sent is in doubt after a crash, so it is kept small."""
    world = World(Portal(), of_many(5), concurrency=1)
    virtual_time(world.run())
    assert world.portal.kinds == [Kind.LOOK, Kind.LINK] * 5


def test_a_pair_of_which_it_is_known_what_was_there_is_not_looked_for_with_others(
    virtual_time: Run,
) -> None:
    known, other = of_one(2)
    world = World(Portal(), [replace(known, pre=PreState.ABSENT, in_doubt=True), other])
    virtual_time(world.run())
    # The look for the first is its own: an earlier session may have sent it.
    assert sorted(world.portal.sought) == [(1, [1]), (1, [2])]
    assert world.rows == dict.fromkeys((1, 2), ("linked", "", "absent"))


def test_a_pair_in_doubt_that_is_there_is_linked_and_nobody_says_what_was_there_before(
    virtual_time: Run,
) -> None:
    first, second = of_one(2)
    world = World(Portal({(1, 1): None, (1, 2): None}), [replace(first, in_doubt=True), second])
    virtual_time(world.run())
    assert world.rows == {1: ("linked", "", "unread"), 2: ("already_linked", "", "present")}
    assert world.portal.sent(Kind.LINK) == []


@pytest.mark.parametrize("concurrency", [1, 2, 7, 50])
def test_many_lanes_send_every_pair_once(virtual_time: Run, concurrency: int) -> None:
    todo = pairs(*[(row % 9 + 1, row) for row in range(1, 301)])
    world = World(Portal(latency=(0.0, 0.3)), todo, concurrency=concurrency)
    virtual_time(world.run())
    assert sorted(sent.key for sent in world.portal.sent(Kind.LINK)) == sorted(
        (pair.opportunity_id, pair.contact_id) for pair in todo
    )
    assert world.counts == {Status.LINKED: 300}


@pytest.mark.parametrize("concurrency", [1, 20])
def test_a_run_ends_when_everything_is_linked_already(virtual_time: Run, concurrency: int) -> None:
    todo = pairs(*[(row % 9 + 1, row) for row in range(1, 101)])
    portal = Portal({(pair.opportunity_id, pair.contact_id): None for pair in todo})
    world = World(portal, todo, concurrency=concurrency)
    virtual_time(world.run())
    assert portal.kinds == [Kind.LOOK] * 9
    assert world.counts == {Status.ALREADY_LINKED: 100}


def test_a_run_about_nothing_ends_at_once(virtual_time: Run) -> None:
    world = World(Portal(), [])
    virtual_time(world.run())
    assert (world.portal.books, world.lasted) == ([], 0.0)


def test_a_run_waits_for_its_last_look_and_for_what_that_leads_to(virtual_time: Run) -> None:
    portal = Portal({(8, 7): None}, missing={9}, seconds={7: 50.0, 8: 100.0, 9: 200.0})
    world = World(portal, of_many(9))
    virtual_time(world.run())
    assert world.statuses == {
        **dict.fromkeys(range(1, 8), "linked"),
        8: "already_linked",
        9: "rejected",
    }
    assert world.lasted == pytest.approx(200.0, abs=1.0)


def test_what_a_look_leads_to_is_shared_by_all_lanes(virtual_time: Run) -> None:
    portal = Portal(seconds={1: 10.0})
    world = World(portal, of_one(8), concurrency=8)
    virtual_time(world.run())
    assert world.lasted == pytest.approx(20.0, abs=0.1)


class Slow:
    """Brings pairs one by one, and makes wait for each."""

    def __init__(self, supply: Supply, seconds: float) -> None:
        self._supply = supply
        self._seconds = seconds
        self.taking = 0
        self.closed = False

    is_endless = False
    waits_for_reasons = False

    async def read(self) -> None:
        await self._supply.read()

    async def take(self, most: int) -> Sequence[Pair]:  # noqa: ARG002 - one at a time
        self.taking += 1
        try:
            await asyncio.sleep(self._seconds)
            return await self._supply.take(1)
        finally:
            self.taking -= 1

    async def settled(self, outcome: Outcome) -> None:
        await self._supply.settled(outcome)

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("existing", ["check", "post"])
def test_a_supply_that_makes_wait_holds_up_nothing_that_it_has_brought(
    virtual_time: Run, existing: str
) -> None:
    world = World(Portal(), of_many(5), existing=existing)
    world.instead = lambda supply: Slow(supply, 40.0)
    virtual_time(world.run())
    links = [sent.time for sent in world.portal.sent(Kind.LINK)]
    assert [round(later - links[0]) for later in links] == [0, 40, 80, 120, 160]
    assert world.lasted == pytest.approx(6 * 40.0, abs=1.0)


class Asked(Slow):
    """Notes how many pairs are asked for at once."""

    def __init__(self, supply: Supply) -> None:
        super().__init__(supply, 0.0)
        self.sizes: list[int] = []

    async def take(self, most: int) -> Sequence[Pair]:
        self.sizes.append(most)
        return await self._supply.take(most)


def test_when_more_may_be_on_its_way_than_at_the_start_more_is_taken_at_once(virtual_time: Run) -> None:
    """Each time costs a commit, which many permits would wait for."""
    world = World(Portal(), of_many(500), existing="post", rate="100/s", concurrency=2)
    supplies: list[Asked] = []

    def asked(supply: Supply) -> Supply:
        supplies.append(Asked(supply))
        return supplies[0]

    world.instead = asked
    world.during = lambda: world.pipeline._site.limiter.resize(10)

    virtual_time(world.run())

    assert world.counts == {Status.LINKED: 500}
    sizes = supplies[0].sizes
    assert (sizes[0], sizes[-1]) == (READY * 2, READY * 10)


# -- Endings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [REFUSED, UsageError("BULKLINK_TOKEN_FILE: token: is empty")])
@pytest.mark.parametrize("kind", [Kind.LOOK, Kind.LINK])
def test_a_refusal_of_us_ends_the_run_and_leaves_nothing_in_doubt(
    virtual_time: Run, kind: Kind, error: Exception
) -> None:
    portal = Portal()
    if kind is Kind.LOOK:
        portal.shows(2, error)
    else:
        portal.answers(2, 7, error)
    world = World(portal, of_many(40), concurrency=4)
    with pytest.raises(type(error)):
        virtual_time(world.run())
    assert set(world.statuses.values()) <= {"linked", "not_attempted"}
    assert world.statuses[2] == "not_attempted"
    assert len(portal.books) < 12
    assert world.left_behind == set()


def test_a_ledger_that_cannot_record_ends_the_run_and_what_was_sent_is_in_doubt(virtual_time: Run) -> None:
    world = World(Portal(), of_many(40), concurrency=2, existing="post")
    world.settle_error = BROKEN
    with pytest.raises(LedgerError) as raised:
        virtual_time(world.run())
    assert raised.value is BROKEN
    assert len(world.portal.books) <= 4
    assert {key[0] for key in world.portal.members} == {
        row for row, status in world.statuses.items() if status == "unknown"
    }


class Breaks(Slow):
    """Cannot be taken from any further after the second pair."""

    async def take(self, most: int) -> Sequence[Pair]:
        self._taken = getattr(self, "_taken", 0) + 1
        if self._taken > 2:
            raise BROKEN
        return await super().take(most)


def test_a_ledger_that_gives_no_more_pairs_ends_the_run_with_its_error(virtual_time: Run) -> None:
    world = World(Portal(), of_many(9))
    world.instead = lambda supply: Breaks(supply, 1.0)
    with pytest.raises(LedgerError) as raised:
        virtual_time(world.run())
    assert raised.value is BROKEN
    assert len(world.portal.sent(Kind.LINK)) <= 2
    assert "unknown" not in world.statuses.values()


class Unreadable(Slow):
    """Its input breaks off."""

    async def read(self) -> None:
        raise InputError("pairs.csv: broke off")


def test_an_input_that_breaks_off_ends_the_run_with_its_error(virtual_time: Run) -> None:
    world = World(Portal(), of_many(9))
    world.instead = lambda supply: Unreadable(supply, 1000.0)
    with pytest.raises(InputError):
        virtual_time(world.run())
    assert world.left_behind == set()


def stop_at(world: World, seconds: float) -> None:
    """Drain when the run has lasted so long."""

    async def later() -> None:
        await asyncio.sleep(seconds)
        world.pipeline.drain()

    tasks: list[asyncio.Task[None]] = []

    def instead(supply: Supply) -> Supply:
        tasks.append(asyncio.create_task(later()))
        return supply

    world.instead = instead


def test_a_stop_waits_for_looks_on_their_way_and_sends_nothing_more(virtual_time: Run) -> None:
    portal = Portal({(1, 7): None}, latency=(10.0,))
    world = World(portal, of_many(40), concurrency=4)
    stop_at(world, 4.0)
    virtual_time(world.run())
    assert portal.kinds == [Kind.LOOK] * 4
    assert world.lasted == pytest.approx(10.0, abs=0.1)
    assert world.counts == {Status.ALREADY_LINKED: 1, Status.NOT_ATTEMPTED: 39}
    assert {pre for *_, pre in world.rows.values()} == {"present", "unread"}


def test_a_stop_gives_up_what_waits_for_the_supply_and_leaves_no_task(virtual_time: Run) -> None:
    world = World(Portal(), of_many(3))
    slow: list[Slow] = []

    def instead(supply: Supply) -> Supply:
        slow.append(Slow(supply, 1000.0))
        asyncio.get_running_loop().call_later(5.0, lambda: world.pipeline.drain())  # noqa: PLW0108 - it is not there yet
        return slow[0]

    world.instead = instead
    virtual_time(world.run())
    assert world.lasted == pytest.approx(5.0)
    assert (slow[0].taking, slow[0].closed) == (0, True)
    assert world.left_behind == set()
    assert world.counts == {Status.NOT_ATTEMPTED: 3}


def test_what_was_sent_in_vain_for_rows_without_an_outcome_is_counted_and_only_what_may_be_stored_is_in_doubt(
    virtual_time: Run,
) -> None:
    portal = Portal()
    portal.answers(1, 7, *[BUSY] * 9)
    portal.answers(2, 7, *[LOST] * 9)
    world = World(portal, of_many(3), policy=RetryPolicy(base=100.0, cap=100.0), existing="post")
    stop_at(world, 10.0)
    virtual_time(world.run())
    assert world.rows == {
        1: ("not_attempted", "run_ended", "unread"),
        2: ("unknown", "no_answer", "unread"),
        3: ("linked", "", "unread"),
    }
    assert world.traffic.attempts == 3


async def test_a_bug_while_an_outage_is_waited_out_ends_the_run_and_holds_nobody_for_ever() -> None:
    portal = Portal(latency=(0.0,))
    portal.works.clear()
    portal.works.append(ZeroDivisionError())
    todo = of_many(100)
    for pair in todo:
        portal.answers(pair.opportunity_id, 7, *[BUSY] * 9)
    world = World(portal, todo, existing="post", give_up_after=900.0)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(world.run(), 10)


# -- Accounts -----------------------------------------------------------------------------------------------


def test_the_accounts_are_in_order_and_say_what_was_there_before(virtual_time: Run) -> None:
    todo = pairs(*[(row % 4 + 1, row) for row in range(1, 61)])
    portal = Portal({(1, row): None for row in range(4, 61, 8)}, missing={2})
    portal.shows(3, *[BUSY] * 3)
    world = World(portal, todo)
    virtual_time(world.run())
    assert Counter(
        (todo[row - 1].opportunity_id, status, pre) for row, (status, _, pre) in world.rows.items()
    ) == {
        (1, "already_linked", "present"): 8,
        (1, "linked", "absent"): 7,
        (2, "rejected", "unread"): 15,
        (3, "retryable", "unread"): 15,
        (4, "linked", "absent"): 15,
    }
    traffic = world.traffic
    assert (traffic.attempts, traffic.looks, traffic.retries) == (6 + 7 + 15, 6, 0)
    assert len(portal.books) == traffic.attempts == world.tally.sent


@dataclass(frozen=True)
class Story:
    """Pairs, what the portal has of them, and who asks."""

    todo: list[Pair]
    members: set[Key]
    missing: set[int]
    silent: set[int]
    hiccups: dict[int, list[Answer]]
    odd: dict[Key, list[Answer]]
    concurrency: int


@st.composite
def stories(draw: st.DrawFn) -> Story:
    chance = Random(draw(st.integers(0, 10**6)))  # noqa: S311 - for a story
    kinds = draw(st.lists(st.sampled_from(["there", "there", "missing", "silent"]), min_size=1, max_size=5))
    ids = [
        (opportunity, contact_id)
        for opportunity in range(1, len(kinds) + 1)
        for contact_id in range(1, draw(st.sampled_from([0, 1, 3, 20, 99, 101])) + 1)
    ]
    chance.shuffle(ids)
    odd, share = draw(st.sampled_from([0.0, 0.1, 0.5])), draw(st.sampled_from([0.0, 0.3, 1.0]))
    members = {both for both in ids if chance.random() < share}
    todo = []
    for pair in pairs(*ids):
        # What was seen to be absent was about to be sent, by us: if it is there, we made it.
        seen = chance.random() < odd
        in_doubt = seen or chance.random() < odd
        todo.append(replace(pair, in_doubt=in_doubt, pre=PreState.ABSENT if seen else PreState.UNREAD))
    answers = [throttled(), BUSY, LOST, LOST.but_done(), BUSY.but_done()]
    hiccup = st.lists(st.sampled_from([throttled(), BUSY]), max_size=2)
    return Story(
        todo,
        members,
        {at for at, kind in enumerate(kinds, 1) if kind == "missing"},
        {at for at, kind in enumerate(kinds, 1) if kind == "silent"},
        {at: draw(hiccup) for at in range(1, len(kinds) + 1)},
        {both: chance.choices(answers[:4], k=chance.randint(1, 3)) for both in ids if chance.random() < odd},
        draw(st.integers(1, 9)),
    )


def expected(story: Story, pair: Pair) -> tuple[str, str]:
    """How a row is to end, and what is to be said of what was there before; worked out without asking."""
    there = (pair.opportunity_id, pair.contact_id) in story.members
    pre = "absent" if pair.pre is PreState.ABSENT else "unread"
    if pair.opportunity_id in story.missing:
        return "rejected", pre
    if pair.opportunity_id in story.silent:
        return ("linked" if pair.in_doubt else "retryable"), pre
    if pre == "absent":
        return "linked", pre
    if not there:
        return "linked", "absent"
    return ("linked", "unread") if pair.in_doubt else ("already_linked", "present")


@given(story=stories())
@settings(max_examples=60)
def test_every_row_ends_as_it_should_whatever_the_portal_has_and_whoever_was_there_before(
    story: Story,
) -> None:
    portal = Portal(dict.fromkeys(story.members), story.missing, latency=(0.03, 0.0, 0.2))
    for at, answers in story.hiccups.items():
        portal.shows(at, *([BUSY] * 10_000 if at in story.silent else answers))
    for both, odd in story.odd.items():
        if both[0] not in story.missing:
            portal.answers(*both, *odd)
    world = World(portal, story.todo, rate="200/s", concurrency=story.concurrency)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(world.run())

    ends = {pair.row: expected(story, pair) for pair in story.todo}
    assert {row: (status, pre) for row, (status, _, pre) in world.rows.items()} == ends
    linked = {(p.opportunity_id, p.contact_id) for p in story.todo if ends[p.row][0] == "linked"}
    assert set(portal.members) == story.members | linked
    assert portal.most_sent_in(1.0) <= 200
    assert portal.most_in_flight <= story.concurrency
    assert world.traffic.attempts == len(portal.books)
    # One look for an opportunity, but for what an earlier session may have sent, or could not be read.
    together = Counter(p.opportunity_id for p in story.todo if p.pre is PreState.UNREAD)
    at_first = [sent for sent in portal.sent(Kind.LOOK) if not sent.because and len(sent.contacts) > 1]
    assert Counter(sent.opportunity_id for sent in at_first) <= Counter(
        {at: -(-n // MOST_SOUGHT) for at, n in together.items()}
    )
