"""The words for why something happened, each with what to do about it."""

import pytest

from worker.ledger.schema import TABLES
from worker.reasons import (
    HINTS,
    HINTS_OF_READS,
    HINTS_OF_ROLLBACK,
    HINTS_OF_SYNC,
    NO_ANSWER,
    RENEWED,
    RUN_ENDED,
    hint_for,
)

ALL = (HINTS, HINTS_OF_READS, HINTS_OF_ROLLBACK, HINTS_OF_SYNC)


def test_words_are_words_and_hints_are_one_line() -> None:
    for hints in ALL:
        assert [word for word in hints if not word.isidentifier() or word != word.lower()] == []
        assert [hint for hint in hints.values() if "\n" in hint] == []


def test_hints_of_rows_are_sentences() -> None:
    assert [hint for hints in ALL[:2] for hint in hints.values() if not hint.endswith(".")] == []


def test_a_read_has_no_word_of_its_own() -> None:
    assert set(HINTS_OF_READS) <= set(HINTS)


@pytest.mark.parametrize("reason", HINTS)
def test_each_word_has_its_hint(reason: str) -> None:
    assert hint_for(reason) == HINTS[reason]


def test_the_ledger_has_the_words_of_rows_without_an_outcome() -> None:
    assert [f"'{word}'" in TABLES for word in (RUN_ENDED, NO_ANSWER)] == [True, True]


@pytest.mark.parametrize("reason", [RUN_ENDED, NO_ANSWER])
def test_a_reason_of_the_ledger_has_a_hint_that_says_to_go_on(reason: str) -> None:
    """How is said by the last line of the summary: a file is resumed, a queue is not."""
    assert "going on" in hint_for(reason)


@pytest.mark.parametrize(
    "reason",
    ["contact_id is empty", "opportunity_id is above 2147483647", "unclosed quote", "not valid JSON"],
)
def test_any_other_reason_is_of_the_input(reason: str) -> None:
    assert hint_for(reason) == "Correct the cells in rejected.csv and run that file."


def test_a_reason_of_the_client_is_not_taken_for_one_of_the_input() -> None:
    """A pair ends as retryable for it if the 401 comes when its time is used up."""
    assert "rejected.csv" not in hint_for(RENEWED)
