"""Whose a link is: what all runs in a folder say of it, of which the last word counts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from typing import Any

from worker.errors import LedgerError
from worker.ledger import LedgerReader, last_words, made_at
from worker.run.directory import RunDirectory, list_runs
from worker.run.report import MERGED

Tell = Callable[[str], None]

_SLACK = 3600.0
"""Seconds that the clock of a disk may be behind ours."""


def owned_links(
    runs: Sequence[RunDirectory], portal: str, keys: AbstractSet[int], tell: Tell
) -> dict[int, datetime | None]:
    """Which of these links are ours: the last that any run did with them was to make them, from absent.

    Args:
        runs: all that there are in the folder.
        portal: the address of the portal; runs for others say nothing.
        keys: of the links.
        tell: told of runs that cannot be read, and so speak for no link.

    Returns:
        Each with when its contact was created, as the portal said when the link was made.
    """
    latest: dict[int, tuple[float, bool, datetime | None]] = {}
    for run in runs:
        try:
            with LedgerReader(run.ledger) as reader:
                facts = reader.facts()
                if facts["portal"] != portal:
                    continue
                for key, at, made, created in _said(reader, facts, keys):
                    if key not in latest or at >= latest[key][0]:
                        latest[key] = at, made, created
        except LedgerError as error:
            tell(f"run {run.run_id} cannot be read, so no link counts as made by it: {error}")
    return {key: created for key, (_, made, created) in latest.items() if made}


def touched_since(directory: RunDirectory, tell: Tell) -> frozenset[int]:
    """Links that a run made, and that another one in its folder has made or removed since.

    If they are there, it is not because of that run: the other one made them, or whoever came after it.

    Args:
        directory: of the run.
        tell: told of runs that cannot be read, and so speak for no link.
    """
    with LedgerReader(directory.ledger) as reader:
        facts, ours = reader.facts(), made_at(reader)
    if not ours:
        return frozenset()
    first, found = min(ours.values()), set[int]()
    for run in list_runs(directory.path.parent):
        if run.path.name == directory.path.name or _written_at(run) + _SLACK <= first:
            continue
        try:
            with LedgerReader(run.ledger) as reader:
                others = reader.facts()
                if others["portal"] != facts["portal"]:
                    continue
                of_it = others["run_id"] in facts.get("merged", ())
                found |= {
                    key
                    for key, at, made, _ in _said(reader, others, ours.keys())
                    # What it made is in the ledger of both.
                    if at > ours[key] and not (made and of_it)
                }
        except LedgerError as error:
            tell(f"run {run.run_id} cannot be read, so no link counts as made or removed by it: {error}")
    return frozenset(found)


def _written_at(run: RunDirectory) -> float:
    """When anything was last written to a ledger, as its disk says; a run of long ago need not be read."""
    found = 0.0
    for path in (run.ledger, run.ledger.with_name(f"{run.ledger.name}-wal")):
        with suppress(OSError):
            found = max(found, path.stat().st_mtime)
    return found


def _said(
    reader: LedgerReader, facts: Mapping[str, Any], keys: AbstractSet[int]
) -> Iterator[tuple[int, float, bool, datetime | None]]:
    """What a run did with some links; of one that was merged, what the others do not say themselves."""
    is_merged, since = facts.get("input_kind") == MERGED, facts.get("merged_at", 0.0)
    for key, at, made, created in last_words(reader, keys):
        if not is_merged or (not made and at > since):
            yield key, at, made, created
