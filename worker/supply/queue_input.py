"""A queue that a run works on: opened when the run begins, and what is said of it when it ends."""

from collections.abc import Callable
from random import Random

from worker.errors import QueueMissing, QueueUnavailable
from worker.ledger import Ledger
from worker.queues import Publisher, Queue
from worker.supply.broker_retry import BrokerRetry
from worker.supply.queue import QueuePlan, QueueSupply
from worker.tally import RunTally


class QueueInput:
    """A queue that a run works on.

    Args:
        shown: its URL without credentials.
        queue: not open yet.
        results: where outcomes are published; None if nowhere.
        wait_for: seconds to wait at the start for brokers that are away.
    """

    def __init__(
        self, shown: str, queue: Queue, results: Publisher | None, *, plan: QueuePlan, wait_for: float
    ) -> None:
        self.facts = {"input_path": shown, "input_name": shown, "input_kind": "queue"}
        self._queue = queue
        self._results = results
        self._plan = plan
        self._wait_for = wait_for

    @property
    def lost(self) -> str:
        """What the queue holds and no worker is handed, or what is gone from it."""
        return "; ".join(self._queue.warnings)

    async def open(self, ledger: Ledger, tally: RunTally, tell: Callable[[str], None]) -> QueueSupply:
        """The queue, connected.

        Raises:
            QueueError: it cannot be reached, or is not there, in time; or it refuses us.
        """
        retry = BrokerRetry(tell, Random())  # noqa: S311 - spreads tries
        try:
            # A queue that is not there yet is waited for too: its publisher may be about to make it.
            await retry.call(
                self._queue.open, give_up_after=self._wait_for, wait_for=(QueueUnavailable, QueueMissing)
            )
            if self._results is not None:
                await retry.call(self._results.open, give_up_after=self._wait_for)
        except BaseException as error:
            await self._queue.close()
            if self._results is not None:
                await self._results.close()
            if isinstance(error, QueueUnavailable):
                raise QueueUnavailable(f"{error}; nothing was taken") from error
            raise
        return QueueSupply(self._queue, self._results, ledger, tally, plan=self._plan, tell=tell)

    def close(self) -> None:
        """The queue is closed by its supply."""
