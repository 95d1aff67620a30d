"""One report of many runs: a run and its retries, the workers of one queue, the parts of one input."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worker.errors import Exit, NeverBegan, UsageError, WorkerError
from worker.ledger import FORM, LedgerReader, is_locked, merge_ledgers
from worker.report.build import LIMITS
from worker.run.directory import RunDirectory
from worker.run.refusals import refuse_plan
from worker.settings import Settings

MERGED = "merged"
"""Kind of input of a run that was made of others; nothing can be resumed in it."""

PARTS = "parts"
"""Of a merged run: name and first moment of each run that is in it, also of those that were merged before."""

MOST_CHANGES = 200

_SAME = {"portal": "portals", "columns": "columns"}


def merge_runs(settings: Settings, runs: Sequence[RunDirectory], tell: Callable[[str], None]) -> RunDirectory:
    """Make a run directory of several, with a ledger in which each row is once; its files are to be written.

    A run that was killed before it began is left out, and told of. One that is being worked on is taken as it
    stands, and told of too, also in the report.

    Raises:
        UsageError: they do not belong together, or one is named twice, or is part of another.
        LedgerError: one of them cannot be read, or none has begun.
    """
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError("a run to be merged is named twice")
    at_work = frozenset(run for run in runs if is_locked(run.path))
    begun = _begun(runs, tell)
    for run in begun:
        if run in at_work:
            tell(f"run {run.run_id} is being worked on: taken as it stands now")
    facts = list(begun.values())
    for run, one in begun.items():
        refuse_plan(run, settings, one)
    parts = _parts(begun)
    for key, what in _SAME.items():
        # A worker that was killed before it read anything does not say what columns it would have found.
        said = [(run.run_id, one[key]) for run, one in begun.items() if key in one]
        other = next((run_id for run_id, value in said if value != said[0][1]), None)
        if other is not None:
            raise UsageError(f"runs {said[0][0]} and {other} have different {what}")
    names = {one["input_name"] for one in facts}
    directory = RunDirectory.create(settings.runs_dir, settings.run_id)
    try:
        merge_ledgers(
            directory.ledger,
            [run.ledger for run in begun],
            {
                "run_id": directory.run_id,
                "version": facts[0]["version"],
                "utc_offset": facts[-1].get("utc_offset", 0),
                "runs_dir": str(settings.runs_dir),
                "portal": facts[0]["portal"],
                "input_path": "",
                "input_name": names.pop() if len(names) == 1 else f"{len(begun)} runs",
                "input_kind": MERGED,
                "input_complete": all(_is_complete(one) for one in facts),
                "merged": [name for name, _ in parts],
                PARTS: parts,
                "merged_at": time.time(),
                "merged_queue": all(one.get("input_kind") == "queue" for one in facts),
                "settings": facts[0]["settings"],
                **_whole_input(facts),
                **_sync(facts),
                LIMITS + "merged": _changes(facts),
                # The files are written as those of the first run that has read any are.
                **next(
                    ({key: one[key] for key in FORM if key in one} for one in facts if "columns" in one), {}
                ),
                # How each worker ended matters no more: what it left, others may have done.
                "end_code": Exit.OK,
                "end_message": f"merged: {', '.join(_named(run, at_work) for run in begun)}",
            },
        )
    except WorkerError:
        directory.discard()
        raise
    return directory


def _parts(begun: Mapping[RunDirectory, Mapping[str, Any]]) -> list[tuple[str, float]]:
    """All runs that are in these.

    Raises:
        UsageError: one is in several: its rows would count once, but not its requests.
    """
    found: dict[tuple[str, float], RunDirectory] = {}
    for run, facts in begun.items():
        for name, began in facts[PARTS]:
            other = found.setdefault((name, began), run)
            if other != run:
                twice = f"run {name} is in both {other.run_id} and {run.run_id}, and would count twice"
                raise UsageError(f"{twice}: name each run once")
    return list(found)


def _whole_input(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is known of the input of a run that is merged with its retries, and with nothing else."""
    first = [one for one in facts if "parent" not in one]
    if len(first) != 1 or any(one.get("origin", one["run_id"]) != first[0]["run_id"] for one in facts):
        return {}
    return {name: first[0][name] for name in ("input_sha256", "input_blank") if name in first[0]}


def _changes(facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Changes of limits in all of them, in order, the latest."""
    found = (one for known in facts for name in known if name.startswith(LIMITS) for one in known[name])
    return sorted(found, key=lambda one: str(one["at"]))[-MOST_CHANGES:]


def _sync(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is known of the removals of those that are syncs, all together; what became of each is merged."""
    syncs = [one for one in facts if "sync" in one]
    if not syncs:
        return {}
    wanted = {one["sync"]["prune"] for one in syncs}
    decided = [one["sync_decided"] for one in syncs if "sync_decided" in one]
    untouched: dict[str, set[int]] = {}
    for one in decided:
        for reason, ids in one["untouched"].items():
            untouched.setdefault(reason, set()).update(ids)
    return {
        "sync": {
            "prune": next((one for one in ("all", "own") if one in wanted), None),
            "allow_removals": None,
        },
        "sync_decided": {
            "links": sum(one["links"] for one in decided),
            "emptied": sorted({number for one in decided for number in one["emptied"]}),
            "withheld": "; ".join(dict.fromkeys(one["withheld"] for one in decided if one["withheld"])),
            "primary": sum(one["primary"] for one in decided),
            "untouched": {reason: sorted(ids) for reason, ids in untouched.items()},
        },
        "sync_requests": sum(one.get("sync_requests", 0) for one in syncs),
        "sync_ended": all(one.get("sync_ended") for one in syncs if one["sync"]["prune"]),
    }


def _named(run: RunDirectory, at_work: frozenset[RunDirectory]) -> str:
    return f"{run.run_id} (still being worked on)" if run in at_work else run.run_id


def _begun(runs: Sequence[RunDirectory], tell: Callable[[str], None]) -> dict[RunDirectory, dict[str, Any]]:
    """What is known of each; of one that was not merged, that it is its own part."""
    begun: dict[RunDirectory, dict[str, Any]] = {}
    never: NeverBegan | None = None
    for run in runs:
        try:
            with LedgerReader(run.ledger) as reader:
                facts = reader.facts()
                # A copy of it elsewhere is the same run, and another of its name is not.
                itself = [(facts["run_id"], at) for at, *_ in reader.sessions()][:1]
                begun[run] = {PARTS: itself, **facts}
        except NeverBegan as error:
            never = error
            tell(f"run {run.run_id} was killed before it began: left out")
    if never is not None and not begun:
        raise never
    return begun


def _is_complete(facts: Mapping[str, Any]) -> bool:
    # What a worker has not read of its queue is no row that is missing here.
    return bool(facts.get("input_complete")) or facts.get("input_kind") == "queue"
