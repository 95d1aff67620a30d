"""List the messages that a queue's workers gave up, and put them back."""

import asyncio

from worker.queues import DeadLetter, DeadLetters

_AT_ONCE = 500
_MOST = 100_000


def list_letters(letters: DeadLetters, most: int) -> list[DeadLetter]:
    """The oldest dead letters, at most so many.

    Raises:
        QueueError: the broker cannot be reached, or says no.
    """
    return asyncio.run(_list(letters, most))


def requeue_letters(letters: DeadLetters, limit: int | None) -> int:
    """Put back ``limit`` letters, or all that there are; those that die again meanwhile are left alone.

    Raises:
        QueueError: the broker cannot be reached, or says no.
    """
    return asyncio.run(_requeue(letters, limit))


async def _list(letters: DeadLetters, most: int) -> list[DeadLetter]:
    await letters.open()
    try:
        return await letters.letters(most)
    finally:
        await letters.close()


async def _requeue(letters: DeadLetters, limit: int | None) -> int:
    await letters.open()
    try:
        done = 0
        if limit is None:
            limit = len(await letters.letters(_MOST))
        while done < limit:
            most = min(_AT_ONCE, limit - done)
            count = await letters.requeue(most)
            done += count
            if count < most:
                break
        return done
    finally:
        await letters.close()
