"""The order in which links are removed: look, make sure of the portal, note, remove, look again."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from worker.dispatch import Finished
from worker.errors import CannotUndo
from worker.models import Attempt, Result
from worker.operations.base import Operation
from worker.operations.look import Look, Told
from worker.operations.unlink import Links, Removed, Unlink, judge_after, judge_before, kept
from worker.portal.identity import product_of
from worker.removals import Undoing
from worker.run.links import look_for
from worker.site import Site

NOBODY = 0
"""An id that no contact has."""

_REMOVES_ALL = (
    "this portal does not filter members, so it may be AppServer, where to remove one link removes all of its"
    " opportunity; nothing more was removed"
)

Operations = Sequence[Operation[Any]]


async def removes_single_links(site: Site) -> None:
    """Make sure early that this portal is not AppServer, if it says what it is.

    Raises:
        CannotUndo: it is.
        PortalError: it refuses us, or is closed.
    """
    if await product_of(site.client) == "AppServer":
        raise CannotUndo(
            "this portal is AppServer, where to remove one link removes all of its opportunity;"
            " nothing was done"
        )


class Intents(Protocol):
    """Where it is noted what is about to be removed, and what became of it, by row."""

    async def begin(self, rows: Sequence[int]) -> None:
        """Note that links are about to be removed."""

    async def conclude(self, undoings: Sequence[Undoing]) -> None:
        """Note what became of links."""


class Removal:
    """What is done with links that are to be removed, step by step; each is durable before the next.

    Before the first link is removed, it is made sure that this is CommunityServer: at AppServer one DELETE
    removes all links of the opportunity (contract 4.4). They are told apart by the filter of the member list,
    which AppServer ignores (contract 5.5): asked for nobody, it names everybody.

    Args:
        site: the portal.
        ledger: of the run that is undone, or that removes them.
        observers: are told of links that have their last word, once that is durable.
        before: which of the links that were looked for are to be removed.
    """

    def __init__(
        self,
        site: Site,
        ledger: Intents,
        observers: Sequence[Callable[[Sequence[Undoing]], None]],
        *,
        before: Callable[[Told[Links]], tuple[list[Undoing], Links]] = judge_before,
    ) -> None:
        self._site = site
        self._before = before
        self._ledger = ledger
        self._observers = observers
        self._filters = False
        self._probing: Look[None] | None = None
        self._waiting: list[Links] = []
        self._asked: dict[int, Attempt] = {}
        self._groups: dict[int, Links] = {}
        self._open: dict[int, int] = {}
        self._second: set[Look[Links]] = set()

    async def conclude(self, finished: Sequence[Finished]) -> Operations:
        """Make durable what became of operations; gives what follows from them.

        Raises:
            CannotUndo: this portal is none that removes single links.
        """
        following: list[Operation[Any]] = []
        for operation, result in finished:
            if isinstance(result, Removed):
                following += self._removed(result)
            elif operation is self._probing:
                following += await self._probed(result)
            elif operation in self._second:
                self._second.discard(operation)
                await self._settle(judge_after(result, self._asked))
                for link in result.about:
                    del self._asked[link.row]
            else:
                following += await self._looked(result)
        return following

    async def _looked(self, told: Told[Links]) -> Operations:
        """Links were looked for: settle those that need nothing, and remove the others."""
        settled, to_remove = self._before(told)
        await self._settle(settled)
        if not to_remove:
            return ()
        if told.last.strangers:
            raise CannotUndo(_REMOVES_ALL)
        if self._filters:
            return await self._begin(to_remove)
        self._waiting.append(to_remove)
        return self._probe() if self._probing is None else ()

    def _probe(self) -> Operations:
        """Ask for nobody at the first opportunity that waits."""
        opportunity_id = self._waiting[0][0].opportunity_id
        policy, rng = self._site.policy, self._site.rng
        self._probing = Look(None, opportunity_id, (NOBODY,), policy, rng, ids_only=True)
        return (self._probing,)

    async def _probed(self, told: Told[None]) -> Operations:
        self._probing = None
        if not told.is_told:
            raise CannotUndo("it cannot be told whether this portal removes single links only")
        if told.last.strangers:
            raise CannotUndo(_REMOVES_ALL)
        if told.last.result is Result.PERMANENT:  # that opportunity is gone since, which tells nothing
            gone = self._waiting.pop(0)
            following = self._probe() if self._waiting else ()  # before others are let in, who would ask too
            await self._settle(kept(gone))
            return following
        self._filters = True
        waiting, self._waiting = self._waiting, []
        return [one for links in waiting for one in await self._begin(links)]

    async def _begin(self, links: Links) -> Operations:
        """Note that links are about to be removed, then remove them."""
        await self._ledger.begin([link.row for link in links])
        for link in links:
            self._groups[link.row] = links
        self._open[links[0].row] = len(links)
        return [Unlink(link, self._site.policy, self._site.rng) for link in links]

    def _removed(self, removed: Removed) -> Operations:
        """The portal answered to a removal; once all of a group are answered, look what is left."""
        self._asked[removed.link.row] = removed.last
        links = self._groups.pop(removed.link.row)
        self._open[links[0].row] -= 1
        if self._open[links[0].row]:
            return ()
        del self._open[links[0].row]
        look = look_for(links, self._site, ids_only=True)
        self._second.add(look)
        return (look,)

    async def _settle(self, settled: Sequence[Undoing]) -> None:
        await self._ledger.conclude(settled)
        for observe in self._observers:
            observe(settled)
