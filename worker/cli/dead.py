"""``bulklink dead QUEUE_URL``: what was given up, and putting it back."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from worker.cli.options import settings_options
from worker.errors import one_line
from worker.quantities import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.queues import DeadLetter
    from worker.settings import Settings

_SHOWN = 100


@click.command("dead")
@click.argument("queue_url", metavar="[QUEUE_URL]", required=False)
@click.option("--requeue", is_flag=True, help="Put them back on the queue.")
@settings_options("limit", "as_json", "progress", "quiet", of="dead")
def command(queue_url: str | None, *, requeue: bool, **flags: Any) -> int:
    """List the messages that a queue's workers gave up, oldest first, with the reason; 100 without --limit.

    With --requeue they go back on the queue, to be tried anew: the first --limit, or all, 100,000 at most;
    --json then says how many did.
    """
    from worker.cli.output import hand_over, say  # noqa: PLC0415 - brings in what --help does not need
    from worker.cli.queue_url import queue_url_of  # noqa: PLC0415 - same
    from worker.queues import open_dead_letters, parse_address  # noqa: PLC0415 - same
    from worker.run.dead import list_letters, requeue_letters  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    settings = load_settings(flags)
    address = parse_address(queue_url_of(queue_url, settings))
    letters = open_dead_letters(address)
    if requeue:
        count = requeue_letters(letters, settings.limit, _shown_by(settings))
        say(settings, f"{address.shown}: {count:,} put back")
        if settings.as_json:
            hand_over(json.dumps({"queue": address.shown, "put_back": count}))
        return 0
    found = list_letters(letters, settings.limit or _SHOWN)
    for letter in found:
        hand_over(_as_json(letter) if settings.as_json else _as_line(letter))
    if not found:
        say(settings, f"{address.shown}: no dead letters")
    elif len(found) == (settings.limit or _SHOWN):
        say(settings, f"{address.shown}: there may be more; --limit shows them")
    return 0


def _shown_by(settings: "Settings") -> "Callable[[int, int], None]":
    from worker.cli.progress import progress  # noqa: PLC0415 - brings in what --help does not need
    from worker.tally import LinkTally  # noqa: PLC0415 - same

    draw, started = progress(settings.progress, quiet=settings.quiet), time.monotonic()

    def show(done: int, total: int) -> None:
        draw(
            LinkTally(
                unit="put back",
                total=total,
                done=done,
                seconds=time.monotonic() - started,
                ended=done == total,
            )
        )

    return show


def _as_line(letter: "DeadLetter") -> str:
    at = datetime.fromtimestamp(letter.dead_at, UTC)
    http = f" (HTTP {letter.failure.http_status})" if letter.failure.http_status else ""
    body = letter.body[:200].decode("utf-8", "backslashreplace")
    return (
        f"{at:%Y-%m-%dT%H:%M:%SZ}  {letter.failure.status}: {one_line(letter.failure.reason)}{http},"
        f" {counted(letter.failure.attempts, 'attempt')}, {counted(letter.deliveries, 'delivery')}"
        f"  {one_line(body)}"
    )


def _as_json(letter: "DeadLetter") -> str:
    said = asdict(letter)
    said["why"] = said.pop("failure")
    said["body"] = letter.body.decode("utf-8", "backslashreplace")
    return json.dumps(said)
