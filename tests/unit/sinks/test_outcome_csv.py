"""linked.csv, rejected.csv and retry.csv, byte by byte."""

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.judged import judged
from worker.errors import LedgerError
from worker.ledger import LedgerReader, RowRecord
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Dialect, Outcome, Pair, Reject, Result, Status
from worker.sinks import FILES, write_outcomes, write_records
from worker.sinks.outcome_csv import ADDED, Form, defused
from worker.sources import open_source

COLUMNS = ("opportunity_id", "contact_id", "note")


def pair(row: int) -> Pair:
    return Pair(row, row + 1, 1, row)


def admit(store: Store, verdict: Pair | Reject, *cells: str) -> None:
    store.admit([judged(verdict, *cells)])


def settle(store: Store, row: int, status: Status, *attempts: Attempt) -> None:
    last = attempts[-1]
    store.settle([Outcome(pair(row), status, attempts, last.reason, last.http_status)])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(connect(tmp_path / "ledger.db", mode="rwc")) as connection:
        store = Store(connection)
        store.begin_session()
        yield store


def written(
    folder: Path, name: str, columns: tuple[str, ...] = COLUMNS, dialect: Dialect | None = None
) -> bytes:
    with closing(connect(folder / "ledger.db", mode="rw")) as connection:
        store = Store(connection)
        store.put_meta({"columns": columns})
        if dialect is not None:
            store.put_meta({"dialect": asdict(dialect)})
    with LedgerReader(folder / "ledger.db") as reader:
        write_outcomes(reader, folder / name)
    return (folder / name).read_bytes()


def test_every_row_but_a_duplicate_is_in_exactly_one_file() -> None:
    listed = [status for statuses in FILES.values() for status in statuses]

    assert sorted(listed) == sorted(set(Status) - {Status.DUPLICATE})
    assert list(FILES) == ["linked.csv", "rejected.csv", "retry.csv"]


def test_the_files_of_a_small_run(tmp_path: Path, store: Store) -> None:
    done = Attempt(Result.OK, http_status=201)
    busy = Attempt(Result.TRANSIENT, "unavailable", 503)
    admit(store, pair(1), "1", "1", "first")
    admit(store, pair(2), "1", " 002 ", "a,b")
    admit(store, Reject(3, 4, "contact_id is empty"), "1", "", 'say "no"')
    admit(store, Pair(4, 5, 1, 1), "1", "1", "again")
    for row in (5, 6, 7, 8, 9):
        admit(store, pair(row), "1", str(row), "two\nlines" if row == 9 else "")
    settle(store, 6, Status.RETRYABLE, busy, Attempt(Result.TRANSIENT, "cannot_connect"))
    settle(store, 5, Status.REJECTED, Attempt(Result.PERMANENT, "not_found", 404))
    settle(store, 2, Status.ALREADY_LINKED, Attempt(Result.OK, http_status=200))
    settle(store, 1, Status.LINKED, busy, Attempt(Result.OK, http_status=201))
    settle(store, 9, Status.LINKED, done)
    store.claim(1)

    assert written(tmp_path, "linked.csv").decode() == (
        "opportunity_id,contact_id,note,_line,_status,_http_status,_reason,_attempts\n"
        "1,1,first,2,linked,201,,2\n"
        '1, 002 ,"a,b",3,already_linked,200,,1\n'
        '1,9,"two\nlines",10,linked,201,,1\n'
    )
    assert written(tmp_path, "rejected.csv").decode() == (
        "opportunity_id,contact_id,note,_line,_status,_http_status,_reason,_attempts\n"
        '1,,"say ""no""",4,invalid,,contact_id is empty,0\n'
        "1,5,,6,rejected,404,not_found,1\n"
    )
    assert written(tmp_path, "retry.csv").decode() == (
        "opportunity_id,contact_id,note,_line,_status,_http_status,_reason,_attempts\n"
        "1,6,,7,retryable,,cannot_connect,2\n"
        "1,7,,8,unknown,,no_answer,0\n"
        "1,8,,9,not_attempted,,run_ended,0\n"
    )


def test_only_a_link_that_a_rollback_has_removed_is_left_out(tmp_path: Path, store: Store) -> None:
    for row, status in enumerate((Status.LINKED, Status.LINKED, Status.UNKNOWN), 1):
        admit(store, pair(row), "1", str(row))
        settle(store, row, status, Attempt(Result.OK, http_status=201))
    store.execute("INSERT INTO undone (row, begun_at, state) VALUES (?, 1, 'removed')", [(1,), (3,)])
    assert [line.split(b",")[1] for line in written(tmp_path, "linked.csv").splitlines()[1:]] == [b"2"]
    assert [line.split(b",")[1] for line in written(tmp_path, "retry.csv").splitlines()[1:]] == [b"3"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_rows_has_a_header_only(tmp_path: Path, store: Store, name: str) -> None:
    admit(store, pair(1), "1", "1", "")
    admit(store, Pair(2, 3, 1, 1), "1", "1", "")
    if name == "retry.csv":
        settle(store, 1, Status.LINKED, Attempt(Result.OK))

    assert written(tmp_path, name) == b",".join(map(str.encode, (*COLUMNS, *ADDED))) + b"\n"


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "\n=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
        "=",
        "-",
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_escaped(tmp_path: Path, store: Store, formula: str) -> None:
    admit(store, pair(1), "1", "1", formula)
    settle(store, 1, Status.LINKED, Attempt(Result.OK))

    text = written(tmp_path, "linked.csv", ("opportunity_id", "contact_id", formula)).decode()
    assert text.count(f"'{formula}") == text.count(formula) == 2


@given(cell=st.text())
def test_escaping_is_stable_on_a_second_pass(cell: str) -> None:
    once = defused(cell)

    assert defused(once) == once
    assert once in (cell, f"'{cell}")


def test_harmless_cells_stay_unchanged(tmp_path: Path, store: Store) -> None:
    cells = ("a=b", " =x", "'=x")
    admit(store, pair(1), *cells)
    settle(store, 1, Status.LINKED, Attempt(Result.OK))

    assert written(tmp_path, "linked.csv").splitlines()[1] == b"a=b, =x,'=x,2,linked,,,1"


def test_rows_read_before_a_column_showed_up_are_padded(tmp_path: Path, store: Store) -> None:
    admit(store, pair(1), "1", "1")
    admit(store, pair(2), "1", "2", "x")

    assert written(tmp_path, "retry.csv").splitlines()[1:] == [
        b"1,1,,2,not_attempted,,run_ended,0",
        b"1,2,x,3,not_attempted,,run_ended,0",
    ]


def test_rows_can_be_written_with_words_of_ones_own_about_them(tmp_path: Path, store: Store) -> None:
    for row in (1, 2, 3):
        admit(store, pair(row), "1", f"={row}")
    with LedgerReader(tmp_path / "ledger.db") as reader:
        rows = reader.some_rows([3, 1])
        write_records(
            tmp_path / "odd.csv", Form(COLUMNS), ((row, (row.line, "kept", None, "why", 2)) for row in rows)
        )

    assert (tmp_path / "odd.csv").read_text() == (
        "opportunity_id,contact_id,note,_line,_status,_http_status,_reason,_attempts\n"
        "1,'=1,,2,kept,,why,2\n"
        "1,'=3,,4,kept,,why,2\n"
    )


def test_a_file_that_fails_to_be_written_leaves_the_one_before(tmp_path: Path, store: Store) -> None:
    admit(store, pair(1), "1", "1")

    def rows() -> Iterator[tuple[RowRecord, tuple[object, ...]]]:
        with LedgerReader(tmp_path / "ledger.db") as reader:
            yield from ((row, (1,)) for row in reader.some_rows([1]))
        raise LedgerError("ledger.db: damaged")

    (tmp_path / "odd.csv").write_text("as it was")
    with pytest.raises(LedgerError):
        write_records(tmp_path / "odd.csv", Form(COLUMNS), rows())

    assert (tmp_path / "odd.csv").read_text() == "as it was"


def test_bytes_that_are_no_utf_8_come_back_as_they_were(tmp_path: Path, store: Store) -> None:
    raw = b"caf\xe9 \xff\xfe\x80 \xe2\x82\xac"
    cell = raw.decode("utf-8", "surrogateescape")
    admit(store, pair(1), "1", "1", cell)

    header, row = written(tmp_path, "retry.csv", ("opportunity_id", "contact_id", cell)).splitlines()
    assert header == b"opportunity_id,contact_id," + raw + b",_line,_status,_http_status,_reason,_attempts"
    assert row == b"1,1," + raw + b",2,not_attempted,,run_ended,0"


_cell = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@given(rows=st.lists(st.lists(_cell, min_size=2, max_size=2), min_size=1, max_size=5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_was_written_reads_back_cell_by_cell(tmp_path: Path, rows: list[list[str]]) -> None:
    with closing(connect(tmp_path / "ledger.db", mode="rwc")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        store = Store(connection)
        for number, cells in enumerate(rows, 1):
            admit(store, pair(number), *cells)
        text = written(tmp_path, "retry.csv", ("a", "b")).decode()
    (tmp_path / "ledger.db").unlink()

    _, *found = csv.reader(io.StringIO(text, newline=""))
    assert [row[:2] for row in found] == [[defused(cell) for cell in cells] for cells in rows]


def test_a_cell_with_a_carriage_return_reads_back_as_one_cell(tmp_path: Path, store: Store) -> None:
    """Unquoted it is a line break to any reader, ours too, and the row falls in two."""
    admit(store, pair(1), "1", "1", "two\rlines")

    assert b'1,1,"two\rlines",2,' in written(tmp_path, "retry.csv")


DIALECTS = {
    "German Excel": (Dialect(";", "utf-8", bom=True, line_end="\r\n"), b"\xef\xbb\xbfa;\xc3\xbc;_line;"),
    "Excel's Unicode text": (
        Dialect("\t", "utf-16-le", bom=True, line_end="\r\n"),
        "\ufeffa\t\u00fc\t_line\t".encode("utf-16-le"),
    ),
    "the other way round": (Dialect(",", "utf-16-be", bom=True), "\ufeffa,\u00fc,_line,".encode("utf-16-be")),
    "with a line for Excel": (Dialect("|", sep_line=True), b"sep=|\na|\xc3\xbc|_line|"),
    "of an old Mac": (Dialect(line_end="\r"), b"a,\xc3\xbc,_line,"),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_file_is_written_as_the_input_is_and_can_be_read_back(
    tmp_path: Path, store: Store, name: str
) -> None:
    dialect, start = DIALECTS[name]
    cells = ("1;x,y|z\tq", '\u20ac "two\nlines\r"')
    admit(store, pair(1), *cells)

    data = written(tmp_path, "retry.csv", ("a", "\u00fc"), dialect)
    assert data.startswith(start)
    text = data.decode(dialect.encoding)
    assert text.count(dialect.line_end) >= 2
    assert text.endswith(dialect.line_end)
    columns = {"opportunity": "a", "contact": "\u00fc"}
    with open_source(str(tmp_path / "retry.csv"), columns=columns, delimiter=None) as source:
        assert [row.cells for row in source.rows()] == [cells]
        assert source.dialect == dialect


def test_cells_beyond_the_header_come_last_under_a_name_of_ours(tmp_path: Path, store: Store) -> None:
    admit(store, Reject(1, 2, "row has 1 cell more than the header"), "Foo", " 12", "1", "2")
    admit(store, Reject(2, 3, "row has 2 cells more than the header"), "Foo", "12", "1", "=2", "3")
    admit(store, Reject(3, 4, "contact_id is empty"), "Foo", "")
    admit(store, pair(4), "Foo", "1", "1")

    assert written(tmp_path, "rejected.csv").decode() == (
        "opportunity_id,contact_id,note,_line,_status,_http_status,_reason,_attempts,_extra,_extra\n"
        "Foo, 12,1,2,invalid,,row has 1 cell more than the header,0,2,\n"
        "Foo,12,1,3,invalid,,row has 2 cells more than the header,0,'=2,3\n"
        "Foo,,,4,invalid,,contact_id is empty,0,,\n"
    )
    assert b"_extra" not in written(tmp_path, "retry.csv")
    with open_source(str(tmp_path / "rejected.csv"), columns=None, delimiter=None) as source:
        again = list(source.rows())
    assert [row.fault for row in again] == [
        "row has 1 cell more than the header",
        "row has 2 cells more than the header",
        "",
    ]


@pytest.mark.parametrize(
    "dialect",
    [{"delimiter": ";;"}, {"line_end": "x"}, {"encoding": "rot13"}, {"colour": 1}, "x", {"delimiter": 1}],
)
def test_a_form_that_no_input_has_is_a_damaged_ledger(tmp_path: Path, store: Store, dialect: object) -> None:
    store.put_meta({"dialect": dialect})
    with (
        LedgerReader(tmp_path / "ledger.db") as reader,
        pytest.raises(LedgerError, match="damaged: it does not say how"),
    ):
        write_outcomes(reader, tmp_path / "retry.csv")
