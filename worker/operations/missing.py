"""Which side of a rejected pair is missing: what is known of each id, and what is to be asked. Pure.

The portal answers alike whether the opportunity or the contact is not there for us (contract 4.5, 4.6). So
both are asked for, each id once; what follows for a pair comes after its outcome, and changes no more of it
than its reason.
"""

from collections import defaultdict
from collections.abc import Iterable

from msgspec.structs import replace

from worker.models import Outcome, Pair, PreState, Status
from worker.operations.exists import Entity, Existence
from worker.reasons import CONTACT_MISSING, NOT_FOUND, OPPORTUNITY_MISSING

MOST_ASKED = 500
"""Ids that are asked for in a session: those that many rows name are among the first."""

_WORDS = {"opportunity": OPPORTUNITY_MISSING, "contact": CONTACT_MISSING}


class Missing:
    """What a session knows of ids.

    Args:
        most: ids that may be asked for.

    Attributes:
        rows: those that wait for a better reason, which may come or not.
    """

    def __init__(self, most: int = MOST_ASKED) -> None:
        self.rows: set[int] = set()
        self._left = most
        self._known: dict[Entity, bool | None] = {}
        self._asked: set[Entity] = set()
        self._waiting: defaultdict[Entity, list[Pair]] = defaultdict(list)

    def explain(self, outcomes: Iterable[Outcome]) -> tuple[list[Outcome], list[Entity]]:
        """Outcomes with better reasons, where they are known, and what is to be asked for the others."""
        explained: list[Outcome] = []
        to_ask: list[Entity] = []
        rejected = Status.REJECTED
        for outcome in outcomes:
            word = ""
            if outcome.status is rejected and outcome.reason == NOT_FOUND:
                word = self._word(outcome.pair)
                if not word:
                    to_ask += self._wait(outcome.pair)
            explained.append(replace(outcome, reason=word) if word else outcome)
        return explained, to_ask

    def told(self, existence: Existence) -> tuple[dict[int, str], list[Entity]]:
        """The reasons of rows that waited for this, and what is still to be asked for others."""
        self._asked.discard(existence.entity)
        self._known[existence.entity] = existence.there
        reasons: dict[int, str] = {}
        to_ask: list[Entity] = []
        for pair in self._waiting.pop(existence.entity, ()):
            self.rows.discard(pair.row)
            if word := self._word(pair):
                reasons[pair.row] = word
            else:
                to_ask += self._wait(pair)
        return reasons, to_ask

    def _word(self, pair: Pair) -> str:
        missing = (one for one in _sides(pair) if self._known.get(one, True) is False)
        return next((_WORDS[one.side] for one in missing), "")

    def _wait(self, pair: Pair) -> list[Entity]:
        """Let a pair wait for what is not known of it; gives what has to be asked for that."""
        unknown = [one for one in _sides(pair) if one not in self._known]
        if not unknown:
            return []
        awaited = next((one for one in unknown if one in self._asked), None)
        if awaited is not None:
            self._waiting[awaited].append(pair)
            self.rows.add(pair.row)
            return []
        if self._left < len(unknown):
            return []
        self._left -= len(unknown)
        self._asked.update(unknown)
        self._waiting[unknown[0]].append(pair)
        self.rows.add(pair.row)
        return unknown


def _sides(pair: Pair) -> list[Entity]:
    """What can be missing of a pair; not an opportunity whose members were just looked at."""
    contact = Entity("contact", pair.contact_id)
    return [contact] if pair.pre is PreState.ABSENT else [Entity("opportunity", pair.opportunity_id), contact]
