"""Processes on one machine that work on one portal, and people who work there meanwhile."""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

CALM = "[latency]\nseconds = 0.01\n"
TRIES = 3
"""What the product does wrong it does each time; a machine that is busy with other things holds requests up
on their way now and then, so one good measurement is enough."""


def write_pairs(folder: Path, name: str, opportunity: int, count: int) -> str:
    rows = "".join(f"{opportunity},{n}\n" for n in range(1, count + 1))
    (folder / name).write_text(f"opportunity_id,contact_id\n{rows}")
    return name


def most_in_a_second(arrivals: list[float]) -> int:
    return max(sum(begin <= at < begin + 1.0 for at in arrivals) for begin in arrivals)


@pytest.mark.alone
def test_two_processes_keep_to_one_rate_together_and_use_it(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    """Each with runs of its own, and in its own time."""
    measured = []
    for attempt in range(TRIES):
        portal = simulate(CALM)
        with ExitStack() as stack:
            runs = []
            for number in (1, 2):
                write_pairs(bulklink.folder, f"{number}.csv", number, 90)
                words = ("run", f"{number}.csv", "--portal", portal.url, "--rate", "50/s", *ONE_BY_ONE, "-q")
                runs.append(stack.enter_context(bulklink.start(*words, "--runs-dir", f"{attempt}.{number}")))
            ended = [(run.communicate(timeout=60)[1], run.returncode) for run in runs]
        assert [code for _, code in ended] == [0, 0], ended
        assert len(portal.links()) == 180
        arrivals: list[float] = sorted(portal.books("/arrivals"))
        both = arrivals[10:-10]  # they need not begin or end at once
        measured.append((most_in_a_second(arrivals), (len(both) - 1) / (both[-1] - both[0])))
        if measured[-1][0] <= 50 and 0.95 * 50 <= measured[-1][1] <= 50:
            return
    pytest.fail(f"(most in a second, requests/s): {measured}")


def test_the_same_input_is_not_linked_twice_at_once_unless_that_is_wanted(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(CALM)
    write_pairs(bulklink.folder, "pairs.csv", 1, 60)
    write_pairs(bulklink.folder, "copy.csv", 1, 60)
    slowly = ("--portal", portal.url, *ONE_BY_ONE, "--rate", "20/s", "-q")
    with bulklink.start("run", "pairs.csv", *slowly, "--run-id", "first") as first:
        while portal.books()["posts"] < 2:
            time.sleep(0.02)
        for name in ("pairs.csv", "copy.csv"):
            refused = bulklink("run", name, *slowly, "--run-id", "second", "--runs-dir", "elsewhere")
            assert refused.returncode == 7
            (line,) = refused.stderr.splitlines()
            assert "run first links" in line
            assert "--same-input-anyway" in line
        assert not list((bulklink.folder / "elsewhere").glob("*"))
        anyway = bulklink("run", "copy.csv", *slowly, "--limit", "3", "--same-input-anyway")
        assert anyway.returncode == 0, anyway.stderr
        first.communicate(timeout=60)
    assert first.returncode == 0
    again = bulklink("run", "pairs.csv", "--portal", portal.url, "--rate", "500/s", "-q")
    assert again.returncode == 0, again.stderr


def test_a_run_that_was_killed_keeps_nobody_from_its_input(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(CALM)
    write_pairs(bulklink.folder, "pairs.csv", 1, 60)
    slowly = ("--portal", portal.url, *ONE_BY_ONE, "--rate", "20/s", "-q")
    with bulklink.start("run", "pairs.csv", *slowly, "--run-id", "first") as first:
        while portal.books()["posts"] < 2:
            time.sleep(0.02)
        first.kill()
    assert bulklink("resume", "first", "--rate", "500/s", "-q").returncode == 0
    assert len(portal.links()) == 60


@pytest.mark.alone
@pytest.mark.parametrize("transport", ["single", "batch"])
def test_no_second_holds_more_links_than_the_link_rate_however_they_travel(
    bulklink: "CommandLine", simulate: "Simulate", transport: str
) -> None:
    write_pairs(bulklink.folder, "pairs.csv", 1, 120)
    measured = []
    for _ in range(TRIES):
        portal = simulate(CALM)
        words = ("run", "pairs.csv", "--portal", portal.url, "--rate", "400/s", "--link-rate", "40/s")
        begin = time.monotonic()
        done = bulklink(*words, "--transport", transport, "--existing", "post", "--json", "-q")
        report = json.loads(done.stdout)
        assert report["counts"]["linked"] == 120
        # The first 40 may leave at once, if they share a request.
        assert report["timing"]["seconds"] >= 120 / 40 - 1.1
        assert time.monotonic() - begin < 20
        if transport == "batch":
            assert report["requests"]["items"] / report["requests"]["batches"] <= 40
            return
        measured.append(most_in_a_second(sorted(portal.books("/arrivals"))[1:]))
        if measured[-1] <= 40:
            return
    pytest.fail(f"most in a second: {measured}")


def test_what_was_learned_of_a_portal_is_where_the_next_run_begins_until_it_is_forgotten(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    """The size of batches: at first 20; those of a fast portal grow."""
    portal = simulate("[latency]\nseconds = 0.002\n")
    batches = []
    for number in (1, 2, 3):
        write_pairs(bulklink.folder, f"{number}.csv", number, 600)
        words = ("run", f"{number}.csv", "--portal", portal.url, "--transport", "batch", "--existing", "post")
        report = bulklink.report(*words, "-q", *(["--forget"] if number == 3 else []))
        assert report["counts"]["linked"] == 600
        batches.append(report["requests"]["batches"])
    first, second, third = batches
    assert second < first
    assert abs(third - first) <= 2
    (file,) = (bulklink.folder / "runs" / ".portals").iterdir()
    assert json.loads(file.read_text())["batch_size"]["value"] > 20
    listed = bulklink("runs")
    assert len(listed.stdout.splitlines()) >= 3
    assert ".portals" not in listed.stdout + listed.stderr
    file.write_text("{")
    damaged = bulklink("run", "1.csv", "--portal", portal.url, "--transport", "batch", "--progress", "plain")
    assert damaged.returncode == 0
    assert "damaged; what was learned of this portal is not used" in damaged.stderr
