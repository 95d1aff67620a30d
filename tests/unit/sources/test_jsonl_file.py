import io
import json
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InputError
from worker.models import Row
from worker.sources import Source, open_source
from worker.sources.jsonl_file import MAX_COLUMNS, MAX_KEY_LENGTH
from worker.sources.lines import MAX_LINE


def opened(*lines: str | bytes, columns: Mapping[str, str] | None = None) -> Source:
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in ("{}", *lines))
    return open_source("-", columns=columns, delimiter=None, stdin=io.BytesIO(data))


def read(*lines: str | bytes, columns: Mapping[str, str] | None = None) -> list[Row]:
    """The rows of these lines; an empty object before them shows that it is JSONL."""
    return list(opened(*lines, columns=columns).rows())[1:]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12", "12"),
        ('" 12 "', " 12 "),
        ("-0", "0"),
        ("1.0", "1.0"),
        ("1e2", "1e2"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
        ("null", ""),
        ('{"a": [1, 2.50, "\u00fc"]}', '{"a":[1,2.5,"\u00fc"]}'),
    ],
)
def test_a_value_is_handed_over_as_its_text(value: str, text: str) -> None:
    [row] = read(f'{{"opportunity_id": {value}, "contact_id": 1}}')
    assert (row.opportunity, row.contact, row.cells, row.fault) == (text, "1", (text, "1"), "")


def test_ids_come_first_and_columns_grow_as_keys_appear() -> None:
    source = opened(
        '{"note": "a", "Contact": 1, "_x": 0, "deal": 2}',
        '{"more": 3, "deal": 4, "Contact": 5, "note": null}',
    )
    rows = source.rows()
    seen = [(row.cells, source.columns) for row in rows]
    assert seen == [
        ((), ()),
        (("2", "1", "a"), ("deal", "Contact", "note")),
        (("4", "5", "", "3"), ("deal", "Contact", "note", "more")),
    ]


def test_named_keys_are_used() -> None:
    names = {"opportunity": "O", "contact": "_c"}
    [row] = read('{"o": 1, "_c": 2, "opportunity_id": 3, "contact_id": 4}', columns=names)
    assert (row.opportunity, row.contact) == ("1", "2")
    assert row.cells == ("1", "2", "3", "4")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"contact_id": 1}', "no opportunity_id"),
        ('{"opportunity_id": 1}', "no contact_id"),
        ("{}", "no opportunity_id and no contact_id"),
        ('{"deal": 1, "opportunity": 1, "contact_id": 2}', "more than one opportunity_id"),
        ("[1, 2]", "not a JSON object"),
        ("7", "not a JSON object"),
        ('{"opportunity_id": 1,', "not valid JSON"),
        ('{"opportunity_id": NaN}', "not valid JSON"),
        ('{"a": 1.5, "opportunity_id": ' + "9" * 5000 + "}", "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        ("[" * 100_000, "JSON nested too deeply"),
        ('{"a": "' + "x" * MAX_LINE + '"}', "line longer than 1 MiB"),
    ],
)
def test_a_faulty_line_is_one_row(line: str | bytes, fault: str) -> None:
    rows = read(line, '{"opportunity_id": 1, "contact_id": 2}')
    assert [row.fault for row in rows] == [fault, ""]
    assert [(row.number, row.line) for row in rows] == [(2, 2), (3, 3)]
    assert None in {rows[0].opportunity, rows[0].contact}


def test_nesting_that_only_some_pythons_can_read_is_one_row_in_all_of_them() -> None:
    rows = read('{"a": ' + "[" * 1000 + "]" * 1000 + "}", '{"opportunity_id": 1, "contact_id": 2}')
    assert rows[0].fault in {"JSON nested too deeply", "no opportunity_id and no contact_id"}
    assert [row.fault for row in rows[1:]] == [""]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (r'"cut \ud83d"', r"cut \ud83d"),
        (r'"\uDC00 and \ud83d\ude00"', "\\uDC00 and \U0001f600"),
        (r'"\\ud83d is no escape, \ud83d is"', r"\ud83d is no escape, \ud83d is"),
        (r'{"deep": ["\ud83d", 1.50]}', r'{"deep":["\\ud83d",1.5]}'),
    ],
)
def test_half_an_emoji_is_json_and_is_kept_as_it_is_written(value: str, cell: str) -> None:
    [row] = read(f'{{"opportunity_id": 11, "contact_id": 21, "note": {value}}}')
    assert (row.opportunity, row.contact, row.fault) == ("11", "21", "")
    assert row.cells[2] == cell
    assert row.cells[2].encode()


@pytest.mark.parametrize(
    "line",
    [
        '{"opportunity_id": null, "contact_id": null}',
        '{"opportunity_id": " ", "contact_id": "", "note": null}',
        '{"contact_id": "\\u00a0"}',
    ],
)
def test_an_object_without_any_text_is_no_row_and_is_counted(line: str) -> None:
    source = opened(
        '{"opportunity_id": 1, "contact_id": 2}', line, "", '{"opportunity_id": 3, "contact_id": 4}'
    )
    assert [(row.number, row.line) for row in source.rows()] == [(1, 1), (2, 2), (3, 5)]
    assert source.blank == 2


def test_keys_that_hold_different_ids_make_a_row_invalid() -> None:
    first, second = read(
        '{"deal": "its title", "Deal ID": 5, "contact_id": 6}',
        '{"deal": 4, "Deal ID": 5, "contact_id": 6, "x": 1}',
    )
    assert (first.opportunity, first.fault) == ("5", "")
    assert (second.opportunity, second.contact, second.fault) == (None, None, "Deal ID and deal differ")
    [chosen] = read('{"deal": 4, "Deal ID": 5, "contact_id": 6}', columns={"opportunity": "deal"})
    assert (chosen.opportunity, chosen.fault) == ("4", "")


def test_the_text_of_a_faulty_line_is_kept_in_the_first_cell() -> None:
    rows = read('{"opportunity_id": 1, "contact_id": 2}', "x" * 600)
    assert rows[1].cells == ("x" * 500, "")


def test_before_any_key_is_known_it_gets_a_column_of_its_own() -> None:
    source = opened("oops", '{"opportunity_id": 1, "contact_id": 2}')
    _, faulty, good = source.rows()
    assert (faulty.cells, good.cells) == (("oops",), ("", "1", "2"))
    assert source.columns == ("raw", "opportunity_id", "contact_id")


def test_hostile_keys_do_not_grow_the_columns_without_bound_and_ids_are_still_read() -> None:
    source = opened(
        *(f'{{"key{number}": 1}}' for number in range(300)),
        f'{{"{"k" * (MAX_KEY_LENGTH + 1)}": 1, "opportunity_id": 1, "contact_id": 2}}',
    )
    last = list(source.rows())[-1]
    assert len(source.columns) == MAX_COLUMNS
    assert (last.opportunity, last.contact, last.fault) == ("1", "2", "")
    assert len(last.cells) == MAX_COLUMNS


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"opportunity_id": 1, "contact_id": 2, "opportunity_id": 3}', "opportunity_id stands twice"),
        ('{"contact_id": 2, "opportunity_id": 1, "contact_id": null}', "contact_id stands twice"),
        ('{"opportunity_id": 1, "contact_id": 2, "contact_id": "2"}', "contact_id stands twice"),
        ('{"deal": 1, "contact": 2, "note": 0.5, "deal": 3}', "deal stands twice"),
    ],
)
def test_an_id_that_stands_twice_and_differs_is_a_fault(line: str, fault: str) -> None:
    [row] = read(line)
    assert (row.opportunity, row.contact, row.fault) == (None, None, fault)


@pytest.mark.parametrize(
    "line",
    [
        '{"opportunity_id": 1, "contact_id": 2, "opportunity_id": 1}',
        '{"opportunity_id": 1, "contact_id": 2, "note": 1, "note": 2}',
        '{"opportunity_id": 1, "contact_id": 2, "other": {"contact_id": 3, "opportunity_id": 4}}',
        '{"opportunity_id": 1, "contact_id": 2, "note": "contact_id", "key": "opportunity_id"}',
    ],
)
def test_what_says_the_same_twice_or_stands_deeper_is_none(line: str) -> None:
    [row] = read(line)
    assert (row.opportunity, row.contact, row.fault) == ("1", "2", "")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON_VALUES)
def test_any_value_comes_back_from_its_cell(value: object) -> None:
    [row] = read(json.dumps({"opportunity_id": 1, "contact_id": 2, "v": value}))
    cell = row.cells[2]
    if value is None:
        assert not cell
    elif isinstance(value, str):
        assert cell == value
    else:
        assert json.loads(cell) == value


@given(
    st.lists(st.binary(max_size=20) | JSON_VALUES.map(lambda value: json.dumps(value).encode()), max_size=20)
)
def test_hostile_lines_are_rows_or_a_refusal(lines: list[bytes]) -> None:
    try:
        rows = list(opened(*lines).rows())
    except InputError as error:
        assert str(error).isprintable()  # noqa: PT017 - only some of the inputs are refused
        return
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert all(earlier.line < later.line for earlier, later in pairwise(rows))
