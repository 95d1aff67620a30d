"""What is read in the text of a sheet: how far it goes, and its errors."""

import io
import zipfile

import pytest

from tests.workbooks import workbook
from worker.sources import sheet_xml
from worker.sources.sheet_xml import Survey, survey

NOTHING = Survey()


def surveyed(more: str, sheet: str = "Pairs") -> Survey:
    return survey(io.BytesIO(workbook({"First": [("x",)], "Pairs": [(1, 2), (3, 4)]}, more=more)), sheet)


def rebuilt(data: bytes, change: "dict[str, str | None]") -> io.BytesIO:
    """The workbook with some parts put in place of others, or left out."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            text = change.get(name, old.read(name).decode())
            if text is not None:
                new.writestr(name, text)
    file.seek(0)
    return file


def test_rows_and_columns_go_as_far_as_there_is_a_value() -> None:
    assert surveyed("") == Survey(2, 26)
    assert surveyed('<row r="9" spans="1:2"><c s="1" r="AB9"><v>1</v></c><c r="ZZ9" s="1"/></row>') == Survey(
        9, 28
    )


def test_a_cell_may_say_that_it_is_further_down_than_its_row() -> None:
    assert surveyed('<row r="9"><c r="B77123456"><v>1</v></c></row>') == Survey(77_123_456, 26)


@pytest.mark.parametrize(
    "cell",
    [
        '<c r="B7" t="e"><v>#N/A</v></c>',
        '<c r="B7" s="3" t="e"><f>1/0</f><v>#N/A</v></c>',
        '<c t="e" s="3" r="B7"><f t="shared" si="0"/><v>#N/A</v></c>',
        '<x:c xmlns:x="y" r="B7" t="e"><x:f>VLOOKUP(1,A:B,2)</x:f><x:v>#N/A</x:v></x:c>',
    ],
)
def test_an_error_is_found_however_its_cell_is_written(cell: str) -> None:
    found = surveyed(f'<row r="7"><c r="A7" t="str"><v>e</v></c>{cell}</row>')

    assert found.errors == {6: {1: "#N/A"}}


def test_rows_are_found_whole_wherever_a_piece_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f'<row r="{n}"><c r="C{n}" t="e"><v>#REF!</v></c></row>' for n in range(3, 100))
    for size in (7, 50, 1000):
        monkeypatch.setattr(sheet_xml, "_PIECE", size)

        found = surveyed(rows)

        assert (found.rows, found.errors) == (99, {n - 1: {2: "#REF!"} for n in range(3, 100)})


def test_a_row_without_an_end_is_not_held_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet_xml, "_PIECE", 10)
    monkeypatch.setattr(sheet_xml, "_LONGEST_ROW", 2000)

    assert surveyed('<row r="3">' + "<c/>" * 5000).rows == 3


@pytest.mark.parametrize(
    "change",
    [
        {"xl/workbook.xml": None},
        {"xl/workbook.xml": "<workbook"},
        {"xl/workbook.xml": '<workbook><sheets><sheet name="Pairs"/></sheets></workbook>'},
        {"xl/workbook.xml": '<workbook><sheets><sheet name="Other"/></sheets></workbook>'},
        {"xl/_rels/workbook.xml.rels": "<Relationships/>"},
        {"xl/worksheets/sheet1.xml": None},
        {"xl/_rels/workbook.xml.rels": ""},
    ],
)
def test_of_a_workbook_that_is_built_otherwise_nothing_is_said(change: "dict[str, str | None]") -> None:
    data = workbook({"Pairs": [(1, 2)] * 5})

    assert survey(rebuilt(data, {}), "Pairs").rows == 5
    assert survey(rebuilt(data, change), "Pairs") == NOTHING
    assert survey(io.BytesIO(data[:100]), "Pairs") == NOTHING


def test_of_a_sheet_that_cannot_be_unpacked_nothing_is_said() -> None:
    data = bytearray(workbook({"Pairs": [(n, n * 7) for n in range(5000)]}))
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)

    assert not survey(io.BytesIO(data), "Pairs").errors


def test_a_part_may_be_named_from_the_root() -> None:
    data = workbook({"Pairs": [(1, 2)] * 5})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        links = archive.read("xl/_rels/workbook.xml.rels").decode()

    changed = links.replace('"worksheets/', '"/xl/worksheets/')
    assert survey(rebuilt(data, {"xl/_rels/workbook.xml.rels": changed}), "Pairs").rows == 5
