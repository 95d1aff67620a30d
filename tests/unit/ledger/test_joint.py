"""Several sessions as if they had been one, by their samples."""

from worker.ledger.history import Sample
from worker.ledger.joint import MOST, Sampled, together


def session(began: float, seconds: float, *counts: tuple[float, int]) -> Sampled:
    """One that had so many links, and twice as many requests, after so many seconds; two may be in flight."""
    return Sampled(began, seconds, tuple(Sample(at, n, 2 * n, 0, at / 10, 2) for at, n in counts))


def test_one_session_is_what_it_was() -> None:
    alone = session(100.0, 10.0, (5.0, 50), (10.0, 80))

    assert together([alone], 100.0, 10.0) == list(alone.samples)


def test_two_that_overlap_are_summed_at_the_moments_of_both() -> None:
    first = session(100.0, 10.0, (10.0, 100))
    second = session(105.0, 10.0, (10.0, 50))

    assert together([first, second], 100.0, 15.0) == [
        Sample(10.0, 125, 250, 0, 1.5, 4),
        Sample(15.0, 150, 300, 0, 2.0, 2),
    ]


def test_those_of_another_time_are_not_counted() -> None:
    retry = session(500.0, 5.0, (5.0, 7))

    assert together([session(100.0, 10.0, (10.0, 100)), retry], 500.0, 5.0) == list(retry.samples)


def test_one_without_samples_adds_nothing() -> None:
    assert together([session(100.0, 1.0), session(100.0, 2.0, (2.0, 3))], 100.0, 2.0) == [
        Sample(2.0, 3, 6, 0, 0.2, 2)
    ]
    assert together([], 0.0, 1.0) == []


def test_a_stretch_of_months_has_few_samples_and_the_last_one() -> None:
    long = session(0.0, 5000.0, *((float(n), n) for n in range(1, 5001)))
    found = together([long], 0.0, 5000.0)

    assert len(found) <= MOST + 1
    assert found[-1] == long.samples[-1]
