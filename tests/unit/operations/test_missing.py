"""Which side of a rejected pair is missing, and how few questions that takes."""

import pytest

from worker.models import Attempt, Outcome, Pair, PreState, Result, Status
from worker.operations.exists import Entity, Existence
from worker.operations.missing import Missing

NOT_FOUND = Attempt(Result.PERMANENT, "not_found", 404)


def rejected(
    row: int, opportunity: int, contact: int, *, pre: PreState = PreState.UNREAD, reason: str = "not_found"
) -> Outcome:
    pair = Pair(row, row + 1, opportunity, contact, pre=pre)
    return Outcome(pair, Status.REJECTED, (NOT_FOUND,), reason, 404)


def opportunity(id_: int) -> Entity:
    return Entity("opportunity", id_)


def contact(id_: int) -> Entity:
    return Entity("contact", id_)


def reasons(outcomes: list[Outcome]) -> list[str]:
    return [outcome.reason for outcome in outcomes]


def test_many_rows_of_one_missing_contact_take_two_questions() -> None:
    missing = Missing()
    outcomes, asked = missing.explain([rejected(row, row, 88) for row in (1, 2, 3)])
    assert (reasons(outcomes), asked) == (["not_found"] * 3, [opportunity(1), contact(88)])
    assert missing.told(Existence(contact(88), there=False)) == (
        {2: "contact_missing", 3: "contact_missing"},
        [],
    )
    assert missing.told(Existence(opportunity(1), there=True)) == ({1: "contact_missing"}, [])
    outcomes, asked = missing.explain([rejected(4, 4, 88)])
    assert (reasons(outcomes), asked, outcomes[0].http_status) == (["contact_missing"], [], 404)


def test_many_rows_of_one_missing_opportunity_take_two_questions_too() -> None:
    missing = Missing()
    _, asked = missing.explain([rejected(1, 9, 1), rejected(2, 9, 2)])
    assert asked == [opportunity(9), contact(1)]
    assert missing.told(Existence(contact(1), there=True)) == ({}, [])
    told, more = missing.told(Existence(opportunity(9), there=False))
    assert (told, more) == ({1: "opportunity_missing", 2: "opportunity_missing"}, [])
    assert reasons(missing.explain([rejected(3, 9, 3)])[0]) == ["opportunity_missing"]


def test_it_is_known_which_rows_may_still_get_a_better_reason() -> None:
    missing = Missing(most=2)
    missing.explain([rejected(1, 9, 1), rejected(2, 6, 1), rejected(3, 8, 2), rejected(4, 7, 3)])
    assert missing.rows == {1, 2}  # there was no question left for the others
    missing.told(Existence(contact(1), there=True))
    assert missing.rows == {1}  # and none for the other opportunity
    missing.told(Existence(opportunity(9), there=None))
    assert missing.rows == set()


def test_what_waited_for_a_side_that_is_there_asks_for_the_other() -> None:
    missing = Missing()
    missing.explain([rejected(1, 1, 1), rejected(2, 1, 2)])
    assert missing.told(Existence(opportunity(1), there=True)) == ({}, [contact(2)])
    assert missing.told(Existence(contact(1), there=False)) == ({1: "contact_missing"}, [])
    assert missing.told(Existence(contact(2), there=None)) == ({}, [])
    assert missing.explain([rejected(3, 1, 2)])[1] == []


def test_an_opportunity_whose_members_were_read_is_not_asked_for() -> None:
    missing = Missing()
    assert missing.explain([rejected(1, 1, 1, pre=PreState.ABSENT)])[1] == [contact(1)]


def test_only_what_the_portal_does_not_find_is_asked_for() -> None:
    missing = Missing()
    linked = Outcome(Pair(1, 2, 1, 1), Status.LINKED, ())
    unknown = Outcome(Pair(2, 3, 1, 2), Status.UNKNOWN, (), "not_found", 404)
    given = [linked, unknown, rejected(3, 1, 3, reason="forbidden")]
    assert missing.explain(given) == (given, [])


@pytest.mark.parametrize(("most", "asked"), [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4)])
def test_no_more_is_asked_than_may_be(most: int, asked: int) -> None:
    _, to_ask = Missing(most).explain([rejected(row, row, row) for row in range(1, 9)])
    assert len(to_ask) == asked
