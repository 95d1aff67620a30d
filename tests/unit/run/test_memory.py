"""What was learned of a portal: kept for the next run, aged, and never taken on trust."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker.errors import OutputError
from worker.limits.change import Learned
from worker.run.directory import find_run, list_runs
from worker.run.memory import FOLDER, LONGEST, Memory

PORTAL = "https://crm.example.com"
NOW = 1_790_000_000.0
ALL = Learned(rate=35.5, concurrency=6, batch_size=80)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path, PORTAL)


def write(memory: Memory, said: Any) -> None:
    memory.path.parent.mkdir(exist_ok=True)
    memory.path.write_text(said if isinstance(said, str) else json.dumps(said))


def test_the_next_one_starts_with_what_was_learned(memory: Memory, tmp_path: Path) -> None:
    assert memory.recall(NOW) == (Learned(), "")
    memory.keep(ALL, NOW)
    assert Memory(tmp_path, f"{PORTAL}:443/office").recall(NOW + 60.0) == (ALL, "")
    assert Memory(tmp_path, "https://other.example.com").recall(NOW + 60.0) == (Learned(), "")


def test_only_the_owner_can_read_it_and_nothing_is_left_half_written(memory: Memory) -> None:
    memory.keep(ALL, NOW)
    assert memory.path.stat().st_mode & 0o777 == 0o600
    assert memory.path.parent.stat().st_mode & 0o777 == 0o700
    assert list(memory.path.parent.iterdir()) == [memory.path]


def test_what_was_not_learned_this_time_stays_as_it_was_and_grows_old(memory: Memory) -> None:
    memory.keep(ALL, NOW)
    later = NOW + LONGEST - 10.0
    memory.keep(Learned(concurrency=9), later)
    assert memory.recall(later)[0] == Learned(rate=35.5, concurrency=9, batch_size=80)
    assert memory.recall(later + 20.0) == (Learned(concurrency=9), "")
    assert memory.recall(later + LONGEST + 1.0) == (Learned(), "")


def test_what_was_learned_in_days_to_come_is_not_believed(memory: Memory) -> None:
    memory.keep(ALL, NOW)
    assert memory.recall(NOW - 2 * 86_400.0)[0] == Learned()


def test_who_learned_nothing_leaves_no_file(memory: Memory) -> None:
    memory.keep(Learned(), NOW)
    assert not memory.path.parent.exists()


def test_what_is_forgotten_is_gone_and_may_be_forgotten_twice(memory: Memory) -> None:
    memory.keep(ALL, NOW)
    memory.forget()
    memory.forget()
    assert memory.recall(NOW) == (Learned(), "")


VALUE = {"value": 5, "at": NOW}


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{",
        "[]",
        "\udcff",
        {},
        {"version": 0, "rate": VALUE},
        {"version": 2, "rate": VALUE},
        {"version": 1, "rate": 5},
        {"version": 1, "rate": {"value": 5}},
        {"version": 1, "rate": {"value": 0, "at": NOW}},
        {"version": 1, "rate": {"value": "5", "at": NOW}},
        {"version": 1, "rate": {"value": 1e9, "at": NOW}},
        {"version": 1, "rate": {"value": True, "at": NOW}},
        '{"version": 1, "rate": {"value": NaN, "at": 1}}',
        {"version": 1, "concurrency": {"value": 1.5, "at": NOW}},
        {"version": 1, "concurrency": {"value": 1000, "at": NOW}},
        {"version": 1, "batch_size": {"value": -3, "at": NOW}},
    ],
    ids=str,
)
def test_a_damaged_file_counts_for_nothing_is_named_and_is_replaced(memory: Memory, said: Any) -> None:
    if said == "\udcff":
        write(memory, "")
        memory.path.write_bytes(b"\xff\xfe")
    else:
        write(memory, said)
    learned, wrong = memory.recall(NOW)
    assert learned == Learned()
    assert wrong == f"{memory.path}: damaged; what was learned of this portal is not used"
    memory.keep(ALL, NOW)
    assert memory.recall(NOW) == (ALL, "")


def test_what_it_does_not_know_does_no_harm(memory: Memory) -> None:
    write(memory, {"version": 1, "rate": VALUE, "weather": "fine"})
    assert memory.recall(NOW) == (Learned(rate=5), "")


def test_a_folder_that_cannot_be_used_is_named_and_harms_nobody(memory: Memory) -> None:
    memory.path.parent.write_text("a file where the folder should be")
    learned, wrong = memory.recall(NOW)
    assert learned == Learned()
    assert "Not a directory" in wrong
    memory.keep(ALL, NOW)
    with pytest.raises(OutputError, match="Not a directory"):
        memory.forget()


def test_it_is_no_run(memory: Memory, tmp_path: Path) -> None:
    memory.keep(ALL, NOW)
    assert list_runs(tmp_path) == []
    with pytest.raises(Exception, match="no such run"):
        find_run(tmp_path, FOLDER)
