import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from worker.errors import InputError, UsageError
from worker.sources import Source, open_source


def opened(header: str, columns: Mapping[str, str] | None = None, delimiter: str | None = None) -> Source:
    text = header + "\n" + "\n".join(["1,2,3,4,5"] * 2)
    return open_source("-", columns=columns, delimiter=delimiter, stdin=io.BytesIO(text.encode()))


def ids(header: str, columns: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    row = next(opened(header, columns).rows())
    assert not row.fault
    return row.opportunity, row.contact


@pytest.mark.parametrize(
    "name",
    ["opportunity_id", "Opportunity ID", "OPPORTUNITY-ID", "opportunityid", "opportunity", "Deal", "deal_id"],
)
def test_an_opportunity_goes_by_many_names(name: str) -> None:
    assert ids(f"a,contact_id,b,{name},c") == ("4", "2")


@pytest.mark.parametrize(
    "name", ["contact_id", " Contact Id ", "contact", "ContactID", "person_id", "PersonId"]
)
def test_a_contact_goes_by_many_names(name: str) -> None:
    assert ids(f"{name},x,opportunity_id,y,z") == ("3", "1")


def test_the_canonical_name_is_preferred_over_an_alias() -> None:
    text = "deal,opportunity_id,contact,contact_id\nBig one,2,Zo\u00eb,4\n"
    source = open_source("-", columns=None, delimiter=None, stdin=io.BytesIO(text.encode()))
    [row] = source.rows()
    assert (row.opportunity, row.contact, row.fault) == ("2", "4", "")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Deal ID,deal,contact_id,x,y", "opportunity_id: Deal ID (column 1), deal (column 2)"),
        ("deal,contact_id,x,opportunity_id,y", "opportunity_id: opportunity_id (column 4), deal (column 1)"),
        ("deal,contact,x,y,Person ID", "contact_id: Person ID (column 5), contact (column 2)"),
    ],
)
def test_two_columns_that_hold_different_ids_are_refused_by_name(header: str, found: str) -> None:
    with pytest.raises(InputError) as caught:
        opened(header)
    assert f"more than one column could be {found}; choose one by its number" in str(caught.value)


def test_two_columns_of_the_same_ids_are_one(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("Deal ID,deal,contact_id\n\n,,\n7,007,1\n8,,2\n,9,3\n")
    with open_source(str(tmp_path / "pairs.csv"), columns=None, delimiter=None) as source:
        assert [(row.opportunity, row.fault) for row in source.rows()] == [("7", ""), ("8", ""), ("", "")]
        assert source.blank == 2


def test_a_later_row_in_which_they_differ_is_invalid_and_keeps_its_cells() -> None:
    text = "Deal ID,deal,contact_id\n7,Big one,1\n8,9,2\n9,\n10,10,4\n"
    source = open_source("-", columns=None, delimiter=None, stdin=io.BytesIO(text.encode()))
    rows = list(source.rows())
    assert [row.fault for row in rows] == [
        "",
        "Deal ID and deal differ",
        "row has 2 cells, the header has 3",
        "",
    ]
    assert rows[1].cells == ("8", "9", "2")
    assert (rows[1].opportunity, rows[1].contact) == (None, None)


def test_a_column_that_was_chosen_has_no_rival() -> None:
    assert ids("Deal ID,deal,contact_id,x,y", {"opportunity": "deal"}) == ("2", "3")
    assert ids("Deal ID,deal,contact_id,x,y", {"opportunity": "#1"}) == ("1", "3")


@pytest.mark.parametrize("number", ["#4", "4"])
def test_a_column_can_be_chosen_by_its_number(number: str) -> None:
    assert ids("deal,deal,contact_id,deal,deal", {"opportunity": number}) == ("4", "3")
    assert ids("x,deal,_y,_z,contact", {"opportunity": number, "contact": "#1"}) == ("4", "1")


def test_the_hint_for_a_repeated_name_is_followed_to_the_end() -> None:
    wanted: dict[str, str] = {}
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            opened("Deal ID,Deal ID,Person,Contact,contact", wanted)
        role, _, number = str(caught.value).rpartition("--columns ")[2].partition("=")
        wanted[role] = number
    assert ids("Deal ID,Deal ID,Person,Contact,contact", wanted) == ("1", "4")


def test_a_name_wins_over_a_number_unless_the_number_is_marked() -> None:
    assert ids("2,contact_id,2024,x,y", {"opportunity": "2"}) == ("1", "2")
    assert ids("2,contact_id,2024,x,y", {"opportunity": "#3"}) == ("3", "2")
    assert ids("2,contact_id,2024,x,y", {"opportunity": "2024"}) == ("3", "2")


@pytest.mark.parametrize("number", ["#9", "9", "#0", "0", "#", "#1x"])
def test_a_number_that_no_column_has_is_an_error_that_lists_them(number: str) -> None:
    with pytest.raises(InputError, match=f"no column {number}; found: deal, contact"):
        opened("deal,contact,x,y,z", {"opportunity": number})


def test_one_column_cannot_be_both_by_number_either() -> None:
    with pytest.raises(InputError, match="deal cannot be both opportunity and contact"):
        opened("deal,x,y,z,a", {"opportunity": "deal", "contact": "#1"})


def test_a_file_without_a_header_may_have_more_columns_if_they_are_chosen_by_number() -> None:
    text = "Big one,12,7\nSmall one,13,8\n"
    source = open_source(
        "-", columns={"opportunity": "#3", "contact": "#2"}, delimiter=None, stdin=io.BytesIO(text.encode())
    )
    assert [(row.line, row.opportunity, row.contact) for row in source.rows()] == [
        (1, "7", "12"),
        (2, "8", "13"),
    ]
    assert source.columns == ("column_1", "contact_id", "opportunity_id")


def test_a_key_of_json_has_no_number() -> None:
    with pytest.raises(UsageError, match="--columns opportunity=#1: keys of JSON have no number"):
        open_source("-", columns={"opportunity": "#1"}, delimiter=None, stdin=io.BytesIO(b"{}\n"))


@pytest.mark.parametrize(
    "header",
    ["deal,opportunity,contact_id,x,y", "opportunity_id,Opportunity Id,contact_id,x,y"],
)
def test_two_equal_claims_are_ambiguous(header: str) -> None:
    with pytest.raises(
        InputError, match=r"more than one column could be opportunity_id: .*--columns opportunity="
    ):
        opened(header)


def test_an_alias_with_an_underscore_in_front_is_not_an_id() -> None:
    assert ids("_opportunity_id,deal,contact_id,x,y") == ("2", "3")


def test_a_missing_column_is_named_with_those_found_and_the_way_out() -> None:
    with pytest.raises(InputError) as caught:
        opened("id,name,contact_id")
    assert str(caught.value) == (
        "standard input has no column opportunity_id; found: id, name, contact_id; "
        "name them with --columns opportunity=NAME,contact=NAME, or by number: opportunity=#1,contact=#2"
    )
    with pytest.raises(InputError, match="no column opportunity_id and contact_id; found: a, b"):
        opened("a,b")


def test_found_columns_are_shown_on_one_harmless_line() -> None:
    with pytest.raises(InputError) as caught:
        opened('"a\nb",\x1b[31m,,' + "x" * 500 + ",c" * 100)
    message = str(caught.value)
    assert message.isprintable()
    assert "and 84 more" in message
    assert len(message) < 400


def test_named_columns_win_over_all_others() -> None:
    assert ids("opportunity_id,contact_id,A,b,c", {"opportunity": "A", "contact": "c"}) == ("3", "5")
    assert ids("opportunity_id,contact_id,A,b,c", {"contact": "B"}) == ("1", "4")


def test_an_exact_name_wins_over_a_similar_one() -> None:
    assert ids("Key,key,K E Y,contact_id,x", {"opportunity": "key"}) == ("2", "4")
    with pytest.raises(
        InputError,
        match=r"more than one column could be opportunity_id: Key \(column 1\), K E Y \(column 2\)",
    ):
        opened("Key,K E Y,contact_id", {"opportunity": "key"})


def test_a_named_column_that_is_not_there_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(InputError, match="no column Kontakt; found: opportunity_id, contact_id"):
        opened("opportunity_id,contact_id", {"contact": "Kontakt"})


def test_a_named_column_is_kept_even_if_it_begins_with_an_underscore() -> None:
    source = opened("_o,contact_id,_x,y,z", {"opportunity": "_o"})
    assert source.columns == ("_o", "contact_id", "y", "z")
    assert next(source.rows()).cells == ("1", "2", "4", "5")


def test_one_column_cannot_be_both() -> None:
    with pytest.raises(InputError, match="key cannot be both opportunity and contact"):
        opened("key,x", {"opportunity": "key", "contact": "KEY"})


@pytest.mark.parametrize(
    "columns", [{"deal": "x"}, {"opportunity": " "}, {"opportunity": "x", "contact": "x"}]
)
def test_a_mapping_that_can_never_be_right_is_a_usage_error(columns: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--columns"):
        opened("opportunity_id,contact_id", columns)


def test_other_columns_with_the_same_name_are_all_kept() -> None:
    source = opened("opportunity_id,contact_id,x,x,")
    assert source.columns == ("opportunity_id", "contact_id", "x", "x", "")
    assert next(source.rows()).cells == ("1", "2", "3", "4", "5")


def test_more_columns_than_a_spreadsheet_has_are_refused() -> None:
    with pytest.raises(InputError, match="has 16385 columns; 16384 is the most"):
        opened("x," * 16384 + "x")
