"""A large input in small: the run is killed, gone on with, and each row is one link."""

import json
from typing import TYPE_CHECKING

import pytest

from worker.cli.bench.size import Watched, _paces

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def test_paces_are_told_before_and_after_the_input_was_read() -> None:
    watched = Watched(
        [(10.0, 0, None), (11.0, 100, 50.0), (12.0, 200, 60.0), (14.0, 800, 70.0)], read_at=12.0
    )
    books = {"first_post": 10.0, "last": 15.0, "posts": 1100}

    during, after, ratio = _paces(watched, books)

    assert (during.value, after.value) == (100.0, 300.0)
    assert ratio.value == pytest.approx(1 / 3)
    assert ratio.holds is False
    assert [watched.memory_at(links) for links in (0, 150, 900)] == [None, 60.0, None]


def test_a_pace_of_no_time_is_none() -> None:
    books = {"first_post": 10.0, "last": 15.0, "posts": 1000}
    read_first = Watched([(9.0, 0, None), (15.0, 1000, None)], read_at=9.5)
    read_last = Watched([(10.0, 0, None), (15.0, 1000, None)], read_at=15.0)
    never_read = Watched([(10.0, 0, None)])

    assert [one.value for one in _paces(read_first, books)] == [None, 200.0, None]
    assert [one.value for one in _paces(read_last, books)] == [200.0, None, None]
    assert [one.value for one in _paces(never_read, books)] == [None, None, None]


@pytest.mark.long
def test_every_row_is_linked_although_the_run_was_killed(command: "Command") -> None:
    done = command("bench", "size", "--rows", "2000", "--existing", "post", "--json")

    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["rows"], result["existing"]) == (2000, "post")
    assert result["counts"]["linked"] + result["counts"]["already_linked"] == 2000
    figures = {figure["name"]: figure for figure in result["figures"]}
    for name in (
        "first request after",
        "resume, first request after",
        "files, from the last answer to the end",
    ):
        assert figures[name]["value"] > 0
    assert figures["memory at most"]["value"] > 20
    assert figures["resume, links asked for again"]["value"] >= 0
    goals = {name: (figure["bound"], figure["goal"]) for name, figure in figures.items() if figure["goal"]}
    assert goals == {
        "--help": ("<=", 0.15),
        "check of 3 rows": ("<=", 0.35),
        "check": ("<=", 6),
        "first request after": ("<=", 1),
        "while / afterwards": (">=", 0.7),
        "memory at most": ("<", 150),
        "resume, first request after": ("<", 3),
        "resume, memory at most": ("<", 150),
        "files, from the last answer to the end": ("<", 30),
    }
