"""Tell what has become of a cell or a row that is no pair or looks odd, and what to do about it."""

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from worker.doctor.mending import is_id, mended

_SHORTENED = re.compile(r"\s*[+-]?\d+(?:[.,]\d+)?\s?[eE]\s?[+-]?\d{1,3}\s*", re.ASCII)
_MONTH = (
    r"(?:jan(?:uary?)?|feb(?:ruary?)?|m[aä]r(?:ch|z)?|apr(?:il)?|ma[iy]|jun[ei]?|jul[yi]?|aug(?:ust)?"
    r"|sep(?:t(?:ember)?)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)\.?"
)
_DATE = re.compile(
    r"\s*(?:\d{1,4}[./-]\d{1,2}(?:[./-]\d{1,4}|\.)"
    rf"|\d{{1,2}}[ .-]+{_MONTH}(?:[ .-]+\d{{2,4}})?|{_MONTH}[ .-]+\d{{1,4}}(?:,? \d{{4}})?)"
    r"(?:[T ]\d{1,2}:\d\d\S*)?\s*",
    re.IGNORECASE,
)
_BREAK = re.compile(r"\r\n|\r|\n")

_ERROR = re.compile(r"\s*#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!)\s*")

_SEVERAL = re.compile(r"\s*\d+(?:(?:\s*[;|&]\s*|\s*,\s+|\s+)\d+)+\s*", re.ASCII)
_NOTHING = re.compile(r"\s*(?:null|none|nil|n/?a|nan|undefined|-+|\?+)\s*", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*https?://\S+\s*", re.IGNORECASE)
_NUMBERED = re.compile(r"\s*(?:#|№|no\.|nr\.)\s?\d+\s*", re.IGNORECASE | re.ASCII)
_CALCULATED = re.compile(r"\s*=.*", re.DOTALL)

_LONGEST = 100
"""Characters of a cell that is looked at."""


class Finding(NamedTuple):
    """Something suspicious.

    Attributes:
        kind: a stable word for what it is.
        advice: what to do about it.
    """

    kind: str
    advice: str


_FORMS = (
    (
        _SHORTENED,
        Finding(
            "scientific",
            "a spreadsheet has rounded it, its digits are gone: take them from where it came from",
        ),
    ),
    (_ERROR, Finding("error", "a formula of the sheet has failed there: mend it in the sheet")),
    (
        _DATE,
        Finding("date", "a date: if a spreadsheet made it of an id, take that from where it came from"),
    ),
    (
        _SEVERAL,
        Finding("several", "several numbers in one cell: if they are ids, give each a row of its own"),
    ),
    (_NOTHING, Finding("nothing", "it says that there is no id: fill it in, or leave the row out")),
    (_ADDRESS, Finding("address", "an address: the id is the number at its end, write only that")),
    (_NUMBERED, Finding("numbered", "if that is the id, write only the number")),
    (_CALCULATED, Finding("calculated", "a formula: write what comes of it in its place")),
)

EMPTY_IN_SHEET = Finding(
    "empty_cell",
    "of merged cells only the first has the text, and a formula has none before the spreadsheet has"
    " calculated it: fill it in there, and save",
)
HEADER_AGAIN = Finding(
    "header", "the header once more, as of files that were put together: check --fix OUT.csv leaves it out"
)


def suspect(text: str, *, can_fix: bool = True) -> Finding | None:
    """What a cell is that should be an id and is none; None if it is not known how that came about.

    Args:
        text: of the cell.
        can_fix: whether ``check --fix`` takes inputs of this form.
    """
    if len(text) > _LONGEST or is_id(text):
        return None
    after, _ = mended(text)
    if after != text:
        advice = f"check --fix OUT.csv makes {after} of it" if can_fix else f"write {after} in its place"
        return Finding("mendable", advice)
    after, _ = mended(text, thousands=True)
    if after != text:
        how = "check --fix OUT.csv --fix-also thousands makes that of it" if can_fix else "write that"
        return Finding("thousands", f"if it is {after}: {how}")
    return next((finding for form, finding in _FORMS if form.fullmatch(text)), None)


def other_column(role: str, text: str, others: Sequence[tuple[str, str]]) -> Finding | None:
    """Whether an id seems to stand in another column: the one that has words in its place.

    Args:
        role: of the id that is missing, ``opportunity`` or ``contact``.
        text: what stands in its place.
        others: name and text of the cells that are not meant to be ids.
    """
    if not text.strip() or any(map(str.isdigit, text)):
        return None
    ids = [name for name, other in others if is_id(other)]
    if len(ids) != 1:
        return None
    choice = shlex.quote(f"{role}={ids[0]}")
    return Finding("swapped", f"{ids[0]!r} has a number here: if that is the id, --columns {choice}")


def swallowed(cell: str, delimiter: str, places: tuple[int, int]) -> tuple[str, str, str] | None:
    """Whether a cell of several lines has rows in it, which a quote that is closed too late has swallowed.

    Args:
        cell: of any column.
        delimiter: of the file.
        places: where a row has its two ids.

    Returns:
        The first of these lines, and a :class:`Finding` about them.
    """
    rows = [line for line in _BREAK.split(cell)[1:] if _is_row(line, delimiter, places)]
    if not rows:
        return None
    what = "line looks like a row" if len(rows) == 1 else "lines look like rows"
    advice = f"{len(rows):,} {what}, in a cell that a quote opens and closes too late: mend the quotes"
    return rows[0], "swallowed", advice


def _is_row(line: str, delimiter: str, places: tuple[int, int]) -> bool:
    cells = line.split(delimiter)
    return len(cells) > max(places) and all(is_id(mended(cells[at].strip('"'))[0]) for at in places)
