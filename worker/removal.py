"""Remove links that a run made, and nothing else: look, remove, and look again.

That a DELETE was answered proves little, and that it was not proves nothing. So what is there is read before,
and what is left is read after; only the second look says that a link is gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Protocol

from worker.errors import CannotUndo
from worker.limiter import Limiter
from worker.members import Looker
from worker.models import Attempt, Look, Made, Pair, Result, Undo, Undoing
from worker.retry import RetryIn, RetryPolicy

ANOTHER_CONTACT = "another_contact"
"""Reason of a link that is kept: another contact has got the id of the one that was linked (contract 4.9)."""

NO_OPPORTUNITY = "no_opportunity"
"""Reason of a link that is kept: its opportunity is deleted, or hidden from this user."""

NOBODY = 0
"""An id that no contact has."""

_REMOVES_ALL = (
    "this portal does not filter members, so it may be AppServer, where to remove one link removes all of its"
    " opportunity; nothing more was removed"
)


class Unlinker(Protocol):
    """What a removal needs of a portal. Expected failures are values; a PortalError ends the work."""

    async def unlink(self, pair: Pair, number: int) -> Attempt:
        """Ask once to remove the link."""


class Remover:
    """Removes the links of one opportunity after the other, within the limits that all requests share.

    Args:
        portal: who is asked.
        looker: looks at members.
        limiter: gives permits and turns.
        policy: says when a removal that failed is tried again.
        begin: makes durable that the link of a row is about to be removed.
        observe: told of each request as soon as its answer is known.
        rng: source of jitter.
    """

    def __init__(
        self,
        portal: Unlinker,
        looker: Looker,
        limiter: Limiter,
        policy: RetryPolicy,
        *,
        begin: Callable[[int], Awaitable[None]],
        observe: Callable[[Attempt], None],
        rng: Random,
    ) -> None:
        self._portal = portal
        self._looker = looker
        self._limiter = limiter
        self._policy = policy
        self._begin = begin
        self._observe = observe
        self._rng = rng
        self._one_at_a_time = asyncio.Lock()
        self._filters = False

    async def remove(self, links: Sequence[Made]) -> list[Undoing]:
        """Remove these links of one opportunity.

        Args:
            links: at most :data:`worker.members.MOST_SOUGHT`.

        Returns:
            What became of each.

        Raises:
            PortalError: the portal refuses us.
            CannotUndo: it is none that removes single links; nothing was asked of it.
        """
        before = await self._look(links)
        judged = {link: _judge(link, before) for link in links}
        settled = [verdict for verdict in judged.values() if verdict is not None]
        to_remove = [link for link, verdict in judged.items() if verdict is None]
        if to_remove and not await self._make_sure(links[0].opportunity_id, before):
            settled += [Undoing(link.row, Undo.KEPT, NO_OPPORTUNITY) for link in to_remove]
            to_remove = []
        asked: dict[Made, Attempt] = {}
        for link in to_remove:
            await self._begin(link.row)
            asked[link] = await self._ask(link)
        if asked:
            after = await self._look(list(asked))
            settled += [_conclude(link, after, last) for link, last in asked.items()]
        return settled

    async def _look(self, links: Sequence[Made]) -> Look:
        contacts = [link.contact_id for link in links]
        look, _ = await self._looker.look(links[0].opportunity_id, contacts)
        return look

    async def _make_sure(self, opportunity_id: int, look: Look) -> bool:
        """Make sure that this is CommunityServer: at AppServer one DELETE removes all (contract 4.4).

        They are told apart by the filter of the member list, which AppServer ignores (contract 5.5).

        Returns:
            Whether it is; False if the opportunity is gone since, which tells nothing.
        """
        if look.strangers:
            raise CannotUndo(_REMOVES_ALL)
        async with self._one_at_a_time:
            return self._filters or await self._probe(opportunity_id)

    async def _probe(self, opportunity_id: int) -> bool:
        nobody, _ = await self._looker.look(opportunity_id, [NOBODY])
        if not nobody.is_told:
            raise CannotUndo("it cannot be told whether this portal removes single links only")
        if nobody.strangers:
            raise CannotUndo(_REMOVES_ALL)
        self._filters = nobody.attempt.result is Result.OK
        return self._filters

    async def _ask(self, link: Made) -> Attempt:
        pair = Pair(link.row, 0, link.opportunity_id, link.contact_id)
        attempts: tuple[Attempt, ...] = ()
        spent = 0.0
        self._limiter.first_try()
        while True:
            async with self._limiter.permit():
                await self._limiter.turn()
                attempt = await self._portal.unlink(pair, len(attempts) + 1)
                self._observe(attempt)
            attempts += (attempt,)
            step = self._policy.after(attempts, spent := spent + attempt.seconds, self._rng)
            if not isinstance(step, RetryIn):
                return attempt
            spent += step.seconds
            await asyncio.sleep(step.seconds)
            if attempt.result is not Result.THROTTLED:
                await self._limiter.retry()


def _judge(link: Made, look: Look) -> Undoing | None:
    """The last word on a link of which nothing is to be asked; None if it is to be removed."""
    member = look.found.get(link.contact_id)
    last = look.attempt
    if not look.is_told:
        return Undoing(link.row, Undo.FAILED, last.reason, last.http_status)
    if last.result is Result.PERMANENT:
        return Undoing(link.row, Undo.KEPT, NO_OPPORTUNITY, last.http_status)
    if member is None:
        return Undoing(link.row, Undo.REMOVED if link.begun else Undo.GONE)
    created = None if member.contact is None else member.contact.created
    if None not in (created, link.created) and created != link.created:
        return Undoing(link.row, Undo.KEPT, ANOTHER_CONTACT)
    return None


def _conclude(link: Made, look: Look, last: Attempt) -> Undoing:
    """The last word on a link that was asked to be removed."""
    if not look.is_told:
        return Undoing(link.row, Undo.FAILED, look.attempt.reason, look.attempt.http_status)
    if link.contact_id not in look.found:
        return Undoing(link.row, Undo.REMOVED, http_status=last.http_status)
    state = Undo.KEPT if last.result is Result.PERMANENT else Undo.FAILED
    return Undoing(link.row, state, last.reason or "still_there", last.http_status)
