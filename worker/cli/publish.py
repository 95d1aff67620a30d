"""``bulklink publish INPUT QUEUE_URL``: put pairs on a queue."""

import json
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from worker.cli.completing import files
from worker.cli.grouped import GroupedCommand
from worker.cli.options import INPUT, settings_options
from worker.quantities import counted

if TYPE_CHECKING:
    from worker.supply.publication import Published


@click.command("publish", cls=GroupedCommand)
@click.argument("input_path", metavar="INPUT", shell_complete=files)
@click.argument("queue_url", metavar="[QUEUE_URL]", required=False)
@click.option("--resume", metavar="RUN", help="Go on with a publication that was cut off.")
@settings_options(
    *INPUT, "wait_for_broker", "runs_dir", "run_id", "as_json", "progress", "quiet", of="publish"
)
def command(input_path: str, queue_url: str | None, resume: str | None, **flags: Any) -> int:
    """Put each pair of INPUT (CSV, JSONL or a workbook) on a queue; the queue is made if there is none.

    Rows are judged as by 'run': what is no pair goes to rejected.csv, what is there twice is published once.
    Each batch is confirmed by the broker before the next; after a crash, --resume repeats one batch at most.
    Exit code 0 if every row was a pair or a duplicate of one, 3 if some were invalid, 6 without a broker.
    """
    from worker.cli.output import complain, hand_over, say, shown  # noqa: PLC0415 - brings in what --help does not need
    from worker.cli.progress import progress  # noqa: PLC0415 - same
    from worker.cli.queue_url import queue_url_of  # noqa: PLC0415 - same
    from worker.run.publish import start  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words
    from worker.tally import LinkTally  # noqa: PLC0415 - brings in what --help does not need

    settings = load_settings(flags)
    show = progress(settings.progress, quiet=settings.quiet)
    tally, started = LinkTally(unit="published"), time.monotonic()

    def tell(note: str) -> None:
        tally.note = note
        show(tally)

    def count(state: "Published") -> None:
        if resume is not None and not tally.done:
            tally.before = state.published
        tally.done, tally.seconds = state.published, time.monotonic() - started
        tally.found = Counter(duplicate=state.duplicate, unusable=state.invalid)
        show(tally)

    publishing = start(
        settings,
        input_path,
        queue_url_of(queue_url, settings),
        resume=resume,
        tell=tell,
        show=count,
    )
    try:
        result = publishing.complete()
    finally:
        tally.ended = True
        show(tally)
    say(
        settings,
        f"run {result.run_id}: {result.published:,} published to {result.queue}"
        f" + {result.duplicate:,} duplicate + {result.invalid:,} invalid"
        f" = {counted(result.rows, 'row')} of {result.input}",
    )
    if not result.complete:
        # Also with --quiet: nothing else says why it ended.
        complain(f"not all of it is published; go on with the same command and --resume {result.run_id}")
    elif settings.quiet and result.exit_code:
        where = shown(settings.runs_dir / result.run_id / "rejected.csv")
        complain(f"run {result.run_id}: exit code {result.exit_code}: {result.invalid:,} unusable ({where})")
    if settings.as_json:
        hand_over(json.dumps({**asdict(result), "exit_code": result.exit_code}, indent=2))
    return result.exit_code
