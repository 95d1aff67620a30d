"""List the messages that a queue's workers gave up, and put them back."""

import asyncio
from collections.abc import Callable

from worker.errors import QueueError
from worker.queues import DeadLetter, DeadLetters

_AT_ONCE = 500
_MOST = 100_000


def list_letters(letters: DeadLetters, most: int) -> list[DeadLetter]:
    """The oldest dead letters, at most so many.

    Raises:
        QueueError: the broker cannot be reached, or says no.
    """
    return asyncio.run(_list(letters, most))


def requeue_letters(letters: DeadLetters, limit: int | None, show: Callable[[int, int], None]) -> int:
    """Put back ``limit`` letters, or all that there are; those that die again meanwhile are left alone.

    Args:
        letters: not open yet.
        limit: most of them; None for all.
        show: told again and again how many are put back, and of how many.

    Raises:
        QueueError: the broker cannot be reached, or says no; the text says how many are put back.
    """
    return asyncio.run(_requeue(letters, limit, show))


async def _list(letters: DeadLetters, most: int) -> list[DeadLetter]:
    await letters.open()
    try:
        return await letters.letters(most)
    finally:
        await letters.close()


async def _requeue(letters: DeadLetters, limit: int | None, show: Callable[[int, int], None]) -> int:
    await letters.open()
    done = 0
    try:
        if limit is None:
            limit = len(await letters.letters(_MOST))
        while done < limit:
            most = min(_AT_ONCE, limit - done)
            count = await letters.requeue(most)
            done += count
            show(done, limit)
            if count < most:
                break
    except QueueError as error:
        raise error.with_more(f"{done:,} put back so far") from error
    else:
        return done
    finally:
        await letters.close()
