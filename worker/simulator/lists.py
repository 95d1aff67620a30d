"""Filter, sort and cut lists as the generic list filter does (contract 5.2 to 5.5). Ids in, ids out."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

_MAX_PAGE = 1000
_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part.lower() in text.lower(),
    "startswith": lambda text, part: text.lower().startswith(part.lower()),
    "endswith": lambda text, part: text.lower().endswith(part.lower()),
    "equals": lambda text, part: text.lower() == part.lower(),
    "present": lambda text, part: part in text,
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,7})?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)

View = Callable[[int], Mapping[str, Any]]
"""Gives the object of an id; it is asked only where the id alone does not decide."""


class Query:
    """The query string; several values come as ``a=x&a=y``, ``a[]=x`` or ``a=x,y`` (contract 5.3)."""

    def __init__(self, text: str) -> None:
        self._pairs = parse_qsl(text, keep_blank_values=True) if text else []

    def values(self, name: str) -> list[str]:
        """Give all values of a name. Only a lone value, and one without brackets, is split at commas."""
        bare = [value for key, value in self._pairs if key.lower() == name.lower()]
        listed = [value for key, value in self._pairs if key.lower() == f"{name.lower()}[]"]
        return bare[0].split(",") if len(bare) == 1 and not listed else bare + listed

    def text(self, name: str) -> str:
        """Give the first value of a name as it stands, or an empty text."""
        return next((value for key, value in self._pairs if key.lower() == name.lower()), "")

    def number(self, name: str, default: int) -> int:
        """Give a value that is a plain number below two thousand million, else the default."""
        value = self.text(name)
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else default  # noqa: PLR2004 - digits

    @property
    def compiled(self) -> tuple[str, ...] | None:
        """What the portal compiles code for, and keeps: the members to filter and sort by (contract 5.5)."""
        if not self._pairs:
            return None
        by, order = self.text("filterBy").lower(), self.text("sortBy").lower()
        return (by, self.text("filterOp").lower(), order) if by or order else None

    @property
    def has_bad_date(self) -> bool:
        """Whether ``updatedSince`` is no date, which the portal trips over before all else (contract 3.4)."""
        text = self.text("updatedSince") if self._pairs else ""
        return bool(text) and not _DATE.fullmatch(text)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The members asked for, in lower case; none means all. A space is part of a name (contract 5.6)."""
        return frozenset(name.lower() for name in self.values("fields") if name)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and what the envelope says about it."""

    ids: list[int]
    start: int
    following: int | None
    total: int | None


def choose(ids: list[int], query: Query, view: View) -> list[int]:
    """Apply ``type``, ``filterBy`` and ``sortBy``."""
    kind = query.text("type")
    if kind in {"person", "company"}:
        ids = [one for one in ids if view(one)["isCompany"] is (kind == "company")]
    if by := query.text("filterBy").lower():
        compare = _OPERATORS.get(query.text("filterOp").lower(), _OPERATORS["equals"])
        # Nothing to compare with filters nothing (contract 10.5).
        wanted = [value for value in query.values("filterValue") if value]
        if wanted:
            ids = [one for one in ids if any(compare(_text(one, by, view), value) for value in wanted)]
    if names := [name.lower() for name in query.values("sortBy") if name]:
        # Anything but this exact word means ascending (contract 5.5).
        backwards = query.text("sortOrder") == "descending"
        ids = sorted(
            ids, key=lambda one: [_rank(_member(one, name, view)) for name in names], reverse=backwards
        )
    return ids


def cut_in_memory(ids: list[int], query: Query, *, most: int = _MAX_PAGE) -> Page:
    """Cut a page out of a loaded list: 1000 at most, but ``count=0`` is no limit (contract 5.2, 10.5)."""
    count = min(query.number("count", most), most)
    total = len(ids) if len(ids) > count else None
    return _page(ids, query.number("startIndex", 0), count or len(ids), total)


def cut_in_sql(ids: list[int], query: Query) -> Page:
    """Cut a page as the filter routes do: ``total`` always, ``count=0`` is one row (contract 5.2, 5.8)."""
    count = min(query.number("count", _MAX_PAGE), _MAX_PAGE) or 1
    return _page(ids, query.number("startIndex", 0), count, len(ids))


def _page(ids: list[int], start: int, count: int, total: int | None) -> Page:
    # One more than it should be: who follows it skips an item (contract 5.4).
    following = start + count + 1 if start + count < len(ids) else None
    return Page(ids[start : start + count], start, following, total)


def _member(one: int, name: str, view: View) -> object:
    if name == "id":
        return one
    return next((value for key, value in view(one).items() if key.lower() == name), None)


def _text(one: int, name: str, view: View) -> str:
    value = _member(one, name, view)
    return str(value) if value is not None else ""


def _rank(value: object) -> tuple[int, float, str]:
    match value:
        case bool() | int() | float():
            return 1, float(value), ""
        case str():
            return 2, 0.0, value.lower()
    return 0, 0.0, ""
