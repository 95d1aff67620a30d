"""Damage the ledger of an interrupted run in hundreds of ways, and hold the worker to its word each time.

    python tests/crash/torn_loop.py --cases 600 --rows 400 --seed 1

Three runs are made: ``young``, killed in its first session, with all it knows in the WAL; ``old``, stopped,
gone on with and killed, with most of what it knows in ``ledger.db``; and ``closed``, stopped, with one file.
Each case damages a copy of one of them, asks for its report, resumes it, and asks again. A case goes well if
each command either refuses, with exit code 1 and one line that names a file of the run, or tells the truth:

* false: a row called linked whose pair the portal does not hold, or exit code 0 or 3 with a pair left out;
* lost: rows of the input that the report does not count, or that are in no file, or in two;
* strange: links at the portal that nobody asked for;
* garbled: cells that are not those of the input, a Contact that is no JSON or somebody else's;
* crude: an internal error, a traceback, a refusal that names no file of the run, a hang.

The commands run in this process, against a portal that is a set of links; the runs were made by the real
command and the real simulator. What is wrong is told on standard error, with what SQLite's own check and the
audit say of that copy, and the exit code is then 1.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from unittest.mock import patch

# Run as a program, this file finds the others from the root of the checkout.
sys.path[0] = str(Path(__file__).resolve().parents[2])
from tests.crash.torn_damage import DB, WAL, drawn_damage, named_damages  # noqa: E402 - after the path
from tests.crash.torn_judge import Judge, try_case  # noqa: E402 - same
from tests.crash.torn_sample import KINDS, SetOfLinks, make_sample  # noqa: E402 - same
from tests.forks import ForkServer  # noqa: E402 - same
from worker.run import access  # noqa: E402 - same

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of ours within
"""Where runs are copied to: a disk that syncs would only be slower."""


def main() -> int:
    """Make the runs, damage them, judge, and say so in one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=600, help="drawn for each run, beside those with a name")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["wal", "db"], help="damage ledger.db, or all but that")
    parser.add_argument("--forks", type=Path, help="a folder in which to meet a fork server that runs")
    options = parser.parse_args()
    rng, judge, cases, started = Random(options.seed), Judge(), 0, time.monotonic()  # noqa: S311 - damages
    os.environ["BULKLINK_TOKEN"] = "demo-token"
    with (
        tempfile.TemporaryDirectory(prefix="torn-", dir=MEMORY) as name,
        patch.object(access, "PortalClient", SetOfLinks),
        ForkServer(options.forks or Path(name)) as server,
    ):
        for kind in KINDS:
            folder = Path(name).resolve()
            sample = make_sample(server, folder / kind, kind, options.rows)
            files = {"wal": [WAL], "db": [DB]}.get(options.only, [WAL, DB])
            files = [file for file in files if (sample.run / file).exists()]
            damages = [
                (what, damage)
                for what, damage in named_damages(sample).items()
                if options.only is None or (options.only == "db") == what.startswith("db ")
            ]
            damages += [drawn_damage(sample, rng.choice(files), rng) for _ in range(options.cases) if files]
            for what, damage in damages:
                try_case(judge, sample, folder, what, damage)
            cases += len(damages)
    told = ", ".join(f"{len(found)} {kind}" for kind, found in judge.wrong.items())
    sys.stdout.write(
        f"seed {options.seed}: {cases} cases, {told}; {judge.went_on} commands went on,"
        f" {time.monotonic() - started:.1f} seconds\n"
    )
    return 1 if any(judge.wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
