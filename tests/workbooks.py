"""Excel workbooks as bytes, in the least XML that is one."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from xml.sax.saxutils import escape, quoteattr

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
_KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml"'
    ' ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
)
_DATE_STYLE = '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
_HIDDEN = ' state="hidden"'
_DAY_ZERO = date(1899, 12, 30)

Value = str | float | bool | date | None


class Failed(str):
    """The word of an error that a formula ended with, such as ``#N/A``."""

    __slots__ = ()


def workbook(
    sheets: Mapping[str, Sequence[Sequence[Value]]],
    *,
    hidden: Sequence[str] = (),
    left: int = 0,
    more: str = "",
) -> bytes:
    """A workbook whose sheets have these rows; ``left`` columns before them are empty, ``more`` is below."""
    names = list(sheets)
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="r{n}"{_HIDDEN if name in hidden else ""}/>'
        for n, name in enumerate(names, 1)
    )
    linked = "".join(
        f'<Relationship Id="r{n}" Type="{_KIND}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(names) + 1)
    )
    parts = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": f'<Relationships xmlns="{_LINKS}"><Relationship Id="r"'
        f' Type="{_KIND}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_KIND}">'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_LINKS}">{linked}<Relationship Id="styles"'
        f' Type="{_KIND}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}">{_DATE_STYLE}</styleSheet>',
    }
    for n, name in enumerate(names, 1):
        rows = "".join(_row(line, values, left) for line, values in enumerate(sheets[name], 1) if values)
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}{more}</sheetData></worksheet>'
        )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in parts.items():
            archive.writestr(path, _HEAD + text)
    return file.getvalue()


def _row(line: int, values: Sequence[Value], left: int) -> str:
    cells = "".join(
        _cell(f"{chr(ord('A') + at)}{line}", value)
        for at, value in enumerate(values, left)
        if value is not None
    )
    return f'<row r="{line}">{cells}</row>'


def _cell(place: str, value: Value) -> str:
    if isinstance(value, Failed):
        return f'<c r="{place}" t="e"><v>{value}</v></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, date):
        return f'<c r="{place}" s="1"><v>{(value - _DAY_ZERO).days}</v></c>'
    return f'<c r="{place}"><v>{value!r}</v></c>'
