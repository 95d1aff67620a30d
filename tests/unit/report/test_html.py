"""report.html: one page, offline, and nothing in it that somebody else wrote is run."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from tests.unit.report.test_summary import ROLLBACK, VERIFY
from worker.models import Status
from worker.report.build import Report
from worker.report.html import write_html

HOSTILE = """<script>alert("1")</script>'"><img src=x onerror=alert(2)>&amp;"""


def report(**changes: Any) -> Report:
    counts = {"rows": 8000, **dict.fromkeys(map(str, Status), 1000)}
    values: dict[str, Any] = {
        "schema_version": 1,
        "run_id": "monday",
        "status": "completed_with_failures",
        "exit_code": 5,
        "message": "stopped by SIGTERM",
        "portal": "https://portal.example",
        "input": {"name": "pairs.csv", "kind": "file", "sha256": "ab" * 32, "rows": 8000, "complete": True},
        "counts": counts,
        "requests": {
            "attempts": 9000,
            "retries": 1500,
            "retries_by_reason": {"throttled": 1000, "timeout": 500},
            "throttled": 1234,
            "paused_seconds": 12.34,
            "batches": 0,
            "looks": 0,
            "items": 0,
            "transport": "single",
            "transport_reason": "",
        },
        "timing": {
            "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            "finished_at": datetime(2026, 1, 2, 4, 5, 6, tzinfo=UTC),
            "seconds": 3661.0,
            "pairs_per_second": 2.19,
            "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4000.0},
        },
        "causes": (
            {
                "reason": "not_found",
                "http_status": 404,
                "count": 1000,
                "example_lines": (2, 3),
                "hint": "Look again.",
            },
        ),
        "files": {"linked.csv": "linked.csv", "retry.csv": "retry.csv"},
    }
    return Report.model_validate({**values, **changes})


def page_of(folder: Path, made: Report) -> str:
    write_html(made, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def words(page: str) -> str:
    return " ".join("".join(map(str, html.fromstring(page).itertext())).split())


def test_the_page_tells_what_the_report_tells(tmp_path: Path) -> None:
    text = words(page_of(tmp_path, report()))

    for said in (
        "pairs.csv → https://portal.example",
        "Run monday: completed with failures, exit code 5. stopped by SIGTERM",
        "already linked1,000",
        "all8,000",
        "not_found4041,000 2, 3Look again.",
        "2026-01-02 03:04:05, 2026-01-02 04:05:06",
        "3,661.0 s, 2.2 pairs/s",
        "9,000, of which 1,500 retries 1,000 after throttled500 after timeout",
        "1,234 answers, paused for 12.3 s",
        "p50 1.0 ms, p95 2.0 ms, p99 3.0 ms, max 4,000.0 ms",
        f"pairs.csvsha256 {'ab' * 32}",
        "linked.csv, retry.csv",
    ):
        assert said in text


def test_states_without_rows_are_left_out_and_bars_show_the_share(tmp_path: Path) -> None:
    counts = {"rows": 4, **dict.fromkeys(map(str, Status), 0), "linked": 3, "invalid": 1}
    tree = html.fromstring(page_of(tmp_path, report(counts=counts)))

    assert [(bar.get("class"), bar.get("width")) for bar in tree.iter("rect")] == [
        ("linked", "75.000"),
        ("invalid", "25.000"),
    ]


def test_a_run_without_rows_and_causes_has_a_page(tmp_path: Path) -> None:
    counts = {"rows": 0, **dict.fromkeys(map(str, Status), 0)}
    part = {"name": "pairs.csv", "kind": "file", "sha256": None, "rows": 0, "complete": False}
    text = words(page_of(tmp_path, report(counts=counts, causes=(), message="", input=part)))

    assert "No row failed." in text
    assert "pairs.csv, not read to its end" in text


@pytest.mark.parametrize(
    "place", ["run_id", "portal", "message", "input", "reason", "retries", "files", "parent", "again", "kept"]
)
def test_what_others_wrote_is_shown_and_not_run(tmp_path: Path, place: str) -> None:
    plain = report().model_dump()
    hostile: dict[str, dict[str, Any]] = {
        "input": {"input": {**plain["input"], "name": HOSTILE}},
        "reason": {"causes": ({**plain["causes"][0], "reason": HOSTILE, "hint": HOSTILE},)},
        "retries": {"requests": {**plain["requests"], "retries_by_reason": {HOSTILE: 1}}},
        "files": {"files": {HOSTILE: HOSTILE}},
        "again": {"retries": (HOSTILE,)},
        "kept": {"rollback": {**ROLLBACK, "reasons": {HOSTILE: 1}}},
    }
    page = page_of(tmp_path, report(**hostile.get(place, {place: HOSTILE})))
    tree = html.fromstring(page)

    assert HOSTILE in "".join(map(str, tree.itertext()))
    assert "<script" not in page
    assert not list(tree.iter("script", "img"))
    assert not [name for element in tree.iter() for name in element.attrib if str(name).startswith("on")]


def test_the_page_tells_what_became_of_a_run_after_its_end(tmp_path: Path) -> None:
    made = report(status="rolled_back", rollback=ROLLBACK, verify=VERIFY, parent="sunday", retries=("a", "b"))
    text = words(page_of(tmp_path, made))
    for said in (
        "Run monday: rolled back, exit code 5.",
        "Rolled back: 2 removed, 1 kept, 1 link of the run may still be there.",
        "A retry of run sunday.",
        "Tried again: run a, run b.",
        "kept or failed: not_found",
        "2026-01-02 03:04:05",
        "3 links claimed, 1 missing",
    ):
        assert said in text
    assert "Rollback" not in words(page_of(tmp_path, report()))
    assert "Verification" not in words(page_of(tmp_path, report()))


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = page_of(tmp_path, report(portal="portal"))

    assert not re.findall(r"https?://|//[a-z]|@import|url\(|<link|<script", page)


def test_only_the_owner_may_read_the_page(tmp_path: Path) -> None:
    page_of(tmp_path, report())

    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600
