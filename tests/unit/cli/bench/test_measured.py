"""Commands that are measured, and those that cannot be."""

import sys
from pathlib import Path
from typing import Any

import pytest

from worker.cli.bench.measured import Running, Stub, bulklink, measure
from worker.cli.bench.size import _watch
from worker.errors import WorkerError


class Books(Stub):
    """A stub that is said to have been asked for so much."""

    def __init__(self, **books: Any) -> None:
        super().__init__("http://nowhere")
        self.told: list[str] = []
        self._books = {
            "cpu": 1.0,
            "requests": 7,
            "links": 5,
            "posts": 5,
            "first_post": 2.0,
            "last": 3.5,
        } | books

    def books(self, order: str = "") -> dict[str, Any]:
        self.told.append(order)
        return self._books


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_time_memory_and_what_the_stub_was_asked_are_told() -> None:
    stub = Books()

    measured = measure(stub, python("sum(range(10**6)); x = bytearray(60_000_000)"), 5)

    assert stub.told == ["open", ""]
    assert measured.cpu_seconds > 0
    assert 0 < measured.seconds < 30
    assert measured.peak_mb > 60
    assert (measured.pairs, measured.requests, measured.posting_seconds) == (5, 7, 1.5)


def test_a_command_that_does_not_make_all_links_is_no_contender() -> None:
    with pytest.raises(WorkerError, match="made 4 of 5 links"):
        measure(Books(links=4), python("pass"), 5)
    with pytest.raises(WorkerError, match="made 1 of 5 links"):
        measure(Books(links=1), python("pass"), 5, links=False)


def test_a_command_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(WorkerError, match="ended with exit code 3: oh no"):
        measure(Books(), python("import sys; print('oh no', file=sys.stderr); sys.exit(3)"), 5)


def test_a_command_has_none_of_the_callers_variables_and_the_queue_is_no_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BULKLINK_TOKEN", "secret of mine")
    monkeypatch.setenv("BULKLINK_RATE", "1/s")
    seen = "{n: v for n, v in os.environ.items() if n.startswith('BULKLINK_')}"
    wanted = {"BULKLINK_TOKEN": "demo-token", "BULKLINK_QUEUE_URL": "redis://x"}

    with Running(python(f"import os; assert {seen} == {wanted}"), "redis://x") as running:
        running.finish()


def test_what_still_runs_is_ended_with_the_block() -> None:
    with Running(python("import time; time.sleep(600)")) as running:
        assert not running.has_ended()

    assert running.has_ended()


def test_a_run_that_ends_before_it_was_to_be_killed_is_no_measurement(tmp_path: Path) -> None:
    with (
        Running(python("pass")) as running,
        pytest.raises(WorkerError, match="ended with exit code 0"),
    ):
        _watch(running, Books(holding=False), tmp_path / "ledger.db")


def test_a_verb_gets_its_own_folder_and_the_stub(tmp_path: Path) -> None:
    words = bulklink("run", "pairs.csv", "--rate", "5/s", folder=tmp_path, url="http://stub")

    assert words[1:7] == ["-m", "worker", "run", "pairs.csv", "--rate", "5/s"]
    assert words[words.index("--portal") + 1] == "http://stub"
    assert words[words.index("--runs-dir") + 1] == str(tmp_path)
