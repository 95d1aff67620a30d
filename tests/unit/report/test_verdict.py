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
        ({"linked": 1, "duplicate": 1}, "All 2 rows are linked, 1 of them a duplicate.", [VERIFY]),
        (
            {"linked": 19_604, "invalid": 200, "rejected": 172, "retryable": 24},
            "19,604 of 20,000 rows are linked; 372 need a fix, 24 another try.",
            ["bulklink retry monday", "bulklink run runs/monday/rejected.csv"],
        ),
        (
            {"linked": 2, "already_linked": 1, "duplicate": 1, "invalid": 1},
            "3 of 5 rows are linked; 1 is a duplicate, 1 needs a fix.",
            ["bulklink run runs/monday/rejected.csv"],
        ),
        ({"unknown": 1, "not_attempted": 1}, "0 of 2 rows are linked; 2 need another try.", [RETRY]),
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

    assert sentence == "1 of 3 rows are linked; 2 need another try."
    assert commands == ["bulklink resume monday"]


def test_an_input_that_was_not_read_to_its_end_is_told() -> None:
    sentence, _ = told({"linked": 3}, input=part(complete=False))

    assert sentence == "3 of 3 rows are linked. The input was not read to its end."


def test_a_queue_is_not_gone_on_with_and_never_read_to_its_end() -> None:
    sentence, commands = told(
        {"linked": 2, "retryable": 1}, status="interrupted", input=part(kind="queue", complete=False)
    )

    assert sentence == "2 of 3 rows are linked; 1 needs another try."
    assert commands == ["bulklink retry monday"]


def test_a_folder_that_is_not_the_usual_one_is_named() -> None:
    steps = next_steps(report({"retryable": 1, "invalid": 1}), "/srv/my runs")

    assert [step.command for step in steps] == [
        "bulklink retry monday --runs-dir '/srv/my runs'",
        "bulklink run '/srv/my runs/monday/rejected.csv'",
    ]


def rolled_back(
    at: str = "2026-01-02T03:04:05Z", left: int = 0, failed: int = 0, kept: int = 0
) -> dict[str, Any]:
    counts = {"removed": 3, "gone": 0, "kept": kept, "failed": failed}
    return {"rolled_back_at": at, "counts": counts, "left": left, "reasons": {}}


def found(at: str = "2026-01-03T00:00:00Z", **counts: int) -> dict[str, Any]:
    nothing = dict.fromkeys(("requests", "throttled", "claimed", "missing", "removed", "back", "unread"), 0)
    about = {"run_id": "monday", "portal": "https://portal.example", "verified_at": at, "seconds": 1.0}
    return {**about, **nothing, **counts}


def test_a_run_that_was_rolled_back_says_so_first_and_how_to_make_sure() -> None:
    assert told({"linked": 3}, status="rolled_back", rollback=rolled_back()) == (
        "Rolled back: 3 removed, none left.",
        ["bulklink verify monday", "bulklink run runs/monday/rollback.csv"],
    )


@pytest.mark.parametrize("left", [{"left": 2}, {"failed": 1, "left": 1}, {"kept": 1, "left": 2}])
def test_what_could_not_be_undone_is_to_be_tried_again(left: dict[str, Any]) -> None:
    _, commands = told({"linked": 3}, status="rolled_back", rollback=rolled_back(**left))

    assert commands == ["bulklink rollback monday"]


def test_what_the_last_look_did_not_find_is_in_the_first_sentence_and_can_be_made_again() -> None:
    assert told({"linked": 3}, verify=found(claimed=3, missing=1)) == (
        "All 3 rows are linked. By the last look 1 link is missing.",
        ["bulklink run runs/monday/verify.csv"],
    )
    assert told({"linked": 3}, verify=found(claimed=3)) == ("All 3 rows are linked.", [])


def test_a_look_before_a_rollback_says_nothing_of_what_is_there_after_it() -> None:
    early = found("2026-01-01T00:00:00Z", claimed=3, missing=2)
    sentence, commands = told({"linked": 3}, status="rolled_back", rollback=rolled_back(), verify=early)
    assert (sentence, commands[0]) == ("Rolled back: 3 removed, none left.", "bulklink verify monday")

    late = found(removed=3, back=2)
    assert told({"linked": 3}, status="rolled_back", rollback=rolled_back(), verify=late) == (
        "Rolled back: 3 removed, none left. By the last look 2 links are there again.",
        ["bulklink run runs/monday/rollback.csv"],
    )
