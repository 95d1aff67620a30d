"""A cell is changed into the id that it is, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.doctor import is_id, mended, recoded, visible
from worker.judge import judge
from worker.models import MAX_ID, Pair, Row

ODD = st.text(
    alphabet="0123456789 .,'=\"+-Ee\0\u201c\u0662\u00a0\u200b\ufeff\u202f\u2009\u2019\uff11x", max_size=14
)
SPELT = st.builds(
    lambda number, before, after: f"{before}{number}{after}",
    st.integers(0, MAX_ID + 5),
    st.sampled_from(["", "'", '="', "\u00a0", "\u200b", "00", " ", "+"]),
    st.sampled_from(["", ".0", ".00", '"', "\u00a0", "\u200b", ".5", "E+05", " "]),
)


def value(text: str) -> int | None:
    judged = judge(Row(1, 1, (), text, "1"))
    return judged.opportunity_id if isinstance(judged, Pair) else None


@given(text=ODD | SPELT, thousands=st.booleans())
def test_what_comes_of_a_cell_is_the_same_id_or_the_cell_itself_and_stays_so(
    text: str, *, thousands: bool
) -> None:
    after, rules = mended(text, thousands=thousands)

    assert (after == text) is not bool(rules)
    assert mended(after, thousands=thousands) == (after, ())
    if rules:
        assert is_id(after)
        assert value(after) is not None
    if value(text) is not None:
        assert value(after) == value(text)


@given(text=ODD | SPELT)
def test_an_id_is_what_the_judge_takes_for_one(text: str) -> None:
    assert is_id(text) is (value(text) is not None)


@pytest.mark.parametrize(
    ("text", "after", "rules"),
    [
        ("\u00a01234", "1234", ("invisible",)),
        ('\'="12.0"', "12", ("apostrophe", "formula", "decimal")),
        ('=" 12 "', "12", ("formula",)),
        ("0012.0", "0012", ("decimal",)),
        ("1,0", "1", ("decimal",)),
        ("\uff11\uff12", "12", ("digits",)),
        ("1\uff12\u00a0", "12", ("invisible", "digits")),
        ("\u0661\u0662", "12", ("digits",)),
        ("\u201e12\u201c", "12", ("quotes",)),
        ("'12'", "12", ("quotes",)),
        ("12\0", "12", ("invisible",)),
    ],
)
def test_rules_go_on_until_none_applies(text: str, after: str, rules: tuple[str, ...]) -> None:
    assert mended(text) == (after, rules)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "12",
        " 12 ",
        "007",
        "1.000",
        "1.23E+05",
        "=12",
        "''12x",
        "2147483648.0",
        "0.0",
        "\u00a0",
        "1.0.0",
        "\u00b2",
        "\u2460",
        "\u5341",
        "\t12\t",
    ],
)
def test_what_is_an_id_or_could_be_two_things_is_left(text: str) -> None:
    assert mended(text) == (text, ())


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("1 234", "1234"),
        ("1.234.567", "1234567"),
        ("1,234", "1234"),
        ("1'234", "1234"),
        ("1\u2019234", "1234"),
        ("1.000", "1000"),
    ],
)
def test_thousands_are_joined_if_that_is_asked_for(text: str, after: str) -> None:
    assert mended(text, thousands=True) == (after, ("thousands",))
    assert mended(text) == (text, ())


@pytest.mark.parametrize("text", ["12 34", "1.234,567", "1234.567", "1 23", "9.999.999.999", " .234"])
def test_other_groups_are_no_thousands(text: str) -> None:
    assert mended(text, thousands=True) == (text, ())


def test_a_cell_of_a_thousand_characters_is_not_looked_at() -> None:
    assert mended("'" * 1000 + "1") == ("'" * 1000 + "1", ())


def test_bytes_are_read_in_a_code_page_where_they_are_in_it() -> None:
    assert recoded("gr\udcfcn", "cp1252") == "grün"
    assert recoded("\udc81", "cp1252") is None


def test_what_cannot_be_seen_is_taken_out() -> None:
    assert visible("\ufeff Deal\u200b ID\u00a0") == "Deal ID"
