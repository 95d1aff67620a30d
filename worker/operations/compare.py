"""What a look at an opportunity's members means for pairs that are to be linked. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from random import Random

from worker.models import Attempt, Outcome, Pair, PreState, Result, Status
from worker.operations.look import MOST_SOUGHT, Look, Told
from worker.operations.policy import RetryPolicy
from worker.reasons import NOT_FOUND, OPPORTUNITY_MISSING

Pairs = tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """Pairs beside what the portal holds.

    Attributes:
        settled: need no request of their own.
        to_link: are to be sent; those that are not there say so in ``pre``.
    """

    settled: tuple[Outcome, ...]
    to_link: Pairs

    @property
    def absent(self) -> list[int]:
        """Rows whose link is known not to be there."""
        return [pair.row for pair in self.to_link if pair.pre is PreState.ABSENT]

    @property
    def in_doubt(self) -> list[int]:
        """Rows that may have been sent before, whose link is there or cannot be looked for."""
        return [pair.row for pair in self.to_link if pair.pre is PreState.UNREAD]


def looks(pairs: Iterable[Pair], policy: RetryPolicy, rng: Random) -> Iterator[Look[Pairs]]:
    """The looks that tell what the portal holds of these pairs; in input order within an opportunity."""
    by_opportunity = sorted(pairs, key=attrgetter("opportunity_id"))
    for opportunity_id, together in groupby(by_opportunity, attrgetter("opportunity_id")):
        group = tuple(together)
        for start in range(0, len(group), MOST_SOUGHT):
            sought = group[start : start + MOST_SOUGHT]
            contact_ids = tuple(pair.contact_id for pair in sought)
            yield Look(sought, opportunity_id, contact_ids, policy, rng)


def compare(told: Told[Pairs]) -> Compared:
    """What a look says of the pairs that it was for."""
    last = told.last
    settled: list[Outcome] = []
    to_link: list[Pair] = []
    for pair in told.about:
        body = last.found.get(pair.contact_id)
        if pair.in_doubt and (body is not None or not told.is_told):
            to_link.append(pair)  # perhaps we made it: that it is there tells nothing about before
        elif not told.is_told:
            settled.append(_failed(pair, Status.RETRYABLE, last))
        elif body is not None:
            settled.append(Outcome(pair, Status.ALREADY_LINKED, (), http_status=last.http_status, found=body))
        elif last.result is Result.PERMANENT:
            settled.append(_failed(pair, Status.REJECTED, last))
        else:
            ids = pair.opportunity_id, pair.contact_id
            to_link.append(Pair(pair.row, pair.line, *ids, in_doubt=False, pre=PreState.ABSENT))
    return Compared(tuple(settled), tuple(to_link))


def _failed(pair: Pair, status: Status, last: Attempt) -> Outcome:
    # The members of an opportunity are not found if it is not there itself (contract 5.1).
    reason = OPPORTUNITY_MISSING if last.reason == NOT_FOUND else last.reason
    return Outcome(pair, status, (), reason, last.http_status)
