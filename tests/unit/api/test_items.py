"""What a program gives becomes a row like one of a file, or says why it is none; it never raises."""

from typing import Any

import pytest

from worker.api.items import NO_PAIR, row_of
from worker.judge import key_of
from worker.models import Row


class Whole:
    """A whole number of some library."""

    def __index__(self) -> int:
        return 88


@pytest.mark.parametrize(
    "item",
    [
        (1234, 88),
        ("1234", " 088 "),
        (1234, Whole()),
        {"opportunity_id": 1234, "contact_id": 88},
        {"Deal ID": "1234", "person-id": 88, 7: "not a name"},
    ],
)
def test_pairs_and_mappings_make_a_pair(item: object) -> None:
    row = row_of(item, 5)

    assert key_of(row) == 1234 << 32 | 88
    assert (row.number, row.line) == (5, 5)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ((1234,), NO_PAIR),
        ("12", NO_PAIR),
        (None, NO_PAIR),
        ([1234, 88], NO_PAIR),
        ((1234, None), "contact_id is empty"),
        ((1234, True), "contact_id is not a whole number"),
        ((1234, 88.0), "contact_id is not a whole number"),
        ((0, 88), "opportunity_id is 0"),
        ((-1, 88), "opportunity_id is not a whole number"),
        ((1234, 2**31), "contact_id is above 2147483647"),
        ((1234, 10**5000), "contact_id is not a whole number"),
        ({"contact": 88}, "no opportunity_id"),
        ({}, "no opportunity_id and no contact_id"),
        ({"deal": 1, "opportunity": 2, "contact": 3}, "more than one opportunity_id"),
    ],
)
def test_what_is_no_pair_says_why(item: Any, reason: str) -> None:
    assert key_of(row_of(item, 1)) == reason


def test_the_cells_are_the_ids_as_they_were_given_and_no_longer_than_needed_to_find_them() -> None:
    assert row_of(("x" * 9_999, 88), 1) == Row(1, 1, ("x" * 500, "88"), "x" * 500, "88")
