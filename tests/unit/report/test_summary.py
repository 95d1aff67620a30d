"""The last words on the terminal."""

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.errors import Exit
from worker.models import Status
from worker.report.build import Report
from worker.report.summary import ending, left, summary

RESUME = "nothing is lost; go on with: bulklink resume monday"


def cause(reason: str, count: int, *lines: int, http_status: int | None = None) -> dict[str, Any]:
    return {
        "reason": reason,
        "http_status": http_status,
        "count": count,
        "example_lines": lines,
        "hint": "Do it.",
    }


def report(
    counts: dict[str, int],
    causes: tuple[dict[str, Any], ...] = (),
    requests: dict[str, Any] | None = None,
    **changes: Any,
) -> Report:
    rows = sum(counts.values())
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    values: dict[str, Any] = {
        "schema_version": 1,
        "run_id": "monday",
        "status": "completed",
        "exit_code": 0,
        "message": "",
        "portal": "https://portal.example",
        "input": {"name": "pairs.csv", "kind": "file", "sha256": None, "rows": rows, "complete": True},
        "counts": {"rows": rows, **{str(status): counts.get(status, 0) for status in Status}},
        "requests": {
            "attempts": 0,
            "retries": 0,
            "retries_by_reason": {},
            "throttled": 0,
            "paused_seconds": 0.0,
            "batches": 0,
            "looks": 0,
            "items": 0,
            "transport": "single",
            "transport_reason": "",
            **(requests or {}),
        },
        "timing": {
            "started_at": moment,
            "finished_at": moment,
            "seconds": 1234.56,
            "pairs_per_second": 1620.04,
            "links_per_second": 1.0,
            "requests_per_second": 40.5,
            "latency_ms": {},
        },
        "causes": causes,
        "files": {},
    }
    return Report.model_validate({**values, **changes})


ROLLBACK = {
    "rolled_back_at": datetime(2026, 1, 2, tzinfo=UTC),
    "counts": {"removed": 2, "gone": 0, "kept": 1, "failed": 0},
    "left": 1,
    "reasons": {"not_found": 1},
}
VERIFY = {
    "run_id": "monday",
    "portal": "p",
    "verified_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "seconds": 1.0,
    "requests": 2,
    "throttled": 0,
    "claimed": 3,
    "missing": 1,
    "removed": 0,
    "back": 0,
    "unread": 0,
}


def lines_of(made: Report) -> list[str]:
    return summary(made, "runs/monday", "bulklink resume monday")


def test_a_run_without_failures() -> None:
    made = report(
        {"linked": 2_000_000, "already_linked": 12, "duplicate": 3},
        requests={"attempts": 2_000_050, "retries": 38, "throttled": 5},
    )

    assert lines_of(made) == [
        "run monday: completed, exit code 0",
        "  2,000,000 linked         now linked, confirmed by the portal",
        "         12 already_linked were linked before",
        "          3 duplicate      same pair as an earlier line",
        (
            "  2,000,015 rows in pairs.csv; 2,000,050 requests in 1,234.6 s"
            " (1,620.0 pairs/s, 40.5 requests/s), 38 retries, 5 throttled"
        ),
        "  report: runs/monday/report.html",
    ]


@pytest.mark.parametrize("status", Status)
def test_each_state_is_told_if_it_has_rows(status: Status) -> None:
    (line,) = lines_of(report({status: 7}))[1:-2]

    assert line.startswith(f"  7 {status} ")


def test_failed_rows_are_told_where_they_are() -> None:
    counts = dict.fromkeys(("invalid", "rejected", "retryable", "unknown", "not_attempted"), 2)

    found = [line.rsplit("; ", 1)[1] for line in lines_of(report(counts))[1:6]]
    assert found == ["see rejected.csv"] * 2 + ["see retry.csv"] * 3


def test_causes_are_told_with_their_first_lines_and_what_to_do() -> None:
    causes = (
        cause("not_found", 1200, 2, 3, 5, 7, 8, http_status=404),
        cause("unclosed quote", 3, 11, 12, 13),
        cause("run_ended", 1, 99),
    )

    assert lines_of(report({"rejected": 1204}, causes))[3:6] == [
        "  1,200 x not_found (HTTP 404), line 2, 3, 5, ...: Do it.",
        "  3 x unclosed quote, line 11, 12, 13: Do it.",
        "  1 x run_ended, line 99: Do it.",
    ]


def test_more_than_six_causes_are_in_the_report_alone() -> None:
    causes = tuple(cause(f"reason {number}", 1, number) for number in range(9))

    found = lines_of(report({"invalid": 9}, causes))
    assert found[3].startswith("  1 x reason 0, line 0: ")
    assert found[8].startswith("  1 x reason 5, line 5: ")
    assert found[9:] == ["  and 3 more causes in report.json", "  report: runs/monday/report.html"]
    assert "more cause" not in " ".join(lines_of(report({"invalid": 6}, causes[:6])))


def test_the_message_of_the_end_is_told() -> None:
    made = report({"linked": 2}, status="aborted", exit_code=6, message="portal.example: HTTP 402")

    assert lines_of(made)[:2] == ["run monday: aborted, exit code 6", "  portal.example: HTTP 402"]


def test_no_pace_is_told_where_nothing_was_sent() -> None:
    assert lines_of(report({"invalid": 2}))[2] == "  2 rows in pairs.csv"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("interrupted", Exit.SIGINT),
        ("interrupted", Exit.SIGTERM),
        ("interrupted", Exit.MAX_DURATION),
        ("interrupted", Exit.RETRYABLE),  # killed: no end was written
        ("aborted", Exit.PORTAL),
    ],
)
def test_a_run_with_rows_left_says_how_to_go_on(status: str, code: Exit) -> None:
    made = report({"linked": 1, "not_attempted": 9}, status=status, exit_code=code)

    assert lines_of(made)[-1] == f"  {RESUME}"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("completed", Exit.OK),
        ("completed_with_failures", Exit.REJECTED),
        ("completed_with_failures", Exit.RETRYABLE),
        ("aborted", Exit.TOO_MANY_ERRORS),
    ],
)
def test_a_run_that_resume_does_not_help_says_nothing_of_it(status: str, code: Exit) -> None:
    made = report({"linked": 1, "rejected": 9}, status=status, exit_code=code)

    assert "resume" not in " ".join(lines_of(made))


def test_a_run_whose_standard_input_is_gone_does_not_say_that_nothing_is_lost() -> None:
    """Its rows are all settled, and those never read cannot be read again: each resume ends like this one."""
    part = {"name": "-", "kind": "file", "sha256": None, "rows": 1, "complete": False}
    made = report(
        {"linked": 1},
        status="aborted",
        exit_code=Exit.RETRYABLE,
        message="standard input is gone: rows after the last one were never read",
        input=part,
    )

    assert "resume" not in " ".join(lines_of(made))


def test_a_row_in_doubt_is_worth_a_resume_even_if_nothing_can_be_read() -> None:
    part = {"name": "-", "kind": "file", "sha256": None, "rows": 2, "complete": False}
    made = report({"linked": 1, "unknown": 1}, status="interrupted", exit_code=Exit.SIGINT, input=part)

    assert lines_of(made)[-1] == f"  {RESUME}"


def test_a_file_that_was_not_read_to_its_end_is_worth_a_resume() -> None:
    part = {"name": "pairs.csv", "kind": "file", "sha256": None, "rows": 1, "complete": False}
    made = report({"linked": 1}, status="interrupted", exit_code=Exit.SIGINT, input=part)

    assert lines_of(made)[-1] == f"  {RESUME}"


def test_one_of_a_kind_is_told_in_the_singular() -> None:
    made = report({"linked": 1}, requests={"attempts": 1, "retries": 1})

    none = " ".join(lines_of(report({}, requests={"attempts": 2})))
    assert "0 rows in pairs.csv; 2 requests in" in none
    assert ", 0 retries," in none
    assert (
        "1 row in pairs.csv; 1 request in 1,234.6 s (1,620.0 pairs/s, 40.5 requests/s), 1 retry,"
        in " ".join(lines_of(made))
    )


def test_a_seventh_cause_is_told_in_the_singular() -> None:
    causes = tuple(cause(f"reason {number}", 1, number) for number in range(7))

    assert "  and 1 more cause in report.json" in lines_of(report({"invalid": 7}, causes))


def test_an_input_without_a_row_is_told_of_but_not_a_queue() -> None:
    part = {"name": "export.csv", "kind": "file", "sha256": None, "rows": 0, "complete": True}

    assert "nothing was in it: if that cannot be right, --min-rows 1" in " ".join(
        lines_of(report({}, input=part))
    )
    assert "--min-rows" not in " ".join(lines_of(report({}, input={**part, "kind": "queue"})))
    assert "--min-rows" not in " ".join(lines_of(report({"linked": 1}, input=part)))


def test_the_ending_of_a_run_that_was_cut_short_is_one_line_that_says_why_and_what_next() -> None:
    made = report(
        {"linked": 1, "not_attempted": 9}, status="aborted", exit_code=6, message="portal.example: HTTP 402"
    )

    assert ending(made, "bulklink resume monday") == (
        "run monday: aborted, exit code 6: portal.example: HTTP 402;"
        " nothing is lost; go on with: bulklink resume monday"
    )


@pytest.mark.parametrize("status", ["completed", "completed_with_failures"])
def test_a_run_that_did_all_its_rows_needs_no_ending(status: str) -> None:
    assert (
        ending(report({"linked": 1, "rejected": 1}, status=status, exit_code=3), "bulklink resume monday")
        == ""
    )


def test_what_is_left_to_do_is_one_line_that_counts_rows_by_what_they_need() -> None:
    counts = {"linked": 7, "invalid": 1, "rejected": 2, "unknown": 1, "retryable": 1200}
    made = report(counts, exit_code=5, status="completed_with_failures")

    assert left(made, "runs/monday") == (
        "run monday: exit code 5: 3 rows to mend (runs/monday/rejected.csv),"
        " 1,201 rows for 'bulklink retry monday'"
    )


@pytest.mark.parametrize(
    ("status", "says", "says_not"),
    [
        (Status.INVALID, "1 row to mend", "retry"),
        (Status.REJECTED, "1 row to mend", "retry"),
        (Status.RETRYABLE, "1 row for 'bulklink retry monday'", "mend"),
        (Status.UNKNOWN, "1 row for 'bulklink retry monday'", "mend"),
        (Status.NOT_ATTEMPTED, "1 row for 'bulklink retry monday'", "mend"),
    ],
)  # fmt: skip
def test_only_what_there_is_is_left_to_do(status: Status, says: str, says_not: str) -> None:
    said = left(report({status: 1}, exit_code=5), "runs/monday")

    assert says in said
    assert says_not not in said


def test_nothing_is_left_after_a_run_whose_rows_are_all_linked() -> None:
    assert left(report({Status.LINKED: 3, Status.ALREADY_LINKED: 2, Status.DUPLICATE: 1}), "runs/it") == ""


def test_what_became_of_a_run_after_its_end_is_told_too() -> None:
    made = report({"linked": 3}, status="rolled_back", rollback=ROLLBACK, verify=VERIFY, parent="sunday")
    assert lines_of(made)[:4] == [
        "run monday: rolled back, exit code 0",
        "  a retry of run sunday; both: bulklink report sunday monday",
        (
            "  its rollback: 2 removed, 1 kept, 1 link of the run may still be there;"
            " the rows: runs/monday/rollback.csv"
        ),
        "  verified 2026-01-02 03:04:05 UTC: 3 links claimed, 1 missing",
    ]


@pytest.mark.parametrize(
    ("transport", "why", "paced", "told"),
    [
        ("batch", "the portal takes them", "3 requests by batch in", []),
        ("single", "", "3 requests in", []),
        (
            "single",
            "the portal takes no batches: HTTP 404 no_such_route",
            "3 requests in",
            ["  each pair in a request of its own: the portal takes no batches: HTTP 404 no_such_route"],
        ),
    ],
)
def test_the_way_that_pairs_were_sent_is_told_and_why_if_nobody_asked_for_it(
    transport: str, why: str, paced: str, told: list[str]
) -> None:
    requests = {"attempts": 3, "transport": transport, "transport_reason": why}
    lines = lines_of(report({Status.LINKED: 1}, requests=requests))
    assert any(paced in line for line in lines)
    assert [line for line in lines if "request of its own" in line] == told
