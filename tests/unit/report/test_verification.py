"""verify.json and the words about it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from worker.errors import Exit
from worker.report.verification import Verification


def verification(**changes: Any) -> Verification:
    values: dict[str, Any] = {
        "run_id": "monday",
        "portal": "https://portal.example",
        "verified_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "seconds": 1234.56,
        "requests": 40_000,
        "throttled": 3,
        "claimed": 2_000_000,
        "missing": 0,
        "removed": 0,
        "back": 0,
        "unread": 0,
    }
    return Verification.model_validate({**values, **changes})


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({}, Exit.OK),
        ({"removed": 9}, Exit.OK),
        ({"pruned": 9}, Exit.OK),
        ({"pruned": 9, "pruned_back": 1, "unread": 1}, Exit.DIFFERENCES),
        ({"unread": 1}, Exit.RETRYABLE),
        ({"missing": 1}, Exit.DIFFERENCES),
        ({"removed": 9, "back": 1}, Exit.DIFFERENCES),
        ({"missing": 1, "unread": 9}, Exit.DIFFERENCES),
        ({"removed": 9, "back": 1, "unread": 9}, Exit.DIFFERENCES),
    ],
)
def test_a_difference_counts_for_more_than_what_could_not_be_seen(found: dict[str, int], code: Exit) -> None:
    assert verification(**found).exit_code is code


def test_a_run_of_which_every_word_is_true() -> None:
    assert verification().summary("runs/monday") == [
        "run monday: 2,000,000 links claimed, 0 missing; 40,000 requests in 1,234.6 s"
    ]


def test_one_of_each_is_told_as_one() -> None:
    found = verification(claimed=1, requests=1, seconds=0.04)
    assert found.summary("runs/monday") == ["run monday: 1 link claimed, 0 missing; 1 request in 0.0 s"]


def test_links_that_were_removed_and_are_gone_are_told_and_no_difference() -> None:
    assert verification(removed=1).summary("runs/monday")[1:] == [
        "  1 link removed by rollback, 0 there again"
    ]


def test_links_that_a_sync_removed_are_told_of() -> None:
    found = verification(pruned=3, pruned_back=1)
    assert found.summary("runs/monday")[1] == "  3 links removed by sync, 1 there again"
    assert found.words.endswith("3 links removed by sync, 1 there again")


def test_all_that_can_be_wrong_is_told_with_the_file_that_names_it() -> None:
    found = verification(missing=1_200, removed=3_000, back=1_001, unread=1_234)
    assert found.summary("runs/monday") == [
        "run monday: 2,000,000 links claimed, 1,200 missing; 40,000 requests in 1,234.6 s",
        "  3,000 links removed by rollback, 1,001 there again",
        "  1,234 could not be looked for; verify again",
        "  the rows: runs/monday/verify.csv",
    ]


@pytest.mark.parametrize("found", [{"missing": 1}, {"removed": 1, "back": 1}, {"unread": 1}])
def test_the_file_is_named_whenever_it_has_rows(found: dict[str, int]) -> None:
    assert verification(**found).summary("here")[-1] == "  the rows: here/verify.csv"


def test_the_json_has_stable_keys_and_reads_back() -> None:
    found = verification(missing=1, back=2, unread=3)
    text = found.to_json()
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "schema_version": 1,
        "run_id": "monday",
        "portal": "https://portal.example",
        "verified_at": "2026-01-02T03:04:05Z",
        "seconds": 1234.56,
        "requests": 40_000,
        "throttled": 3,
        "claimed": 2_000_000,
        "missing": 1,
        "removed": 0,
        "back": 2,
        "unread": 3,
        "pruned": 0,
        "pruned_back": 0,
        "examples": [],
    }
    assert Verification.model_validate_json(text) == found


def test_a_key_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(ValidationError, match="lost"):
        verification(lost=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "2,000,000 links claimed, 0 missing"),
        ({"missing": 1}, "2,000,000 links claimed, 1 missing"),
        (
            {"claimed": 1, "removed": 2, "back": 1, "unread": 3},
            (
                "1 link claimed, 0 missing; 2 links removed by rollback, 1 there again;"
                " 3 could not be looked for"
            ),
        ),
    ],
)
def test_a_report_tells_of_it_in_a_few_words(changes: dict[str, int], words: str) -> None:
    assert verification(**changes).words == words
