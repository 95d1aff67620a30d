"""The Python package at a portal on real sockets: what it leaves behind, and what it does not touch."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from bulklink import (
    Counts,
    LinkRun,
    Outcome,
    Portal,
    PortalError,
    PortalOptions,
    PortalRefused,
    UsageError,
    link_pairs,
)

from worker.report.build import Report
from worker.run.directory import RunDirectory
from worker.run.files import audit_run
from worker.simulator.scenario import Scenario
from worker.simulator.server import Portal as Simulator
from worker.simulator.trouble import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

ROOT = Path(__file__).parents[2]
TOKEN = "demo-token"


def sockets() -> set[str]:
    """Open sockets of this process."""
    found = set()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if (place := str(handle.readlink())).startswith("socket:"):
                found.add(place)
    return found


async def endless() -> AsyncIterator[tuple[int, int]]:
    for number in count(1):
        yield number // 50 + 1, number


async def nothing_is_left_beyond(tasks: set[Any], open_sockets: set[str]) -> None:
    """No more tasks and sockets than there were; the simulator notices a little later that a client left."""
    for _ in range(100):
        if asyncio.all_tasks() <= tasks and sockets() <= open_sockets:
            break
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() <= tasks
    assert sockets() <= open_sockets


async def all_of(run: LinkRun[Any], seen: list[Any]) -> None:
    """Iterate over everything."""
    async with run:
        async for outcome in run:
            seen.append(outcome)  # noqa: PERF401 - it may end in the middle


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(Scenario()) as portal:
        yield portal


@pytest.mark.parametrize("transport", ["batch", "single"])
async def test_a_program_that_is_cancelled_leaves_no_task_and_no_socket_and_the_books_equal_the_outcomes(
    simulator: Simulator, transport: Literal["batch", "single"]
) -> None:
    before = asyncio.all_tasks(), sockets()
    for point in range(20):
        simulator.reset()
        seen: list[Any] = []
        run = link_pairs(
            endless(), portal=simulator.url, token=TOKEN, transport=transport, buffer=50, rate="2000/s"
        )
        task = asyncio.create_task(all_of(run, seen))
        await asyncio.sleep(point * 0.004)
        task.cancel()
        await asyncio.wait({task})

        assert task.cancelled()
        told = [*seen, *run.remaining]
        assert len({one.item for one in told}) == len(told) == run.counts.rows
        assert {one.item for one in told if one.is_linked} == set(simulator.books.links())
        await nothing_is_left_beyond(*before)


async def test_the_contact_of_each_link_comes_with_it(simulator: Simulator) -> None:
    for status in ("linked", "already_linked"):
        seen: list[Outcome[tuple[int, int]]] = []
        await all_of(link_pairs([(1234, 88)], portal=simulator.url, token=TOKEN), seen)
        (outcome,) = seen
        assert outcome.status == status
        assert outcome.contact is not None
        assert outcome.contact.id == 88


async def test_one_portal_is_opened_once_for_several_runs(simulator: Simulator) -> None:
    async with Portal(simulator.url, token=TOKEN, transport="single") as portal:
        opened = simulator.books.requests
        for opportunity in (1, 2, 3):
            await all_of(link_pairs([(opportunity, 5)], portal=portal, existing="post"), [])
        assert simulator.books.requests - opened == 3
        with pytest.raises(UsageError, match="open already"):
            await portal.__aenter__()
    with pytest.raises(UsageError, match="open the portal first"):
        _ = portal.site
    assert simulator.books.links() == [(1, 5), (2, 5), (3, 5)]


@pytest.mark.parametrize("transport", ["batch", "single"])
async def test_links_and_members_are_looked_for_at_an_open_portal(
    simulator: Simulator, transport: Literal["batch", "single"]
) -> None:
    before = asyncio.all_tasks(), sockets()
    asked = [(number, 5) for number in range(1, 61)]
    linked = asked[::2]
    async with Portal(simulator.url, token=TOKEN, transport=transport) as portal:
        await all_of(link_pairs(linked, portal=portal), [])
        books = simulator.books
        written, opened = len(books.links()), books.requests
        found = [one async for one in portal.verify(asked)]
        assert [one.item for one in found] == asked
        assert [one.item for one in found if one.is_there] == linked
        if transport == "batch":
            assert books.requests - opened < 10
        members = [one async for one in portal.members([1, 2, 999999, "x", "1"])]
        assert [(one.item, one.opportunity_id, one.contact_ids, one.reason) for one in members] == [
            (1, 1, (5,), ""),
            (2, 2, (), ""),
            (999999, 999999, (), "opportunity_missing"),
            ("x", None, (), "opportunity_id is not a whole number"),
            ("1", 1, (5,), ""),
        ]
        assert [one.is_complete for one in members] == [True, True, False, False, True]
        assert len(books.links()) == written
    await nothing_is_left_beyond(*before)


async def test_members_of_more_than_one_page_are_all_told(simulator: Simulator) -> None:
    for contact in range(1, 1201):
        simulator.books.link(7, contact)
    async with Portal(simulator.url, token=TOKEN) as portal:
        (one,) = [one async for one in portal.members([7])]
    assert one.contact_ids == tuple(range(1, 1201))
    assert one.is_complete


@pytest.mark.parametrize("way", ["break", "raise", "cancel"])
async def test_who_leaves_while_links_are_looked_for_leaves_no_task_and_no_socket(
    simulator: Simulator, way: str
) -> None:
    before = asyncio.all_tasks(), sockets()

    async def look() -> None:
        async with Portal(simulator.url, token=TOKEN, transport="single", rate="2000/s") as portal:
            async for one in portal.verify(endless(), buffer=20):
                if way == "break" and one.item[1] > 30:
                    break
                if way == "raise" and one.item[1] > 30:
                    raise KeyError

    for point in range(10):
        task = asyncio.create_task(look())
        if way == "cancel":
            await asyncio.sleep(0.02 + point * 0.005)
            task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() == (way == "cancel")
        if not task.cancelled():
            assert isinstance(task.exception(), KeyError if way == "raise" else type(None))
        await nothing_is_left_beyond(*before)


async def test_nothing_outside_is_looked_at_or_touched(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No environment, no signal, no files, and the event loop as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BULKLINK_TOKEN", "wrong")
    monkeypatch.setenv("BULKLINK_NONSENSE", "1")
    monkeypatch.setenv("BULKLINK_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr("worker.run.access.common_folder", lambda: pytest.fail("a folder of the machine"))
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(handler := lambda *_: None)
    signals = [signal.getsignal(one) for one in signal.valid_signals()]
    run = link_pairs([(1, 1)], portal=simulator.url, token=TOKEN)
    async with run:
        assert [signal.getsignal(one) for one in signal.valid_signals()] == signals
        await anext(run)

    assert run.counts == Counts(rows=1, linked=1)
    assert loop.get_exception_handler() is handler
    assert os.listdir() == []  # noqa: PTH208 - no folder is at hand


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"token": "wrong"}, PortalRefused, "HTTP 401 unauthorized"),
        ({"token": ""}, UsageError, "no credentials: give token, or username and password"),
        ({"token": TOKEN, "timeout": "soon"}, UsageError, "timeout: 'soon' is not"),
        ({"token": TOKEN, "concurrency": 0}, UsageError, "concurrency: 0 is neither auto nor a whole number"),
        ({"token": TOKEN, "limit": 5}, UsageError, "limit: no such option of a portal"),
        ({"token": TOKEN, "portal": "nonsense"}, UsageError, "'nonsense' is not an address"),
        ({"token": TOKEN, "portal": "http://127.0.0.1:1", "give_up_after": 0.2}, PortalError, "127.0.0.1:1"),
        ({"token": TOKEN, "existing": "perhaps"}, UsageError, "existing: 'perhaps' is not"),
    ],
)
async def test_what_cannot_begin_says_so_on_entering_and_leaves_nothing_behind(
    simulator: Simulator, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    before = asyncio.all_tasks(), sockets()
    run = link_pairs([(1, 1)], **{"portal": simulator.url, **options})
    with pytest.raises(error, match=says):
        await all_of(run, [])
    assert run.counts == Counts()
    await nothing_is_left_beyond(*before)


async def test_a_ledger_makes_a_run_directory_like_that_of_the_command(
    simulator: Simulator, tmp_path: Path
) -> None:
    pairs: list[Any] = [(1, 5), (1, 6), (1, 5), ("x", 7), {"deal": 2, "contact": 999999}]
    path = tmp_path / "runs" / "mine"
    seen: list[Outcome[Any]] = []

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(handler := lambda *_: None)
    async with Portal(simulator.url, token=TOKEN) as portal:
        observers = list(portal.site.limiter.observers)
        run = link_pairs(pairs, portal=portal, ledger=path)
        await all_of(run, seen)
        assert portal.site.limiter.observers == observers
    assert loop.get_exception_handler() is handler

    report = Report.model_validate_json((path / "report.json").read_text())
    assert report.counts == run.counts.as_dict()
    assert (report.status, report.exit_code) == ("completed_with_failures", 3)
    assert report.input.complete
    assert sorted(one.status for one in seen) == ["duplicate", "invalid", "linked", "linked", "rejected"]
    assert audit_run(RunDirectory(path)) == []
    with pytest.raises(UsageError, match="there is such a run already"):
        await link_pairs(pairs, portal=simulator.url, token=TOKEN, ledger=path).__aenter__()


async def test_a_run_directory_that_is_left_early_is_one_that_can_be_gone_on_with(
    simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "mine"
    seen: list[Outcome[Any]] = []
    async with link_pairs(
        endless(), portal=simulator.url, token=TOKEN, ledger=path, buffer=500, transport="single"
    ) as run:
        async for outcome in run:
            seen.append(outcome)
            if len(seen) > 20:
                break

    report = Report.model_validate_json((path / "report.json").read_text())
    assert report.counts == run.counts.as_dict()
    assert report.counts["not_attempted"] > 0
    assert not report.input.complete
    assert report.message == "stopped by the program"
    told = [*seen, *run.remaining]
    assert {one.item for one in told if one.is_linked} == set(simulator.books.links())


async def test_a_refusal_in_the_middle_is_raised_and_stands_in_the_run_directory(
    simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "mine"
    simulator.faults = (Fault(status=401, after=5),)
    run = link_pairs(
        [(1, n) for n in range(1, 50)], portal=simulator.url, token=TOKEN, ledger=path, transport="single"
    )
    with pytest.raises(PortalRefused):
        await all_of(run, [])
    report = Report.model_validate_json((path / "report.json").read_text())
    assert (report.status, report.exit_code, report.counts) == ("aborted", 6, run.counts.as_dict())


def test_what_a_program_began_is_gone_on_with_verified_and_undone_by_the_command(
    bulklink: "CommandLine", simulate: "Callable[[str], SimulatedPortal]"
) -> None:
    portal = simulate("calm")

    async def program() -> None:
        options: PortalOptions = {"token": TOKEN, "transport": "single"}
        async with link_pairs(
            [(1, n) for n in range(1, 200)],
            portal=portal.url,
            ledger=bulklink.folder / "runs" / "mine",
            buffer=100,
            **options,
        ) as run:
            await anext(run)

    asyncio.run(program())
    done = len(portal.links())
    assert 0 < done < 100

    report = bulklink.report("resume", "mine")
    assert (report["exit_code"], report["input"]["name"]) == (5, "a Python program")
    assert report["message"].startswith("what fed this run, standard input or a program, is gone")
    linked = report["counts"]["linked"]
    assert done < linked == report["counts"]["rows"] == len(portal.links())
    assert bulklink("verify", "mine").returncode == 0
    assert bulklink("rollback", "mine").returncode == 0
    assert portal.links() == set()


def test_to_import_it_takes_no_library_but_the_standard_one() -> None:
    """Which is why it takes a tenth of a second and not half of one."""
    code = (
        "import sys; from bulklink import link_pairs, Portal;"
        "print(*sorted({'aiohttp', 'pydantic', 'click', 'lxml', 'jinja2', 'orjson'} & set(sys.modules)))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'worker/public'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
