"""What is said of a cell that should be an id, and of a row that is too long."""

import pytest

from worker.doctor import other_column, suspect, swallowed


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("1.23E+05", "scientific", "digits are gone"),
        ("1,23e5", "scientific", "digits are gone"),
        ("1 E+05", "scientific", "digits are gone"),
        ("12.0", "mendable", "makes 12 of it"),
        ("1 234", "thousands", "if it is 1234: check --fix OUT.csv --fix-also thousands"),
        ("1.000", "thousands", "if it is 1000"),
        ("#N/A", "error", "a formula of the sheet has failed"),
        (" #DIV/0!", "error", "a formula of the sheet has failed"),
        ("5.11.2024", "date", "a date"),
        ("11/5/24", "date", "a date"),
        ("5.11.", "date", "a date"),
        ("2024-11-05 10:30:00", "date", "a date"),
        ("2024-11-05T10:30:00Z", "date", "a date"),
        ("5-Nov", "date", "a date"),
        ("Nov 5, 2024", "date", "a date"),
        ("5. März 2024", "date", "a date"),
        ("\uff11\uff12", "mendable", "makes 12 of it"),
        ("2;3;4", "several", "several numbers in one cell"),
        ("6, 7", "several", "a row of its own"),
        ("12 34", "several", "several numbers"),
        ("NULL", "nothing", "no id"),
        ("n/a", "nothing", "no id"),
        ("-", "nothing", "no id"),
        ("https://portal.example/Products/CRM/Deals.aspx?id=12", "address", "the number at its end"),
        ("#14", "numbered", "write only the number"),
        ("=12", "calculated", "a formula"),
        ("=A1+1", "calculated", "a formula"),
    ],
)
def test_what_has_become_of_an_id_is_told_with_what_to_do(text: str, kind: str, word: str) -> None:
    found = suspect(text)

    assert found is not None
    assert found.kind == kind
    assert word in found.advice


@pytest.mark.parametrize(
    "text", ["", "12", " 12 ", "oops", "x1", "12-7", "1.5", "Marching 5", "0", "1" * 500]
)
def test_of_what_is_an_id_or_anything_else_nothing_is_said(text: str) -> None:
    assert suspect(text) is None


def test_a_number_in_another_column_is_pointed_at_where_a_word_is_in_its_place() -> None:
    found = other_column("contact", "Smith", [("Note", "x"), ("No. of it", " 12 ")])

    assert found is not None
    assert found == (
        "swapped",
        "'No. of it' has a number here: if that is the id, --columns 'contact=No. of it'",
    )


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("", [("a", "12")]),
        ("x1", [("a", "12")]),
        ("Smith", []),
        ("Smith", [("a", "x")]),
        ("Smith", [("a", "1"), ("b", "2")]),
    ],
)
def test_several_numbers_or_none_point_nowhere(text: str, others: list[tuple[str, str]]) -> None:
    assert other_column("contact", text, others) is None


def test_lines_in_a_cell_that_look_like_rows_are_counted_and_the_first_is_shown() -> None:
    found = swallowed('a\r\n1;2;b\rdear;all\n"3";4.0', ";", (0, 1))

    assert found is not None
    first, kind, advice = found
    assert (first, kind) == ("1;2;b", "swallowed")
    assert advice.startswith("2 lines look like rows, in a cell that a quote opens")
    assert swallowed("a\n1;2", ";", (0, 1)) == (
        "1;2",
        "swallowed",
        "1 line looks like a row, in a cell that a quote opens and closes too late: mend the quotes",
    )


@pytest.mark.parametrize("cell", ["", "1;2", "1;2\nx", "a\n1;x", "a\n1"])
def test_a_text_of_several_lines_is_a_text(cell: str) -> None:
    assert swallowed(cell, ";", (0, 1)) is None


@pytest.mark.parametrize("text", ["12.0", "1 234"])
def test_no_mending_is_promised_of_an_input_that_is_not_mended(text: str) -> None:
    found = suspect(text, can_fix=False)

    assert found is not None
    assert "--fix" not in found.advice
    assert text.replace(" ", "").removesuffix(".0") in found.advice
