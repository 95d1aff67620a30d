"""A message of anyone's making becomes a row: the one it means, or one that says what is wrong with it."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.judge import judge
from worker.models import Pair, Reject, Row
from worker.sources import MESSAGE_COLUMNS, read_message
from worker.sources.base import FAULT_TEXT_LENGTH
from worker.sources.message import MAX_MESSAGE

MOST_DEEP = 1_024
"""Levels that the JSON library reads; it writes fewer."""


def ids(body: bytes) -> tuple[str | None, str | None]:
    row = read_message(body)
    assert not row.fault
    assert row.cells[:2] == (row.opportunity, row.contact)
    return row.opportunity, row.contact


def fault(body: bytes) -> str:
    """Why a message is no pair; what can be shown of it is kept."""
    row = read_message(body)
    assert (row.opportunity, row.contact) == (None, None)
    assert row.cells[:3] == ("", "", "")
    return row.fault


def reason(body: bytes) -> str:
    verdict = judge(read_message(body))
    assert isinstance(verdict, Reject)
    return verdict.reason


def nested(depth: int, key: str) -> bytes:
    return b'{"opportunity_id":1,"contact_id":2,"%s":' % key.encode() + b"[" * depth + b"]" * depth + b"}"


def test_the_documented_message_is_a_pair() -> None:
    row = read_message(b'{"opportunity_id": 1234, "contact_id": 88, "id": "order-7"}')
    assert row == Row(0, 0, ("1234", "88", "order-7", ""), "1234", "88")
    assert dict(zip(MESSAGE_COLUMNS, row.cells, strict=True))["id"] == "order-7"
    assert judge(row) == Pair(0, 0, 1234, 88)


def test_a_message_with_a_byte_order_mark_is_a_message() -> None:
    """As PowerShell and .NET write it."""
    assert ids(b'\xef\xbb\xbf{"opportunity_id": 4, "contact_id": 2}') == ("4", "2")
    assert fault(b"\xef\xbb\xbfhello") == "not valid JSON"
    assert fault(b'\xef\xbb\xbf\xef\xbb\xbf{"opportunity_id": 4, "contact_id": 2}') == "not valid JSON"


def test_half_an_emoji_beside_the_ids_does_no_harm() -> None:
    assert ids(b'{"opportunity_id": 1, "contact_id": 2, "title": "cut \\ud83d"}') == ("1", "2")
    assert read_message(b'{"opportunity_id": 1, "contact_id": 2, "id": "\\ud83d-7"}').cells[2] == "\\ud83d-7"
    assert reason(b'{"opportunity_id": "\\ud800", "contact_id": 2}') == "opportunity_id is not a whole number"


@pytest.mark.parametrize(
    "name",
    ["opportunity_id", "Opportunity ID", "OPPORTUNITY-ID", "opportunityid", "opportunity", "Deal", "deal_id"],
)
def test_an_opportunity_goes_by_the_names_of_a_column(name: str) -> None:
    assert ids(json.dumps({"x": 9, "contact_id": 2, name: 4}).encode()) == ("4", "2")


@pytest.mark.parametrize("name", ["contact_id", " Contact Id ", "contact", "ContactID", "person_id"])
def test_a_contact_goes_by_the_names_of_a_column(name: str) -> None:
    assert ids(json.dumps({name: 3, "x": 9, "opportunity_id": 1}).encode()) == ("1", "3")


def test_the_surest_name_wins_and_the_canonical_one_over_all() -> None:
    assert ids(b'{"deal": "its title", "Deal ID": 5, "contact": 6}') == ("5", "6")
    assert ids(b'{"OpportunityId": 9, "opportunity_id": 5, "contact": 9, "contact_id": 6}') == ("5", "6")


def test_two_equal_claims_are_ambiguous() -> None:
    assert reason(b'{"deal": 1, "opportunity": 1, "contact_id": 2}') == "more than one opportunity_id"
    assert reason(b'{"opportunity_id": 1, "Contact Id": 2, "contactid": 2}') == "more than one contact_id"


def test_a_name_with_an_underscore_in_front_is_not_an_id() -> None:
    assert reason(b'{"_opportunity_id": 1, "contact_id": 2}') == "no opportunity_id"


def test_what_is_missing_is_named() -> None:
    assert reason(b"{}") == "no opportunity_id and no contact_id"
    assert reason(b'{"opportunity_id": 1}') == "no contact_id"
    assert read_message(b'{"opportunity_id": 1, "id": "a"}').cells == ("1", "", "a", "")


@pytest.mark.parametrize("text", ["7", " 7 ", "0007"])
def test_digits_in_a_string_are_an_id(text: str) -> None:
    assert judge(read_message(json.dumps({"opportunity_id": text, "contact_id": 2}).encode())) == Pair(
        0, 0, 7, 2
    )


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("null", "opportunity_id is empty"),
        ('""', "opportunity_id is empty"),
        ("true", "opportunity_id is not a whole number"),
        ("7.0", "opportunity_id is not a whole number"),
        ("7e0", "opportunity_id is not a whole number"),
        ("-7", "opportunity_id is not a whole number"),
        ("0", "opportunity_id is 0"),
        ("2147483648", "opportunity_id is above 2147483647"),
        ("18446744073709551615", "opportunity_id is above 2147483647"),
        ("[7]", "opportunity_id is not a whole number"),
        ('{"id": 7}', "opportunity_id is not a whole number"),
        ('"\\u0667"', "opportunity_id is not a whole number"),
    ],
)
def test_what_is_no_id_is_refused_with_the_reason(value: str, why: str) -> None:
    assert reason(b'{"opportunity_id": %s, "contact_id": 2}' % value.encode()) == why


@pytest.mark.parametrize("digits", ["1" + "0" * 20, "9" * 300, "9" * 400, "9" * 5_000])
def test_a_number_beyond_all_bounds_is_a_reject_and_no_crash(digits: str) -> None:
    assert reason(b'{"opportunity_id": %s, "contact_id": 2}' % digits.encode())


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ('"a"', "a"),
        ("17", "17"),
        ("123456789012345678901", "123456789012345678901"),
        ("1.10", "1.10"),
        ("null", ""),
        ("true", "true"),
        ('{"b":[1]}', '{"b":[1]}'),
    ],
)
def test_an_id_of_its_own_is_kept_and_makes_no_difference(value: str, kept: str) -> None:
    row = read_message(b'{"opportunity_id": 1, "contact_id": 2, "id": %s}' % value.encode())
    assert row.cells == ("1", "2", kept, "")
    assert judge(row) == Pair(0, 0, 1, 2)


@pytest.mark.parametrize("key", ["opportunity_id", "deal"])
def test_an_id_that_stands_twice_and_differs_is_refused_as_in_a_file(key: str) -> None:
    row = read_message(b'{"%b": 1, "%b": 3, "contact_id": 2}' % (key.encode(), key.encode()))
    assert (row.opportunity, row.fault) == (None, "more than one opportunity_id")


def test_an_id_that_stands_twice_and_says_the_same_is_one() -> None:
    assert ids(b'{"opportunity_id": 1, "opportunity_id": 1, "contact_id": 2}') == ("1", "2")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not valid JSON"),
        (b"   ", "not valid JSON"),
        (b"1234,88", "not valid JSON"),
        (b'{"opportunity_id": 1', "not valid JSON"),
        (b'{"opportunity_id": NaN, "contact_id": 2}', "not valid JSON"),
        (b'{"opportunity_id": "\\ud8", "contact_id": 2}', "not valid JSON"),
        (b"{'opportunity_id': 1, 'contact_id': 2}", "not valid JSON"),
        (b'{"opportunity_id": 1, "contact_id": 2}{}', "not valid JSON"),
        ('{"opportunity_id": 1, "contact_id": 2}'.encode("utf-16"), "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'[{"opportunity_id": 1, "contact_id": 2}]', "not a JSON object"),
        (b"[" * MOST_DEEP + b"]" * MOST_DEEP, "not a JSON object"),
        (b"17", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"{}"', "not a JSON object"),
        (b"[" * 30_000 + b"]" * 30_000, "JSON nested too deeply"),
        (nested(MOST_DEEP, "id"), "JSON nested too deeply"),
    ],
)
def test_what_is_no_json_object_is_told_apart(body: bytes, why: str) -> None:
    assert fault(body) == why


@pytest.mark.parametrize("key", ["opportunity_id", "Deal", "id"])
@pytest.mark.parametrize("depth", [100, 300, MOST_DEEP - 1])
def test_nesting_that_can_be_read_but_not_written_makes_a_row_too(key: str, depth: int) -> None:
    """Whatever raises here ends the worker, and then every other one that the message is handed out to."""
    row = read_message(nested(depth, key))
    assert len(row.cells) == len(MESSAGE_COLUMNS)


def test_nesting_in_a_key_that_nobody_asks_for_does_no_harm() -> None:
    assert ids(nested(300, "x")) == ("1", "2")


def test_the_size_has_a_bound_below_which_a_message_is_read() -> None:
    pair = b'{"opportunity_id": 1, "contact_id": 2}'
    assert ids(pair.ljust(MAX_MESSAGE)) == ("1", "2")
    assert fault(pair.ljust(MAX_MESSAGE + 1)) == "message larger than 64 KiB"
    assert fault(bytes(10_000_000)) == "message larger than 64 KiB"


def test_of_what_cannot_be_read_the_beginning_is_kept() -> None:
    assert read_message(b"opportunity 7").cells[3] == "opportunity 7"
    assert read_message("Zoë".encode()).cells[3] == "Zoë"
    assert read_message(b"x" * 5_000).cells[3] == "x" * FAULT_TEXT_LENGTH
    assert read_message(b"\x80\xff{").cells[3] == "\\x80\\xff{"
    # A character that is cut in two, and bytes that take four characters each.
    assert len(read_message(b"x" + "ë".encode() * 500).cells[3]) <= FAULT_TEXT_LENGTH
    assert len(read_message(b"\xff" * 5_000).cells[3]) == FAULT_TEXT_LENGTH


def test_of_long_values_the_beginning_is_kept() -> None:
    long = "7" * 20_000
    row = read_message(json.dumps({"opportunity_id": long, "contact": long, "id": long}).encode())
    assert [len(cell) for cell in row.cells] == [FAULT_TEXT_LENGTH, FAULT_TEXT_LENGTH, FAULT_TEXT_LENGTH, 0]
    assert isinstance(judge(row), Reject)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_KEYS = (
    st.sampled_from(["opportunity_id", "contact_id", "id", "Deal", "deal id", "person_id", ""]) | st.text()
)


@given(
    body=st.binary(max_size=200)
    | st.dictionaries(_KEYS, _VALUES, max_size=5).map(lambda found: json.dumps(found).encode())
    | st.builds(nested, st.integers(0, 2_000), st.sampled_from(["id", "contact_id", "x"]))
)
@example(nested(300, "id"))
@example(b"\x00")
def test_any_bytes_make_a_row_that_can_be_judged(body: bytes) -> None:
    row = read_message(body)
    assert (row.number, row.line, len(row.cells)) == (0, 0, len(MESSAGE_COLUMNS))
    assert all(len(cell) <= FAULT_TEXT_LENGTH for cell in row.cells)
    assert all(cell.encode() is not None for cell in row.cells)
    assert isinstance(judge(row), Pair | Reject)


@given(opportunity=st.integers(1, 2**31 - 1), contact=st.integers(1, 2**31 - 1), quoted=st.booleans())
def test_every_pair_that_there_is_comes_through(opportunity: int, contact: int, quoted: bool) -> None:
    found = {"opportunity_id": str(opportunity) if quoted else opportunity, "contact_id": contact}
    assert judge(read_message(json.dumps(found).encode())) == Pair(0, 0, opportunity, contact)
