"""One report of many runs: those of the workers of one queue, or of the parts of one input."""

from collections.abc import Sequence
from typing import Any

from worker.errors import Exit, UsageError, WorkerError
from worker.ledger import LedgerReader, merge_ledgers
from worker.run.directory import RunDirectory
from worker.settings import Settings

MERGED = "merged"
"""Kind of input of a run that was made of others; nothing can be resumed in it."""

_SAME = {"portal": "portals", "columns": "columns"}


def merge_runs(settings: Settings, runs: Sequence[RunDirectory]) -> RunDirectory:
    """Make a run directory of several, with a ledger in which each row is once; its files are to be written.

    Raises:
        UsageError: they do not belong together, or one is named twice.
        LedgerError: one of them cannot be read.
    """
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError("a run to be merged is named twice")
    facts: list[dict[str, Any]] = []
    for run in runs:
        with LedgerReader(run.ledger) as reader:
            facts.append(reader.facts())
    first = facts[0]
    for key, what in _SAME.items():
        other = next((at for at, one in enumerate(facts) if one.get(key) != first.get(key)), None)
        if other is not None:
            raise UsageError(f"runs {runs[0].run_id} and {runs[other].run_id} have different {what}")
    names = {one["input_name"] for one in facts}
    directory = RunDirectory.create(settings.runs_dir, settings.run_id)
    try:
        merge_ledgers(
            directory.ledger,
            [run.ledger for run in runs],
            {
                "run_id": directory.run_id,
                "version": first["version"],
                "portal": first["portal"],
                "input_path": "",
                "input_name": names.pop() if len(names) == 1 else f"{len(runs)} runs",
                "input_kind": MERGED,
                "input_complete": all(one.get("input_complete") for one in facts),
                "merged": [run.run_id for run in runs],
                "settings": first["settings"],
                **({"columns": first["columns"]} if "columns" in first else {}),
                # How each worker ended matters no more: what it left, others may have done.
                "end_code": Exit.OK,
                "end_message": f"merged: {', '.join(run.run_id for run in runs)}",
            },
        )
    except WorkerError:
        directory.discard()
        raise
    return directory
