"""The command, with its tasks counted from within: ``watched.py FILE LEAK run ...``.

A thread of its own appends the number of tasks of the worker's loop to FILE, a line every second, once pairs
are sent. LEAK is ``none``, or a leak to plant, to prove that the soak would see it. The worker's files stay
as they are: classes are patched in this process only.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

from worker.cli import main
from worker.models import Outcome
from worker.run.pipeline import Pipeline

EVERY = 1.0
"""Seconds between two counts."""

PADDING = 20_000
"""Bytes kept with each outcome by the leak of memory."""

PAIRS_PER_LEAK = 20
"""Pairs to each file or task that is never closed."""


def count_tasks(path: Path) -> None:
    """Count from the moment that the loop of the run is known, and until the process ends."""
    run = Pipeline.run

    def count(loop: asyncio.AbstractEventLoop) -> None:
        while not loop.is_closed():
            with path.open("a") as file:
                file.write(f"{len(asyncio.all_tasks(loop))}\n")
            time.sleep(EVERY)

    async def counted(self: Pipeline) -> None:
        loop = asyncio.get_running_loop()
        threading.Thread(target=count, args=(loop,), name="count", daemon=True).start()
        await run(self)

    patch.object(Pipeline, "run", counted).start()


def leak_at_each_outcome(leak: Callable[[Outcome], object]) -> None:
    """Call ``leak`` for each outcome, and keep for ever what it gives."""
    record = Pipeline._record
    kept: list[object] = []

    async def leaking(self: Pipeline, outcomes: Sequence[Outcome]) -> None:
        await record(self, outcomes)
        kept.extend(map(leak, outcomes))

    patch.object(Pipeline, "_record", leaking).start()


def memory(outcome: Outcome) -> object:
    """The outcome, and more bytes than it has."""
    return outcome, bytearray(PADDING)


def files(outcome: Outcome) -> object:
    """A file that stays open."""
    return Path("/dev/null").open() if outcome.pair.row % PAIRS_PER_LEAK == 0 else None


def tasks(outcome: Outcome) -> object:
    """A task that never ends."""
    forever = asyncio.Event().wait
    return asyncio.create_task(forever()) if outcome.pair.row % PAIRS_PER_LEAK == 0 else None


LEAKS: dict[str, Callable[[Outcome], object]] = {"memory": memory, "files": files, "tasks": tasks}

if __name__ == "__main__":
    _, file_of_counts, planted, *words = sys.argv
    count_tasks(Path(file_of_counts))
    if planted != "none":
        leak_at_each_outcome(LEAKS[planted])
    sys.argv[1:] = words
    main()
