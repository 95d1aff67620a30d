"""A portal that finds us too fast, on real sockets: all is linked, and little has to be refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from worker.report.build import Report
from worker.run.files import write_files
from worker.run.run import complete, start
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

PAIRS = 150


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second where the portal names no time: its windows are as short."""
    monkeypatch.setattr("worker.limits.limiter.FLOOR", 0.1)
    monkeypatch.setattr("worker.limits.limiter.LEAST_JITTER", 0.02)


def run(
    folder: Path, portal: "SimulatedPortal", pairs: int = PAIRS, **options: Any
) -> tuple[Report, list[str]]:
    rows = "".join(f"{number},{number}\n" for number in range(1, pairs + 1))
    (folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
    flags = {
        "portal": portal.url,
        "token": "demo-token",
        "runs_dir": folder / "runs",
        "existing": "post",
        "concurrency": 16,
        "rate": "2000/s",
        "max_attempts": 1,
        **options,
    }
    notes: list[str] = []
    session = start(load_settings(flags), str(folder / "pairs.csv"), lambda: load_settings(flags))
    complete(session, lambda tally: notes.append(tally.note))
    return write_files(session.directory), notes


def limited(limit: int, window: float, **more: str) -> str:
    """A sliding limit that is far below what we are told to send."""
    keys = {"retry_after": "", **more}
    return f"[throttle]\nlimit = {limit}\nwindow = {window}\n" + "".join(
        f"{key} = {value if key == 'status' else repr(value)}\n" for key, value in keys.items()
    )


@pytest.mark.parametrize("body", ["html", "empty"])
@pytest.mark.parametrize("status", ["429", "503"])
def test_a_limit_that_is_refused_without_a_time_costs_no_pair_its_attempt(
    simulate: "Simulate", tmp_path: Path, status: str, body: str
) -> None:
    """As nginx's limit_req does. What is refused is what was in flight when the window was full."""
    # Of a window that is long, or a slow machine never fills it.
    portal = simulate(limited(40, 2.0, status=status, body=body))

    report, _ = run(tmp_path, portal, 60, transport="single", concurrency=4)

    assert (report.exit_code, report.counts["linked"], len(portal.links())) == (0, 60, 60)
    refused = portal.books()["by_status"].get(status, 0)
    assert 1 <= refused == report.requests.throttled <= 80
    assert 60 <= portal.books()["posts"] <= 60 + refused
    assert report.requests.paused_seconds >= 0.1


@pytest.mark.parametrize("body", ["html", "empty"])
def test_batches_that_are_refused_without_a_time_are_sent_again_whole(
    simulate: "Simulate", tmp_path: Path, body: str
) -> None:
    portal = simulate(limited(9, 2.0, body=body))

    report, _ = run(tmp_path, portal, transport="batch", batch_size=10)

    assert (report.exit_code, report.counts["linked"], len(portal.links())) == (0, PAIRS, PAIRS)
    assert 1 <= portal.books()["by_status"]["503"] == report.requests.throttled <= 30
    books = portal.books()
    assert books["stored"] == PAIRS
    assert books["repeats"] < books["by_status"]["503"]  # of those that went alone to see if it is batches


@pytest.mark.parametrize("announces", ["ietf", "ratelimit", "x-ratelimit"])
def test_a_portal_that_tells_what_is_left_has_to_refuse_nothing(
    simulate: "Simulate", tmp_path: Path, announces: str
) -> None:
    """One request at a time: of several, those on their way when the quota was used up are refused."""
    # Of a window that is long, or a slow machine uses up none and there is nothing to wait for.
    portal = simulate(limited(40, 4.0, status="429", announces=announces))

    report, _ = run(tmp_path, portal, 90, transport="single", concurrency=1)

    assert (report.exit_code, report.counts["linked"]) == (0, 90)
    assert portal.books()["by_status"].get("429", 0) == 0
    assert report.requests.paused_seconds > 0.2


def test_a_wait_beyond_what_is_waited_for_ends_at_once_and_what_is_done_is_kept(
    simulate: "Simulate", tmp_path: Path
) -> None:
    portal = simulate(limited(101, 600.0, status="429", retry_after="86400"))

    report, notes = run(tmp_path, portal, transport="single")

    assert report.exit_code == 5
    assert report.message is not None
    assert report.message.startswith("the portal asks to wait 24 h, until 20")
    assert "--give-up-after is 15m" in report.message
    assert report.counts["linked"] == len(portal.links()) == 100
    assert report.counts["not_attempted"] == PAIRS - 100
    assert any(note.startswith("the portal asks to wait 24 h, until 20") for note in notes)
    assert "asks to wait 24 h" in next(tmp_path.glob("runs/*/run.log")).read_text()
