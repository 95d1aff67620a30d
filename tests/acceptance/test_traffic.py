"""What a run costs the portal in requests, and when they come: measured at the portal."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

EAGER = str(Path(__file__).with_name("eager.py"))


class Seen(NamedTuple):
    """One request as the portal saw it; ``at`` is in seconds."""

    at: float
    method: str
    kind: str
    opportunity: int
    contact: int
    status: int
    items: int


def seen_by(portal: "SimulatedPortal") -> list[Seen]:
    return [Seen(*visit) for visit in portal.books("/visits")]


def most_in_a_second(seen: Iterable[Seen]) -> int:
    times = [one.at for one in seen]
    return max(sum(start <= at < start + 1 for at in times) for start in times)


def write_pairs(folder: Path, pairs: Iterable[tuple[int, int]]) -> None:
    lines = [f"{opportunity},{contact}" for opportunity, contact in pairs]
    (folder / "pairs.csv").write_text("\n".join(["opportunity_id,contact_id", *lines]))


# -- Measured in time: what the product does wrong it does each time; a machine that is busy with other things
# -- holds requests up on their way now and then, so one good measurement of a few shows what is claimed.


@pytest.mark.alone
def test_pairs_that_fail_all_their_tries_delay_no_other_and_leave_no_turn_unused(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    """A sixth of them, each with three retries: what these ask for is half as much as what is new."""
    rate, pairs = 100, [(number, number) for number in range(1, 481)]
    bad = pairs[::6]
    write_pairs(tmp_path, pairs)
    faults = (
        f'[[faults]]\nkind = "status"\nstatus = 408\nbody = "html"\nonly = {[list(pair) for pair in bad]}'
    )
    words = ("run", "pairs.csv", *ONE_BY_ONE, "--rate", f"{rate}/s", "--max-attempts", "4")
    for _ in range(3):
        portal = simulate(faults)

        report = bulklink.report(*words, "--portal", portal.url)

        assert report["counts"] | {"linked": 400, "retryable": 80} == report["counts"]
        seen = seen_by(portal)
        posts = [(one.opportunity, one.contact) for one in seen if one.method == "POST"]
        assert Counter(posts) == {pair: 4 if pair in bad else 1 for pair in pairs}
        # While there was something new: no turn was left unused, and retries had no more than their share.
        began, (*_, ended) = seen[1].at, (seen[at].at for at in _firsts(seen))
        sent = sum(began <= one.at < ended for one in seen)
        used, fresh = sent / (ended - began), len(pairs) / (ended - began)
        if used >= 0.95 * rate and fresh >= 0.95 * rate * (1 - 0.1) / (1 + 0.2):
            break
    assert 0.95 * rate <= used <= rate
    assert 0.95 * rate * (1 - 0.1) / (1 + 0.2) <= fresh


def _firsts(seen: list[Seen]) -> list[int]:
    """Where pairs were asked for that had not been."""
    known: dict[tuple[int, int], int] = {}
    for place, one in enumerate(seen):
        if one.method == "POST":
            known.setdefault((one.opportunity, one.contact), place)
    return list(known.values())


@pytest.mark.alone
def test_no_second_holds_more_than_the_rate_whatever_is_sent_and_all_of_it_is_reported(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    """Probes, log-ins, looks, links, retries, the questions of an outage: each pays, and is counted."""
    write_pairs(tmp_path, [(number % 20 + 1, number) for number in range(1, 61)])
    for _ in range(3):
        portal = simulate(
            "[auth]\nexpires_after_requests = 40\n"
            '[[outages]]\nkind = "status"\nstatus = 408\nbody = "html"\nafter = 25\nseconds = 3.5\n'
            '[[faults]]\nkind = "reset"\nshare = 0.2\nper_pair = 1\n'
        )

        report = bulklink.report(
            *("run", "pairs.csv", "--transport", "single", "--portal", portal.url, "--rate", "20/s"),
            *("--concurrency", "8"),  # as many fail at once, so that the outage is known for one soon
            program=EAGER,
            BULKLINK_TOKEN="",
            BULKLINK_USERNAME="user@portal.example",
            BULKLINK_PASSWORD="demo-password",
        )

        assert report["counts"]["linked"] == 60, report["causes"]
        seen = seen_by(portal)
        kinds = Counter(
            "question" if (one.method, one.opportunity) == ("GET", 0) else one.kind for one in seen
        )
        assert kinds["login"] >= 3  # renewed in mid-run, whatever it was that found out
        assert kinds["question"] >= 2, kinds
        assert kinds["members"] >= 20
        assert kinds["link"] >= 60 + 10
        requests = report["requests"]
        assert {"connection_lost", "request_timeout"} <= set(requests["retries_by_reason"])
        assert requests["looks"] == kinds["members"]
        assert requests["attempts"] == portal.books()["requests"] == len(seen)
        most = most_in_a_second(seen)
        if most <= 20:
            break
    assert most <= 20


def write_nightly(folder: Path) -> tuple[str, set[tuple[int, int]]]:
    """A shuffled file of 8,000 pairs; a portal that has most of them, and those that it has not."""
    rng = Random(5)  # noqa: S311 - the same file each time
    pairs = [(number % 300 + 1, number // 300 + 1) for number in range(8_000)]
    rng.shuffle(pairs)
    new, old = pairs[:80], pairs[80:]
    rng.shuffle(pairs)
    write_pairs(folder, pairs)
    return f"[portal]\nlinked = {[list(pair) for pair in old]}", set(new)


def test_a_shuffled_file_costs_a_look_for_each_opportunity_and_a_request_for_each_new_link(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    scenario, new = write_nightly(tmp_path)
    portal = simulate(scenario)
    words = ("--transport", "single", "--portal", portal.url, "--rate", "2000/s")

    report = bulklink.report("run", "pairs.csv", *words)

    assert report["counts"] | {"linked": 80, "already_linked": 7_920} == report["counts"]
    seen = seen_by(portal)
    asked = Counter((one.method, one.opportunity) for one in seen)
    looks = {opportunity: times for (method, opportunity), times in asked.items() if method == "GET"}
    assert looks == dict.fromkeys(range(301), 1)  # 0 is the question whether the portal is there
    assert sorted((one.opportunity, one.contact) for one in seen if one.method == "POST") == sorted(new)
    assert report["requests"]["attempts"] == len(seen) == 1 + 300 + 80


def test_by_default_a_shuffled_file_costs_less_than_forty_requests_and_no_post_for_what_is_there(
    bulklink: "CommandLine", simulate: "Simulate", tmp_path: Path
) -> None:
    scenario, new = write_nightly(tmp_path)
    portal = simulate(scenario)
    before = portal.links()

    report = bulklink.report("run", "pairs.csv", "--portal", portal.url)

    assert report["counts"] | {"linked": 80, "already_linked": 7_920} == report["counts"]
    books = portal.books()
    assert report["requests"]["attempts"] == books["requests"] < 40
    assert (books["posts"], books["repeats"], portal.links() - before) == (80, 0, new)
