"""report.html: one page, offline, and nothing in it that somebody else wrote is run."""

import hashlib
import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from tests.unit.report.test_summary import ROLLBACK, VERIFY
from worker.ledger import SessionRecord
from worker.models import Status
from worker.report.build import Report
from worker.report.figures import Example, Figures, LimitChange, Stretch
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
            "links_per_second": 1.0,
            "requests_per_second": 40.5,
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


def page_of(folder: Path, made: Report, figures: Figures | None = None, **facts: Any) -> str:
    write_html(made, figures or Figures(), facts, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def words(page: str) -> str:
    joined = " ".join(" ".join(map(str, html.fromstring(page).itertext())).split())
    return re.sub(r" ([.,:;])", r"\1", joined)


FIGURES = Figures(
    stretches=(
        Stretch(0.0, 60.0, 50.0, 0.5, 0.0, 2, begins_session=False),
        Stretch(60.0, 120.0, 100.0, 1.0, 0.5, 2, begins_session=True),
    ),
    latencies=((1.0, 5), (2.0, 90), (4.0, 5)),
    opportunities=((1234, 390),),
    contacts=((88, 12),),
    examples={("not_found", 404): (Example(7, 1234, 88, ("1234", "88", HOSTILE)),)},
    sessions=(
        SessionRecord(
            *(1, 1767323045.0, 10.0, 0.0, "0.1.0", {"rate": "5/s", "wire": "json"}, None, ""),
            user={"name": f"Zoë{HOSTILE}", "id": "293b"},
        ),
        SessionRecord(2, 1767323145.0, 20.0, 0.0, "0.1.0", {}, 143, "stopped by SIGTERM"),
        SessionRecord(3, 1767323245.0, 30.0, 0.0, "0.1.0", {}, 0, ""),
    ),
    more_sessions=4,
    states={("not_found", 404): (Status.REJECTED,)},
    changes=(
        LimitChange(5.0, "rate", 50.0, 35.0, "throttled"),
        LimitChange(90.0, "concurrency", 2, 3, "probe"),
    ),
)


def test_the_page_tells_what_the_report_tells(tmp_path: Path) -> None:
    text = words(page_of(tmp_path, report()))

    for said in (
        "pairs.csv → https://portal.example",
        "2,000 of 8,000 rows are linked; 1,000 are duplicates, 2,000 need a fix, 3,000 another try.",
        "Run monday: completed with failures, exit code 5. stopped by SIGTERM",
        "already linked 1,000",
        "all 8,000",
        "1,000 x not_found (HTTP 404) Look again. Line 2, 3.",
        "started 2026-01-02 03:04:05 UTC",
        "finished 2026-01-02 04:05:06 UTC",
        "3,661.0 s, 2.2 pairs/s",
        "9,000 (single), of which 1,500 retries 1,000 after throttled 500 after timeout",
        "1,234 answers, paused for 12.3 s",
        "p50 1.0 ms, p95 2.0 ms, p99 3.0 ms, max 4,000.0 ms",
        f"pairs.csv sha256 {'ab' * 32}",
        "linked.csv, retry.csv",
    ):
        assert said in text, said


def test_the_page_tells_what_to_type_next(tmp_path: Path) -> None:
    tree = html.fromstring(page_of(tmp_path, report(), runs_dir="my runs"))

    assert [one.text_content() for one in tree.iter("pre")] == [
        "bulklink retry monday --runs-dir 'my runs'",
        "bulklink run 'my runs/monday/rejected.csv'",
    ]


def test_the_page_tells_local_time_beside_utc(tmp_path: Path) -> None:
    text = words(page_of(tmp_path, report(), utc_offset=90))

    assert "started 2026-01-02 03:04:05 UTC (2026-01-02 04:34:05 local)" in text


def test_the_page_shows_pace_answers_examples_worst_ids_and_sessions(tmp_path: Path) -> None:
    page = page_of(tmp_path, report(), FIGURES)
    text = words(page)

    for said in (
        "Links a second over the time at work, 100.0 at most; grey where the portal made everyone wait",
        "Requests a second over the time at work, 1.0 at most",
        "The first 1; all are in rejected.csv.",
        "7 1234 88 1234 | 88 | <script>",
        "The opportunities that fail most 1234: 390 rows",
        "The contacts that fail most 88: 12 rows",
        "The last 3; 4 came before.",
        f"2026-01-02 03:04:05 10.0 killed, or at work Zoë{HOSTILE[:56]}… 0.1.0 rate 5/s",
        "20.0 stopped by SIGTERM not told 0.1.0",
        "30.0 all done not told 0.1.0",
    ):
        assert said in text, said
    assert page.count("<polyline") == 4  # two sessions, two charts


def test_the_page_reads_where_no_style_and_no_script_may_run(tmp_path: Path) -> None:
    tree = html.fromstring(page_of(tmp_path, report(), FIGURES))

    assert not [element for element in tree.iter() if element.get("style") is not None]
    drawn = list(tree.iter("rect", "polyline"))
    assert drawn
    assert all(one.get("fill") or one.get("stroke") for one in drawn)
    charts = list(tree.iter("svg"))
    assert charts
    assert all(svg.get("width") and svg.get("height") for svg in charts)


def test_the_policy_of_the_page_lets_its_own_style_and_script_run_and_nothing_else(tmp_path: Path) -> None:
    tree = html.fromstring(page_of(tmp_path, report(), FIGURES))
    (policy,) = [one.get("content") or "" for one in tree.iter("meta") if one.get("http-equiv")]

    for kind in ("style", "script"):
        (block,) = tree.iter(kind)
        digest = b64encode(hashlib.sha256((block.text or "").encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")


def test_tables_have_captions_and_scopes_and_the_page_has_landmarks(tmp_path: Path) -> None:
    tree = html.fromstring(page_of(tmp_path, report(rollback=ROLLBACK, verify=VERIFY), FIGURES))

    tables, heads = list(tree.iter("table")), list(tree.iter("th"))
    assert len(heads) > len(tables) > 1
    assert all(table.find("caption") is not None for table in tables)
    assert all(cell.get("scope") for cell in heads)
    assert {"header", "main", "footer"} <= {one.tag for one in tree.iter()}
    assert len(list(tree.iter("h1"))) == 1


def test_states_without_rows_are_left_out_and_bars_show_the_share(tmp_path: Path) -> None:
    counts = {"rows": 4, **dict.fromkeys(map(str, Status), 0), "linked": 3, "invalid": 1}
    tree = html.fromstring(page_of(tmp_path, report(counts=counts)))

    bars = [bar for bar in tree.iter("rect") if bar.get("fill") != "#8884"]
    assert [bar.get("width") for bar in bars] == ["120.00", "40.00"]


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
    assert len(list(tree.iter("script"))) == 1  # our own, whose hash the policy of the page names
    assert not list(tree.iter("img"))
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

    assert not re.findall(r"https?://|//[a-z]|@import|url\(|<link|src=", page)


def test_only_the_owner_may_read_the_page(tmp_path: Path) -> None:
    page_of(tmp_path, report())

    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600


def test_changes_of_limits_are_marked_in_the_pace_and_listed(tmp_path: Path) -> None:
    page = page_of(tmp_path, report(), FIGURES)

    assert "marks at the top where a limit was lowered, at the bottom where one was raised" in words(page)
    assert "Limits that were changed. after limit from to why" in words(page)
    assert "5 s requests a second 50 35 throttled 90 s requests in flight 2 3 probe" in words(page)
    many = tuple({"at": "", "knob": "rate", "from": 1, "to": 2, "reason": "probe"} for _ in range(11))
    assert "more are in report.json" in words(page_of(tmp_path, report(limits=many), FIGURES))


def test_rows_of_a_queue_are_shown_by_their_messages(tmp_path: Path) -> None:
    part = {"name": "redis://localhost", "kind": "queue", "sha256": None, "rows": 8000, "complete": True}
    example = Example(7, 1234, 88, ("1234", "88"), "1764182461-0")
    figures = Figures(examples={("not_found", 404): (example,)})

    assert "message opportunity contact" in words(page_of(tmp_path, report(input=part), figures))
    assert "1764182461-0 1234 88" in words(page_of(tmp_path, report(input=part), figures))
    assert "Row 2, 3." in words(page_of(tmp_path, report(input=part)))


def test_rows_of_queues_that_were_merged_are_shown_by_their_messages_too(tmp_path: Path) -> None:
    part = {"name": "2 runs", "kind": "merged", "sha256": None, "rows": 8000, "complete": True}
    figures = Figures(examples={("not_found", 404): (Example(7, 1234, 88, ("1234", "88"), "1764182461-0"),)})

    page = words(page_of(tmp_path, report(input=part), figures, merged_queue=True))
    assert "message opportunity contact" in page
    assert "1764182461-0 1234 88" in page


def test_the_page_says_where_all_rows_of_a_cause_are(tmp_path: Path) -> None:
    states = (Status.RETRYABLE, Status.REJECTED)
    figures = replace(FIGURES, states={("not_found", 404): states})

    assert "all are in rejected.csv and retry.csv." in words(page_of(tmp_path, report(), figures))


def test_the_states_are_shown_to_sum_to_the_rows(tmp_path: Path) -> None:
    assert "They sum to the rows read: 1,000 + " in words(page_of(tmp_path, report()))
    assert "= 8,000. The ledger" in words(page_of(tmp_path, report()))


def test_links_that_verify_did_not_find_are_shown_with_both_ids(tmp_path: Path) -> None:
    odd = [
        {"line": 7, "opportunity_id": 1234, "contact_id": 88, "found": "missing"},
        {"line": None, "opportunity_id": 1235, "contact_id": 89, "found": "there_again"},
    ]
    text = words(page_of(tmp_path, report(verify={**VERIFY, "examples": odd})))

    assert "the first 2; all are in verify.csv. line opportunity contact found 7 1234 88 missing" in text
    assert "1235 89 there again" in text


def test_sessions_have_their_local_time_too(tmp_path: Path) -> None:
    text = words(page_of(tmp_path, report(), FIGURES, utc_offset=60))

    assert "2026-01-02 03:04:05 (2026-01-02 04:04:05 local) 10.0 killed" in text


def test_of_runs_that_were_merged_it_is_told_when_any_was_at_work(tmp_path: Path) -> None:
    part = {"name": "2 runs", "kind": "merged", "sha256": None, "rows": 8000, "complete": True}
    text = words(page_of(tmp_path, report(input=part), FIGURES))

    assert "At work The last 3 stretches in which any of the runs was at work; 4 came before." in text
    assert "2026-01-02 03:05:45 20.0 2026-01-02" in text
    assert "killed" not in text
    few = replace(FIGURES, more_sessions=0)
    assert "When any of the runs was at work." in words(page_of(tmp_path, report(input=part), few))
