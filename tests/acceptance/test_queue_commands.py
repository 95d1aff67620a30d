"""publish, work and dead as a user runs them, on a real Redis; judged by the portal's books and the files."""

import csv
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from redis import Redis

from tests.brokers import RedisServer, free_port, running
from tests.conftest import ONE_BY_ONE

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

HEADER = "opportunity_id,contact_id,note,id\n"
DIRTY = HEADER + (
    "1,1,first,order-1\n"
    "1,x,no number,\n"
    "1,1,again,order-2\n"
    "1,1000000,nobody,order-3\n"
    ",3,empty,\n" + "".join(f"2,{n},fine,\n" for n in range(1, 31))
)
LINKS = {(1, 1)} | {(2, n) for n in range(1, 31)}
SLOW = "[latency]\nseconds = 0.1\n"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def queue(redis_url: str) -> str:
    """URL of a stream that no other test uses."""
    return f"{redis_url}?stream=links-{uuid4().hex}"


def name_of(queue: str) -> str:
    return queue.partition("stream=")[2].partition("&")[0]


def write_pairs(folder: Path, count: int) -> str:
    rows = "".join(f"{n},{n},,\n" for n in range(1, count + 1))
    (folder / "pairs.csv").write_text(HEADER + rows)
    return "pairs.csv"


def put_raw(queue: str, *bodies: bytes, named: str = "raw-{}") -> None:
    """Put messages on a queue that no publisher of ours would make."""
    with Redis.from_url(queue.partition("?")[0]) as client:
        for number, body in enumerate(bodies, 1):
            client.xadd(name_of(queue), {"id": named.format(number), "body": body})


def bodies_on(queue: str) -> list[Any]:
    with Redis.from_url(queue.partition("?")[0]) as client:
        return [json.loads(entry[1][b"body"]) for entry in client.xrange(name_of(queue))]


def wait_until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def one_line(err: str) -> str:
    """The error, which must be the one line of standard error."""
    (line,) = err.splitlines()
    assert line.startswith("bulklink: ")
    return line


def letters(bulklink: "CommandLine", queue: str) -> dict[str, dict[str, Any]]:
    """Dead letters by identity."""
    done = bulklink("dead", queue, "--json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    return {letter["identity"]: letter for letter in map(json.loads, done.stdout.splitlines())}


def test_a_dirty_file_goes_over_the_queue_to_the_portal_and_what_failed_can_be_tried_again(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text(DIRTY)

    put = bulklink("publish", "pairs.csv", queue, "--run-id", "put", "--json")

    assert put.returncode == 3
    said = json.loads(put.stdout)
    assert (said["rows"], said["published"], said["duplicate"], said["invalid"]) == (35, 32, 1, 2)
    assert json.loads((bulklink.folder / "runs/put/publish.json").read_text()) == said
    assert "run put: 32 published to" in put.stderr
    with (bulklink.folder / "runs/put/rejected.csv").open() as file:
        assert [(row["_line"], row["_status"]) for row in csv.DictReader(file)] == [
            ("3", "invalid"),
            ("6", "invalid"),
        ]

    report = bulklink.report("work", queue, "--portal", portal.url, "--drain", "--run-id", "one")

    assert (report["exit_code"], report["status"]) == (3, "completed_with_failures")
    assert {state: n for state, n in report["counts"].items() if n} == {
        "rows": 32,
        "linked": 31,
        "rejected": 1,
    }
    assert report["input"] == {
        "name": queue,
        "kind": "queue",
        "sha256": None,
        "rows": 32,
        "blank": 0,
        "complete": True,
    }
    assert json.loads((bulklink.folder / "runs/one/report.json").read_text()) == report
    assert portal.links() == LINKS
    assert bulklink("report", "one", "--check").returncode == 0
    with (bulklink.folder / "runs/one/rejected.csv").open() as file:
        (rejected,) = csv.DictReader(file)
    assert (rejected["contact_id"], rejected["id"], rejected["_reason"]) == (
        "1000000",
        "order-3",
        "contact_missing",
    )

    (letter,) = letters(bulklink, queue).values()
    assert json.loads(letter["body"]) == {"opportunity_id": 1, "contact_id": 1_000_000, "id": "order-3"}
    assert letter["why"] == {"reason": "not_found", "status": "rejected", "http_status": 404, "attempts": 1}
    assert (letter["identity"], letter["deliveries"]) == ("put-4", 1)
    listed = bulklink("dead", queue)
    assert "rejected: not_found (HTTP 404), 1 attempt, 1 delivery  {" in listed.stdout
    assert len(listed.stdout.splitlines()) == 1

    again = bulklink("dead", queue, "--requeue", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, {"queue": queue, "put_back": 1})
    assert again.stderr.endswith(": 1 put back\n")
    assert letters(bulklink, queue) == {}
    assert "no dead letters" in bulklink("dead", queue).stderr

    grown = simulate("[portal]\ncontacts = 2_000_000\n")
    second = bulklink.report("work", queue, "--portal", grown.url, "--drain", "--run-id", "two")
    assert (second["exit_code"], second["counts"]["rows"], second["counts"]["linked"]) == (0, 1, 1)
    assert grown.links() == {(1, 1_000_000)}
    assert letters(bulklink, queue) == {}


def test_the_same_id_on_different_pairs_loses_no_pair(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate("calm")
    put_raw(queue, *(b'{"opportunity_id":7,"contact_id":%d}' % n for n in (1, 2, 3, 2)), named="order-7")
    report = bulklink.report("work", queue, "--portal", portal.url, "--drain", "--run-id", "one")
    assert (report["exit_code"], report["counts"]["rows"], report["counts"]["linked"]) == (0, 3, 3)
    assert portal.links() == {(7, 1), (7, 2), (7, 3)}
    assert bodies_on(queue) == []


def test_an_empty_queue_is_drained_at_once(bulklink: "CommandLine", simulate: "Simulate", queue: str) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text(HEADER)
    assert bulklink("publish", "pairs.csv", queue).returncode == 0
    assert not list(bulklink.folder.glob("runs/[!.]*"))
    report = bulklink.report("work", queue, "--portal", portal.url, "--drain")
    assert (report["exit_code"], report["counts"]["rows"], report["status"]) == (0, 0, "completed")


def test_with_a_limit_the_rest_is_left_for_others(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate("calm")
    bulklink("publish", write_pairs(bulklink.folder, 40), queue)
    first = bulklink.report("work", queue, "--portal", portal.url, "--limit", "7")
    assert (first["exit_code"], first["counts"]["rows"], first["counts"]["linked"]) == (0, 7, 7)
    second = bulklink.report("work", queue, "--portal", portal.url, "--drain")
    assert (second["counts"]["rows"], second["counts"]["linked"]) == (33, 33)
    assert len(portal.links()) == portal.books()["posts"] == 40


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_worker_that_is_stopped_gives_back_what_it_held(
    bulklink: "CommandLine", simulate: "Simulate", queue: str, number: signal.Signals, code: int
) -> None:
    portal = simulate(SLOW)
    bulklink("publish", write_pairs(bulklink.folder, 120), queue, "--run-id", "put")
    with bulklink.start(
        "work", queue, "--portal", portal.url, *ONE_BY_ONE, "--run-id", "one", "--json"
    ) as process:
        wait_until(lambda: portal.books()["posts"] >= 30)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)

    assert process.returncode == code
    assert "Traceback" not in err
    first = json.loads(out)
    counts = first["counts"]
    assert (first["exit_code"], first["status"]) == (code, "interrupted")
    assert counts["linked"] + counts["not_attempted"] == counts["rows"] < 120
    assert counts["linked"] == len(portal.links()) >= 30
    assert "go on with: bulklink work '" in err
    assert "bulklink resume" not in err

    # At once: a lease of a minute would have to run out, had they not been given back.
    second = bulklink.report("work", queue, "--portal", portal.url, "--drain", "--run-id", "two")
    assert second["exit_code"] == 0
    assert second["timing"]["seconds"] < 30
    assert second["counts"]["linked"] == second["counts"]["rows"] == 120 - counts["linked"]
    assert len(portal.links()) == portal.books()["posts"] == 120


def test_a_run_of_a_queue_is_not_resumed_and_the_line_says_what_to_do(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate("calm")
    bulklink("publish", write_pairs(bulklink.folder, 3), queue, "--run-id", "put")
    bulklink("work", queue, "--portal", portal.url, "--limit", "1", "--run-id", "one")
    done = bulklink("resume", "one")
    assert done.returncode == 2
    assert f"start a new one, bulklink work '{queue}'" in one_line(done.stderr)
    done = bulklink("resume", "put")
    assert done.returncode == 2
    assert "put" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("words", "said"), [(("publish", "pairs.csv"), "; nothing was published"), (("dead",), "")]
)
@pytest.mark.parametrize(
    "url",
    [
        "redis://u:s3cret@{}/0?stream=links",
        "amqp://u:s3cret@{}/?queue=links",
        "nats://u:s3cret@{}?stream=links",
    ],
)
def test_a_broker_that_is_down_is_exit_6_in_one_line_and_quick(
    bulklink: "CommandLine", words: tuple[str, ...], said: str, url: str
) -> None:
    write_pairs(bulklink.folder, 3)
    where = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    done = bulklink(*words, url.format(where))
    assert done.returncode == 6
    assert done.stderr == f"bulklink: no broker at {where} (connection refused){said}\n"
    assert time.monotonic() - began < 10
    assert not list(bulklink.folder.glob("runs/[!.]*"))


def test_a_worker_whose_broker_is_down_is_exit_6_in_one_line_and_leaves_nothing(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    port = free_port()
    began = time.monotonic()
    done = bulklink(
        "work", f"redis://127.0.0.1:{port}/0?stream=links", "--portal", portal.url, "--drain", "-q"
    )
    assert done.returncode == 6
    assert done.stderr == (
        f"bulklink: no broker at 127.0.0.1:{port} (connection refused); nothing was taken\n"
    )
    assert time.monotonic() - began < 10
    assert not list(bulklink.folder.glob("runs/[!.]*"))
    assert portal.books()["posts"] == 0


def test_a_broker_that_is_not_up_yet_is_waited_for_as_long_as_asked(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    queue = f"redis://127.0.0.1:{free_port()}/0?stream=links"
    began = time.monotonic()
    done = bulklink("work", queue, "--portal", portal.url, "--drain", "-q", "--wait-for-broker", "3s")
    assert done.returncode == 6
    # A wait that would pass the bound is not begun, and half of each is chance.
    assert 1.0 <= time.monotonic() - began < 13
    assert one_line(done.stderr)


def test_a_broker_that_comes_up_in_time_is_used(
    bulklink: "CommandLine", simulate: "Simulate", redis_server: RedisServer
) -> None:
    portal = simulate("calm")
    queue = f"{redis_server.url}?stream=links"
    bulklink("publish", write_pairs(bulklink.folder, 3), queue)
    redis_server.stop()
    timer = threading.Timer(2.0, redis_server.start)
    timer.start()
    report = bulklink.report(
        *("work", queue, "--portal", portal.url, "--drain", "-q", "--wait-for-broker", "60s")
    )
    timer.join()
    assert (report["exit_code"], report["counts"]["linked"]) == (0, 3)


def test_a_stop_while_the_broker_is_waited_for_ends_at_once_and_does_not_send_to_resume(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    queue = f"redis://127.0.0.1:{free_port()}/0?stream=links"
    words = ("work", queue, "--portal", portal.url, "--wait-for-broker", "60s", "--run-id", "one")
    with bulklink.start(*words) as process:
        log = bulklink.folder / "runs/one/run.log"
        wait_until(lambda: log.exists() and "trying again" in log.read_text())
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert "bulklink resume" not in err


def test_a_broker_that_goes_away_for_a_while_in_the_middle_loses_nothing(
    bulklink: "CommandLine", simulate: "Simulate", redis_server: RedisServer
) -> None:
    portal = simulate("[latency]\nseconds = 0.05\n")
    queue = f"{redis_server.url}?stream=links"
    bulklink("publish", write_pairs(bulklink.folder, 150), queue)
    with bulklink.start(
        *("work", queue, "--portal", portal.url, *ONE_BY_ONE, "--drain", "--json", "--lease", "2s")
    ) as process:
        wait_until(lambda: portal.books()["posts"] >= 30)
        redis_server.kill()
        time.sleep(1.0)
        redis_server.start()
        out, err = process.communicate(timeout=80)
    assert "Traceback" not in err
    report = json.loads(out)
    assert (report["exit_code"], report["counts"]["rows"], report["counts"]["linked"]) == (0, 150, 150)
    assert len(portal.links()) == portal.books()["posts"] == 150
    assert bodies_on(queue) == []


def test_a_queue_that_is_not_there_is_exit_6_and_named(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate("calm")
    done = bulklink("work", queue, "--portal", portal.url, "--drain", "-q")
    assert done.returncode == 6
    assert f"there is no stream {name_of(queue)}; 'bulklink publish' makes it" in one_line(done.stderr)
    assert not list(bulklink.folder.glob("runs/[!.]*"))
    with Redis.from_url(queue.partition("?")[0]) as client:
        assert not client.exists(name_of(queue))


def test_a_queue_that_is_not_there_yet_is_waited_for_as_long_as_its_broker_is(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate("calm")
    words = ("work", queue, "--portal", portal.url, "--drain", "--wait-for-broker", "60s", "--run-id", "one")
    with bulklink.start(*words, "--json") as process:
        log = bulklink.folder / "runs/one/run.log"
        wait_until(lambda: log.exists() and "there is no stream" in log.read_text())
        put_raw(queue, b'{"opportunity_id":1,"contact_id":2}')
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["counts"]["linked"]) == (0, 1)
    assert portal.links() == {(1, 2)}


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("kafka://host/?topic=links", "redis://HOST:6379/0?stream=NAME"),
        ("links", "redis://HOST:6379/0?stream=NAME"),
        ("redis://host:6379/0", "?stream=NAME"),
        ("redis://host:6379/x?stream=links", "number of a database"),
        ("redis://host:port/0?stream=links", "port"),
        ("redis://host/0?queue=links", "'queue'"),
        ("redis://host/0?stream=li/nks", "'li/nks'"),
    ],
)
def test_a_wrong_url_is_exit_2_and_says_what_is_wrong(bulklink: "CommandLine", url: str, named: str) -> None:
    done = bulklink("dead", url)
    assert done.returncode == 2
    assert named in one_line(done.stderr)


@pytest.mark.parametrize("words", [("work", "--portal", NOWHERE), ("publish", "pairs.csv")])
def test_a_wrong_url_leaves_no_run_behind(bulklink: "CommandLine", words: tuple[str, ...]) -> None:
    write_pairs(bulklink.folder, 3)
    done = bulklink(*words, "kafka://host/?topic=links")
    assert done.returncode == 2
    assert "redis://HOST:6379/0?stream=NAME" in one_line(done.stderr)
    assert not list(bulklink.folder.glob("runs/[!.]*"))


@pytest.mark.parametrize("words", [("work", "--portal", NOWHERE), ("publish", "pairs.csv"), ("dead",)])
def test_without_a_queue_is_exit_2_and_both_ways_to_name_one_are_told(
    bulklink: "CommandLine", words: tuple[str, ...]
) -> None:
    write_pairs(bulklink.folder, 3)
    done = bulklink(*words)
    assert done.returncode == 2
    assert "give QUEUE_URL or set BULKLINK_QUEUE_URL" in one_line(done.stderr)
    assert not list(bulklink.folder.glob("runs/[!.]*"))


def test_a_publication_that_is_not_there_cannot_be_gone_on_with(bulklink: "CommandLine", queue: str) -> None:
    done = bulklink("publish", write_pairs(bulklink.folder, 3), queue, "--resume", "never")
    assert done.returncode == 2
    assert "never" in one_line(done.stderr)


def test_a_password_in_the_queue_url_is_shown_nowhere(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate("calm")
    secret, wrong = f"pw{uuid4().hex}", f"no{uuid4().hex}"
    write_pairs(bulklink.folder, 5)
    shown = ""
    with running(RedisServer, "--requirepass", secret) as server:

        def run(code: int, password: str, *words: str) -> None:
            nonlocal shown
            url = f"redis://:{password}@127.0.0.1:{server.port}/0?stream=links"
            with bulklink.start(*words, BULKLINK_QUEUE_URL=url) as process:
                out, err = process.communicate(timeout=60)
            assert process.returncode == code, err
            shown += out + err

        work = ("work", "--portal", portal.url, "--drain", "--json", "-v", "--run-id")
        run(6, wrong, "publish", "pairs.csv")
        run(0, secret, "publish", "pairs.csv", "--json", "--run-id", "put")
        run(6, wrong, *work, "no", "--wait-for-broker", "60s")
        run(0, secret, *work, "one")
        run(6, wrong, "dead")
        run(0, secret, "dead")
        run(2, secret, "resume", "one")
        server.stop()
        run(6, secret, *work, "two", "--wait-for-broker", "1s")
        run(6, secret, "dead")
        run(6, secret, "publish", "pairs.csv")
        run(2, f"{secret}/", "dead")
    assert f"redis://127.0.0.1:{server.port}/0?stream=links" in shown
    assert "Traceback" in shown  # of -v, which must not repeat what a library was given
    for word in (secret, wrong):
        assert word not in shown
        for path in bulklink.folder.rglob("*"):
            assert path.is_dir() or word.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("words", [("work", "--portal", NOWHERE), ("publish", "pairs.csv"), ("dead",)])
def test_a_library_that_is_not_installed_is_exit_2_and_the_way_to_it_is_told(
    bulklink: "CommandLine", words: tuple[str, ...]
) -> None:
    write_pairs(bulklink.folder, 3)
    bare = bulklink.folder / "bare"
    bare.mkdir()
    (bare / "redis.py").write_text('raise ModuleNotFoundError("No module named \'redis\'", name="redis")\n')
    done = bulklink(*words, PYTHONPATH=str(bare), BULKLINK_QUEUE_URL="redis://127.0.0.1:1/0?stream=links")
    assert done.returncode == 2
    assert "pip install 'bulklink[redis]'" in one_line(done.stderr)
    assert not list(bulklink.folder.glob("runs/[!.]*"))


def test_a_run_of_a_file_needs_no_library_of_a_broker(bulklink: "CommandLine", simulate: "Simulate") -> None:
    portal = simulate("calm")
    bare = bulklink.folder / "bare"
    bare.mkdir()
    for name in ("redis", "aio_pika", "nats"):
        (bare / f"{name}.py").write_text(f'raise ModuleNotFoundError("no {name}", name="{name}")\n')
    done = bulklink(
        *("run", write_pairs(bulklink.folder, 3), "--portal", portal.url, "-q"), PYTHONPATH=str(bare)
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_message_of_ours_is_a_dead_letter_with_the_reason_and_stops_nobody(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate("calm")
    bulklink("publish", write_pairs(bulklink.folder, 3), queue)
    deep = b'{"opportunity_id": 1, "contact_id": 2, "id": ' + b"[" * 300 + b"]" * 300 + b"}"
    raw = {
        b"": "not valid JSON",
        b"opportunity 7\x1b[31m": "not valid JSON",
        b"\x00\xff\xfe": "not valid JSON",
        b"[1, 2]": "not a JSON object",
        b'{"opportunity_id": 1}': "no contact_id",
        b'{"opportunity_id": 1.5, "contact_id": 2}': "opportunity_id is not a whole number",
        b"[" * 30_000: "JSON nested too deeply",
        b'{"opportunity_id": 9, "contact_id": 9, "x": "'
        + b"x" * 3_000_000
        + b'"}': "message larger than 64 KiB",
    }
    put_raw(queue, *raw)

    report = bulklink.report("work", queue, "--portal", portal.url, "--drain")

    assert report["exit_code"] == 3
    assert (report["counts"]["linked"], report["counts"]["invalid"]) == (3, len(raw))
    assert len(portal.links()) == 3
    found = letters(bulklink, queue)
    for number, (body, why) in enumerate(raw.items(), 1):
        letter = found[f"raw-{number}"]
        assert (letter["why"]["reason"], letter["why"]["status"]) == (why, "invalid")
        assert letter["body"] == body.decode("utf-8", "backslashreplace")
    listed = bulklink("dead", queue)
    assert len(listed.stdout.splitlines()) == len(raw)
    assert "\x1b" not in listed.stdout

    put_raw(queue, deep)
    assert bulklink("work", queue, "--portal", portal.url, "--drain", "-q").returncode in {0, 3}
    assert bodies_on(queue) == []


def test_each_last_word_is_published_if_wanted(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate("calm")
    (bulklink.folder / "pairs.csv").write_text(HEADER + "1,1,,order-1\n1,1000000,,\n")
    bulklink("publish", "pairs.csv", queue, "--run-id", "put")
    put_raw(queue, b"{")
    results = f"{queue}.results"
    report = bulklink.report("work", queue, "--portal", portal.url, "--drain", "--results", results)
    assert report["counts"]["rows"] == 3
    said = {one["id"]: one for one in bodies_on(results)}
    assert said.keys() == {"order-1", "put-2", "raw-1"}
    contact = said["order-1"].pop("contact")
    assert contact["id"] == 1
    linked, rejected, poison = ([*said[name].values()] for name in ("order-1", "put-2", "raw-1"))
    names = ["id", "opportunity_id", "contact_id", "status", "reason", "http_status", "attempts"]
    assert [*said["put-2"]] == [*names, "contact"]
    assert linked == ["order-1", 1, 1, "linked", "", said["order-1"]["http_status"], 1]
    assert rejected == ["put-2", 1, 1_000_000, "rejected", "not_found", 404, 1, None]
    assert poison == ["raw-1", None, None, "invalid", "not valid JSON", None, 0, None]


def test_two_workers_share_a_queue_and_one_report_counts_each_message_once(
    bulklink: "CommandLine", simulate: "Simulate", queue: str
) -> None:
    portal = simulate(SLOW)
    bulklink("publish", write_pairs(bulklink.folder, 80), queue)
    work = ("work", queue, "--portal", portal.url, *ONE_BY_ONE, "--drain", "-q", "--run-id")
    with bulklink.start(*work, "one") as one, bulklink.start(*work, "two") as two:
        for process in (one, two):
            _, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (0, "")
    both = bulklink.report("report", "one", "two", "--run-id", "both")
    assert (both["counts"]["rows"], both["counts"]["linked"]) == (80, 80)
    parts = [
        json.loads((bulklink.folder / f"runs/{name}/report.json").read_text()) for name in ("one", "two")
    ]
    assert min(part["counts"]["linked"] for part in parts) > 0
    assert len(portal.links()) == portal.books()["posts"] == 80
