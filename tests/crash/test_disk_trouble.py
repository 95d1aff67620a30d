"""A bad disk: nothing is sent without an intent, one line says what is wrong, and resume makes good."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from tests.conftest import ONE_BY_ONE
from tests.crash.disk_trouble import BadDisk
from tests.crash.torn_sample import SetOfLinks
from tests.forks import Forked, ForkServer
from worker import cli
from worker.ledger import LedgerReader
from worker.models import Ask, Kind, Status
from worker.portal.calls import Call
from worker.portal.client import Finding
from worker.run import access

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

HERE = Path(__file__).parent
ROWS = 300
ALL = {(n, n) for n in range(1, ROWS + 1)}
RUN = ("run", "pairs.csv", "--run-id", "it", *ONE_BY_ONE, "--rate", "1000/s")


def slow(*values: object) -> list["ParameterSet"]:
    """Cases of a parameter for which the normal suite has no time."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.fixture(autouse=True)
def pairs(tmp_path: Path) -> Path:
    """A clean file of pairs."""
    path = tmp_path / "pairs.csv"
    path.write_text("opportunity_id,contact_id\n" + "".join(f"{n},{n}\n" for n in range(1, ROWS + 1)))
    return path


Troubled = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def troubled(tmp_path: Path, fork_server: ForkServer) -> Troubled:
    """The command in trouble."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        with Forked(
            fork_server,
            *(str(HERE / "disk_trouble.py"), *words),
            cwd=tmp_path,
            env={**os.environ, "BULKLINK_TOKEN": "demo-token", "PYTHONPATH": str(HERE.parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            out, err = process.communicate(timeout=200)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return run


def refused(done: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """The one line with which a command has refused to go on."""
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("run it: files in")]
    assert len(lines) == 1, done.stderr
    assert "internal error" not in lines[0]
    return lines[0]


def intents(run: Path) -> set[tuple[int, int]]:
    """The pairs of which the ledger says that they may have been sent."""
    with LedgerReader(run / "ledger.db") as reader:
        rows = list(reader.rows([Status.LINKED, Status.UNKNOWN]))
    return {(row.opportunity_id or 0, row.contact_id or 0) for row in rows}


def links_of(bulklink: "CommandLine") -> set[tuple[int, int]]:
    """What linked.csv claims."""
    lines = (bulklink.folder / "runs/it/linked.csv").read_text().splitlines()[1:]
    return {(int(line.split(",")[0]), int(line.split(",")[1])) for line in lines}


def makes_good(bulklink: "CommandLine", portal: "SimulatedPortal") -> None:
    """With space again, the run comes to its end as if nothing had happened."""
    run = bulklink.folder / "runs/it"
    if run.exists():
        assert portal.links() <= intents(run)
        report = bulklink.report("resume", "it", "--rate", "1000/s")
    else:  # it had not begun
        assert portal.links() == set()
        report = bulklink.report(*RUN, "--portal", portal.url)
    assert (report["exit_code"], report["counts"]["linked"]) == (0, ROWS)
    assert portal.links() == links_of(bulklink) == ALL


@pytest.mark.parametrize("most", [30_000, 900_000, *slow(0, 5_000, 70_000, 200_000, 2_000_000)])
def test_a_full_disk_ends_the_run_and_resume_makes_good(
    troubled: Troubled, bulklink: "CommandLine", simulate: "Simulate", most: int
) -> None:
    """From the first table to the last outcomes; it is the WAL that grows first and most."""
    portal = simulate("calm")

    done = troubled("file-size", str(most), *RUN, "--portal", portal.url)

    assert "runs/it/ledger.db: " in refused(done)
    assert len(portal.links()) < ROWS
    makes_good(bulklink, portal)


def test_a_disk_that_is_full_again_on_resume_is_told_and_made_good(
    troubled: Troubled, bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    troubled("file-size", "900000", *RUN, "--portal", portal.url)
    before = portal.links()

    done = troubled("file-size", "940000", "resume", "it")

    assert "runs/it/ledger.db: " in refused(done)
    assert before <= portal.links() < ALL
    makes_good(bulklink, portal)


@pytest.mark.parametrize("most", [9_000, *slow(100, 300_000)])
def test_files_for_which_there_was_no_room_are_made_later(
    troubled: Troubled, bulklink: "CommandLine", simulate: "Simulate", most: int
) -> None:
    portal = simulate("calm")
    run = bulklink.folder / "runs/it"

    done = troubled("file-size-at-end", str(most), *RUN, "--portal", portal.url)

    assert "contacts.jsonl: " in refused(done)
    assert portal.links() == ALL == intents(run)
    assert not (run / "report.json").exists()
    assert not list(run.glob(".*.part"))
    report = bulklink.report("report", "it")
    assert (report["exit_code"], report["counts"]["linked"]) == (0, ROWS)
    assert links_of(bulklink) == ALL


@pytest.mark.parametrize(("verb", "code"), [("verify", 0), ("rollback", 8)])  # of links not looked for before
def test_what_report_does_not_make_is_made_by_the_verb_that_is_named(
    bulklink: "CommandLine", simulate: "Simulate", verb: str, code: int
) -> None:
    portal = simulate("calm")
    assert bulklink(*RUN, "--portal", portal.url).returncode == 0
    in_the_way = bulklink.folder / f"runs/it/{verb}.csv"
    in_the_way.mkdir()

    said = refused(bulklink(verb, "it"))

    assert said.endswith(
        f"/runs/it/{verb}.csv: Is a directory; nothing is lost; mend that, then: bulklink {verb} it"
    )
    in_the_way.rmdir()
    assert bulklink(verb, "it").returncode == code
    assert in_the_way.is_file()


def test_a_plan_whose_files_cannot_be_written_is_not_asked_for_again(
    troubled: Troubled, bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")

    said = refused(
        troubled("file-size-at-end", "3000", "plan", "pairs.csv", "--run-id", "it", "--portal", portal.url)
    )

    assert said.endswith("/plan.csv: File too large; the ledger has it all, see 'bulklink report'")
    assert bulklink("report", "it").returncode == 0
    assert bulklink("run", "runs/it/plan.json").returncode == 0
    assert portal.links() == ALL


@pytest.mark.parametrize("most", [30_000, *slow(0, 60_000, 100_000)])
def test_a_plan_for_which_there_is_no_room_says_what_to_do_and_leaves_nothing(
    troubled: Troubled, bulklink: "CommandLine", simulate: "Simulate", most: int
) -> None:
    portal = simulate("calm")
    plan = ("plan", "pairs.csv", "--run-id", "it", "--portal", portal.url)

    said = refused(troubled("file-size", str(most), *plan))

    assert "runs/it/ledger.db: " in said
    assert not (bulklink.folder / "runs/it").exists()
    assert bulklink(*plan).returncode == 0


def test_a_full_log_stops_nothing(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate("[portal]\ncontacts = 200")  # so that each of the others is a line of the log

    report = bulklink.report(*RUN, "--portal", portal.url, "--log-file", "/dev/full", "--verbose")

    assert (report["exit_code"], report["counts"]["linked"], report["counts"]["rejected"]) == (3, 200, 100)


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("size", ["300k", *slow("4k", "40k", "100k", "700k")])
def test_a_disk_without_space_ends_the_run_and_resume_makes_good(
    bulklink: "CommandLine", simulate: "Simulate", size: str
) -> None:
    portal = simulate("calm")
    with small_disk(bulklink.folder / "runs", size):
        line = refused(bulklink(*RUN, "--portal", portal.url))
        go_on = "bulklink resume it" if (bulklink.folder / "runs/it").exists() else "the same command"
        assert line.endswith(
            f"ledger.db: the disk is full; all done so far is kept; make room, then: {go_on}"
        )
        assert len(portal.links()) < ROWS

        subprocess.run(["mount", "-o", "remount,size=50m", str(bulklink.folder / "runs")], check=True)
        makes_good(bulklink, portal)


@pytest.fixture
def anyone(troubled: Troubled) -> Troubled:
    """The command of someone whom permissions bind."""
    if troubled("anyone", "--version").returncode != 0:
        pytest.skip("root cannot give up its rights here")
    return lambda *words: troubled("anyone", *words)


def test_a_runs_folder_that_cannot_be_written_is_exit_2_and_named(
    anyone: Troubled, simulate: "Simulate", pairs: Path
) -> None:
    portal = simulate("calm")
    runs = pairs.with_name("runs")
    runs.mkdir(mode=0o500)

    assert "runs/it: Permission denied" in refused(anyone(*RUN, "--portal", portal.url), 2)
    assert portal.books()["requests"] == 0


def test_a_runs_folder_that_is_a_file_is_exit_2_and_named(
    bulklink: "CommandLine", simulate: "Simulate", pairs: Path
) -> None:
    portal = simulate("calm")
    pairs.with_name("runs").touch()

    assert "runs: File exists" in refused(bulklink(*RUN, "--portal", portal.url), 2)
    assert portal.books()["requests"] == 0


@pytest.mark.parametrize(("locked", "named"), [("", "runs/it/"), ("ledger.db", "runs/it/ledger.db: ")])
def test_a_run_that_cannot_be_written_is_not_gone_on_with(
    anyone: Troubled,
    bulklink: "CommandLine",
    simulate: "Simulate",
    locked: str,
    named: str,
) -> None:
    portal = simulate("calm")
    bulklink(*RUN, "--portal", portal.url, "--max-duration", "0.1s")
    path, sent = bulklink.folder / "runs/it" / locked, portal.books()["posts"]
    mode = path.stat().st_mode
    path.chmod(0o400 if locked else 0o500)

    assert named in refused(anyone("resume", "it"))
    assert portal.books()["posts"] == sent
    path.chmod(mode)
    makes_good(bulklink, portal)


class Watching(SetOfLinks):
    """A portal that looks, at each POST, whether its intent can be read by others."""

    ledger: Path
    without_intent: list[Ask]
    posts = 0
    late = 0
    commits = 0

    async def send(self, call: Call, read: object, kind: Kind, asks: Sequence[Ask]) -> Finding:
        if call.method != "POST":
            return await super().send(call, read, kind, asks)
        (ask,) = asks
        Watching.posts += 1
        Watching.commits = BadDisk.commits
        Watching.late += 0 < BadDisk.fails_at <= BadDisk.commits
        with closing(sqlite3.connect(f"{self.ledger.as_uri()}?mode=ro", uri=True)) as db:
            key = ask.opportunity_id << 32 | ask.contact_ids[0]
            (sent_at,) = db.execute("SELECT sent_at FROM rows WHERE key = ?", (key,)).fetchone()
        if sent_at is None:
            self.without_intent.append(ask)
        await asyncio.sleep(0.001)
        return await super().send(call, read, kind, asks)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The command in this process, against a portal that watches."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BULKLINK_TOKEN", "demo-token")
    hangup = signal.getsignal(signal.SIGHUP)
    Watching.held, Watching.without_intent, Watching.posts, Watching.late = set(), [], 0, 0
    Watching.ledger = tmp_path / "runs/it/ledger.db"

    # Another one for each process that tests: none links the same input at the same portal as another.
    portal = f"http://127.0.0.1:{1 + os.getpid() % 65_000}"

    def run(*words: str) -> int:
        return cli._main([*words, "--quiet", "--portal", portal, "--rate", "20000/s"])

    with patch.object(access, "PortalClient", Watching):
        yield run
    signal.signal(signal.SIGHUP, hangup)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


FEW = 60


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("fails_at", [*range(1, 13), *slow(*range(13, 40))])
def test_after_an_error_of_the_disk_nothing_is_sent_and_resume_makes_good(
    here: Callable[..., int],
    pairs: Path,
    capsys: pytest.CaptureFixture[str],
    fails_at: int,
    written: bool,
) -> None:
    """Twice: in the run, and in the first resume."""
    run = ("run", "pairs.csv", "--run-id", "it", *ONE_BY_ONE, "--limit", str(FEW), "--concurrency", "4")
    ledger = pairs.with_name("runs") / "it/ledger.db"
    for words in (run, ("resume", "it")):
        if words[0] == "resume" and not ledger.exists():
            assert Watching.posts == 0
            break
        with BadDisk.plug_in(fails_at=fails_at, written=written):
            code = here(*words)
            if BadDisk.commits < fails_at:  # too late for a resume with little left to do
                assert code == 0
                break
        assert (code, told(capsys)) == (
            1,
            f"bulklink: {ledger}: disk I/O error".replace(f"{pairs.parent}/", "", words[0] == "run"),
        )
    # Those that had their turn before the word came; never more than there are permits.
    assert Watching.late <= 2 * 4
    assert Watching.without_intent == []

    assert here(*(("resume", "it") if ledger.exists() else run)) == 0
    assert Watching.held == {(n, n) for n in range(1, FEW + 1)}
    assert Watching.without_intent == []


@pytest.mark.alone
def test_a_disk_that_is_slow_delays_the_requests_and_shares_its_commits(here: Callable[..., int]) -> None:
    started = time.monotonic()
    with BadDisk.plug_in(seconds=0.2):
        code = here("run", "pairs.csv", "--run-id", "it", *ONE_BY_ONE, "--limit", "48", "--concurrency", "8")
        commits, at_last_post = BadDisk.commits, Watching.commits

    assert (code, Watching.posts, Watching.without_intent) == (0, 48, [])
    # Eight outcomes in two commits at most, and a few to begin with and for intents.
    assert at_last_post <= 48 / 8 * 2 + 12
    assert commits * 0.2 <= time.monotonic() - started < commits * 0.2 + 3.0


def test_a_run_does_not_end_with_a_commit_for_each_lane(here: Callable[..., int]) -> None:
    with BadDisk.plug_in():
        here("run", "pairs.csv", "--run-id", "it", *ONE_BY_ONE, "--limit", "160", "--concurrency", "16")

    assert BadDisk.commits - Watching.commits < 16
