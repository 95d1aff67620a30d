"""How runs end badly: the documented exit code, one line that names the thing, and nothing lost."""

import fcntl
import gzip
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

HEADER = "opportunity_id,contact_id\n"


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """A clean file of 200 pairs."""
    (tmp_path / "pairs.csv").write_text(HEADER + "".join(f"{n},{n}\n" for n in range(1, 201)))
    return "pairs.csv"


def one_line(err: str) -> str:
    """The error, which must be the one line of standard error."""
    (line,) = err.splitlines()
    assert line.startswith("bulklink: ")
    return line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("run",), "INPUT"),
        (("run", "pairs.csv"), "BULKLINK_PORTAL"),
        (("run", "nowhere.csv", "--portal", "http://127.0.0.1:1"), "nowhere.csv"),
        (("run", ".", "--portal", "http://127.0.0.1:1"), "directory"),
        (("run", "pairs.csv", "--portal", "ftp://portal.example.com"), "--portal"),
        (("run", "pairs.csv", "--portal", "http://portal.example.com"), "--allow-http"),
        (("run", "pairs.csv", "--portal", "http://127.0.0.1:1", "--rate", "fast"), "--rate: 'fast'"),
        (("run", "pairs.csv", "--portal", "http://127.0.0.1:1", "--concurrency", "0"), "--concurrency"),
        (("run", "pairs.csv", "--portal", "http://127.0.0.1:1", "--columns", "contact=who"), "who"),
        (("run", "pairs.csv", "--portal", "http://127.0.0.1:1", "--run-id", "../x"), "--run-id"),
        (("run", "pairs.csv", "--bogus"), "--bogus"),
        (("link",), "link"),
        (("resume", "20000101T000000Z-000000"), "20000101T000000Z-000000"),
        (("resume",), "no runs"),
        (("check", "empty.csv"), "empty.csv"),
        (("check", "book.xlsx"), "Excel"),
        (("check", "names.csv"), "found: name, age"),
        (("simulate", "--scenario", "bogus"), "bogus"),
    ],
)
def test_a_wrong_word_is_exit_2_and_named(
    bulklink: "CommandLine", pairs: str, words: tuple[str, ...], named: str
) -> None:
    assert pairs
    (bulklink.folder / "empty.csv").touch()
    (bulklink.folder / "book.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    (bulklink.folder / "names.csv").write_text("name,age\nx,1\n")

    done = bulklink(*words)

    assert done.returncode == 2
    assert named in one_line(done.stderr)
    assert not (bulklink.folder / "runs").exists()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"BULKLINK_TOKEN": ""}, "BULKLINK_TOKEN"),
        ({"BULKLINK_RAET": "5/s"}, "did you mean BULKLINK_RATE"),
        ({"BULKLINK_CONFIG": "none.toml"}, "none.toml"),
        ({"BULKLINK_TOKEN": "two\nlines"}, "token"),
        ({"BULKLINK_TOKEN": "", "BULKLINK_TOKEN_FILE": "none.txt"}, "none.txt"),
        ({"BULKLINK_TOKEN": "", "BULKLINK_USERNAME": "u"}, "BULKLINK_PASSWORD"),
    ],
)
def test_a_wrong_variable_is_exit_2_and_named(
    bulklink: "CommandLine", pairs: str, variables: dict[str, str], named: str
) -> None:
    done = bulklink("run", pairs, "--portal", "http://127.0.0.1:1", **variables)

    assert done.returncode == 2
    assert named in done.stderr.splitlines()[-1]
    assert not list(bulklink.folder.glob("runs/[!.]*"))


@pytest.mark.parametrize(
    ("scenario", "named"),
    [
        ('[auth]\ntoken = "other"', "unauthorized"),
        ('[[outages]]\nkind = "closed_404"', "portal_gone"),
        ('[[outages]]\nkind = "closed_503"', "maintenance"),
        ('[[outages]]\nkind = "payment_402"', "payment_required"),
        ('[[outages]]\nkind = "ip_403"', "address_not_allowed"),
        ('[[outages]]\nkind = "redirect"\nlocation = "https://elsewhere.example/"', "redirected"),
        ('[[outages]]\nkind = "status"\nstatus = 404\nbody = "html"', "no_such_route"),
    ],
)
def test_a_portal_that_refuses_us_is_exit_6_before_any_work(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str, scenario: str, named: str
) -> None:
    portal = simulate(scenario)

    done = bulklink("run", pairs, "--portal", portal.url)

    assert done.returncode == 6
    assert named in done.stderr.splitlines()[-1]
    assert portal.books()["posts"] == 0
    assert not list(bulklink.folder.glob("runs/*/*"))


def test_a_portal_that_is_not_there_is_exit_6(bulklink: "CommandLine", pairs: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        done = bulklink("run", pairs, "--portal", url)

    assert done.returncode == 6
    assert url in done.stderr.splitlines()[-1]
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("kind", "named", "way"),
    [
        ("payment_402", "payment_required", ()),
        ("payment_402", "payment_required", ONE_BY_ONE),
        ("closed_404", "portal_gone", ()),
        ("closed_503", "maintenance", ONE_BY_ONE),
        ("ip_403", "address_not_allowed", ()),
        ("forbidden_403", "crm_not_allowed", ONE_BY_ONE),
    ],
)
def test_a_portal_that_closes_in_the_middle_stops_the_run_and_resume_finishes_it(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str, kind: str, named: str, way: tuple[str, ...]
) -> None:
    closing = simulate(f'[[outages]]\nkind = "{kind}"\nafter = 50\nseconds = 3.0')

    words = ("--portal", closing.url, *way, "--rate", "200/s", "--give-up-after", "1s")
    report = bulklink.report("run", pairs, *words)

    assert (report["exit_code"], report["status"]) == (6, "aborted")
    assert named in report["message"]
    counts = report["counts"]
    # Whatever the portal refused was not stored, and is known not to be.
    assert (counts["linked"], counts["unknown"]) == (len(closing.links()), 0)
    assert counts["linked"] + counts["not_attempted"] == 200

    time.sleep(3.0)
    assert bulklink.report("resume")["counts"]["linked"] == 200
    assert len(closing.links()) == 200


def test_quiet_says_why_a_run_ended_before_its_rows_did(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate('[[outages]]\nkind = "payment_402"\nafter = 50')

    done = bulklink("run", pairs, "--portal", portal.url, "--rate", "200/s", "--run-id", "it", "-q")

    assert done.returncode == 6
    line = one_line(done.stderr)
    assert line.startswith("bulklink: run it: aborted, exit code 6: ")
    assert "payment_required" in line
    assert line.endswith("; nothing is lost; go on with: bulklink resume it")
    again = bulklink("report", "it", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (6, "", done.stderr)


def test_rows_behind_the_end_of_a_run_are_in_retry_csv(bulklink: "CommandLine", simulate: "Simulate") -> None:
    """The portal closes at once; a file of many more rows than are read by then is read to its end."""
    (bulklink.folder / "pairs.csv").write_text(HEADER + "".join(f"{n},1\n" for n in range(1, 60_001)))
    portal = simulate('[[outages]]\nkind = "payment_402"\nafter = 5')

    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, "--rate", "1000/s")

    assert report["exit_code"] == 6
    assert report["counts"]["rows"] == 60_000
    assert report["input"]["complete"]
    with (bulklink.only_run() / "retry.csv").open() as file:
        assert sum(1 for _ in file) == 1 + report["counts"]["not_attempted"]


def test_a_pipe_that_never_ends_does_not_hold_up_the_end(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate('[[outages]]\nkind = "payment_402"\nafter = 5')
    with bulklink.start("run", "-", "--portal", portal.url, "--rate", "1000/s") as process:
        assert process.stdin is not None
        process.stdin.write(HEADER + "".join(f"{n},1\n" for n in range(1, 5001)))
        process.stdin.flush()

        assert process.wait(20) == 6
        process.communicate()


def test_a_token_revoked_for_good_stops_the_run(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate("[auth]\nrevoke_after_requests = 60")

    report = bulklink.report("run", pairs, "--portal", portal.url, *ONE_BY_ONE, "--rate", "200/s")

    assert (report["exit_code"], report["counts"]["unknown"]) == (6, 0)
    assert "unauthorized" in report["message"]
    assert report["counts"]["linked"] == len(portal.links())


@pytest.mark.long
def test_a_token_that_expires_is_renewed_by_one_log_in(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate("[auth]\nexpires_after_requests = 120")
    login = {"BULKLINK_TOKEN": "", "BULKLINK_USERNAME": "user@portal.example"}

    words = ("run", pairs, "--portal", portal.url, *ONE_BY_ONE, "--rate", "200/s")
    report = bulklink.report(*words, **login, BULKLINK_PASSWORD="demo-password")

    assert (report["exit_code"], len(portal.links())) == (0, 200)
    assert "demo-password" not in "".join(
        path.read_text(errors="replace") for path in bulklink.only_run().iterdir()
    )


@pytest.mark.parametrize(
    ("scenario", "password", "named"),
    [
        ("calm", "wrong", "check name and password"),
        ('[auth]\ntwo_factor = "sms"', "demo-password", "second factor"),
    ],
)
def test_a_log_in_that_fails_is_exit_6_and_explained(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str, scenario: str, password: str, named: str
) -> None:
    portal = simulate(scenario)
    login = {"BULKLINK_TOKEN": "", "BULKLINK_USERNAME": "user@portal.example", "BULKLINK_PASSWORD": password}

    done = bulklink("run", pairs, "--portal", portal.url, **login)

    assert done.returncode == 6
    assert named in done.stderr.lower()
    assert "wrong" not in done.stderr.replace("wrong base", "")


def test_pairs_that_stay_in_doubt_are_settled_by_reading(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    """The portal stores every link and loses every answer: the members tell, and all of them do."""
    portal = simulate('[[faults]]\nkind = "reset"\nshare = 1.0\nafter_store = true')

    words = ("--portal", portal.url, *ONE_BY_ONE, "--rate", "1000/s", "--max-attempts", "2")
    report = bulklink.report("run", pairs, *words, "--limit", "40")

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 40)
    assert len(portal.links()) == 40


def test_pairs_that_used_up_their_attempts_are_exit_5_and_retried_from_retry_csv(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    # Each pair is refused as often as it may be tried, and would be taken after that.
    portal = simulate('[[faults]]\nkind = "status"\nstatus = 502\nbody = "html"\nper_pair = 2')

    words = ("--portal", portal.url, *ONE_BY_ONE, "--rate", "1000/s", "--max-attempts", "2")
    report = bulklink.report("run", pairs, *words, "--limit", "20")

    assert (report["exit_code"], report["counts"]["retryable"]) == (5, 20)
    assert report["causes"][0]["reason"] == "gateway_error"
    again = bulklink.report("run", str(bulklink.only_run() / "retry.csv"), "--portal", portal.url)
    assert (again["exit_code"], again["counts"]["linked"]) == (0, 20)


def test_a_second_process_on_the_same_run_is_exit_7(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate("calm")
    bulklink.report("run", pairs, "--portal", portal.url, "--rate", "1000/s")
    handle = os.open(bulklink.only_run(), os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)

    done = bulklink("resume")

    os.close(handle)
    assert done.returncode == 7
    assert bulklink.only_run().name in done.stderr.splitlines()[-1]


def test_resume_refuses_another_portal(bulklink: "CommandLine", simulate: "Simulate", pairs: str) -> None:
    portal = simulate("calm")
    bulklink.report("run", pairs, "--portal", portal.url, "--rate", "1000/s")

    done = bulklink("resume", "--portal", "http://127.0.0.1:1")

    assert done.returncode == 2
    assert portal.url in done.stderr


def test_an_input_that_breaks_off_is_exit_2_and_what_was_read_is_kept(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    rows = HEADER + "".join(f"{n % 5000 + 1},{n // 5000 + 1}\n" for n in range(20_000))
    packed = gzip.compress(rows.encode(), compresslevel=1)
    (bulklink.folder / "pairs.csv.gz").write_bytes(packed[: len(packed) // 2])

    report = bulklink.report("run", "pairs.csv.gz", "--portal", portal.url, "--rate", "2000/s")

    assert report["exit_code"] == 2
    assert "cut short" in report["message"]
    assert 0 < report["counts"]["rows"] < 20_000
    assert report["counts"]["linked"] == len(portal.links())


def test_a_second_signal_waits_for_no_answer_writes_all_files_and_resume_still_finishes(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate('[[faults]]\nkind = "hang"\nafter = 40\ntimes = 4')
    words = ("run", pairs, "--portal", portal.url, *ONE_BY_ONE, "--rate", "200/s", "--concurrency", "8")
    with bulklink.start(*words) as process:
        while portal.books()["posts"] < 60:
            time.sleep(0.05)
        process.terminate()
        time.sleep(1.1)
        assert process.poll() is None  # draining: requests hang
        process.terminate()
        _, err = process.communicate(timeout=60)

    run = bulklink.only_run()
    report = json.loads((run / "report.json").read_text())
    assert process.returncode == report["exit_code"] == 143
    assert report["message"] == "stopped by SIGTERM at once: what was on its way was not waited for"
    assert report["message"] in err
    assert f"bulklink resume {run.name}" in err
    assert report["counts"]["unknown"] == 4
    assert report["counts"]["linked"] == len(portal.links())
    assert bulklink.report("resume")["counts"]["linked"] == 200
    assert len(portal.links()) == 200


def test_runs_lists_what_ran(bulklink: "CommandLine", simulate: "Simulate", pairs: str) -> None:
    portal = simulate("calm")
    bulklink.report("run", pairs, "--portal", portal.url, "--rate", "1000/s", "--run-id", "first")
    bulklink.report(
        "run", pairs, "--portal", portal.url, "--rate", "1000/s", "--run-id", "another", "--limit", "5"
    )

    lines = bulklink("runs").stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["run", "first", "another"]
    assert lines[1].split()[3:8] == ["completed", "0", "200", "200", "0"]
    listed = [json.loads(line) for line in bulklink("runs", "--json").stdout.splitlines()]
    assert [report["counts"]["rows"] for report in listed] == [200, 5]


@pytest.mark.parametrize(("way", "most"), [((), 180), (ONE_BY_ONE, 11 + 31)], ids=["default", "one by one"])
def test_too_many_failed_pairs_stop_the_run_with_exit_4(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str, way: tuple[str, ...], most: int
) -> None:
    """What is on its way by then gets its answers: with batches, many pairs."""
    portal = simulate("[portal]\ncontacts = 20")

    words = ("run", pairs, "--portal", portal.url, "--rate", "200/s", "--max-errors", "10", *way)
    report = bulklink.report(*words)

    assert (report["exit_code"], report["status"]) == (4, "aborted")
    assert "allowed are 10" in report["message"]
    assert report["counts"]["linked"] == 20
    assert 11 <= report["counts"]["rejected"] <= most
    assert report["counts"]["rows"] == 200


def test_the_maximum_duration_stops_the_run_with_exit_10_and_resume_goes_on(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate("calm")

    words = ("--portal", portal.url, *ONE_BY_ONE, "--rate", "50/s", "--max-duration", "1s")
    report = bulklink.report("run", pairs, *words)

    assert (report["exit_code"], report["status"], report["counts"]["unknown"]) == (10, "interrupted", 0)
    assert 20 < report["counts"]["linked"] == len(portal.links()) < 100
    again = bulklink.report("resume", "--rate", "500/s")
    assert (again["exit_code"], again["counts"]["linked"]) == (0, 200)


def test_an_outage_is_waited_out_without_multiplying_the_load(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    """A portal that answers 503 to everything for a while, then heals: no row is lost to it."""
    (bulklink.folder / "pairs.csv").write_text(HEADER + "".join(f"{n},{n}\n" for n in range(1, 1001)))
    portal = simulate('[[outages]]\nkind = "status"\nstatus = 503\nbody = "html"\nafter = 100\nseconds = 4.0')

    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, *ONE_BY_ONE, "--rate", "500/s")

    assert (report["exit_code"], report["counts"]["linked"]) == (0, 1000)
    assert portal.books()["posts"] < 1_200


def test_a_portal_that_does_not_come_back_ends_the_run_with_exit_5(
    bulklink: "CommandLine", simulate: "Simulate", pairs: str
) -> None:
    portal = simulate('[[outages]]\nkind = "status"\nstatus = 503\nbody = "html"\nafter = 100')

    words = ("--portal", portal.url, *ONE_BY_ONE, "--rate", "200/s", "--give-up-after", "3s")
    report = bulklink.report("run", pairs, *words)

    assert (report["exit_code"], report["status"]) == (5, "aborted")
    assert "failed for 3s" in report["message"]
    assert report["counts"]["not_attempted"] >= 200 - 100 - 32
    assert report["counts"]["linked"] == len(portal.links())
