"""Carry out batches: one step after the other, each as if it had come alone (contract 7.4).

Nothing is undone, and nothing stops a batch but an item that breaks it; least of all a client who has left,
for the handler goes on (contract 10.14).
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

from worker.simulator import batch, faults, replies, results, shapes
from worker.simulator.batch import Abort, Step
from worker.simulator.bodies import Bodies
from worker.simulator.books import Books
from worker.simulator.faults import Deck
from worker.simulator.methods import Ask
from worker.simulator.replies import Reply
from worker.simulator.results import Result
from worker.simulator.trouble import SHAPES, Fault


class Batches:
    """The batches of one portal.

    Args:
        answer: does what one item asks, and gives its answer.
        books: get an entry for each item.
        deck: deals the faults.
        bodies: write what a fault says.
        pause: seconds that an item takes.
    """

    def __init__(
        self, answer: Callable[[Ask], Reply], books: Books, deck: Deck, bodies: Bodies, pause: float
    ) -> None:
        self._answer = answer
        self._books = books
        self._deck = deck
        self._bodies = bodies
        self._pause = pause

    async def carry_out(self, ask: Ask) -> Reply:
        """Answer a batch."""
        try:
            steps, good = batch.read_steps(ask), results.without_batch(xml=ask.xml)
        except batch.BrokenBatch:
            steps, good = [], replies.site_page(500)
        pairs = [step.pair for step in steps]
        fault = self._deck.deal_batch(ask.route, self._books.posts, frozenset(pair for pair in pairs if pair))
        rng = self._deck.draws_for_batch()
        if fault is not None and fault.kind == "slow" and not fault.stores:
            await asyncio.sleep(fault.delay)
            fault = None
        made: list[Result | None] = []
        broken_by = await self._take(steps[: _how_many(fault, pairs, rng)], made)
        if broken_by is not None:
            good = results.aborted(broken_by.message, broken_by.hresult, xml=ask.xml)
        elif steps:
            good = _written(ask, made, fault, rng)
        # A refusal stays one, unless the fault was there before it.
        if fault is not None and (good.status < 300 or not steps):  # noqa: PLR2004 - no success
            good = faults.spoil(fault, self._bodies, 0, good, xml=ask.xml)
        return replace(good, items=len(made))

    async def _take(self, steps: list[Step], made: list[Result | None]) -> Abort | None:
        for step in steps:
            if self._pause:
                await asyncio.sleep(self._pause)
            if isinstance(step.does, Abort):
                return step.does
            made.append(self._result(step))
        return None

    def _result(self, step: Step) -> Result | None:
        does = step.does
        if not isinstance(does, Ask):
            self._books.began(None)
            return _result(step.name, does) if isinstance(does, Reply) else None
        at = time.monotonic()
        self._books.began(does.route)
        reply = self._answer(does)
        self._books.ended(does.route, at, reply.status)
        return _result(step.name, reply)


def _written(ask: Ask, made: list[Result | None], fault: Fault | None, rng: Random) -> Reply:
    most = results.SHOWN
    if not made:
        pass  # nothing was carried out, so there is nothing to change
    elif fault is not None and fault.kind == "cut_items":
        most = fault.item or rng.randint(1, len(made))
    elif fault is not None and fault.kind in SHAPES:
        made = shapes.reshape(made, fault, rng)
    status = 201 if ask.route.method == "POST" else 200
    return results.write(made, ask.query, status, xml=ask.xml, most=most)


def _how_many(fault: Fault | None, pairs: list[tuple[int, int] | None], rng: Random) -> int:
    """Say how many items are carried out before the fault strikes."""
    if fault is None or (fault.items_done is None and fault.stores):
        return len(pairs)
    if fault.items_done is not None:
        return fault.items_done if fault.items_done >= 0 else rng.randint(0, len(pairs))
    return next((index for index, pair in enumerate(pairs) if pair in fault.only), 0)


def _result(name: str | None, reply: Reply) -> Result:
    return Result(name, reply.status, reply.content_type, reply.body)
