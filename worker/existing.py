"""Look what the portal holds already before anything is sent: pairs that are linked are done.

The lanes do it themselves: one that finds no pair ready looks for the next opportunity's, and all that are
not there become ready for everyone. So looks and links share the same permits, and neither waits for the
other for longer than a request takes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

from worker.members import MOST_SOUGHT, Looker
from worker.models import Attempt, Outcome, Pair, PreState, Result, Status

WINDOW = 2000
"""Pairs of which those of one opportunity are sought together."""


class Scout:
    """Takes pairs, settles those that need no request of their own, and gives the others on.

    Args:
        looker: asks for members.
        take: gives the next pair, or None when there are no more.
        at_hand: gives up to so many more, without waiting.
        note: makes durable what was told, see :meth:`worker.ledger.Ledger.looked`.
        record: makes an outcome durable.
    """

    def __init__(
        self,
        looker: Looker,
        *,
        take: Callable[[], Awaitable[Pair | None]],
        at_hand: Callable[[int], list[Pair]],
        note: Callable[[Sequence[Attempt], Sequence[int], int, Sequence[int]], Awaitable[None]],
        record: Callable[[Outcome], Awaitable[None]],
    ) -> None:
        self._looker = looker
        self._take = take
        self._at_hand = at_hand
        self._note = note
        self._record = record
        self._ready: deque[Pair] = deque()
        self._groups: deque[list[Pair]] = deque()
        self._looking = 0
        self._exhausted = False
        self._failure: Exception | None = None
        self._gathering: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def take(self) -> Pair | None:
        """The next pair that the portal does not hold, its intent durable; None when there are no more.

        Raises:
            WorkerError: pairs cannot be taken, or the portal refuses us.
        """
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._groups:
                await self._scout(self._groups.popleft())
                continue
            if self._exhausted and not self._looking:
                return None
            if not self._exhausted and self._gathering is None:
                # Not by this lane: it would hold up what others find meanwhile.
                self._gathering = asyncio.create_task(self._gather())
            self._news.clear()
            await self._news.wait()
        return self._ready.popleft()

    async def close(self) -> None:
        """Take no more pairs."""
        if self._gathering is not None:
            self._gathering.cancel()
            await asyncio.wait({self._gathering})

    async def _gather(self) -> None:
        try:
            first = await self._take()
            if first is None:
                self._exhausted = True
            else:
                self._sort([first, *self._at_hand(WINDOW - 1)])
        except Exception as error:  # noqa: BLE001 - raised by take(), in a lane
            self._failure = error
        finally:
            self._gathering = None
            self._news.set()

    def _sort(self, pairs: list[Pair]) -> None:
        # What was seen before the first request of a pair is what counts, not what its own request left.
        self._ready.extend(pair for pair in pairs if pair.pre is not PreState.UNREAD)
        unread = [pair for pair in pairs if pair.pre is PreState.UNREAD]
        unread.sort(key=attrgetter("opportunity_id"))  # stable: in input order within an opportunity
        for _, together in groupby(unread, attrgetter("opportunity_id")):
            group = list(together)
            starts = range(0, len(group), MOST_SOUGHT)
            self._groups.extend(group[start : start + MOST_SOUGHT] for start in starts)

    async def _scout(self, pairs: list[Pair]) -> None:
        self._looking += 1
        try:
            look, attempts = await self._looker.look(
                pairs[0].opportunity_id, [pair.contact_id for pair in pairs]
            )
            settled, rest = [], []
            for pair in pairs:
                member = look.found.get(pair.contact_id)
                if pair.in_doubt and (member is not None or not look.is_told):
                    rest.append(pair)  # perhaps we made it: that it is there tells nothing about before
                elif not look.is_told:
                    settled.append(self._failed(pair, Status.RETRYABLE, look.attempt))
                elif member is not None:
                    status = look.attempt.http_status
                    found = Outcome(pair, Status.ALREADY_LINKED, (), http_status=status, found=member.body)
                    settled.append(found)
                elif look.attempt.result is Result.PERMANENT:
                    settled.append(self._failed(pair, Status.REJECTED, look.attempt))
                else:
                    rest.append(replace(pair, in_doubt=False, pre=PreState.ABSENT))
            absent = [pair.row for pair in rest if pair.pre is PreState.ABSENT]
            in_doubt = [pair.row for pair in rest if pair.pre is PreState.UNREAD]
            await self._note(attempts, absent, pairs[0].row, in_doubt)
            self._ready.extend(rest)
            self._news.set()
            # Together, so that they share a commit.
            await asyncio.gather(*map(self._record, settled))
        finally:
            self._looking -= 1
            self._news.set()

    def _failed(self, pair: Pair, status: Status, last: Attempt) -> Outcome:
        return Outcome(pair, status, (), last.reason, last.http_status)
