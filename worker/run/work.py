"""Begin a run over the messages of a queue."""

from collections.abc import Callable

from worker.queues import open_publisher, open_queue, parse_address
from worker.run.access import shared_rate
from worker.run.directory import new_run
from worker.run.run import refuse_no_portal, session_of
from worker.run.session import Session
from worker.settings import Settings
from worker.site import AT_ONCE
from worker.supply.queue import QueuePlan
from worker.supply.queue_input import QueueInput

PREFETCH = 2
"""Messages held per request in flight: enough to have the next ones at hand."""

PREFETCH_FOR_BATCHES = 200
"""Messages held at least if many pairs may go in one request."""

DRAIN_IDLE = 10.0
"""Seconds for which a queue must look empty when its broker does not tell what other workers hold."""


def start(settings: Settings, queue_url: str, reload: Callable[[], Settings]) -> Session:
    """Make ready a new run over the messages of a queue; it is connected to when the run begins.

    Raises:
        UsageError: no portal is named, the URL is wrong, or the library for its broker is not installed.
    """
    refuse_no_portal(settings)
    address = parse_address(queue_url)
    queue = open_queue(address, lease=settings.lease)
    results = None
    if settings.results is not None:
        results = open_publisher(parse_address(settings.results.get_secret_value()), for_work=False)
    plan = QueuePlan(
        prefetch=max(
            (settings.concurrency or AT_ONCE) * PREFETCH,
            0 if settings.transport == "single" else PREFETCH_FOR_BATCHES,
        ),
        drain=settings.drain,
        idle=DRAIN_IDLE if address.broker == "amqp" else 0.0,
        limit=settings.limit,
        max_deliveries=settings.max_deliveries,
        retry_delay=settings.retry_delay,
        look_first=settings.existing == "check",
    )
    rate = shared_rate(settings)
    directory, lock = new_run(settings.runs_dir, settings.run_id)
    input_ = QueueInput(address.shown, queue, results, plan=plan, wait_for=settings.wait_for_broker)
    return session_of(directory, lock, settings, input_, rate=rate, fresh=True, reload=reload)
