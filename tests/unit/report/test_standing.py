"""How a run stands that is at work."""

from typing import Any

import pytest

from tests.unit.report.test_summary import report
from worker.models import Status
from worker.report.sessions import SessionPart
from worker.report.standing import standing


def lines(
    counts: dict[str, int], *, pace: float = 0.5, complete: bool = True, kind: str = "file", **requests: Any
) -> list[str]:
    made = report(counts, requests=requests)
    timing = made.timing.model_copy(update={"pairs_per_second": pace})
    input_ = made.input.model_copy(update={"complete": complete, "kind": kind})
    return standing(made.model_copy(update={"timing": timing, "input": input_}))


def test_what_is_done_what_is_on_its_way_and_what_is_to_go_is_told() -> None:
    assert lines({"linked": 1200, "unknown": 8, "not_attempted": 45}, attempts=1300, retries=1) == [
        "run monday: running; pairs.csv -> https://portal.example",
        "  1,200 now linked, confirmed by the portal",
        "      8 on their way, or no proof either way",
        "     45 to go",
        "  1,253 rows; 1,300 requests in 1,234.6 s (0.5 pairs/s), 1 retry, 0 throttled",
        "  90s to go at this pace",
    ]


def test_whose_token_it_is_is_told_on_the_first_line_if_it_is_known() -> None:
    nobody: dict[str, Any] = {
        "started_at": 0,
        "seconds": 1.0,
        "end_code": None,
        "end_message": "",
        "version": "0.1.0",
        "user": None,
        "settings": {},
    }
    made = report({"linked": 1})
    for user, who in ((None, ""), ({"name": "Zoë\x1b[2J", "id": "1"}, ", as Zoë\\x1b[2J")):
        sessions = (SessionPart.model_validate({**nobody, "user": user}),)
        first, *_ = standing(made.model_copy(update={"sessions": sessions}))
        assert first == f"run monday: running; pairs.csv -> https://portal.example{who}"


@pytest.mark.parametrize("status", Status)
def test_a_state_is_told_if_it_has_rows(status: Status) -> None:
    assert [line.split()[0] for line in lines({status: 7}, pace=0.0)[1:]] == ["7", "7"]


@pytest.mark.parametrize(
    ("counts", "changes", "is_all"),
    [
        ({"linked": 1}, {"pace": 1.0}, True),
        ({"not_attempted": 1}, {"pace": 0.0}, True),
        ({"not_attempted": 1}, {"complete": False}, False),
        ({"not_attempted": 1}, {"kind": "queue"}, False),
    ],
)
def test_what_nobody_knows_is_not_forecast(
    counts: dict[str, int],
    changes: dict[str, Any],
    is_all: bool,
) -> None:
    told = lines(counts, **changes)
    assert "at this pace" not in told[-1]
    assert ("1 row so far;" in told[-1]) is not is_all
