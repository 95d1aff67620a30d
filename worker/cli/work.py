"""``bulklink work QUEUE_URL``: the main job, fed from a queue."""

from typing import Any

import click

from worker.cli.grouped import GroupedCommand
from worker.cli.options import QUEUE, RUN, settings_options


@click.command(
    "work",
    cls=GroupedCommand,
    examples=[
        ("bulklink work 'redis://localhost:6379/0?stream=links' --drain", "Stop when the queue is empty."),
        ("BULKLINK_QUEUE_URL=... bulklink work", "Work until stopped; the URL has a password."),
    ],
)
@click.argument("queue_url", metavar="[QUEUE_URL]", required=False)
@settings_options(*RUN, "drain", "limit", *QUEUE, "run_id", of="work")
def command(queue_url: str | None, **flags: Any) -> int:
    """Link the pairs that come on a queue: until stopped, or with --drain until it is empty.

    QUEUE_URL is like redis://HOST:6379/0?stream=NAME&group=NAME, amqp://HOST:5672/VHOST?queue=NAME or
    nats://HOST:4222?stream=NAME&durable=NAME. One with a password belongs in BULKLINK_QUEUE_URL.

    A message is acknowledged after its outcome is on disk. What can never be a link goes to the dead
    letters; see 'bulklink dead'. Any number of workers may share a queue.
    """
    from worker.cli.finish import work_and_report  # noqa: PLC0415 - brings in aiohttp
    from worker.cli.queue_url import queue_url_of  # noqa: PLC0415 - same
    from worker.run.work import start  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - after click has accepted the words

    settings = load_settings(flags)
    session = start(settings, queue_url_of(queue_url, settings), lambda: load_settings(flags))
    return work_and_report(session, settings)
