"""rollback.json and the words about it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from worker.errors import Exit
from worker.removals import Restored, Undo
from worker.report.rollback import Rollback, RolledBack


def rollback(
    counts: dict[Undo, int] | None = None, reasons: dict[str, int] | None = None, **changes: Any
) -> Rollback:
    values: dict[str, Any] = {
        "run_id": "monday",
        "portal": "https://portal.example",
        "rolled_back_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "seconds": 1234.56,
        "requests": 40_000,
        "throttled": 3,
        "counts": {str(state): (counts or {}).get(state, 0) for state in Undo},
        "left": 0,
        "reasons": reasons or {},
    }
    return Rollback.model_validate({**values, **changes})


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ((), Exit.OK),
        ((Undo.REMOVED, Undo.GONE), Exit.OK),
        ((Undo.KEPT,), Exit.DIFFERENCES),
        ((Undo.REMOVED, Undo.GONE, Undo.KEPT), Exit.DIFFERENCES),
        ((Undo.FAILED,), Exit.RETRYABLE),
        ((Undo.KEPT, Undo.FAILED), Exit.RETRYABLE),
        (tuple(Undo), Exit.RETRYABLE),
    ],
)
def test_what_is_worth_another_try_counts_for_more_than_what_is_kept(
    states: tuple[Undo, ...], code: Exit
) -> None:
    assert rollback(dict.fromkeys(states, 1)).exit_code is code


def test_a_rollback_that_removed_all() -> None:
    assert rollback({Undo.REMOVED: 2_000_000}).summary("runs/monday") == [
        "run monday: rolled back, exit code 0; 40,000 requests in 1,234.6 s",
        "  2,000,000 removed  made by this run, and removed",
        "  the rows: runs/monday/rollback.csv",
    ]


def test_a_rollback_of_nothing() -> None:
    assert rollback(requests=1, seconds=0.04).summary("runs/monday") == [
        "run monday: rolled back, exit code 0; 1 request in 0.0 s",
        "  the rows: runs/monday/rollback.csv",
    ]


@pytest.mark.parametrize(
    ("counts", "said"),
    [({}, ""), ({Undo.REMOVED: 2_000, Undo.GONE: 1}, "; 2,001 links removed before")],
)
def test_when_nothing_is_left_to_remove_that_is_said(counts: dict[Undo, int], said: str) -> None:
    made = rollback(counts, requests=0)
    assert made.exit_code is Exit.OK
    assert made.summary("runs/monday") == [f"run monday: nothing is left to remove{said}"]


@pytest.mark.parametrize(
    ("counts", "left"), [({Undo.KEPT: 1}, 0), ({Undo.FAILED: 1}, 1), ({Undo.REMOVED: 1}, 1)]
)
def test_it_is_not_said_of_one_that_could_not_ask(counts: dict[Undo, int], left: int) -> None:
    assert "nothing is left" not in rollback(counts, requests=0, left=left).summary("runs/monday")[0]


def test_a_report_tells_of_rollbacks_in_a_few_words() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    counts = {str(state): 0 for state in Undo}
    none = RolledBack(rolled_back_at=at, counts={**counts, "removed": 2_000, "gone": 1}, left=0, reasons={})
    assert (none.words, none.undone) == ("2,000 removed, 1 gone, none left", 2_001)
    some = RolledBack(rolled_back_at=at, counts={**counts, "kept": 1}, left=1, reasons={"not_found": 1})
    assert (some.words, some.undone) == ("1 kept, 1 link of the run may still be there", 0)


def test_every_state_and_reason_is_told_and_what_they_mean() -> None:
    counts = {Undo.REMOVED: 12_345, Undo.GONE: 2, Undo.KEPT: 1_007, Undo.FAILED: 1}
    reasons = {
        "another_contact": 1,
        "no_opportunity": 2,
        "not_found": 3,
        "pre_state_unread": 1_001,
        "still_there": 1,
    }
    assert rollback(counts, reasons).summary("runs/monday") == [
        "run monday: rolled back, exit code 5; 40,000 requests in 1,234.6 s",
        "  12,345 removed  made by this run, and removed",
        "       2 gone     not there any more",
        "   1,007 kept     left as they are",
        "       1 failed   could not be removed; roll back again",
        "  1 x another_contact: the contact was deleted, and another one has got its id",
        "  2 x no_opportunity: the opportunity is deleted, or hidden from this user",
        "  3 x not_found: the portal does not find the contact, or this user may not see it",
        (
            "  1,001 x pre_state_unread: nobody looked whether they were there before;"
            " --unread removes them, too"
        ),
        "  1 x still_there",
        "  the rows: runs/monday/rollback.csv",
    ]


@pytest.mark.parametrize("state", Undo)
def test_a_state_is_told_if_it_has_links(state: Undo) -> None:
    (line,) = rollback({state: 7}).summary("runs/monday")[1:-1]
    assert line.startswith(f"  7 {state} ")


def test_the_json_has_stable_keys_and_reads_back() -> None:
    made = rollback({Undo.REMOVED: 4, Undo.KEPT: 1}, {"pre_state_unread": 1}, left=1)
    text = made.to_json()
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "schema_version": 1,
        "run_id": "monday",
        "portal": "https://portal.example",
        "rolled_back_at": "2026-01-02T03:04:05Z",
        "seconds": 1234.56,
        "requests": 40_000,
        "throttled": 3,
        "counts": {"removed": 4, "gone": 0, "kept": 1, "failed": 0},
        "left": 1,
        "reasons": {"pre_state_unread": 1},
        "restored": {},
    }
    assert Rollback.model_validate_json(text) == made


def test_a_key_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(ValidationError, match="lost"):
        rollback(lost=1)


@pytest.mark.parametrize(
    ("restored", "code"),
    [
        ({Restored.RESTORED: 2, Restored.THERE: 1}, Exit.OK),
        ({Restored.RESTORED: 2, Restored.REFUSED: 1}, Exit.DIFFERENCES),
        ({Restored.REFUSED: 1, Restored.FAILED: 1}, Exit.RETRYABLE),
    ],
)
def test_what_a_sync_removed_and_is_made_again_is_told_beside_the_rest(
    restored: dict[Restored, int], code: Exit
) -> None:
    made = rollback({Undo.REMOVED: 10}, restored={str(state): restored.get(state, 0) for state in Restored})
    assert made.exit_code is code
    lines = made.summary("runs/monday")
    assert lines[1] == "  10 removed  made by this run, and removed"
    assert [line.split()[:2] for line in lines[2:-1]] == [
        [str(count), str(state)] for state, count in restored.items()
    ]


def test_a_sync_that_was_rolled_back_says_what_is_there_again() -> None:
    told = RolledBack(
        rolled_back_at=datetime(2026, 1, 2, tzinfo=UTC),
        counts={str(state): 0 for state in Undo},
        left=0,
        reasons={},
        restored={"restored": 3, "there": 0, "refused": 0, "failed": 1},
    )
    assert told.words == "3 restored, 1 failed, none left"
