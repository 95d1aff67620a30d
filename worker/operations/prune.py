"""Which links a sync removes, and why it removes none: policy, and nothing else. Pure.

The input says what the named opportunities are to have. What they have beyond that is surplus, but for what
is never touched: other opportunities, primary contacts, and opportunities of which the input or the portal
may not tell everything. Of the surplus, only links that we made are removed, unless all are wanted; and none
at all if they are more than a slip may cost.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from worker.contact import can_be_edited, created_at
from worker.operations.look import Told
from worker.operations.members import MemberList
from worker.operations.unlink import Links, judge_before
from worker.quantities import counted
from worker.reasons import PRIMARY
from worker.removals import Extra, Undo, Undoing

FREE = 10
"""Removals that need no leave, however few links there are."""

SHARE = 0.1
"""Of the links of the named opportunities, what may be removed without leave."""

Prune = Literal["own", "all"]


@dataclass(frozen=True, slots=True)
class Surplus:
    """An opportunity beside what the input says of it.

    Attributes:
        links: all that it has.
        extras: those of them that the input does not name, and that may be removed.
        primary: those that would go if they were not of the primary contact.
        untouched: why nothing of it is removed, in a stable word; empty if it may be.
    """

    opportunity_id: int
    links: int = 0
    extras: tuple[Extra, ...] = ()
    primary: tuple[Extra, ...] = ()
    untouched: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is removed.

    Attributes:
        links: all links of the opportunities that may be touched.
        removals: of these, those that go, or would if they were not withheld.
        emptied: opportunities that lose all their links by that.
        withheld: why nothing is removed, as one line; empty if all of it is.
        primary: links that stay because they are of primary contacts.
        untouched: opportunities of which nothing is removed, by the reason.
    """

    links: int
    removals: tuple[Extra, ...]
    emptied: tuple[int, ...] = ()
    withheld: str = ""
    primary: int = 0
    untouched: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)


def surplus(members: MemberList, desired: AbstractSet[int], untouched: str = "") -> Surplus:
    """What an opportunity has beyond the input.

    Args:
        members: as read to the end.
        desired: contacts that the input names, whatever became of their rows.
        untouched: why nothing of it may be removed, whatever it has; empty if it may.
    """
    if why := untouched or members.trouble:
        return Surplus(members.opportunity_id, untouched=why)
    extras: list[Extra] = []
    primary: list[Extra] = []
    for one in sorted(members.found.keys() - desired):
        body = members.found[one]
        where = extras if can_be_edited(body) else primary
        where.append(Extra(members.opportunity_id, one, created_at(body)))
    return Surplus(members.opportunity_id, len(members.found), tuple(extras), tuple(primary))


def decide(
    found: Iterable[Surplus],
    *,
    prune: Prune,
    owned: Mapping[int, datetime | None],
    unlinked: int,
    untold: int = 0,
    allowed: int | None,
) -> Decision:
    """Decide what is removed, before the first removal.

    Args:
        found: all opportunities that the input names.
        prune: remove only links that are ours, or all that the input does not name.
        owned: links that we made and that were not there before, by key; each with when its contact was
            created, as the portal said then.
        unlinked: rows that could not be linked for a reason of the portal's.
        untold: rows that do not say which opportunity they are about.
        allowed: the number of removals that the user has seen and allows; None if none was named.
    """
    links = primary = 0
    removals: list[Extra] = []
    emptied: list[int] = []
    untouched: dict[str, list[int]] = {}
    for one in found:
        if one.untouched:
            untouched.setdefault(one.untouched, []).append(one.opportunity_id)
        going = [extra for extra in one.extras if prune == "all" or _is_ours(extra, owned)]
        links += one.links
        primary += sum(prune == "all" or _is_ours(extra, owned) for extra in one.primary)
        removals += going
        if going and len(going) == one.links:
            emptied.append(one.opportunity_id)
    return Decision(
        links=links,
        removals=tuple(removals),
        emptied=tuple(emptied),
        withheld=_why_withheld(len(removals), links, unlinked, untold, allowed),
        primary=primary,
        untouched={why: tuple(ids) for why, ids in untouched.items()},
    )


def judge_removal(told: Told[Links]) -> tuple[list[Undoing], Links]:
    """The last word on links of which nothing is to be asked, and those that are to be removed.

    As :func:`worker.operations.unlink.judge_before`, but that of a primary contact is kept: it may have
    become that since the removal was decided.
    """
    settled, to_remove = judge_before(told)
    kept = [link for link in to_remove if not can_be_edited(told.last.found[link.contact_id])]
    settled += [Undoing(link.row, Undo.KEPT, PRIMARY) for link in kept]
    return settled, tuple(link for link in to_remove if link not in kept)


def _is_ours(extra: Extra, owned: Mapping[int, datetime | None]) -> bool:
    if extra.key not in owned:
        return False
    created = owned[extra.key]
    return None in (created, extra.created) or created == extra.created


def _why_withheld(removals: int, links: int, unlinked: int, untold: int, allowed: int | None) -> str:
    if not removals:
        return ""
    if unlinked:
        rows = counted(unlinked, "row")
        return f"{rows} could not be linked, and nothing is removed before that is done: then sync again"
    if allowed is not None:
        if allowed == removals:
            return ""
        return f"--allow-removals names {allowed}, and {counted(removals, 'link')} would be removed"
    why = ""
    if untold:
        rows = "1 row does not" if untold == 1 else f"{untold:,} rows do not"
        why = f"{rows} say which opportunity is meant, so it may be any of them; mend that, or"
    elif removals > FREE and removals > SHARE * links:
        share = f"{100 * removals / links:.1f}"
        why = (
            f"{removals} removals are more than {FREE}, and with {share} % more than {SHARE:.0%} of the"
            f" {links:,} links of the opportunities;"
        )
    return why and f"{why} to allow exactly these: --allow-removals {removals}"
