"""What a plan says of each row, what it will take to do it, and in which words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.errors import Exit
from worker.ledger import Scope
from worker.models import Status
from worker.reasons import CONTACT_MISSING, OPPORTUNITY_MISSING
from worker.report.build import CausePart
from worker.report.plan import ContactsPart, Plan, PlannedInput, forecast_of, word_of

PACE: dict[str, Any] = {
    "rate": "50/s",
    "per_second": 50.0,
    "learned": None,
    "link_rate": None,
    "links_per_second": None,
    "transport": "single",
    "most_together": 1,
    "most_contacts": 1000,
    "in_flight": 8,
    "asks_for_batches": False,
}
BATCH = {**PACE, "transport": "batch", "most_together": 200, "in_flight": 2, "asks_for_batches": True}
WORDS = (
    *("to_link", "already_linked", "opportunity_missing", "contact_missing"),
    *("refused", "unread", "invalid", "duplicate"),
)
SMALL = Scope(links=10, looks=4, all_links=12, all_looks=5, contacts=3)


def plan(
    scope: Scope = SMALL, *, pace: dict[str, Any] = PACE, causes: int = 0, counts: dict[str, int]
) -> Plan:
    return Plan(
        plan_id="p",
        portal="https://portal.example",
        planned_at=datetime(2026, 11, 26, tzinfo=UTC),
        seconds=1.25,
        requests=9,
        throttled=0,
        input=PlannedInput(name="pairs.csv", path=None, sha256=None, rows=12, blank=0, limit=None),
        counts={"rows": 12, **dict.fromkeys(WORDS, 0), **counts},
        contacts=ContactsPart(asked=3, missing=0, untold=0),
        causes=tuple(
            CausePart(reason=f"cause_{n}", http_status=None, count=4, example_lines=(2, 3, 4, 5), hint="Why.")
            for n in range(causes)
        ),
        forecast=forecast_of(scope, pace, 0.05),
        checksum="",
    )


@pytest.mark.parametrize(
    ("status", "reason", "word"),
    [
        (Status.NOT_ATTEMPTED, "run_ended", "to_link"),
        (Status.ALREADY_LINKED, "", "already_linked"),
        (Status.REJECTED, OPPORTUNITY_MISSING, "opportunity_missing"),
        (Status.REJECTED, CONTACT_MISSING, "contact_missing"),
        (Status.REJECTED, "forbidden", "refused"),
        (Status.RETRYABLE, "timeout", "unread"),
        (Status.INVALID, "contact_id is 0", "invalid"),
        (Status.DUPLICATE, "same pair as line 2", "duplicate"),
    ],
)
def test_each_row_has_one_word(status: Status, reason: str, word: str) -> None:
    assert word_of(status, reason) == word


@pytest.mark.parametrize(
    ("pace", "requests"),
    [
        # Two probes; five looks, three contacts; four looks, ten links.
        (PACE, 2 + 5 + 3 + 4 + 10),
        # Two probes, two questions about batches, and a batch of each kind.
        (BATCH, 4 + 4),
        ({**BATCH, "most_together": 2}, 4 + 3 + 2 + 2 + 5),
    ],
)
def test_requests_are_those_of_the_second_look_and_of_the_run(pace: dict[str, Any], requests: int) -> None:
    assert forecast_of(SMALL, pace, 0.0).requests == requests


def test_a_batch_of_looks_holds_no_more_contacts_than_one_answer_may() -> None:
    scope = Scope(links=5000, looks=50, all_links=5000, all_looks=50, contacts=200)
    assert forecast_of(scope, BATCH, 0.0).requests == 4 + 5 + 1 + 5 + 25


@pytest.mark.parametrize(
    ("pace", "each", "seconds", "words"),
    [
        ({}, 0.0, 1, "1 s"),  # 24 requests at 50 in a second
        ({"per_second": 0.25}, 0.0, 96, "96 s"),
        ({"learned": 0.5}, 0.0, 48, "48 s"),
        ({"links_per_second": 0.0125}, 0.0, 800, "13 min"),
        ({"in_flight": 1}, 5.0, 120, "2 min"),
        ({"in_flight": 1}, 200.0, 4800, "1 h 20 min"),
    ],
)
def test_what_binds_most_decides_how_long_it_takes(
    pace: dict[str, Any], each: float, seconds: int, words: str
) -> None:
    forecast = forecast_of(SMALL, {**PACE, **pace}, each)
    assert (forecast.seconds, forecast.words) == (seconds, words)


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"to_link": 3, "already_linked": 2, "duplicate": 1}, Exit.OK),
        ({"to_link": 3, "invalid": 1}, Exit.REJECTED),
        ({"contact_missing": 1}, Exit.REJECTED),
        ({"opportunity_missing": 1}, Exit.REJECTED),
        ({"refused": 1}, Exit.REJECTED),
        ({"unread": 1, "invalid": 1}, Exit.RETRYABLE),
    ],
)
def test_the_exit_code_says_what_is_wrong(counts: dict[str, int], code: Exit) -> None:
    assert plan(counts=counts).exit_code is code


def test_the_words_leave_out_what_is_not_there() -> None:
    assert plan(counts={"to_link": 10, "already_linked": 2}).summary(
        "runs/p", "bulklink run runs/p/plan.json"
    ) == [
        "plan p: pairs.csv -> https://portal.example",
        "  10 to link             not there yet",
        "   2 already linked      there, and left as they are",
        "  12 rows in pairs.csv; 9 requests, which only read, in 1.2 s",
        "  the rows: runs/p/plan.csv",
        "  to carry it out: 10 links, about 24 requests (each alone) at 50/s, about 1 s",
        "  do it: bulklink run runs/p/plan.json",
    ]


def test_many_causes_are_cut_short_and_limits_are_said() -> None:
    pace = {**BATCH, "link_rate": "10/s", "links_per_second": 10.0, "learned": 12.346}
    lines = plan(pace=pace, causes=7, counts={"to_link": 10}).summary(
        "runs/p", "bulklink run runs/p/plan.json"
    )
    assert lines[3] == "  4 x cause_0, line 2, 3, 4, ...: Why."
    assert lines[9] == "  and more causes in plan.json"
    assert lines[-2] == (
        "  to carry it out: 10 links, about 8 requests (up to 200 in one) at 50/s (learned: 12.35/s),"
        " links at 10/s, about 1 s"
    )


def test_nothing_to_link_is_said_and_no_command() -> None:
    nothing = Scope(links=0, looks=0, all_links=2, all_looks=1, contacts=0)
    assert plan(nothing, counts={"already_linked": 12}).summary("runs/p", "bulklink run x")[-1] == (
        "  nothing is to be linked"
    )
