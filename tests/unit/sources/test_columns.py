import io
from collections.abc import Mapping

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
    assert ids("deal,opportunity_id,contact,contact_id,x") == ("2", "4")


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
        "name them with --columns opportunity=NAME,contact=NAME"
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


def test_json_in_a_csv_is_recognised() -> None:
    with pytest.raises(InputError, match=r"looks like JSON; .* must be named \.jsonl"):
        opened('[{"opportunity_id": 1}]')


def test_named_columns_win_over_all_others() -> None:
    assert ids("opportunity_id,contact_id,A,b,c", {"opportunity": "A", "contact": "c"}) == ("3", "5")
    assert ids("opportunity_id,contact_id,A,b,c", {"contact": "B"}) == ("1", "4")


def test_an_exact_name_wins_over_a_similar_one() -> None:
    assert ids("Key,key,K E Y,contact_id,x", {"opportunity": "key"}) == ("2", "4")
    with pytest.raises(InputError, match="more than one column could be opportunity_id: Key, K E Y"):
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
        opened("," * 16384)
