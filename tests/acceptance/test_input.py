"""Inputs as users have them: what is read of them, what is said of them, and what comes back."""

import gzip
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ONE_BY_ONE
from tests.workbooks import Value, workbook

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]


def test_a_cut_file_is_kept_up_to_the_break_and_resume_takes_the_rest_of_the_same_file_only(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    rows = [f"{n},{n * 7919 % 4999 + 1}\n" for n in range(1, 1001)]
    whole = gzip.compress(("opportunity_id,contact_id\n" + "".join(rows)).encode())
    swapped = gzip.compress(("contact_id,opportunity_id\n" + "".join(rows)).encode())
    path = bulklink.folder / "pairs.csv.gz"
    portal = simulate("[portal]\n")

    path.write_bytes(whole[: len(whole) * 2 // 3])
    words = ("run", "pairs.csv.gz", "--portal", portal.url, "--rate", "2000/s", "--run-id", "one")
    report = bulklink.report(*words)
    assert report["exit_code"] == 2
    last = int(
        report["message"].split("is cut short: its gzip data has no end (after line ")[1].split(")")[0]
    )
    assert report["counts"]["rows"] == last - 1
    assert (last - 1) % 500, "the break is to lie within a chunk"

    path.write_bytes(swapped)
    refused = bulklink("resume", "one")
    assert refused.returncode == 2
    assert "pairs.csv.gz: the columns are not what they were when this run began" in refused.stderr

    path.write_bytes(whole)
    assert bulklink("resume", "one").returncode == 0
    assert portal.links() == {(n, n * 7919 % 4999 + 1) for n in range(1, 1001)}


def test_a_named_pipe_is_read_once_and_never_waited_for_again(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\n")
    pipe = bulklink.folder / "pipe.csv"
    os.mkfifo(pipe)
    to_portal = ("--portal", portal.url, "--run-id", "one")

    for words in (("check", "pipe.csv"), ("plan", "pipe.csv", *to_portal), ("run", "pipe.csv", *to_portal)):
        shutil.rmtree(bulklink.folder / "runs", ignore_errors=True)
        with bulklink.start(*words) as process:
            pipe.write_text("opportunity_id,contact_id\n1,2\n3,4\n")  # and its writer is gone
            assert process.wait(20) == 0, words
    assert portal.links() == {(1, 2), (3, 4)}

    with bulklink.start("check", "pipe.csv") as process:
        pipe.write_text("no,such,columns\n1,2,3\n")
        assert process.wait(20) == 2
    assert bulklink("resume", "one").returncode == 0


def test_a_run_that_was_killed_while_a_pipe_fed_it_does_what_it_has_read(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\n")
    pipe = bulklink.folder / "pipe.csv"
    os.mkfifo(pipe)
    with bulklink.start("run", "pipe.csv", "--portal", portal.url, *ONE_BY_ONE, "--run-id", "one") as process:
        with pipe.open("w") as file:
            file.write("opportunity_id,contact_id\n" + "".join(f"{n},1\n" for n in range(1, 3001)))
            file.flush()
            while len(portal.links()) < 20:  # though no more than the first rows are there
                time.sleep(0.01)
            process.kill()
        process.communicate()

    report = bulklink.report("resume", "one", "--rate", "5000/s", "--transport", "batch")
    assert (report["exit_code"], report["counts"]["not_attempted"]) == (5, 0)
    assert report["message"].startswith("what fed this run")
    assert report["counts"]["rows"] == len(portal.links()) >= 1000


def test_an_export_that_is_still_being_written_is_no_success_and_resume_reads_on(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\n")
    links = {(n % 5000 + 1, n // 5000 + 1) for n in range(10_000)}
    with (bulklink.folder / "pairs.csv").open("w") as file:
        file.write("opportunity_id,contact_id\n" + "".join(f"{one},{other}\n" for one, other in links))
        file.flush()
        with bulklink.start("run", "pairs.csv", "--portal", portal.url, "--run-id", "one") as process:
            contact_id = 1000
            while process.poll() is None:
                contact_id += 1
                for part in (
                    f"1,{str(contact_id)[:2]}",
                    f"{str(contact_id)[2:]}\n",
                ):  # the first is a pair, too
                    file.write(part)
                    file.flush()
                    time.sleep(0.001)
                links.add((1, contact_id))
            _, said = process.communicate()
    assert process.returncode == 2
    assert "pairs.csv was changed while it was read: is it still being written?" in said

    assert bulklink("resume", "one").returncode == 0
    assert portal.links() == links


ODD = (
    "Deal ID;Contact ID;Note\r\n"
    ";;\r\n"
    "11;21;;;\r\n"
    "12;22\r\n"
    ' ; ;""\r\n'
    f"13;23;{'x' * 200_000}\r\n"
    "14;24;zu;viel\r\n"
    "15;keine;Grüße\r\n"
)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_excel_comes_back_as_excel_reads_it(
    bulklink: "CommandLine", simulate: "Simulate", encoding: str
) -> None:
    portal = simulate("[portal]\n")
    (bulklink.folder / "pairs.csv").write_bytes(ODD.encode(encoding))
    report = bulklink.report("run", "pairs.csv", "--portal", portal.url, "--run-id", "one")
    assert report["exit_code"] == 3
    assert {word: n for word, n in report["counts"].items() if n} == {"rows": 5, "linked": 3, "invalid": 2}
    assert report["input"]["blank"] == 2
    assert portal.links() == {(11, 21), (12, 22), (13, 23)}

    folder = bulklink.folder / "runs/one"
    assert (folder / "rejected.csv").read_bytes() == (
        "Deal ID;Contact ID;Note;_line;_status;_http_status;_reason;_attempts;_extra\r\n"
        "14;24;zu;7;invalid;;row has 1 cell more than the header;0;viel\r\n"
        "15;keine;Grüße;8;invalid;;contact_id is not a whole number;0;\r\n"
    ).encode(encoding)
    assert f"13;23;{'x' * 200_000};6;linked;" in (folder / "linked.csv").read_bytes().decode(encoding)
    assert bulklink("report", "one", "--check").returncode == 0

    assert bulklink("rollback", "one", "--unread").returncode == 0
    assert (folder / "rollback.csv").read_bytes().startswith("Deal ID;Contact ID;".encode(encoding))
    assert bulklink("verify", "one").returncode == 0
    assert (folder / "verify.csv").read_bytes().startswith("Deal ID;Contact ID;".encode(encoding))


def test_rejected_rows_are_corrected_where_they_came_back_and_run_again(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\n")
    (bulklink.folder / "pairs.csv").write_bytes(ODD.encode("utf-8-sig"))
    bulklink("run", "pairs.csv", "--portal", portal.url, "--run-id", "one")
    path = bulklink.folder / "runs/one/rejected.csv"

    assert bulklink("run", str(path), "--portal", portal.url, "--run-id", "again").returncode == 3
    again = (bulklink.folder / "runs/again/rejected.csv").read_bytes()
    assert again.count(b"row has 1 cell more than the header") == 1
    assert len(portal.links()) == 3

    text = path.read_bytes().replace(b";viel", b";").replace(b";keine;", b";25;")
    path.write_bytes(text)
    assert bulklink("run", str(path), "--portal", portal.url).returncode == 0
    assert portal.links() == {(11, 21), (12, 22), (13, 23), (14, 24), (15, 25)}


def test_columns_chosen_by_number_are_the_same_columns_in_a_retry(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    """Columns that begin with _ do not come back, so the numbers are others there."""
    portal = simulate('[[faults]]\nkind = "status"\nstatus = 502\nbody = "html"\ntimes = 1\non = "post"\n')
    (bulklink.folder / "pairs.csv").write_text("_x|deal|deal|contact\n9|8|1|2\n7|6|3|4\n")
    words = (
        "--portal",
        portal.url,
        *ONE_BY_ONE,
        "--max-attempts",
        "1",
        "--delimiter",
        "|",
        "--concurrency",
        "1",
    )
    first = bulklink("run", "pairs.csv", *words, "--columns", "opportunity=#3,contact=4", "--run-id", "one")
    assert first.returncode == 5, first.stderr
    assert portal.links() == {(3, 4)}
    assert bulklink("retry", "one").returncode == 0
    assert portal.links() == {(1, 2), (3, 4)}


def test_half_an_emoji_in_a_file_of_json_is_linked_and_can_be_written(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\n")
    (bulklink.folder / "pairs.json").write_text(
        '{"opportunity_id": 11, "contact_id": 21, "note": "cut \\ud83d"}\n'
        '{"opportunity_id": null, "contact_id": null, "note": ""}\n'
        '{"opportunity_id": 12, "contact_id": "x", "note": "\\ud83d\\ude00"}\n'
    )
    report = bulklink.report("run", "pairs.json", "--portal", portal.url, "--run-id", "one")
    assert {word: n for word, n in report["counts"].items() if n} == {"rows": 2, "linked": 1, "invalid": 1}
    assert portal.links() == {(11, 21)}
    assert r"11,21,cut \ud83d,1,linked" in (bulklink.folder / "runs/one/linked.csv").read_text("utf-8")
    assert "12,x,\U0001f600,3,invalid" in (bulklink.folder / "runs/one/rejected.csv").read_text("utf-8")


def test_two_columns_that_could_both_be_the_opportunity_are_refused_before_anything_is_sent(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\n")
    (bulklink.folder / "pairs.csv").write_text("Deal ID,deal,contact_id\n11,12,21\n")
    for verb in ("check", "run"):
        done = bulklink(verb, "pairs.csv", **({"BULKLINK_PORTAL": portal.url} if verb == "run" else {}))
        assert done.returncode == 2
        assert done.stderr.strip().endswith(
            "pairs.csv: more than one column could be opportunity_id: Deal ID (column 1), deal (column 2);"
            " choose one by its number, such as --columns opportunity=#1"
        )
    assert not portal.links()
    hint = done.stderr.strip().rpartition("such as ")[2].split()
    assert bulklink("run", "pairs.csv", "--portal", portal.url, *hint).returncode == 0
    assert portal.links() == {(11, 21)}


def test_a_sheet_of_a_workbook_is_linked_and_what_comes_back_opens_in_excel(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    rows: list[tuple[Value, ...]] = [
        ("Deal ID", "Contact ID", "Note"),
        (1234, 88, "Grüße"),
        (1234, "x", None),
        (1234, 89, None),
    ]
    data = workbook({"Read me": [("nothing",)], "Pairs": rows})
    (bulklink.folder / "book.xlsx").write_bytes(data)
    portal = simulate("[portal]\n")

    said = bulklink("check", "book.xlsx", "--sheet", "Pairs").stdout.splitlines()
    assert said == [
        "book.xlsx: 3 rows, 2 pairs, 1 invalid",
        "  opportunity_id: Deal ID (column 1), contact_id: Contact ID (column 2); sheet Pairs",
        "  line 3: contact_id is not a whole number: x",
    ]
    report = bulklink.report(
        "run", "book.xlsx", "--sheet", "2", "--portal", portal.url, "--rate", "500/s", "--run-id", "one"
    )

    assert report["counts"]["linked"] == 2
    assert portal.links() == {(1234, 88), (1234, 89)}
    linked = (bulklink.folder / "runs/one/linked.csv").read_bytes()
    assert linked.startswith(b"\xef\xbb\xbfDeal ID,Contact ID,Note,_line,")
    assert "\r\n1234,88,Grüße,2,linked,".encode() in linked
