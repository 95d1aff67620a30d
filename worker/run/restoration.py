"""Make links again that a sync removed: look for each, and link those that are not there."""

from collections.abc import Callable, Sequence
from typing import Any

from worker.dispatch import Finished
from worker.ledger import PruneLedger
from worker.models import Outcome
from worker.operations.base import Operation
from worker.operations.compare import compare
from worker.operations.link import Link
from worker.operations.restore import judge_restored
from worker.removals import Restoring
from worker.site import Site


class Restoration:
    """What is done with links that a rollback makes again. To ask for one twice does no harm (contract 4.1).

    Args:
        site: the portal.
        ledger: of the sync that removed them.
        observe: is told of links that have their last word, once that is durable.
    """

    def __init__(
        self, site: Site, ledger: PruneLedger, observe: Callable[[Sequence[Restoring]], None]
    ) -> None:
        self._site = site
        self._ledger = ledger
        self._observe = observe

    async def conclude(self, finished: Sequence[Finished]) -> Sequence[Operation[Any]]:
        """Make durable what became of operations; gives what follows from them."""
        outcomes: list[Outcome] = []
        following: list[Operation[Any]] = []
        for _, result in finished:
            if isinstance(result, Outcome):
                outcomes.append(result)
                continue
            compared = compare(result)
            outcomes += compared.settled
            following += [Link(pair, self._site.policy, self._site.rng) for pair in compared.to_link]
        if outcomes:
            restored = [judge_restored(outcome) for outcome in outcomes]
            await self._ledger.restore(restored)
            self._observe(restored)
        return following
