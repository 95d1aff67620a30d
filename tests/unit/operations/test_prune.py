"""What a sync removes: never what is outside the plan, never what others have changed since."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.models import Attempt, Result
from worker.operations.look import Told
from worker.operations.members import MemberList
from worker.operations.prune import Decision, Prune, Surplus, decide, judge_removal, surplus
from worker.reasons import INCOMPLETE, INVALID_ROW, PRIMARY
from worker.removals import Extra, Made, Undo, Undoing

THEN = datetime(2023, 5, 12, 14, 28, tzinfo=UTC)
LATER = THEN + timedelta(days=1)


def body(contact: int, *, editable: bool = True, created: datetime | None = THEN) -> bytes:
    date = "" if created is None else f',"created":"{created.isoformat()}"'
    return f'{{"id":{contact},"canEdit":{str(editable).lower()}{date}}}'.encode()


def members(*contacts: int, opportunity: int = 1, primary: int = 0, trouble: str = "") -> MemberList:
    return MemberList(opportunity, {one: body(one, editable=one != primary) for one in contacts}, trouble)


def extras(opportunity: int, *contacts: int) -> tuple[Extra, ...]:
    return tuple(Extra(opportunity, one, THEN) for one in contacts)


def having(opportunity: int, links: int, going: int) -> Surplus:
    return Surplus(opportunity, links, extras(opportunity, *range(1, going + 1)))


def all_of(*found: Surplus, unlinked: int = 0, untold: int = 0, allowed: int | None = None) -> Decision:
    return decide(found, prune="all", owned={}, unlinked=unlinked, untold=untold, allowed=allowed)


def test_surplus_is_what_the_input_does_not_name_in_the_order_of_ids() -> None:
    assert surplus(members(9, 5, 7, 2), {5, 6}) == Surplus(1, 4, extras(1, 2, 7, 9))


def test_a_primary_contact_is_left() -> None:
    found = surplus(members(5, 7, primary=7), set())
    assert (found.extras, found.primary) == (extras(1, 5), extras(1, 7))
    assert all_of(found).primary == 1
    assert decide([found], prune="own", owned={}, unlinked=0, allowed=None).primary == 0


@pytest.mark.parametrize("odd", [b'{"id":7}', b"{}", b"?", b'{"id":7,"canEdit":"maybe"}'])
def test_a_member_that_does_not_say_that_it_can_be_edited_is_taken_for_the_primary_contact(
    odd: bytes,
) -> None:
    assert surplus(MemberList(1, {7: odd}), set()).extras == ()


@pytest.mark.parametrize("trouble", [INCOMPLETE, "not_found", "server_page"])
def test_an_opportunity_whose_list_may_not_be_whole_is_not_touched(trouble: str) -> None:
    decision = all_of(surplus(members(5, 7, trouble=trouble), set()))
    assert (decision.removals, decision.links) == ((), 0)
    assert decision.untouched == {trouble: (1,)}


def test_an_opportunity_that_is_not_to_be_touched_is_named_with_the_reason() -> None:
    decision = all_of(having(1, 5, 1), Surplus(2, untouched=INVALID_ROW), Surplus(3, untouched=INVALID_ROW))
    assert decision.untouched == {INVALID_ROW: (2, 3)}
    assert decision.removals == extras(1, 1)


@pytest.mark.parametrize(("created", "removed"), [(THEN, True), (None, True), (LATER, False)])
def test_own_removes_only_links_that_we_made_to_the_same_contact(
    created: datetime | None, *, removed: bool
) -> None:
    found = surplus(members(5, 7), set())
    decision = decide([found], prune="own", owned={1 << 32 | 7: created}, unlinked=0, allowed=None)
    assert decision.removals == (extras(1, 7) if removed else ())


def test_a_contact_whose_date_the_portal_does_not_tell_is_the_same() -> None:
    found = surplus(MemberList(1, {7: body(7, created=None)}), set())
    decision = decide([found], prune="own", owned={1 << 32 | 7: THEN}, unlinked=0, allowed=None)
    assert decision.removals == (Extra(1, 7),)


@pytest.mark.parametrize(
    ("removals", "links", "withheld"),
    [(10, 10, False), (11, 110, False), (11, 109, True), (11, 111, False), (104, 520, True), (0, 0, False)],
)
def test_more_than_ten_and_more_than_a_tenth_is_withheld(
    removals: int, links: int, *, withheld: bool
) -> None:
    """Links count, in whatever opportunities they are."""
    decision = all_of(having(1, links - removals, 0), *(having(2 + one, 1, 1) for one in range(removals)))
    assert decision.links == links
    assert bool(decision.withheld) is withheld
    assert len(decision.removals) == removals
    if withheld:
        assert f"--allow-removals {removals}" in decision.withheld


@pytest.mark.parametrize(("allowed", "withheld"), [(50, False), (49, True), (51, True)])
def test_the_number_that_is_allowed_must_be_exact(allowed: int, *, withheld: bool) -> None:
    decision = all_of(having(1, 60, 50), allowed=allowed)
    assert bool(decision.withheld) is withheld
    assert (str(allowed) in decision.withheld) is withheld


def test_a_number_that_is_not_needed_must_be_exact_too() -> None:
    assert all_of(having(1, 60, 1), allowed=2).withheld
    assert not all_of(having(1, 60, 0), allowed=2).withheld  # nothing to remove is nothing to allow


@pytest.mark.parametrize(("unlinked", "said"), [(1, "1 row could"), (2000, "2,000 rows could")])
def test_nothing_is_removed_if_a_row_could_not_be_linked(unlinked: int, said: str) -> None:
    assert all_of(having(1, 60, 1), unlinked=unlinked, allowed=1).withheld.startswith(said)


@pytest.mark.parametrize(("untold", "said"), [(1, "1 row does not"), (2000, "2,000 rows do not")])
def test_nothing_is_removed_if_a_row_may_be_about_any_opportunity_unless_exactly_that_is_allowed(
    untold: int, said: str
) -> None:
    withheld = all_of(having(1, 60, 1), untold=untold).withheld
    assert withheld.startswith(said)
    assert withheld.endswith("--allow-removals 1")
    assert not all_of(having(1, 60, 1), untold=untold, allowed=1).withheld
    assert not all_of(having(1, 60, 0), untold=untold).withheld


def test_opportunities_that_lose_all_their_links_are_named() -> None:
    assert all_of(having(1, 3, 3), having(2, 3, 2), having(4, 1, 1), having(5, 0, 0)).emptied == (1, 4)


def told(*contacts: Made, found: dict[int, bytes]) -> Told[tuple[Made, ...]]:
    return Told(contacts, (Attempt(Result.OK, http_status=200, found=found),))


def test_what_became_of_links_since_is_looked_at_before_each_goes() -> None:
    links = tuple(Made(number, 1, number, THEN) for number in range(1, 5))
    found = {1: body(1), 2: body(2, editable=False), 3: body(3, created=LATER)}
    settled, going = judge_removal(told(*links, found=found))
    assert [(one.row, one.state) for one in settled] == [(3, Undo.KEPT), (4, Undo.GONE), (2, Undo.KEPT)]
    assert settled[-1] == Undoing(2, Undo.KEPT, PRIMARY)
    assert going == links[:1]


class State:
    """A random portal, input and ledger; others edit it between the decision and the removals."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)  # noqa: S311 - states of a test
        self.opportunities = range(1, self.rng.randint(2, 8))
        self.desired = {one: self._some(0.4) for one in self.opportunities}
        self.named = {one for one in self.opportunities if self.rng.random() < 0.8}
        # What was missing has been added before anything is removed.
        self.portal = {
            one: self._some(0.4) | (self.desired[one] if one in self.named else set())
            for one in self.opportunities
        }
        self.primary = {one: self.rng.randint(1, 30) for one in self.opportunities}
        self.bad = {one: self.rng.choice(["", "", "", INVALID_ROW, INCOMPLETE]) for one in self.named}
        self.owned = {one << 32 | contact: THEN for one in self.opportunities for contact in self._some(0.5)}
        self.changed: set[tuple[int, int]] = set()

    def _some(self, share: float) -> set[int]:
        return {contact for contact in range(1, 30) if self.rng.random() < share}

    def shown(self, opportunity: int) -> dict[int, bytes]:
        primary = self.primary[opportunity]
        return {one: body(one, editable=one != primary) for one in self.portal[opportunity]}

    def surpluses(self) -> list[Surplus]:
        return [
            surplus(
                MemberList(one, self.shown(one), INCOMPLETE if self.bad[one] == INCOMPLETE else ""),
                self.desired[one],
                INVALID_ROW if self.bad[one] == INVALID_ROW else "",
            )
            for one in sorted(self.named)
        ]

    def edit(self) -> None:
        for one in self.opportunities:
            for contact in self._some(0.1):
                self.portal[one] ^= {contact}
                self.changed.add((one, contact))
            if self.rng.random() < 0.2:
                self.primary[one] = self.rng.randint(1, 30)

    def remove(self, decision: Decision) -> set[tuple[int, int]]:
        removed = set()
        for number, extra in enumerate(() if decision.withheld else decision.removals, 1):
            one, contact = extra.opportunity_id, extra.contact_id
            found = {contact: self.shown(one)[contact]} if contact in self.portal[one] else {}
            _, going = judge_removal(told(Made(number, one, contact, extra.created), found=found))
            removed |= {(link.opportunity_id, link.contact_id) for link in going}
        return removed


@settings(max_examples=1000)
@given(st.integers(0, 2**32), st.sampled_from(["own", "all"]))
def test_no_link_goes_that_is_outside_the_plan_or_changed_since(seed: int, prune: Prune) -> None:
    state = State(seed)
    rng = state.rng
    allowed = rng.choice([None, None, rng.randint(1, 60)])
    unlinked = rng.choice([0, 0, 0, 3])
    decision = decide(state.surpluses(), prune=prune, owned=state.owned, unlinked=unlinked, allowed=allowed)
    before = {one: set(held) for one, held in state.portal.items()}
    state.edit()
    removed = state.remove(decision)
    for one, contact in removed:
        assert one in state.named
        assert not state.bad[one]
        assert contact in before[one] - state.desired[one]
        assert contact != state.primary[one]
        assert (one, contact) not in state.changed
        assert prune == "all" or one << 32 | contact in state.owned
    if allowed is None:
        assert len(removed) <= max(10, sum(len(before[one]) for one in state.named) / 10)
    assert not (removed and unlinked)


def test_states_as_these_have_something_to_remove_and_something_to_leave() -> None:
    """Or the stories around it would say nothing."""
    removed, left = 0, 0
    for state in map(State, range(50)):
        gone = state.remove(all_of(*state.surpluses()))
        removed += len(gone)
        left += sum(map(len, state.portal.values())) - len(gone)
    assert removed > 20 < left


@given(st.integers(0, 2**32))
def test_what_may_be_touched_is_as_the_input_says_and_a_second_sync_does_nothing(seed: int) -> None:
    state = State(seed)
    found = state.surpluses()
    number = len(all_of(*found).removals)
    for one, contact in state.remove(all_of(*found, allowed=number or None)):
        state.portal[one].discard(contact)
    for one in state.named:
        if not state.bad[one]:
            assert state.portal[one] - state.desired[one] <= {state.primary[one]}
    assert all_of(*state.surpluses()).removals == ()
