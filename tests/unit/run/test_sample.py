"""Which pairs of an input are looked at before a run."""

from random import Random

from worker.models import Pair
from worker.run.sample import SIZE, Sample


def sample_of(pairs: list[tuple[int, int]], size: int = SIZE) -> Sample:
    sample = Sample(Random(7), size)  # noqa: S311 - guards nothing
    for opportunity_id, contact_id in pairs:
        sample.add(Pair(0, 0, opportunity_id, contact_id).key)
    return sample


def test_of_a_short_input_all_ids_are_looked_at_each_once() -> None:
    sample = sample_of([(3, 9), (1, 9), (3, 8), (3, 9)])

    assert (sample.opportunities, sample.contacts) == ([1, 3], [8, 9])


def test_of_a_long_one_some_are_wherever_they_stand() -> None:
    thirds = [0, 0, 0]
    for seed in range(60):
        sample = Sample(Random(seed))  # noqa: S311 - guards nothing
        for number in range(3000):
            sample.add(Pair(0, 0, number + 1, 1).key)
        assert len(sample.opportunities) == SIZE
        for one in sample.opportunities:
            thirds[(one - 1) // 1000] += 1

    assert sum(thirds) == 600
    assert min(thirds) > 150


def test_without_pairs_there_is_none() -> None:
    assert sample_of([]).opportunities == []
