"""What a sync removed, or why it did not: its place in report.json, and the words on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from worker.ledger import LedgerReader, prune_counts, prune_reasons
from worker.quantities import counted
from worker.reasons import HINTS_OF_SYNC, INCOMPLETE

REMOVED_CSV = "removed.csv"

_SHOWN = 10
_STATES = ("removed", "gone", "kept", "failed", "planned", "withheld")


class UntouchedPart(BaseModel):
    """Opportunities of which nothing was removed, for one reason.

    Attributes:
        ids: the first of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    ids: tuple[int, ...]


class SyncPart(BaseModel):
    """What became of links beyond the input; from the ledger, also after a kill.

    Attributes:
        prune: whose links were to be removed; null if none were.
        links: of the opportunities that could be touched, before anything was removed.
        removed: were there, and are no more.
        gone: were not there any more when their turn came.
        kept: left as they are, for a reason that another try does not change.
        failed: could not be removed, or it cannot be told.
        planned: are decided, and to go.
        withheld: would have been removed.
        why_withheld: why nothing was removed; empty if it was.
        primary: links of primary contacts, which the input does not name and which stay.
        emptied: opportunities that lose all their links by it, or would.
        untouched: opportunities of which nothing is removed, by the reason.
        reasons: why links were kept or not removed.
        requests: that all of this took; they are not in the counts of the run.
        pending: it is not over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prune: Literal["own", "all"] | None
    links: int
    removed: int
    gone: int
    kept: int
    failed: int
    planned: int
    withheld: int
    why_withheld: str
    primary: int
    emptied: tuple[int, ...]
    untouched: dict[str, UntouchedPart]
    reasons: dict[str, int]
    requests: int
    pending: bool

    @property
    def differs(self) -> bool:
        """Whether the portal is not as the input says, and another try alone does not make it so."""
        return bool(self.withheld or self.kept or INCOMPLETE in self.untouched)

    @property
    def words(self) -> str:
        """What became of the links, in a few words."""
        said = [f"{count:,} {state}" for state in _STATES if (count := getattr(self, state))]
        return ", ".join(said) or ("not decided yet" if self.pending else "nothing to remove")

    def lines(self, directory: str = "") -> list[str]:
        """What there is to say of it on the terminal; nothing of a sync that only adds.

        Args:
            directory: of the run, if its files are to be named.
        """
        if self.prune is None:
            return []
        effort = f"; {counted(self.requests, 'request')}" if self.requests else ""
        is_listed = directory and any(getattr(self, state) for state in _STATES)
        rows = f"; {directory}/{REMOVED_CSV}" if is_listed else ""
        lines = [f"--prune {self.prune}: {self.words}{effort}{rows}"]
        if self.why_withheld:
            lines.append(f"nothing was removed: {self.why_withheld}")
        lines += [f"{count:,} x {reason}{_hint(reason)}" for reason, count in self.reasons.items()]
        return lines + guards_spoken(self.emptied, self.primary, self.untouched)


def sync_part(reader: LedgerReader, facts: Mapping[str, Any]) -> SyncPart | None:
    """What a sync removed; None if the run is none."""
    if "sync" not in facts:
        return None
    prune = facts["sync"]["prune"]
    decided: Mapping[str, Any] = facts.get("sync_decided", {})
    counts = prune_counts(reader)
    return SyncPart(
        prune=prune,
        links=decided.get("links", 0),
        **counts,
        # Of several that are merged, a later one may have removed what one withheld.
        why_withheld=decided.get("withheld", "") if counts["withheld"] else "",
        primary=decided.get("primary", 0),
        emptied=decided.get("emptied", ()),
        untouched=untouched_parts(decided.get("untouched", {})),
        reasons=prune_reasons(reader),
        requests=facts.get("sync_requests", 0),
        pending=prune is not None and not facts.get("sync_ended", False),
    )


def untouched_parts(untouched: Mapping[str, Sequence[int]]) -> dict[str, UntouchedPart]:
    """Opportunities that are not touched, by the reason; of many only the first are named."""
    return {
        reason: UntouchedPart(count=len(ids), ids=tuple(ids[:_SHOWN])) for reason, ids in untouched.items()
    }


def guards_spoken(emptied: Sequence[int], primary: int, untouched: Mapping[str, UntouchedPart]) -> list[str]:
    """What a decision leaves, and what it empties, a line each; see :class:`SyncPart`."""
    lines = []
    if emptied:
        lines.append(f"opportunities that lose all their links by it: {_some(len(emptied), emptied)}")
    if primary:
        verb = "is" if primary == 1 else "are"
        lines.append(f"{counted(primary, 'link')} of primary contacts {verb} left")
    for reason, part in untouched.items():
        what = f"{counted(part.count, 'opportunity')} not touched"
        lines.append(f"{what} ({_some(part.count, part.ids)}): {reason}{_hint(reason)}")
    return lines


def _some(count: int, ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:_SHOWN]))
    return f"{shown}, ..." if count > len(ids[:_SHOWN]) else shown


def _hint(reason: str) -> str:
    return f": {HINTS_OF_SYNC[reason]}" if reason in HINTS_OF_SYNC else ""
