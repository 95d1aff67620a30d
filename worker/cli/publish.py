"""``bulklink publish INPUT QUEUE_URL``: put pairs on a queue."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from worker.cli.completing import files
from worker.cli.grouped import GroupedCommand
from worker.cli.options import INPUT, settings_options

if TYPE_CHECKING:
    from worker.supply.publication import Published

_EVERY = 10.0


@click.command("publish", cls=GroupedCommand)
@click.argument("input_path", metavar="INPUT", shell_complete=files)
@click.argument("queue_url", metavar="[QUEUE_URL]", required=False)
@click.option("--resume", metavar="RUN", help="Go on with a publication that was cut off.")
@settings_options(*INPUT, "wait_for_broker", "runs_dir", "run_id", "as_json", "quiet", of="publish")
def command(input_path: str, queue_url: str | None, resume: str | None, **flags: Any) -> int:
    """Put each pair of INPUT, a CSV or JSONL file, on a queue; the queue is made if there is none.

    Rows are judged as by 'run': what is no pair goes to rejected.csv, what is there twice is published once.
    Each batch is confirmed by the broker before the next; after a crash, --resume repeats one batch at most.
    Exit code 0 if every row was a pair or a duplicate of one, 3 if some were invalid, 6 without a broker.
    """
    from worker.cli.output import complain, hand_over, say  # noqa: PLC0415 - brings in what --help does not need
    from worker.cli.queue_url import queue_url_of  # noqa: PLC0415 - same
    from worker.run.publish import start  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    settings = load_settings(flags)
    publishing = start(
        settings,
        input_path,
        queue_url_of(queue_url, settings),
        resume=resume,
        tell=lambda note: say(settings, f"bulklink: {note}") if note else None,
        show=_now_and_then(lambda text: say(settings, text)),
    )
    result = publishing.complete()
    say(
        settings,
        f"run {result.run_id}: {result.published:,} published to {result.queue}"
        f" + {result.duplicate:,} duplicate + {result.invalid:,} invalid"
        f" = {result.rows:,} rows of {result.input}",
    )
    if not result.complete:
        # Also with --quiet: nothing else says why it ended.
        complain(f"not all of it is published; go on with the same command and --resume {result.run_id}")
    if settings.as_json:
        hand_over(json.dumps({**asdict(result), "exit_code": result.exit_code}, indent=2))
    return result.exit_code


def _now_and_then(say: Callable[[str], None]) -> Callable[["Published"], None]:
    due = time.monotonic() + _EVERY

    def show(state: "Published") -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _EVERY
            with suppress(OSError):
                say(f"bulklink: {state.published:,} published")

    return show
