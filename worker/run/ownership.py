"""Whose a link is: what all runs in a folder say of it, of which the last word counts."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime

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
    for _, key, at, made, created in _said_by(runs, portal, keys, tell):
        if key not in latest or at >= latest[key][0]:
            latest[key] = at, made, created
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
    first = min(ours.values())
    others = [
        run
        for run in list_runs(directory.path.parent)
        if run.path.name != directory.path.name and _written_at(run) + _SLACK > first
    ]
    parts = facts.get("merged", ())
    return frozenset(
        key
        for run_id, key, at, made, _ in _said_by(others, facts["portal"], ours.keys(), tell)
        # What a part of it made is in the ledger of both.
        if at > ours[key] and not (made and run_id in parts)
    )


def _written_at(run: RunDirectory) -> float:
    """When anything was last written to a ledger, as its disk says; a run of long ago need not be read."""
    found = 0.0
    for path in (run.ledger, run.ledger.with_name(f"{run.ledger.name}-wal")):
        with suppress(OSError):
            found = max(found, path.stat().st_mtime)
    return found


def _said_by(
    runs: Sequence[RunDirectory], portal: str, keys: AbstractSet[int], tell: Tell
) -> Iterator[tuple[str, int, float, bool, datetime | None]]:
    """What runs for a portal did with some links, each with the run's name.

    Of a run that was merged, what the others do not say themselves.
    """
    for run in runs:
        try:
            with LedgerReader(run.ledger) as reader:
                facts = reader.facts()
                if facts["portal"] != portal:
                    continue
                is_merged, since = facts.get("input_kind") == MERGED, facts.get("merged_at", 0.0)
                for key, at, made, created in last_words(reader, keys):
                    if not is_merged or (not made and at > since):
                        yield facts["run_id"], key, at, made, created
        except LedgerError as error:
            tell(f"run {run.run_id} cannot be read, so no link counts as made or removed by it: {error}")
