"""Judge which columns hold the ids and which are kept. Pure; judging the ids themselves is not done here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from worker.errors import InputError, UsageError
from worker.sources.base import ColumnNames

_SHOWN_NAMES = 20
_SHOWN_LENGTH = 40
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
    """

    width: int
    kept: tuple[int, ...]
    names: tuple[str, ...]
    opportunity: int
    contact: int


HEADERLESS = Layout(2, (0, 1), ID_NAMES, 0, 1)


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
    offered = ["" if dropped(name) else name for name in names]
    return next(filter(None, (_matching(offered, rank) for rank in which.ranks)), [])


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
        match locate(which, header, wanted):
            case []:
                missing.append(wanted.get(which.role, which.name))
            case [place]:
                places.append(place)
            case several:
                raise InputError(
                    f"{label}: more than one column could be {which.name}: "
                    f"{shown([header[at] for at in several])}; choose with --columns {which.role}=NAME"
                )
    if missing:
        raise InputError(_missing(missing, header, label))
    opportunity, contact = places
    if opportunity == contact:
        raise InputError(f"{label}: {shown([header[contact]])} cannot be both opportunity and contact")
    kept = tuple(at for at, name in enumerate(header) if at in places or not dropped(name))
    return Layout(len(header), kept, tuple(header[at] for at in kept), opportunity, contact)


def shown(names: Sequence[str]) -> str:
    """Names for a message: on one line, harmless to a terminal, not too long."""
    short = [name if len(name) <= _SHOWN_LENGTH else name[: _SHOWN_LENGTH - 3] + "..." for name in names]
    text = ", ".join(name if name and name.isprintable() else ascii(name) for name in short[:_SHOWN_NAMES])
    return text + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")


def _missing(missing: Sequence[str], header: Sequence[str], label: str) -> str:
    if header and header[0].lstrip().startswith(("{", "[")):
        return f"{label} looks like JSON; a file with a JSON object per line must be named .jsonl or .ndjson"
    return (
        f"{label} has no column {' and '.join(shown([name]) for name in missing)}; found: {shown(header)}; "
        "name them with --columns opportunity=NAME,contact=NAME"
    )


def _matching(names: Sequence[str], accepted: frozenset[str] | set[str]) -> list[int]:
    return [at for at, name in enumerate(names) if _plain(name) in accepted]


def _plain(name: str) -> str:
    return _IGNORED_IN_NAMES.sub("", name).casefold()
