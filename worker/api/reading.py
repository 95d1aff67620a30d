"""Look at a portal for a program: through the slots, limits and retries of all that is sent there."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from worker.api.items import row_of
from worker.api.outcome import ItemT
from worker.api.told import Members, Presence, Verified
from worker.dispatch import Finished
from worker.judge import id_of, key_of
from worker.models import Result, ids_of
from worker.operations.base import Operation
from worker.operations.look import MOST_SOUGHT, Look, Told
from worker.operations.members import MemberList, ReadMembers
from worker.reasons import NOT_FOUND, OPPORTUNITY_MISSING
from worker.run.links import carry_out, offer_all
from worker.site import Site

Key = tuple[int, int]


async def verified(site: Site, items: Sequence[ItemT]) -> Sequence[Verified[ItemT]]:
    """Look whether the links are there, and tell of each item; the same opportunity is looked at together.

    Raises:
        PortalError: the portal refuses us, is closed, or does not answer.
        OutageError: it answers, and fails.
    """
    verdicts = [key_of(row_of(item, 0)) for item in items]
    sought: dict[int, dict[int, None]] = {}
    for opportunity_id, contact_id in (ids_of(one) for one in verdicts if not isinstance(one, str)):
        sought.setdefault(opportunity_id, {})[contact_id] = None
    told: dict[Key, tuple[Presence, str, int | None]] = {}

    async def conclude(finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        for _, found in finished:
            told.update(_presences(found))
        return ()

    if sought:
        await carry_out(partial(offer_all, _looks(sought, site), site), site, conclude)
    return [_verified(item, verdict, told) for item, verdict in zip(items, verdicts, strict=True)]


async def members(site: Site, items: Sequence[int | str]) -> Sequence[Members]:
    """Read the members of opportunities, each once.

    Raises:
        PortalError: the portal refuses us, is closed, or does not answer.
        OutageError: it answers, and fails.
    """
    verdicts = [id_of("opportunity_id", row_of((item, 1), 0).opportunity) for item in items]
    wanted = dict.fromkeys(one for one in verdicts if isinstance(one, int))
    told: dict[int, MemberList] = {}

    async def conclude(finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        for _, found in finished:
            told[found.opportunity_id] = found
        return ()

    if wanted:
        operations = (ReadMembers(one, site.policy, site.rng) for one in wanted)
        await carry_out(partial(offer_all, operations, site), site, conclude)
    return [_members(item, verdict, told) for item, verdict in zip(items, verdicts, strict=True)]


def _looks(sought: dict[int, dict[int, None]], site: Site) -> Iterator[Look[tuple[Key, ...]]]:
    for opportunity_id, contacts in sought.items():
        left = iter(contacts)
        while ids := tuple(islice(left, MOST_SOUGHT)):
            about = tuple((opportunity_id, one) for one in ids)
            yield Look(about, opportunity_id, ids, site.policy, site.rng, ids_only=True)


def _presences(told: Told[tuple[Key, ...]]) -> Iterator[tuple[Key, tuple[Presence, str, int | None]]]:
    last = told.last
    for key in told.about:
        if key[1] in last.found:
            yield key, (Presence.THERE, "", last.http_status)
        elif last.result is Result.OK:
            yield key, (Presence.MISSING, "", last.http_status)
        elif last.reason == NOT_FOUND:
            # The members of an opportunity are not found if it is not there itself (contract 5.1).
            yield key, (Presence.MISSING, OPPORTUNITY_MISSING, last.http_status)
        else:
            yield key, (Presence.UNREAD, last.reason, last.http_status)


def _verified(
    item: ItemT, verdict: int | str, told: dict[Key, tuple[Presence, str, int | None]]
) -> Verified[ItemT]:
    if isinstance(verdict, str):
        return Verified(item, None, None, Presence.INVALID, verdict)
    ids = ids_of(verdict)
    presence, reason, http_status = told[ids]
    return Verified(item, *ids, presence, reason, http_status)


def _members(item: int | str, verdict: int | str, told: dict[int, MemberList]) -> Members:
    if isinstance(verdict, str):
        return Members(item, None, (), verdict)
    found = told[verdict]
    reason = OPPORTUNITY_MISSING if found.trouble == NOT_FOUND else found.trouble
    return Members(item, verdict, tuple(sorted(found.found)), reason)
