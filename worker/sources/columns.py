"""Judge which columns hold the ids and which are kept. Pure; judging the ids themselves is not done here."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from worker.errors import InputError, UsageError
from worker.sources.base import ColumnNames

_SHOWN_NAMES = 20
_SHOWN_LENGTH = 40
_INTEGER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_NUMBER = re.compile(r"#?([1-9][0-9]{0,4})")
_IGNORED_IN_NAMES = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True)
class Id:
    """One of the two ids, and the names its column may bear, without case, spaces, ``_`` and ``-``.

    Attributes:
        role: its key in :data:`ColumnNames`.
        name: the canonical column name.
        ranks: the names taken for it, the surest first: beside a ``Deal ID``, a ``Deal`` is its title.
    """

    role: str
    name: str
    ranks: tuple[frozenset[str], ...]


OPPORTUNITY = Id(
    "opportunity",
    "opportunity_id",
    (frozenset({"opportunityid"}), frozenset({"dealid"}), frozenset({"opportunity", "deal"})),
)
CONTACT = Id(
    "contact",
    "contact_id",
    (frozenset({"contactid"}), frozenset({"personid"}), frozenset({"contact"})),
)
ID_NAMES = (OPPORTUNITY.name, CONTACT.name)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a record.

    Attributes:
        width: cells of a whole record.
        kept: positions of the cells to keep.
        names: the names of those.
        opportunity: position of the opportunity id among all cells.
        contact: position of the contact id among all cells.
        rivals: positions of columns that go by a name of an id, too, each after that of the one chosen.
    """

    width: int
    kept: tuple[int, ...]
    names: tuple[str, ...]
    opportunity: int
    contact: int
    rivals: tuple[tuple[int, int], ...] = ()


def check_names(wanted: ColumnNames) -> None:
    """Refuse a mapping that can never be right.

    Raises:
        UsageError: an unknown role, an empty name, or the same name for both.
    """
    for role, name in wanted.items():
        if role not in {OPPORTUNITY.role, CONTACT.role}:
            raise UsageError(f"--columns knows opportunity and contact, not {shown([role])}")
        if not name.strip():
            raise UsageError(f"--columns names no column for {role}")
    if len(set(wanted.values())) < len(wanted):
        raise UsageError("--columns names the same column for opportunity and contact")


def locate(which: Id, names: Sequence[str], wanted: ColumnNames) -> list[int]:
    """Positions of the columns that best match an id: none, the one, or several equally good ones."""
    if which.role in wanted:
        name = wanted[which.role]
        exact = [at for at, found in enumerate(names) if found == name]
        return exact or _matching(names, {_plain(name)} - {""})
    return next(filter(None, _ranked(which, names)), [])


def rivals(which: Id, names: Sequence[str], chosen: int) -> list[int]:
    """Positions of the columns, other than the chosen one, that go by a name of an id, too.

    Beside a ``Deal ID`` a ``Deal`` is its title, unless it holds an id of its own.
    """
    return [at for rank in _ranked(which, names) for at in rank if at != chosen]


def is_blank(cells: Iterable[str]) -> bool:
    """Whether there is no text in any of these cells."""
    return not any(map(str.strip, cells))


def contradict(chosen: str, rival: str) -> bool:
    """Whether two cells are ids, and not the same."""
    one, other = chosen.strip(), rival.strip()
    both = one.isascii() and one.isdigit() and other.isascii() and other.isdigit()
    return both and one.lstrip("0") != other.lstrip("0")


def contradiction(cells: Sequence[str], layout: Layout) -> tuple[int, int] | None:
    """The positions of two cells that hold different ids of the same kind; None if there are none."""
    for at, rival in layout.rivals:
        if max(at, rival) < len(cells) and contradict(cells[at], cells[rival]):
            return at, rival
    return None


def refuse_contradiction(cells: Sequence[str], layout: Layout, header: Sequence[str], label: str) -> None:
    """Refuse a table whose first row has two columns that are both the same id: nobody has said which.

    Raises:
        InputError: it has.
    """
    found = contradiction(cells, layout)
    if found is not None:
        which = OPPORTUNITY if found[0] == layout.opportunity else CONTACT
        raise InputError(ambiguous(which, header, found, label))


def differing(found: tuple[int, int], header: Sequence[str]) -> str:
    """What is wrong with a row that has such two."""
    one, other = ([header[at]] for at in found)
    return f"{shown(one)} and {shown(other)} differ"


def _ranked(which: Id, names: Sequence[str]) -> Iterator[list[int]]:
    offered = ["" if dropped(name) else name for name in names]
    return (_matching(offered, rank) for rank in which.ranks)


def number_of(name: str) -> int | None:
    """The column that is meant by its number, from 1 on: ``#3``, or ``3`` where no column has that name."""
    found = _NUMBER.fullmatch(name)
    return int(found[1]) if found else None


def dropped(name: str) -> bool:
    """Whether a column is one of those that we write ourselves, so that an output file is valid input."""
    return name.lstrip().startswith("_")


def lay_out(header: Sequence[str], wanted: ColumnNames, label: str) -> Layout:
    """Judge a header.

    Raises:
        InputError: a needed column is missing, or more than one could be it.
    """
    places: list[int] = []
    missing: list[str] = []
    for which in (OPPORTUNITY, CONTACT):
        match _place(which, header, wanted):
            case []:
                missing.append(wanted.get(which.role, which.name))
            case [place]:
                places.append(place)
            case several:
                raise InputError(ambiguous(which, header, several, label))
    if missing:
        lacking = " and ".join(shown([name]) for name in missing)
        raise InputError(
            f"{label} has no column {lacking}; found: {shown(header)};"
            " name them with --columns opportunity=NAME,contact=NAME, or by number: opportunity=#1,contact=#2"
        )
    opportunity, contact = places
    if opportunity == contact:
        raise InputError(f"{label}: {shown([header[contact]])} cannot be both opportunity and contact")
    kept = tuple(at for at, name in enumerate(header) if at in places or not dropped(name))
    others = [
        (place, at)
        for which, place in zip((OPPORTUNITY, CONTACT), places, strict=True)
        for at in (() if which.role in wanted else rivals(which, header, place))
    ]
    names = tuple(header[at] for at in kept)
    return Layout(len(header), kept, names, opportunity, contact, tuple(others))


def headerless(first: Sequence[str], wanted: ColumnNames) -> Layout | None:
    """The layout of a file whose first row is data; None if that row is a header.

    It is data if it has two cells, or the ids are chosen by their numbers, and both ids are whole numbers.
    """
    if not wanted:
        places = [1, 2] if len(first) == len(ID_NAMES) else []
    elif any(name in first for name in wanted.values()):
        return None  # named so by a header, which may well be of numbers: of years, say
    else:
        numbers = [number_of(wanted.get(which.role, "")) for which in (OPPORTUNITY, CONTACT)]
        places = [number for number in numbers if number is not None]
    if len(set(places)) < len(ID_NAMES) or max(places) > len(first):
        return None
    opportunity, contact = (number - 1 for number in places)
    if not (_INTEGER.fullmatch(first[opportunity]) and _INTEGER.fullmatch(first[contact])):
        return None
    names = [f"column_{number}" for number in range(1, len(first) + 1)]
    names[opportunity], names[contact] = ID_NAMES
    return Layout(len(first), tuple(range(len(first))), tuple(names), opportunity, contact)


def ambiguous(which: Id, header: Sequence[str], places: Sequence[int], label: str) -> str:
    """That several columns could be an id, and how to choose one, whatever they are called."""
    named = ", ".join(f"{shown([header[at]])} (column {at + 1})" for at in places[:_SHOWN_NAMES])
    return (
        f"{label}: more than one column could be {which.name}: {named};"
        f" choose one by its number, such as --columns {which.role}=#{places[0] + 1}"
    )


def _place(which: Id, header: Sequence[str], wanted: ColumnNames) -> list[int]:
    name = wanted.get(which.role, "")
    number = number_of(name)
    found = [] if name.startswith("#") and number is not None else locate(which, header, wanted)
    if found or number is None:
        return found
    return [number - 1] if number <= len(header) else []


def shown(names: Sequence[str]) -> str:
    """Names for a message: on one line, harmless to a terminal, not too long."""
    short = [name if len(name) <= _SHOWN_LENGTH else name[: _SHOWN_LENGTH - 3] + "..." for name in names]
    text = ", ".join(name if name and name.isprintable() else ascii(name) for name in short[:_SHOWN_NAMES])
    return text + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")


def _matching(names: Sequence[str], accepted: frozenset[str] | set[str]) -> list[int]:
    return [at for at, name in enumerate(names) if _plain(name) in accepted]


def _plain(name: str) -> str:
    return _IGNORED_IN_NAMES.sub("", name).casefold()
