"""Different numbers are counted, whether or not they were written away meanwhile."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.run import distinct
from worker.run.distinct import Distinct


def counted(folder: Path, numbers: list[int]) -> int:
    found = Distinct(folder)
    for number in numbers:
        found.add(number)
    return found.count()


def test_of_nothing_there_is_nothing(tmp_path: Path) -> None:
    assert Distinct(tmp_path).count() == 0


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5) | st.integers(0, 99).map(lambda n: n << 32)))
@settings(max_examples=30)  # each writes many files
def test_what_was_written_away_counts_as_what_is_held(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert counted(tmp_path_factory.mktemp("held"), numbers) == len(set(numbers))
        patch.setattr(distinct, "_HELD", 7)
        assert counted(tmp_path_factory.mktemp("written"), numbers) == len(set(numbers))


def test_no_more_than_a_part_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_HELD", 100)
    found = Distinct(tmp_path)
    for number in range(1000):
        found.add(number << 32)  # the same contact, at many opportunities
        assert sum(map(len, found._shares)) < 100

    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sum(sizes) == 8 * 1000
    assert max(sizes) < 3 * 8 * 1000 / len(sizes)
