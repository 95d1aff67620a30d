"""What text is an id, and what is said of text that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.judge import judge, key_of
from worker.models import MAX_ID, Pair, Reject, Row

ARABIC_INDIC = "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}"
SUPERSCRIPT = "1\N{SUPERSCRIPT TWO}"
FULL_WIDTH = "\N{FULLWIDTH DIGIT SEVEN}"


def row(opportunity: str | None = "12", contact: str | None = "7", fault: str = "") -> Row:
    return Row(5, 9, ("as", "it", "stands"), opportunity, contact, fault)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("7", 7),
        (" 7", 7),
        ("7  ", 7),
        ("\t 7\r\n", 7),
        ("\N{NO-BREAK SPACE}7", 7),
        ("007", 7),
        ("0" * 1_000_000 + "7", 7),
        ("1000", 1000),
        ("999999999", 999_999_999),
        ("2147483647", 2_147_483_647),
        ("0002147483647", 2_147_483_647),
    ],
)
def test_an_id_is_read_from_digits_with_spaces_around_and_zeros_before(text: str, number: int) -> None:
    assert judge(row(opportunity=text)) == Pair(5, 9, number, 7)
    assert judge(row(contact=text)) == Pair(5, 9, 12, number)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "is empty"),
        ("", "is empty"),
        (" \t", "is empty"),
        ("\N{NO-BREAK SPACE}", "is empty"),
        ("0", "is 0"),
        ("000", "is 0"),
        (" 0 ", "is 0"),
        ("+5", "is not a whole number"),
        ("-5", "is not a whole number"),
        ("-0", "is not a whole number"),
        ("1_000", "is not a whole number"),
        ("1,000", "is not a whole number"),
        ("1 000", "is not a whole number"),
        ("5.0", "is not a whole number"),
        ("5.", "is not a whole number"),
        ("1e3", "is not a whole number"),
        ("0x1F", "is not a whole number"),
        ("nan", "is not a whole number"),
        ("abc", "is not a whole number"),
        ("5\0", "is not a whole number"),
        ("\0", "is not a whole number"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}5", "is not a whole number"),
        ("\udcff5", "is not a whole number"),
        (ARABIC_INDIC, "is not a whole number"),
        (SUPERSCRIPT, "is not a whole number"),
        (FULL_WIDTH, "is not a whole number"),
        ("2147483648", "is above 2147483647"),
        ("9999999999", "is above 2147483647"),
        ("10000000000", "is above 2147483647"),
        ("0002147483648", "is above 2147483647"),
        ("9" * 1_000_000, "is above 2147483647"),
    ],
)
def test_any_other_text_is_rejected_and_the_reason_names_the_id(text: str | None, why: str) -> None:
    assert judge(row(opportunity=text)) == Reject(5, 9, f"opportunity_id {why}")
    assert judge(row(contact=text)) == Reject(5, 9, f"contact_id {why}")


def test_of_two_bad_ids_the_opportunity_is_named() -> None:
    assert judge(row("x", "y")) == Reject(5, 9, "opportunity_id is not a whole number")


@pytest.mark.parametrize("opportunity", ["12", "x", None])
def test_the_fault_of_a_record_passes_through(opportunity: str | None) -> None:
    """Its cells may be anything, also good ids: a record that could not be read is not linked."""
    assert judge(row(opportunity, fault="has 3 cells, not 2")) == Reject(5, 9, "has 3 cells, not 2")


@pytest.mark.parametrize(
    ("opportunity", "contact", "key"),
    [(1, 1, 0x1_0000_0001), (1, MAX_ID, 0x1_7FFF_FFFF), (MAX_ID, 1, 0x7FFF_FFFF_0000_0001)],
)
def test_a_key_holds_both_ids_and_fits_a_signed_64_bit_column(
    opportunity: int, contact: int, key: int
) -> None:
    assert Pair(5, 9, opportunity, contact).key == key
    assert Pair(1, 2, opportunity, contact).key == key
    assert Pair(5, 9, MAX_ID, MAX_ID).key < 2**63


_ids = st.integers(1, MAX_ID)


@given(_ids, _ids)
def test_a_key_gives_its_two_ids_back(opportunity: int, contact: int) -> None:
    key = Pair(1, 2, opportunity, contact).key
    assert (key >> 32, key & 0xFFFF_FFFF) == (opportunity, contact)


_cells = st.none() | st.text() | st.from_regex(r"\s*[-+]?[0-9_]{0,12}\.?\s*") | st.integers().map(str)


@given(_cells, _cells)
def test_whatever_stands_in_the_cells_a_pair_has_two_valid_ids(
    opportunity: str | None, contact: str | None
) -> None:
    verdict = judge(row(opportunity, contact))
    assert (verdict.row, verdict.line) == (5, 9)
    assert key_of(row(opportunity, contact)) == (
        verdict.reason if isinstance(verdict, Reject) else verdict.key
    )
    if isinstance(verdict, Reject):
        assert verdict.reason
        assert "\n" not in verdict.reason
    else:
        assert 1 <= verdict.opportunity_id <= 2_147_483_647
        assert 1 <= verdict.contact_id <= 2_147_483_647
