"""report.json: counts that sum, causes with hints, and the exit code."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.judged import judged
from worker.errors import Exit
from worker.ledger import LedgerReader
from worker.ledger.history import describe
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Kind, Outcome, Pair, Reject, Request, Result, Status
from worker.reasons import HINTS
from worker.report.build import FILES, Report, build_report, exit_code_of
from worker.report.verification import Verification

FACTS: dict[str, Any] = {
    "run_id": "monday",
    "portal": "https://portal.example",
    "input_path": "/in/pairs.csv",
    "input_name": "pairs.csv",
    "settings": {},
}
WHOLE = {**FACTS, "input_complete": True, "input_sha256": "ab" * 32, "input_blank": 2}
KEYS = {
    "": "schema_version run_id status exit_code portal input counts requests timing causes files",
    "input": "name sha256 rows",
    "counts": "rows linked already_linked duplicate invalid rejected retryable unknown not_attempted",
    "requests": "attempts retries looks retries_by_reason throttled paused_seconds batches items transport",
    "timing": "started_at finished_at seconds pairs_per_second links_per_second requests_per_second"
    " latency_ms",
    "causes": "reason http_status count example_lines hint",
}
WORTH_ANOTHER_TRY = (Status.RETRYABLE, Status.UNKNOWN, Status.NOT_ATTEMPTED)
TO_BE_FIXED = (Status.INVALID, Status.REJECTED)
GOOD = (Status.LINKED, Status.ALREADY_LINKED, Status.DUPLICATE)


def pair(row: int) -> Pair:
    return Pair(row, row + 1, 1, row)


def admit(store: Store, *verdicts: Pair | Reject) -> None:
    store.admit([judged(v) for v in verdicts])


def settle(store: Store, row: int, status: Status, reason: str = "", http_status: int | None = None) -> None:
    result = Result.PERMANENT if reason else Result.OK
    attempt = Attempt(result, reason, http_status, seconds=0.25)
    store.settle([Outcome(pair(row), status, (attempt,), reason, http_status)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(connect(path, mode="rwc")) as connection:
        store = Store(connection)
        store.put_meta(WHOLE)
        yield store


def report_of(path: Path) -> Report:
    with LedgerReader(path) as reader:
        return build_report(reader)


def states(**counts: int) -> dict[Status, int]:
    return {status: counts.get(status, 0) for status in Status}


def test_changes_of_limits_are_told_session_after_session(path: Path, store: Store) -> None:
    first, second, third = ({"at": f"2026-11-2{day}", "knob": "rate", "from": 50.0} for day in (1, 2, 3))
    store.put_meta({"limits_2026-11-22": [third], "limits_2026-11-21": [first, second]})

    assert report_of(path).limits == (first, second, third)


def test_the_report_of_a_small_run(path: Path, store: Store) -> None:
    store.begin_session()
    told = {"rate": "5/s", "wire": "json", "link_rate": None}
    describe(store, "0.1.0", told, {"name": "Zoë", "id": "293b"})
    admit(store, *(pair(row) for row in range(1, 5)), Reject(5, 6, "contact_id is empty"), Pair(6, 7, 1, 1))
    store.claim(9)
    settle(store, 1, Status.LINKED, http_status=201)
    settle(store, 2, Status.REJECTED, "not_found", 404)
    busy = Attempt(Result.THROTTLED, "throttled", 429, seconds=0.125)
    request = Request(Kind.LINK, Result.OK, 1, seconds=0.25)
    store.note(
        [
            Request(Kind.PROBE, Result.PERMANENT, seconds=9.0),
            Request(Kind.LOOK, Result.OK, 1, 1, seconds=1.0),
            *[request] * 3,
            Request(Kind.LINK, Result.THROTTLED, 1, reason="throttled", seconds=0.125),
            Request(Kind.LINK, Result.OK, 1, 1, ("throttled",), seconds=0.5),
        ]
    )
    done = Attempt(Result.OK, http_status=201, seconds=0.5)
    store.settle([Outcome(pair(3), Status.LINKED, (busy, done), http_status=201)])
    settle(store, 4, Status.REJECTED, "not_found", 404)
    store.beat(2.0, 0.75)
    store.put_meta({"end_code": 0, "end_message": ""})

    report = json.loads(report_of(path).to_json())
    started = datetime.fromisoformat(report["timing"].pop("started_at"))
    finished = datetime.fromisoformat(report["timing"].pop("finished_at"))
    assert (finished - started).total_seconds() == pytest.approx(2.0)
    assert abs((datetime.now(UTC) - started).total_seconds()) < 600
    (session,) = report["sessions"]
    assert datetime.fromisoformat(session.pop("started_at")) == started
    assert report == {
        "schema_version": 1,
        "run_id": "monday",
        "status": "completed_with_failures",
        "exit_code": 3,
        "message": "",
        "portal": "https://portal.example",
        "input": {
            "name": "pairs.csv",
            "kind": "file",
            "sha256": "ab" * 32,
            "rows": 6,
            "complete": True,
            "blank": 2,
        },
        "counts": {
            "rows": 6,
            "linked": 2,
            "already_linked": 0,
            "duplicate": 1,
            "invalid": 1,
            "rejected": 2,
            "retryable": 0,
            "unknown": 0,
            "not_attempted": 0,
        },
        "requests": {
            "attempts": 7,
            "retries": 1,
            "retries_by_reason": {"throttled": 1},
            "looks": 1,
            "throttled": 1,
            "paused_seconds": 0.75,
            "batches": 0,
            "items": 6,
            "transport": "",
            "transport_reason": "",
        },
        "timing": {
            "seconds": 2.0,
            "pairs_per_second": 2.0,
            "links_per_second": 1.0,
            "requests_per_second": 3.5,
            "latency_ms": {"p50": 250.0, "p95": 1000.0, "p99": 1000.0, "max": 1000.0},
        },
        "causes": [
            {
                "reason": "not_found",
                "http_status": 404,
                "count": 2,
                "example_lines": [3, 5],
                "hint": HINTS["not_found"],
                "ids": [],
            },
            {
                "reason": "contact_id is empty",
                "http_status": None,
                "count": 1,
                "example_lines": [6],
                "hint": "Correct the cells in rejected.csv and run that file.",
                "ids": [],
            },
        ],
        "files": {name: name for name in FILES},
        "parent": None,
        "retries": [],
        "verify": None,
        "rollback": None,
        "plan": None,
        "sync": None,
        "limits": [],
        "sessions": [
            {
                "seconds": 2.0,
                "end_code": None,
                "end_message": "",
                "version": "0.1.0",
                "user": {"name": "Zoë", "id": "293b"},
                "settings": {"rate": "5/s"},
            }
        ],
    }


def test_the_keys_are_those_that_scripts_rely_on(path: Path, store: Store) -> None:
    admit(store, Reject(1, 2, "odd"))

    report = json.loads(report_of(path).to_json())
    for part, keys in KEYS.items():
        found = report[part] if part else report
        assert set(keys.split()) <= set(found[0] if part == "causes" else found)
    assert set(report["timing"]["latency_ms"]) == {"p50", "p95", "p99", "max"}
    assert set(report["counts"]) == {"rows", *Status}


def test_every_file_of_a_run_directory_is_named(path: Path, store: Store) -> None:
    admit(store)

    assert set(report_of(path).files) == {
        *("ledger.db", "contacts.jsonl", "linked.csv", "rejected.csv", "retry.csv"),
        *("report.json", "report.html", "run.log"),
    }


def test_sessions_are_summed_without_the_gaps_between_them(path: Path, store: Store) -> None:
    for seconds, paused in ((2.0, 0.5), (3.0, 0.25)):
        store.begin_session()
        store.beat(seconds, paused)
    store._db.execute("UPDATE sessions SET started_at = session * 1000")
    admit(store, *(pair(row) for row in range(1, 12)))
    for row in range(1, 11):
        settle(store, row, Status.LINKED)

    report = report_of(path)
    assert report.timing.seconds == 5.0
    assert report.requests.paused_seconds == 0.75
    assert report.timing.pairs_per_second == 2.0
    assert report.timing.started_at == datetime.fromtimestamp(1000, UTC)
    assert report.timing.finished_at == datetime.fromtimestamp(2003, UTC)


@pytest.mark.parametrize(
    ("ends", "at", "status"),
    [
        (("removed", "kept"), 2000.0, "rolled_back"),
        (("gone", "failed"), 2000.0, "rolled_back"),
        (("kept", "failed"), 2000.0, "completed"),
        (("removed", "gone"), 1001.0, "completed"),  # and the run went on since
    ],
)
def test_a_run_whose_links_were_removed_is_rolled_back_until_it_goes_on(
    path: Path, store: Store, ends: tuple[str, str], at: float, status: str
) -> None:
    store.begin_session()
    admit(store, pair(1), pair(2))
    store.looked([1, 2])
    for row in (1, 2):
        settle(store, row, Status.LINKED)
    store.put_meta({"end_code": 0})
    store._db.execute("UPDATE sessions SET started_at = 1000, seconds = 5")
    store.execute(
        "INSERT INTO undone (row, begun_at, state, reason, settled_at) VALUES (?, 1, ?, 'timeout', ?)",
        [(row, end, at - 10 * (row - 1)) for row, end in enumerate(ends, 1)],
    )
    report = report_of(path)
    assert (report.status, report.exit_code, report.counts["linked"]) == (status, 0, 2)
    assert report.rollback is not None
    assert report.rollback.rolled_back_at == datetime.fromtimestamp(at, UTC)
    assert {state: n for state, n in report.rollback.counts.items() if n} == dict.fromkeys(ends, 1)
    assert report.rollback.left == sum(end in {"kept", "failed"} for end in ends)
    assert report.rollback.reasons.get("timeout", 0) == report.rollback.left
    assert set(report.files) >= {"rollback.json", "rollback.csv"}
    assert "verify.json" not in report.files


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("contact_missing", "contact 88 is missing or hidden (3 rows), 99 (1 row)"),
        ("opportunity_missing", "opportunity 5 is missing or hidden (2 rows), 6 (1 row), 7 (1 row)"),
        ("forbidden", ""),
    ],
)
def test_a_cause_names_what_is_missing_and_how_many_rows_name_it(
    path: Path, store: Store, reason: str, words: str
) -> None:
    ids = [(5, 88), (5, 99), (6, 88), (7, 88)]
    todo = [Pair(row, row, *both) for row, both in enumerate(ids, 1)]
    store.admit([judged(one) for one in todo])
    refused = Attempt(Result.PERMANENT, "not_found", 404)
    store.settle([Outcome(one, Status.REJECTED, (refused,), reason, 404) for one in todo])
    (cause,) = report_of(path).causes
    assert (cause.count, cause.words) == (4, words)


def test_of_many_missing_ids_those_that_most_rows_name_are_told(path: Path, store: Store) -> None:
    todo = [Pair(row, row, row, max(1, row - 4)) for row in range(1, 16)]
    store.admit([judged(one) for one in todo])
    refused = Attempt(Result.PERMANENT, "not_found", 404)
    store.settle([Outcome(one, Status.REJECTED, (refused,), "contact_missing", 404) for one in todo])
    (cause,) = report_of(path).causes
    assert cause.words == (
        "contact 1 is missing or hidden (5 rows), 2 (1 row), 3 (1 row), 4 (1 row), 5 (1 row), others (6 rows)"
    )


def test_what_verify_found_last_is_in_the_report(path: Path, store: Store) -> None:
    found = Verification(
        run_id="monday",
        portal="p",
        verified_at=datetime(2026, 1, 2, tzinfo=UTC),
        seconds=1.5,
        requests=2,
        throttled=0,
        claimed=3,
        missing=1,
        removed=0,
        back=0,
        unread=0,
    )
    store.put_meta({"verify": found.model_dump(mode="json")})
    report = report_of(path)
    assert (report.verify, report.rollback) == (found, None)
    assert set(report.files) >= {"verify.json", "verify.csv"}


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (Status.LINKED, True),
        (Status.REJECTED, True),
        (Status.RETRYABLE, True),
        (Status.UNKNOWN, True),
        (Status.ALREADY_LINKED, True),
        (Status.INVALID, False),
        (Status.DUPLICATE, False),
        (Status.NOT_ATTEMPTED, False),
    ],
)
def test_the_pace_is_of_pairs_that_the_portal_was_asked_about(
    path: Path,
    store: Store,
    status: Status,
    counted: bool,
) -> None:
    store.begin_session()
    store.beat(4.0, 0.0)
    admit(store, pair(1))
    store._db.execute("UPDATE rows SET status = ?", (status,))

    assert report_of(path).timing.pairs_per_second == (0.25 if counted else 0.0)


def test_a_run_that_never_began_has_a_report_all_the_same(path: Path, store: Store) -> None:
    store.drop_meta(["input_sha256", "input_complete"])

    report = report_of(path)
    assert report.counts == {"rows": 0, **dict.fromkeys(map(str, Status), 0)}
    assert report.timing.pairs_per_second == 0.0
    assert report.timing.started_at == datetime.fromtimestamp(0, UTC)
    assert report.input.sha256 is None
    assert report.input.complete is False


@given(counts=st.fixed_dictionaries({status: st.integers(0, 2) for status in Status}))
def test_rows_worth_another_try_come_before_rows_to_be_fixed(counts: dict[Status, int]) -> None:
    if any(counts[status] for status in WORTH_ANOTHER_TRY):
        expected = Exit.RETRYABLE
    elif any(counts[status] for status in TO_BE_FIXED):
        expected = Exit.REJECTED
    else:
        expected = Exit.OK

    assert exit_code_of({"end_code": 0, "input_complete": True}, counts) is expected


@pytest.mark.parametrize("status", Status)
def test_each_state_has_its_exit_code(status: Status) -> None:
    expected = (
        Exit.RETRYABLE if status in WORTH_ANOTHER_TRY else Exit.REJECTED if status in TO_BE_FIXED else Exit.OK
    )
    assert exit_code_of(WHOLE, states(**{status: 1})) is expected


@pytest.mark.parametrize("code", [code for code in Exit if code])
def test_how_a_run_was_ended_comes_before_what_its_rows_say(code: Exit) -> None:
    facts = {**WHOLE, "end_code": int(code)}

    assert exit_code_of(facts, states(linked=1)) is code
    assert exit_code_of(facts, states(invalid=1, unknown=1)) is code


def test_a_run_that_has_an_end_is_judged_by_its_rows() -> None:
    assert exit_code_of({**FACTS, "end_code": 0}, states(linked=1)) is Exit.OK
    assert exit_code_of({**FACTS, "end_code": 0}, states(rejected=1)) is Exit.REJECTED


def test_a_run_that_was_killed_before_it_had_read_its_input_is_no_success() -> None:
    assert exit_code_of(FACTS, states(linked=1)) is Exit.RETRYABLE


@pytest.mark.parametrize(
    ("end_code", "status", "expected"),
    [
        (0, Status.LINKED, "completed"),
        (0, Status.ALREADY_LINKED, "completed"),
        (0, Status.DUPLICATE, "completed"),
        (0, Status.INVALID, "completed_with_failures"),
        (0, Status.REJECTED, "completed_with_failures"),
        (0, Status.RETRYABLE, "completed_with_failures"),
        (0, Status.UNKNOWN, "completed_with_failures"),
        (Exit.CRASH, Status.LINKED, "aborted"),
        (Exit.USAGE, Status.LINKED, "aborted"),
        (Exit.TOO_MANY_ERRORS, Status.REJECTED, "aborted"),
        (Exit.RETRYABLE, Status.LINKED, "aborted"),
        (Exit.PORTAL, Status.NOT_ATTEMPTED, "aborted"),
        (Exit.MAX_DURATION, Status.NOT_ATTEMPTED, "interrupted"),
        (Exit.SIGINT, Status.NOT_ATTEMPTED, "interrupted"),
        (Exit.SIGTERM, Status.LINKED, "interrupted"),
        (None, Status.NOT_ATTEMPTED, "interrupted"),
        (None, Status.UNKNOWN, "interrupted"),
    ],
)
def test_the_status_says_how_a_run_ended(
    path: Path, store: Store, end_code: int | None, status: Status, expected: str
) -> None:
    if end_code is not None:
        store.put_meta({"end_code": end_code, "end_message": "why"})
    admit(store, pair(1))
    store._db.execute("UPDATE rows SET status = ?", (status,))

    report = report_of(path)
    assert report.status == expected
    assert report.message == ("" if end_code is None else "why")


def test_the_report_does_not_change(path: Path, store: Store) -> None:
    admit(store)

    with pytest.raises(ValueError, match="frozen"):
        setattr(report_of(path), "exit_code", 0)  # noqa: B010 - mypy knows as much


def test_an_input_whose_name_is_no_utf_8_has_a_report(path: Path, store: Store) -> None:
    store.put_meta({"input_name": os.fsdecode(b"caf\xe9.csv")})

    assert json.loads(report_of(path).to_json())["input"]["name"] == "caf\\udce9.csv"


def test_the_ledger_alone_gives_the_same_report_again(path: Path, store: Store) -> None:
    admit(store, pair(1), Reject(2, 3, "odd"))

    first: dict[str, Any] = json.loads(report_of(path).to_json())
    assert json.loads(report_of(path).to_json()) == first
