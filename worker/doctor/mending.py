"""Mend a cell, where there is one thing only that it can mean.

A cell is changed if what comes of it is an id, and else left alone: what a spreadsheet has rounded
(``1.23E+05``), or what is no id of any portal, is nothing that a rule may guess at.
"""

import re
from collections.abc import Callable, Mapping
from unicodedata import decimal

from worker.models import MAX_ID

_UNSEEN = re.compile(
    "[\0-\x08\x0e-\x1f\x7f\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
"""What takes no room: control characters, soft hyphens, joiners, marks of direction, a byte order mark that
got into the text."""

_QUOTED = re.compile(r"""(["'«»‘-‟‹›])([^"'«»‘-‟‹›]*)(["'«»‘-‟‹›])""")  # noqa: RUF001 - they are meant
_PAIRS = {'""', "''", "“”", "„“", "„”", "””", "‘’", "‚‘", "‚’", "«»", "»«", "‹›", "›‹"}  # noqa: RUF001 - same
_FORMULA = re.compile(r'="(.*)"', re.DOTALL)
# Three zeros after one to three digits may be thousands: 1.000 is none of ours to read.
_WHOLE = re.compile(r"(\d+)[.,]0{1,2}|(\d{4,})[.,]0+", re.ASCII)
_THOUSANDS = re.compile("[0-9]{1,3}(?:([ .,'\u00a0\u2009\u202f\u2019])[0-9]{3})(?:\\1[0-9]{3})*")
_NO_DIGIT = re.compile(r"\D", re.ASCII)
_LONGEST = 100
"""Characters of a cell that is looked at; an id that is written in more is written in jest."""


def is_id(text: str) -> bool:
    """Whether a cell is an id: 1 to 2147483647 in ASCII digits, with spaces around it or zeros before."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit()):
        return False
    significant = digits.lstrip("0")
    return 0 < len(significant) <= len(str(MAX_ID)) and int(significant) <= MAX_ID


def visible(text: str) -> str:
    """The text without what cannot be seen in it, and without spaces of any kind around it."""
    return _UNSEEN.sub("", text).strip()


def mended(text: str, *, thousands: bool = False) -> tuple[str, tuple[str, ...]]:
    """What an id cell means, and the rules that say so; the cell as it is, and none, if they do not apply.

    Args:
        text: the cell.
        thousands: ``1 234`` and ``1.234`` are numbers of four digits, and no other kind.
    """
    if len(text) > _LONGEST or (text.isascii() and text.strip(" ").isdigit()):
        return text, ()
    now = text
    applied: list[str] = []
    rules = {**_RULES, "thousands": _joined} if thousands else _RULES
    while True:
        for name, rule in rules.items():
            after = rule(now)
            if after != now:
                now = after
                applied.append(name)
                break
        else:
            return (now.strip(), tuple(applied)) if applied and is_id(now) else (text, ())


def recoded(text: str, encoding: str) -> str | None:
    """A text with bytes that are no UTF-8, read in a code page instead; None if it is none of that either."""
    try:
        return text.encode("utf-8", "surrogateescape").decode(encoding)
    except UnicodeError:
        return None


def _seen(text: str) -> str:
    # Plain spaces around an id are no fault.
    return text if text.isascii() and not _UNSEEN.search(text) else visible(text)


def _ascii_digits(text: str) -> str:
    bare = text.strip()
    if bare.isascii() or not bare.isdecimal():
        return text
    # Full-width ones, say: digits of any script stand for one number each.
    return "".join(str(decimal(one)) for one in bare)


def _unquoted(text: str) -> str:
    found = _QUOTED.fullmatch(text.strip())
    return found[2] if found and found[1] + found[3] in _PAIRS else text


def _formula(text: str) -> str:
    found = _FORMULA.fullmatch(text.strip())
    return found[1] if found else text


def _without_apostrophe(text: str) -> str:
    bare = text.strip()
    return bare[1:] if bare.startswith("'") else text


def _whole(text: str) -> str:
    found = _WHOLE.fullmatch(text.strip())
    return (found[1] or found[2]) if found else text


def _joined(text: str) -> str:
    bare = text.strip()
    return _NO_DIGIT.sub("", bare) if _THOUSANDS.fullmatch(bare) else text


_RULES: Mapping[str, Callable[[str], str]] = {
    "invisible": _seen,
    "digits": _ascii_digits,
    "formula": _formula,
    "quotes": _unquoted,
    "apostrophe": _without_apostrophe,
    "decimal": _whole,
}
"""Each gives what it is given back unless it applies, and else something shorter, or no more its own."""
