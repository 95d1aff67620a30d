"""Dead letters go back in portions: what is done so far is shown, and told when the broker goes away."""

import re

import pytest

from worker.errors import QueueError, QueueUnavailable
from worker.queues import DeadLetter, Failure
from worker.run.dead import requeue_letters

LETTER = DeadLetter("a", b"", Failure("x", "rejected"), 1, 0.0)


class Letters:
    """So many dead letters, of a broker that goes away, or says no, after some were put back."""

    def __init__(
        self, count: int, *, lasts: int = 1_000_000, error: type[QueueError] = QueueUnavailable
    ) -> None:
        self.left = count
        self.lasts = lasts
        self.error = error
        self.is_open = False

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def letters(self, most: int) -> list[DeadLetter]:
        return [LETTER] * min(most, self.left)

    async def requeue(self, most: int) -> int:
        if self.lasts <= 0:
            raise self.error("redis://h: gone")
        count = min(most, self.left)
        self.left -= count
        self.lasts -= count
        return count


def put_back(letters: Letters, limit: int | None = None) -> tuple[int, list[tuple[int, int]]]:
    shown: list[tuple[int, int]] = []
    count = requeue_letters(letters, limit, lambda done, total: shown.append((done, total)))
    return count, shown


def test_it_is_shown_how_many_of_all_are_put_back() -> None:
    assert put_back(Letters(1_200)) == (1_200, [(500, 1_200), (1_000, 1_200), (1_200, 1_200)])


def test_a_limit_is_all_that_is_put_back() -> None:
    letters = Letters(1_200)
    assert put_back(letters, 700) == (700, [(500, 700), (700, 700)])
    assert letters.left == 500


def test_fewer_than_the_limit_are_no_failure() -> None:
    assert put_back(Letters(3), 700) == (3, [(3, 700)])
    assert put_back(Letters(0)) == (0, [])


@pytest.mark.parametrize("error", [QueueUnavailable, QueueError])
def test_an_error_says_how_many_were_put_back_before(error: type[QueueError]) -> None:
    letters = Letters(1_200, lasts=1_000, error=error)
    with pytest.raises(error, match=re.escape("gone; 1,000 put back so far")) as caught:
        put_back(letters)
    assert type(caught.value) is error
    assert not letters.is_open
