"""``bulklink demo``: the whole thing at work, on a portal that throttles and fails."""

import csv
from pathlib import Path
from random import Random
from typing import Any

import click

from worker.cli.finish import work_and_report
from worker.cli.options import settings_options
from worker.cli.output import complain, say
from worker.cli.simulator_process import books, simulator
from worker.errors import Exit, OutputError
from worker.run.run import start
from worker.settings import load_settings

ROWS = 2000
_DIRTY = (
    ("n/a", "17"),
    ("", "18"),
    ("0", "19"),
    ("12", "2147483648"),
    ("12", "+371 20000000"),
    ("1 2", "20"),
)


@click.command("demo")
@settings_options("runs_dir", "progress", "as_json", "quiet", "verbose")
def command(**flags: Any) -> int:
    """Start a simulated portal that throttles and fails, link a dirty file of 2,000 rows, and report.

    Exit code 0 if everything ended as it must: each good pair linked, each bad row named.
    """
    settings = load_settings(flags)
    sample = settings.runs_dir / "demo-pairs.csv"
    expected = _write_sample(sample)
    with simulator("demo") as url:
        say(settings, f"simulated portal: {url}; sample input: {sample}")
        # Nothing of the user's own portal may leak in here, above all not its token.
        here = {**flags, "portal": url, "token": "demo-token", "rate": "300/s", "concurrency": 8}
        mine = load_settings(here)
        code = work_and_report(start(mine, str(sample), lambda: mine), mine)
        stored = {(pair[0], pair[1]) for pair in books(url, "/links")}
    say(settings, f"'bulklink run' would have ended with exit code {code}")
    if stored != expected or code != Exit.REJECTED:
        complain(
            f"demo: the portal holds {len(stored):,} links, {len(stored ^ expected):,} of them"
            f" missing or too many; exit code {code}, not {Exit.REJECTED}"
        )
        return Exit.CRASH
    say(settings, f"the portal's own books agree: {len(stored):,} links, exactly those asked for")
    return Exit.OK


def _write_sample(path: Path) -> set[tuple[int, int]]:
    """Write the sample; gives the links that a portal should hold afterwards."""
    rng = Random(2000)  # noqa: S311 - the same sample for everyone
    good: set[tuple[int, int]] = set()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Deal ID", "Contact ID", "Deal", "Note"])
            last = (1, 1)
            for number in range(1, ROWS + 1):
                note = "moved from the old CRM"
                opportunity, contact = str(rng.randint(1, 400)), str(rng.randint(1, 1500))
                if number % 100 == 0:  # never a pair
                    opportunity, contact = rng.choice(_DIRTY)
                elif number % 100 == 50:  # noqa: PLR2004 - asked for twice
                    opportunity, contact = f" {last[0]} ", f"{last[1]:06}"
                elif number % 100 == 75:  # noqa: PLR2004 - a contact that the portal does not have
                    contact = str(900_000 + number)
                else:
                    last = (int(opportunity), int(contact))
                    good.add(last)
                    note = note if number % 40 else "two lines:\nsecond, with a comma"
                writer.writerow([opportunity, contact, f"Deal {opportunity.strip()}", note])
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    return good
