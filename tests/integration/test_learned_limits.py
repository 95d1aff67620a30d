"""Limits that nobody stated, found out on real sockets: as much as the portal takes, and hardly a refusal.

The portal is a process of its own; what it took and refused, and when, is in its books. The short tests are
the same with all times of the product shortened, and with bounds that a busy machine keeps.
"""

from importlib import import_module
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

TRIES = 3
"""A machine that is busy with other things makes the portal slower now and then, and is no fault of ours."""


def run(folder: Path, portal: "SimulatedPortal", pairs: int, **options: Any) -> Report:
    """Link so many, each by a request of its own, with what is found out unless said otherwise."""
    folder.mkdir()
    rows = "".join(f"{number},{number}\n" for number in range(1, pairs + 1))
    (folder / "pairs.csv").write_text(f"opportunity_id,contact_id\n{rows}")
    flags = {
        "portal": portal.url,
        "token": "demo-token",
        "runs_dir": folder / "runs",
        "existing": "post",
        "transport": "single",
        **options,
    }
    session = start(load_settings(flags), str(folder / "pairs.csv"), lambda: load_settings(flags))
    complete(session, lambda _: None)
    report = write_files(session.directory)
    assert (report.exit_code, report.counts["linked"], len(portal.links())) == (0, pairs, pairs)
    return report


def taken_and_refused(portal: "SimulatedPortal", after: float) -> tuple[float, float]:
    """Requests a second that the portal took so many seconds after the first, and the share of refused."""
    seen = [(at, status) for at, _, _, _, _, status, _ in portal.books("/visits")]
    begin, end = seen[0][0] + after, seen[-1][0]
    late = [status for at, status in seen if at >= begin]
    return late.count(201) / (end - begin), 1 - late.count(201) / len(late)


def in_flight(report: Report) -> list[float]:
    """How many were allowed, one after the other, from when there were four."""
    limits = [float(change["to"]) for change in report.limits if change["knob"] == "concurrency"]
    return limits[limits.index(4.0) :] if 4.0 in limits else []


LIMITED = [("503", "1"), ("429", "")]
"""Status of a refusal, and its Retry-After."""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("status", "retry_after"), LIMITED)
def test_an_unknown_limit_is_used_to_nine_tenths_after_twenty_seconds_and_two_in_a_hundred_are_refused(
    simulate: "Simulate", tmp_path: Path, status: str, retry_after: str
) -> None:
    measured = []
    for number in range(TRIES):
        portal = simulate(
            f'[throttle]\nlimit = 30\nwindow = 1.0\nstatus = {status}\nretry_after = "{retry_after}"\n'
            "[latency]\nseconds = 0.08\njitter = 0.02\n"
        )

        report = run(tmp_path / str(number), portal, 2_000)

        assert report.requests.throttled == portal.books()["by_status"][status]
        measured.append(taken_and_refused(portal, after=20))
        if measured[-1][0] >= 0.9 * 30 and measured[-1][1] < 0.02:
            return
    pytest.fail(f"(taken a second, share of refused): {measured}")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(400)
def test_at_a_knee_of_four_about_four_are_in_flight_and_it_is_as_fast_as_the_best_fixed_number(
    simulate: "Simulate", tmp_path: Path
) -> None:
    """With a fixed number above four it is as fast as with four: it is the portal that is full."""
    measured = []
    for number in range(TRIES):
        portals = [simulate("[latency]\nseconds = 0.08\njitter = 0.02\nworkers = 4\n") for _ in range(2)]

        run(tmp_path / f"{number} fixed", portals[0], 1_000, concurrency=4, rate="500/s")
        report = run(tmp_path / str(number), portals[1], 1_500, rate="500/s")

        fixed, learned = (taken_and_refused(portal, after=10)[0] for portal in portals)
        least = min(in_flight(report))
        measured.append((fixed, learned, least, portals[1].books()["max_in_flight"]))
        if learned >= 0.95 * fixed and least >= 3 and portals[1].books()["max_in_flight"] <= 6:
            return
    pytest.fail(f"(fixed, learned, least allowed, most in flight): {measured}")


SHORTER = {
    "limiter": ("FLOOR", "LEAST_JITTER"),
    "window": ("SHORTEST",),
    "adaptive_rate": ("QUIET", "QUIET_BELOW", "PATIENCE", "UNSURE", "_SHORT", "_LATELY", "_AGAIN"),
    "adaptive_concurrency": ("LONGEST", "CAREFUL"),
}
"""Times of the product, by module of ``worker.limits``."""


@pytest.fixture
def a_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of these last a fifth."""
    for name, constants in SHORTER.items():
        module = import_module(f"worker.limits.{name}")
        for constant in constants:
            monkeypatch.setattr(module, constant, getattr(module, constant) / 5)


@pytest.mark.alone
@pytest.mark.usefixtures("a_fifth")
@pytest.mark.parametrize(("status", "retry_after"), [("503", "0.2"), ("429", "")])
def test_soon_most_of_an_unknown_limit_is_used_and_hardly_anything_refused(
    simulate: "Simulate", tmp_path: Path, status: str, retry_after: str
) -> None:
    measured = []
    for number in range(TRIES):
        portal = simulate(
            f'[throttle]\nlimit = 12\nwindow = 0.2\nstatus = {status}\nretry_after = "{retry_after}"\n'
            "[latency]\nseconds = 0.03\njitter = 0.005\n"
        )

        report = run(tmp_path / str(number), portal, 180, rate="200/s")

        assert report.requests.throttled == portal.books()["by_status"].get(status, 0)
        measured.append(taken_and_refused(portal, after=2))
        if measured[-1][0] >= 0.5 * 60 and measured[-1][1] <= 0.05:
            return
    pytest.fail(f"(taken a second, share of refused): {measured}")


@pytest.mark.alone
@pytest.mark.usefixtures("a_fifth")
def test_at_a_knee_of_four_about_four_are_soon_in_flight(simulate: "Simulate", tmp_path: Path) -> None:
    measured = []
    for number in range(TRIES):
        portal = simulate("[latency]\nseconds = 0.04\njitter = 0.01\nworkers = 4\n")

        report = run(tmp_path / str(number), portal, 200, rate="500/s")

        measured.append((in_flight(report), portal.books()["max_in_flight"]))
        if measured[-1][0] and min(measured[-1][0]) >= 2 and 4 <= measured[-1][1] <= 9:
            return
    pytest.fail(f"(allowed in flight, most in flight): {measured}")
