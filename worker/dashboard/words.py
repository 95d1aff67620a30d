"""How the live page speaks of what a verb goes through. Data, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.reasons import HINTS_OF_ROLLBACK, HINTS_OF_SYNC
from worker.tally import Doing

_OF_REMOVALS: Mapping[str, str] = {**HINTS_OF_ROLLBACK, **HINTS_OF_SYNC}


@dataclass(frozen=True, slots=True)
class Words:
    """The words for one kind of work.

    Attributes:
        title: before the name of the run.
        unit: what it goes through, many of them.
        done: what is said of those that it is done with.
        states: of the table of what became of them.
        causes: of the table of what failed, and why; empty if nothing is known of that before the end.
        fine: in its place, as long as nothing did.
        hints: why, for reasons that are none of a row; None if all are.
    """

    title: str
    unit: str
    done: str
    states: str
    causes: str = ""
    fine: str = ""
    hints: Mapping[str, str] | None = None

    @property
    def pace(self) -> str:
        """What the pace is told in: a row that is no pair takes no time."""
        return "links" if self.unit == "rows" else self.unit


ROWS = Words(
    title="Run",
    unit="rows",
    done="have their last word",
    states="Rows that have their last word.",
    causes="Pairs that failed in this session; rows of the file that are no pairs are not among them.",
    fine="No pair has failed in this session.",
)

WORDS: Mapping[Doing, Words] = {
    Doing.LOOKING: Words("Run", "links", "are looked for", "Links that are looked for."),
    Doing.PLANNING: Words(
        title="Plan",
        unit="pairs",
        done="are compared with the portal",
        states="Pairs of the input, as they are at the portal.",
    ),
    Doing.ASKING: Words("Plan", "contacts", "are asked for", "Contacts that are not linked yet."),
    Doing.VERIFYING: Words(
        title="Verification of run",
        unit="links",
        done="are looked for",
        states="Links that the run says are there, or gone, as they are at the portal.",
    ),
    Doing.UNDOING: Words(
        title="Rollback of run",
        unit="links",
        done="have their last word",
        states="What became of the links that the run made.",
        causes="Links that were kept, or could not be removed or made again.",
        fine="No link was kept, and none failed.",
        hints=_OF_REMOVALS,
    ),
    Doing.READING: Words(
        title="Run",
        unit="opportunities",
        done="are read, to see which links the file does not name",
        states="Opportunities whose members are read.",
        causes="Links that were kept, or could not be removed.",
        fine="No link is removed before all opportunities are read.",
        hints=_OF_REMOVALS,
    ),
    Doing.PRUNING: Words(
        title="Run",
        unit="links",
        done="that the file does not name have their last word",
        states="What became of the links that the file does not name.",
        causes="Links that were kept, or could not be removed.",
        fine="No link was kept, and none failed.",
        hints=_OF_REMOVALS,
    ),
}
