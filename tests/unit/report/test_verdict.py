"""The first sentence of a report, and the command that it says to type next."""

from typing import Any

import pytest

from tests.unit.report.test_summary import report
from worker.report.verdict import next_steps, verdict

VERIFY = "bulklink verify monday"
RETRY = "bulklink retry monday"


def told(counts: dict[str, int], **changes: Any) -> tuple[str, list[str]]:
    made = report(counts, **changes)
    return verdict(made), [step.command for step in next_steps(made, "runs")]


def part(**changes: Any) -> dict[str, Any]:
    return {"name": "pairs.csv", "kind": "file", "sha256": None, "rows": 3, "complete": True, **changes}


@pytest.mark.parametrize(
    ("counts", "sentence", "commands"),
    [
        ({"linked": 2000}, "All 2,000 rows are linked.", ["bulklink verify monday"]),
        ({"already_linked": 1}, "The one row is linked.", []),
        ({"linked": 3, "duplicate": 2}, "All 5 rows are linked, 2 of them duplicates.", [VERIFY]),
        (
            {"linked": 19_604, "invalid": 200, "rejected": 172, "retryable": 24},
            "19,604 of 20,000 rows are linked; 372 need a fix, 24 another try.",
            ["bulklink retry monday", "bulklink run runs/monday/rejected.csv"],
        ),
        (
            {"linked": 2, "already_linked": 1, "duplicate": 1, "invalid": 1},
            "3 of 5 rows are linked; 1 is a duplicate, 1 need a fix.",
            ["bulklink run runs/monday/rejected.csv"],
        ),
        ({"unknown": 1, "not_attempted": 1}, "0 of 2 rows are linked; 2 another try.", [RETRY]),
        ({}, "There was no row in it.", []),
    ],
)  # fmt: skip
def test_a_run_is_told_in_a_sentence_with_the_next_command(
    counts: dict[str, int], sentence: str, commands: list[str]
) -> None:
    assert told(counts) == (sentence, commands)


@pytest.mark.parametrize("status", ["interrupted", "aborted"])
def test_a_run_that_was_cut_short_is_to_be_gone_on_with(status: str) -> None:
    sentence, commands = told({"linked": 1, "not_attempted": 2}, status=status)

    assert sentence == "1 of 3 rows are linked; 2 another try."
    assert commands == ["bulklink resume monday"]


def test_an_input_that_was_not_read_to_its_end_is_told() -> None:
    sentence, _ = told({"linked": 3}, input=part(complete=False))

    assert sentence == "3 of 3 rows are linked. The input was not read to its end."


def test_a_queue_is_not_gone_on_with_and_never_read_to_its_end() -> None:
    sentence, commands = told(
        {"linked": 2, "retryable": 1}, status="interrupted", input=part(kind="queue", complete=False)
    )

    assert sentence == "2 of 3 rows are linked; 1 another try."
    assert commands == ["bulklink retry monday"]


def test_a_folder_that_is_not_the_usual_one_is_named() -> None:
    steps = next_steps(report({"retryable": 1, "invalid": 1}), "/srv/my runs")

    assert [step.command for step in steps] == [
        "bulklink retry monday --runs-dir '/srv/my runs'",
        "bulklink run '/srv/my runs/monday/rejected.csv'",
    ]


def test_a_run_that_was_rolled_back_says_so_first_and_wants_nothing() -> None:
    undone = {
        "rolled_back_at": "2026-01-02T03:04:05Z",
        "counts": {"removed": 3, "gone": 0, "kept": 0, "failed": 0},
        "left": 0,
        "reasons": {},
    }

    assert told({"linked": 3}, status="rolled_back", rollback=undone) == (
        "Rolled back: 3 removed, none left.",
        [],
    )
