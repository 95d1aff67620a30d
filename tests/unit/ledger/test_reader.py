"""What a ledger says when it is read: counts, rows, causes, traffic."""

import sqlite3
from collections import Counter
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.judged import judged
from worker.errors import LedgerError, NeverBegan
from worker.ledger import Cause, Ledger, LedgerReader, RowRecord
from worker.ledger.reader import Traffic
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Kind, Outcome, Pair, Reject, Request, Result, Status

FAILED = (Result.THROTTLED, Result.TRANSIENT, Result.AMBIGUOUS, Result.PERMANENT)


def pair(row: int) -> Pair:
    return Pair(row, row + 1, 1, row)


def admit(store: Store, *verdicts: Pair | Reject) -> None:
    store.admit([judged(v, str(v.row)) for v in verdicts])


def fail(
    store: Store, row: int, reason: str, http_status: int | None, status: Status = Status.REJECTED
) -> None:
    attempt = Attempt(Result.PERMANENT, reason, http_status)
    store.settle([Outcome(pair(row), status, (attempt,), reason, http_status)])


def test_a_missing_ledger_is_refused_by_its_path(path: Path) -> None:
    with pytest.raises(LedgerError, match=f"^{path}: no such ledger$"):
        LedgerReader(path)
    assert not path.exists()


def test_counts_have_every_state(path: Path, store: Store) -> None:
    admit(store, pair(1), Reject(2, 3, "odd"))

    with LedgerReader(path) as reader:
        assert reader.counts() == dict.fromkeys(Status, 0) | {
            Status.NOT_ATTEMPTED: 1,
            Status.INVALID: 1,
        }


def test_rows_come_in_input_order_and_only_in_the_states_asked_for(path: Path, store: Store) -> None:
    admit(store, *(pair(row) for row in range(1, 6)))
    for row in (4, 1, 3):
        fail(store, row, "not_found", 404, Status.RETRYABLE if row == 3 else Status.REJECTED)

    with LedgerReader(path) as reader:
        assert [r.row for r in reader.rows([Status.REJECTED])] == [1, 4]
        assert [r.row for r in reader.rows([Status.NOT_ATTEMPTED, Status.RETRYABLE])] == [2, 3, 5]
        assert list(reader.rows([])) == []


def test_the_most_cells_are_of_the_longest_row_in_that_state(path: Path, store: Store) -> None:
    store.admit(
        [
            judged(Reject(1, 2, "odd"), "7", "x"),
            judged(Reject(2, 3, "odd"), "7", "x", "y"),
            judged(pair(3), "1", "3", "a", "b"),
        ]
    )

    with LedgerReader(path) as reader:
        assert reader.most_cells(Status.INVALID) == 3
        assert reader.most_cells(Status.LINKED) == 0


@pytest.mark.parametrize("contacts", [True, False])
def test_links_are_lines_of_json_with_their_contacts_only_when_asked_for(
    path: Path, store: Store, *, contacts: bool
) -> None:
    admit(store, pair(1), pair(2), pair(3))
    done = Attempt(Result.OK, http_status=201, body='{"id":1,"name":"Zoë \\/ 😀"}'.encode())
    store.settle([Outcome(pair(1), Status.LINKED, (done,)), Outcome(pair(2), Status.ALREADY_LINKED, ())])

    with LedgerReader(path) as reader:
        lines = list(reader.lines_of_links(contacts=contacts))
    contact = done.body.decode() if contacts else "null"
    assert [line.decode() for line in lines] == [
        f'{{"row":1,"line":2,"opportunity_id":1,"contact_id":1,"status":"linked","contact":{contact}}}\n',
        '{"row":2,"line":3,"opportunity_id":1,"contact_id":2,"status":"already_linked","contact":null}\n',
    ]


def test_some_rows_are_those_asked_for_in_input_order_and_as_they_are(path: Path, store: Store) -> None:
    admit(store, *(pair(row) for row in range(1, 6)), Reject(6, 7, "odd"))
    fail(store, 4, "not_found", 404)
    done = Attempt(Result.OK, http_status=201, body=b'{"id":2}')
    store.settle([Outcome(pair(2), Status.LINKED, (done,), http_status=201)])

    with LedgerReader(path) as reader:
        assert list(reader.some_rows([6, 4, 99, 2, 4])) == [
            RowRecord(2, 3, ("2",), 1, 2, Status.LINKED, "", 201, 1),
            RowRecord(4, 5, ("4",), 1, 4, Status.REJECTED, "not_found", 404, 1),
            RowRecord(6, 7, ("6",), None, None, Status.INVALID, "odd", None, 0),
        ]
        assert list(reader.some_rows([])) == []


def test_a_reader_sees_one_moment(path: Path, store: Store) -> None:
    admit(store, pair(1))
    with LedgerReader(path) as reader:
        assert sum(reader.counts().values()) == 1
        admit(store, pair(2))

        assert sum(reader.counts().values()) == 1
        assert len(list(reader.rows(list(Status)))) == 1
    with LedgerReader(path) as reader:
        assert sum(reader.counts().values()) == 2


def test_causes_come_most_frequent_first_and_then_by_name(path: Path, store: Store) -> None:
    admit(store, *(pair(row) for row in range(1, 5)), Reject(5, 6, "an odd row"), pair(6), pair(7))
    for row in (1, 2):
        fail(store, row, "not_found", 404)
    fail(store, 3, "refused", 409)
    fail(store, 4, "refused", 422, Status.RETRYABLE)
    store.claim(9)
    store.release([7])

    with LedgerReader(path) as reader:
        causes = reader.causes()
    assert causes[0] == Cause("not_found", 404, 2, (2, 3))
    assert causes[1:3] == [Cause("an odd row", None, 1, (6,)), Cause("no_answer", None, 1, (8,))]
    assert sorted(causes[3:5], key=str) == [Cause("refused", 409, 1, (4,)), Cause("refused", 422, 1, (5,))]
    assert causes[5:] == [Cause("run_ended", None, 1, (7,))]


@pytest.mark.parametrize(
    ("reason", "ids"),
    [
        ("contact_missing", ((9, 6), (1, 1), (2, 1), (3, 1), (4, 1))),
        ("opportunity_missing", ((7, 12),)),
        ("not_found", ()),
    ],
)
def test_causes_have_the_ids_of_what_is_missing_those_of_most_rows_first(
    path: Path, store: Store, reason: str, ids: tuple[tuple[int, int], ...]
) -> None:
    refused = (Attempt(Result.PERMANENT, "not_found", 404),)
    todo = [Pair(row, row, 7, row if row < 7 else 9) for row in range(1, 13)]
    admit(store, *todo)
    store.settle([Outcome(one, Status.REJECTED, refused, reason, 404) for one in todo])
    with LedgerReader(path) as reader:
        (cause,) = (one for one in reader.causes() if one.reason == reason)
    assert (cause.count, cause.ids) == (12, ids)


def test_facts_of_a_run_that_never_began_or_lost_some_are_refused(path: Path, store: Store) -> None:
    with LedgerReader(path) as reader, pytest.raises(NeverBegan):
        reader.facts()
    store.put_meta({"run_id": "monday", "portal": "p", "input_path": "/a", "input_name": "a"})
    with LedgerReader(path) as reader, pytest.raises(LedgerError, match="does not say its settings"):
        reader.facts()
    store.put_meta({"settings": {}})
    with LedgerReader(path) as reader:
        assert reader.facts()["run_id"] == "monday"


def test_causes_leave_out_links_and_duplicates(path: Path, store: Store) -> None:
    admit(store, pair(1), pair(2), Pair(3, 4, 1, 1))
    for row, status in ((1, Status.LINKED), (2, Status.ALREADY_LINKED)):
        store.settle([Outcome(pair(row), status, (Attempt(Result.OK),))])

    with LedgerReader(path) as reader:
        assert reader.causes() == []


def test_a_cause_names_its_first_five_lines(path: Path, store: Store) -> None:
    admit(store, *(Reject(row, row * 10, "odd") for row in range(1, 9)))

    with LedgerReader(path) as reader:
        assert reader.causes() == [Cause("odd", None, 8, (10, 20, 30, 40, 50))]


def test_examples_are_of_the_cause_and_its_http_status(path: Path, store: Store) -> None:
    admit(store, pair(1), pair(2), pair(3))
    fail(store, 1, "refused", 409)
    fail(store, 2, "refused", None)
    fail(store, 3, "refused", 409)

    with LedgerReader(path) as reader:
        assert reader.causes() == [Cause("refused", 409, 2, (2, 4)), Cause("refused", None, 1, (3,))]


def test_traffic_of_nothing_is_nothing(path: Path, store: Store) -> None:
    admit(store, pair(1), Reject(2, 3, "odd"))

    with LedgerReader(path) as reader:
        assert reader.traffic() == Traffic(
            0, 0, {}, 0, 0, 0, 0, {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
        )


_failure = st.tuples(
    st.sampled_from(FAILED), st.sampled_from(["throttled", "timeout", "unavailable"]), st.floats(0, 60)
)
_outcome = st.tuples(st.lists(_failure, max_size=4), st.none() | st.floats(0, 60)).filter(
    lambda made: bool(made[0]) or made[1] is not None
)


@given(made=st.lists(_outcome, max_size=25), kind=st.sampled_from([Kind.LINK, Kind.BATCH]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_traffic_is_what_a_count_by_hand_gives(
    path: Path, made: list[tuple[list[tuple[Result, str, float]], float | None]], kind: Kind
) -> None:
    attempts = retries = throttled = 0
    reasons: Counter[str] = Counter()
    seconds: list[float] = []
    with closing(connect(path, mode="rwc")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        store = Store(connection)
        store.begin_session()
        for failures, last in made:
            sent = [*failures, *([] if last is None else [(Result.OK, "", last)])]
            for before, (result, reason, took) in zip([None, *sent], sent, strict=False):
                again = () if before is None else (before[1],)
                request = Request(kind, result, 1, len(again), again, reason, seconds=took)
                store.note([request])
            attempts += len(sent)
            retries += len(sent) - 1
            reasons.update(reason for _, reason, _ in sent[:-1])
            throttled += sum(result is Result.THROTTLED for result, _, _ in sent)
            seconds += [took for _, _, took in sent]
        with LedgerReader(path) as reader:
            traffic = reader.traffic()
    path.unlink()

    assert traffic.attempts == attempts
    assert traffic.retries == retries == sum(traffic.retries_by_reason.values())
    assert traffic.retries_by_reason == dict(reasons)
    assert list(traffic.retries_by_reason.values()) == sorted(reasons.values(), reverse=True)
    assert traffic.throttled == throttled
    assert traffic.latency_ms == {
        "p50": _percentile(seconds, Fraction(50, 100)),
        "p95": _percentile(seconds, Fraction(95, 100)),
        "p99": _percentile(seconds, Fraction(99, 100)),
        "max": round(max(seconds, default=0.0) * 1000, 1),
    }


def _percentile(seconds: list[float], share: Fraction) -> float:
    """The least latency that more than this share of all requests stayed within."""
    for candidate in sorted(seconds):
        if Fraction(sum(other <= candidate for other in seconds), len(seconds)) > share:
            return round(candidate * 1000, 1)
    return 0.0


def test_percentiles_of_many_requests(path: Path, store: Store) -> None:
    store.note([Request(Kind.LINK, Result.OK, 1, seconds=row / 1000) for row in range(1000, 0, -1)])
    store.note([Request(Kind.PROBE, Result.OK, seconds=60.0), Request(Kind.LOGIN, Result.OK, seconds=60.0)])

    with LedgerReader(path) as reader:
        assert reader.traffic().latency_ms == {"p50": 501.0, "p95": 951.0, "p99": 991.0, "max": 1000.0}


def test_a_ledger_that_breaks_while_it_is_read_says_so_by_its_path(path: Path, store: Store) -> None:
    admit(store, pair(1))
    store._db.execute("DROP VIEW links")

    with LedgerReader(path) as reader, pytest.raises(LedgerError, match=f"^{path}: no such table: links$"):
        reader.counts()


async def test_reading_a_closed_ledger_leaves_no_file_behind(path: Path) -> None:
    async with Ledger(path, create=True) as ledger:
        await ledger.put_meta(run_id="monday")

    with LedgerReader(path) as reader:
        assert reader.meta() == {"run_id": "monday"}
        assert [found.name for found in path.parent.iterdir()] == ["ledger.db"]
    assert [found.name for found in path.parent.iterdir()] == ["ledger.db"]


def test_a_ledger_of_a_crash_can_be_read_beside_its_side_files(path: Path, store: Store) -> None:
    admit(store, pair(1))
    copy = path.with_name("copy.db")
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())

    with LedgerReader(copy) as reader:
        assert sum(reader.counts().values()) == 1


def test_the_view_of_links_can_be_asked_with_sqlite_alone(path: Path, store: Store) -> None:
    admit(store, pair(1))
    store.claim(1)

    with closing(sqlite3.connect(path)) as db:
        found = db.execute(
            "SELECT row, line, opportunity_id, contact_id, status, reason, sent_at > '2020' FROM links"
        ).fetchall()
    assert found == [(1, 2, 1, 1, "unknown", "no_answer", 1)]


def test_a_ledger_without_the_facts_of_its_run_says_that_nothing_was_sent(path: Path) -> None:
    connect(path, mode="rwc").close()

    with LedgerReader(path) as reader, pytest.raises(LedgerError, match="nothing was sent"):
        reader.facts()


@pytest.mark.parametrize("missing", ["portal", "input_path", "input_name", "settings"])
def test_a_ledger_that_lost_a_fact_of_its_run_is_damaged(path: Path, store: Store, missing: str) -> None:
    facts = {"run_id": "x", "portal": "p", "input_path": "i", "input_name": "i", "settings": {}}
    del facts[missing]
    store.put_meta(facts)
    with (
        LedgerReader(path) as reader,
        pytest.raises(LedgerError, match=rf"is damaged: it does not say its {missing}; the CSV"),
    ):
        reader.facts()


def test_a_fact_that_is_no_json_is_damage(path: Path, store: Store) -> None:
    store.put_meta({"run_id": "x"})
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = '{' WHERE name = 'run_id'")
        db.commit()
    with (
        LedgerReader(path) as reader,
        pytest.raises(LedgerError, match=r"is damaged: a fact of the run is no JSON; the CSV"),
    ):
        reader.meta()


def test_rows_left_unread_cost_no_word_when_the_reader_is_closed(path: Path, store: Store) -> None:
    """A generator that is dropped after its connection must not complain on standard error."""
    admit(store, pair(1), pair(2))
    with LedgerReader(path) as reader:
        rows = reader.rows([Status.NOT_ATTEMPTED])
        next(rows)
    del rows


def test_a_ledger_that_may_not_be_looked_at_is_told_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300) / "ledger.db"  # a name that no file system takes
    with pytest.raises(LedgerError, match=r"/ledger\.db: File name too long$"):
        LedgerReader(path)


def test_a_rare_cause_after_many_rows_of_another_has_its_lines_too(path: Path, store: Store) -> None:
    admit(store, *(Reject(row, row * 10, "odd") for row in range(1, 9)), Reject(9, 90, "rare"))

    with LedgerReader(path) as reader:
        assert [cause.example_lines for cause in reader.causes()] == [(10, 20, 30, 40, 50), (90,)]
