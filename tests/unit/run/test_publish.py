"""An input on its way to a queue: each batch confirmed before the next, and cut off anywhere, it goes on.

Real time, for the ledger has a thread of its own; the broker is in memory.
"""

import asyncio
import csv
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.memory_queue import MemoryBroker
from worker.errors import (
    Exit,
    InputError,
    LockedError,
    QueueError,
    QueueUnavailable,
    StoppedError,
    TooFewRows,
    UsageError,
)
from worker.ledger import LedgerReader, audit, run_lock
from worker.models import Status
from worker.queues import Publisher
from worker.run.directory import RunDirectory
from worker.run.publish import LEDGER, Publishing
from worker.run.signals import SIGNALS
from worker.sources import open_source
from worker.supply.publication import BATCH, Published

QUEUE = "redis://host:6379/0?stream=links"

DIRTY = """opportunity_id,contact_id,note,id
1,1,first,order-1
1,x,no number,
1,1,again,order-2
1,2,second,
,3,empty,
"""


class Dies(Exception):  # noqa: N818 - it is what happens, not what is wrong
    """Stands for a kill: nobody in the product knows it."""


class Witness(Publisher):
    """Keeps what was published, batch by batch, with the row that was noted as confirmed at that moment."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.broker = MemoryBroker("links")
        self.batches: list[list[tuple[str, Any]]] = []
        self.confirmed: list[int] = []
        self.before: Callable[[int], None] = lambda _: None
        self.after: Callable[[int], None] = lambda _: None
        self.opened = self.closed = 0
        self.signals: tuple[signal.Signals, ...] = ()

    async def open(self) -> None:
        self.opened += 1
        await self.broker.reached()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        self.before(len(self.batches))
        for number in self.signals:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.2)
        await self.broker.reached()
        with LedgerReader(self.ledger) as reader:
            self.confirmed.append(reader.meta()["confirmed"])
            rows = reader.counts()
        assert sum(rows.values()) >= int(messages[-1][0].rpartition("-")[2]), "published before it was noted"
        self.batches.append([(identity, json.loads(body)) for identity, body in messages])
        self.after(len(self.batches))

    async def close(self) -> None:
        self.closed += 1

    @property
    def identities(self) -> list[str]:
        return [identity for batch in self.batches for identity, _ in batch]


class Desk:
    """A folder with an input, and publications of it one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.input = folder / "pairs.csv"
        self.run = folder / "runs" / "put"
        self.witness = Witness(self.run / LEDGER)
        self.notes: list[str] = []
        self.shown: list[int] = []

    def write(self, rows: int) -> None:
        self.input.write_text("opportunity_id,contact_id\n" + "".join(f"1,{n}\n" for n in range(1, rows + 1)))

    def start(
        self,
        *,
        resume: bool = False,
        queue: str = QUEUE,
        limit: int | None = None,
        min_rows: int | None = None,
        wait: float = 0.0,
    ) -> Publishing:
        return Publishing(
            RunDirectory(self.run) if resume else RunDirectory.create(self.folder / "runs", "put"),
            open_source(str(self.input), columns=None, delimiter=None),
            self.witness,
            queue,
            limit=limit,
            min_rows=min_rows,
            fresh=not resume,
            give_up_after=wait,
            tell=self.notes.append,
            show=lambda state: self.shown.append(state.published),
        )

    def said(self) -> dict[str, Any]:
        """publish.json, whose counts must sum up and be those of the ledger."""
        said: dict[str, Any] = json.loads((self.run / "publish.json").read_text())
        with LedgerReader(self.run / LEDGER) as reader:
            assert audit(reader) == []
            counts = reader.counts()
        assert said["rows"] == sum(counts.values())
        assert (said["duplicate"], said["invalid"]) == (counts[Status.DUPLICATE], counts[Status.INVALID])
        assert said["published"] <= counts[Status.NOT_ATTEMPTED]
        if said["complete"]:
            assert said["published"] + said["duplicate"] + said["invalid"] == said["rows"]
        return said


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != LEDGER}


def test_each_pair_is_published_once_and_what_is_none_is_in_rejected_csv(desk: Desk) -> None:
    desk.input.write_text(DIRTY)
    state = desk.start().complete()

    assert state == Published("put", QUEUE, "pairs.csv", 5, 2, 1, 2, complete=True)
    assert state.exit_code is Exit.REJECTED
    assert desk.witness.batches == [
        [
            ("put-1", {"opportunity_id": 1, "contact_id": 1, "id": "order-1"}),
            ("put-4", {"opportunity_id": 1, "contact_id": 2}),
        ]
    ]
    assert desk.said() == {**asdict(state), "exit_code": 3}
    with (desk.run / "rejected.csv").open() as file:
        assert list(csv.reader(file)) == [
            [*DIRTY.splitlines()[0].split(","), "_line", "_status", "_http_status", "_reason", "_attempts"],
            ["1", "x", "no number", "", "3", "invalid", "", "contact_id is not a whole number", "0"],
            ["", "3", "empty", "", "6", "invalid", "", "opportunity_id is empty", "0"],
        ]
    assert (desk.witness.opened, desk.witness.closed) == (1, 1)
    assert not (desk.run / "ledger.db").exists()


def test_a_clean_input_is_exit_0_and_a_duplicate_changes_nothing(desk: Desk) -> None:
    desk.input.write_text("opportunity_id,contact_id\n1,1\n1,1\n01, 1\n")
    state = desk.start().complete()
    assert (state.rows, state.published, state.duplicate, state.exit_code) == (3, 1, 2, Exit.OK)
    assert desk.said()["exit_code"] == 0


def test_json_lines_are_published_too_with_the_id_of_each(desk: Desk) -> None:
    desk.input = desk.folder / "pairs.jsonl"
    desk.input.write_text('{"deal": 1, "contact": "2"}\n{"contact": 3, "deal": 1, "id": 7}\n[]\n')
    assert desk.start().complete().exit_code is Exit.REJECTED
    assert [body for batch in desk.witness.batches for _, body in batch] == [
        {"opportunity_id": 1, "contact_id": 2},
        {"opportunity_id": 1, "contact_id": 3, "id": "7"},
    ]


def test_each_batch_is_confirmed_before_the_next_is_sent(desk: Desk) -> None:
    desk.write(2 * BATCH + 1)
    state = desk.start().complete()
    assert [len(batch) for batch in desk.witness.batches] == [BATCH, BATCH, 1]
    assert desk.witness.confirmed == [0, BATCH, 2 * BATCH]
    assert desk.shown == [BATCH, 2 * BATCH, 2 * BATCH + 1]
    assert desk.witness.identities == [f"put-{n}" for n in range(1, 2 * BATCH + 2)]
    assert state.complete
    assert desk.said()["published"] == 2 * BATCH + 1


def test_the_limit_counts_rows(desk: Desk) -> None:
    desk.input.write_text(DIRTY)
    state = desk.start(limit=3).complete()
    assert (state.rows, state.published, state.duplicate, state.invalid) == (3, 1, 1, 1)
    assert state.complete


def test_an_input_without_rows_leaves_nothing_behind(desk: Desk) -> None:
    desk.input.write_text("opportunity_id,contact_id\n")
    state = desk.start().complete()
    assert (state.rows, state.exit_code) == (0, Exit.OK)
    assert not desk.run.exists()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_killed_around_a_publish_it_goes_on_and_repeats_one_batch_at_most(
    desk: Desk, batch: int, when: str
) -> None:
    """Between the broker's word and our note of it nobody can tell: then the same identities come again."""
    desk.write(2 * BATCH + 10)

    def die(number: int) -> None:
        if number == batch + (when == "after"):
            raise Dies

    setattr(desk.witness, when, die)
    with pytest.raises(Dies):
        desk.start().complete()
    assert not desk.said()["complete"]
    setattr(desk.witness, when, lambda _: None)

    state = desk.start(resume=True).complete()

    assert state.complete
    assert (state.rows, state.published) == (2 * BATCH + 10, 2 * BATCH + 10)
    assert desk.said()["published"] == 2 * BATCH + 10
    times = Counter(desk.witness.identities)
    assert set(times) == {f"put-{n}" for n in range(1, 2 * BATCH + 11)}
    repeated = sorted(int(name.removeprefix("put-")) for name, n in times.items() if n > 1)
    size = min(BATCH, 2 * BATCH + 10 - batch * BATCH)
    first = batch * BATCH + 1
    assert repeated == ([] if when == "before" else [*range(first, first + size)])
    assert max(times.values()) <= 2
    # Whatever is sent twice says the same twice.
    said = {json.dumps(one) for batch in desk.witness.batches for one in batch}
    assert len(said) == len(times)


def test_resumed_after_its_end_it_publishes_nothing_and_says_the_same(desk: Desk) -> None:
    desk.input.write_text(DIRTY)
    first = desk.start().complete()
    before = files(desk.run)
    assert desk.start(resume=True).complete() == first
    assert len(desk.witness.batches) == 1
    assert files(desk.run) == before


def test_rows_that_were_added_to_the_input_are_published_by_a_resume(desk: Desk) -> None:
    desk.input.write_text(DIRTY)
    desk.start().complete()
    desk.input.write_text(DIRTY + "1,2,seen before,\n1,9,new,\n")
    state = desk.start(resume=True).complete()
    assert (state.rows, state.published, state.duplicate, state.invalid) == (7, 3, 2, 2)
    assert desk.witness.identities == ["put-1", "put-4", "put-7"]
    assert desk.said()["complete"]


OTHER_QUEUE = "nats://host?stream=links"


def test_another_queue_is_refused(desk: Desk) -> None:
    desk.write(5)
    desk.start().complete()
    with pytest.raises(
        UsageError, match=r"run put is for redis://host:6379/0\?stream=links, not for nats://"
    ):
        desk.start(resume=True, queue=OTHER_QUEUE).complete()
    assert len(desk.witness.batches) == 1
    assert desk.start(resume=True).complete().published == 5


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (
            "opportunity_id,contact_id\n1,1\n1,2\n1,9\n",
            r"row 3 \(line 4\) is not what it was when this run began",
        ),
        (
            "opportunity_id,contact_id\n1,9\n1,2\n1,3\n",
            r"row 1 \(line 2\) is not what it was when this run began",
        ),
        ("opportunity_id,contact_id\n1,1\n", "ends after row 1, but this run has read 3 rows of it"),
        ("contact_id,opportunity_id\n1,1\n1,2\n1,3\n", "the columns are not what they were"),
    ],
)
def test_an_input_that_has_changed_is_refused(desk: Desk, changed: str, fault: str) -> None:
    desk.write(3)
    desk.start().complete()
    desk.input.write_text(changed)
    with pytest.raises(InputError, match=fault):
        desk.start(resume=True).complete()
    assert len(desk.witness.batches) == 1
    desk.write(3)
    assert desk.start(resume=True).complete().published == 3


@pytest.mark.parametrize("wrong", ["queue", "input"])
def test_what_is_refused_leaves_the_files_as_they_are(desk: Desk, wrong: str) -> None:
    desk.input.write_text(DIRTY)
    desk.start().complete()
    before = files(desk.run)
    if wrong == "input":
        desk.write(2)
    with pytest.raises(UsageError if wrong == "queue" else InputError):
        desk.start(resume=True, queue=OTHER_QUEUE if wrong == "queue" else QUEUE).complete()
    assert files(desk.run) == before


def test_a_broker_that_is_away_at_the_start_is_an_error_and_leaves_nothing_behind(desk: Desk) -> None:
    desk.write(5)
    desk.witness.broker.is_up = False
    with pytest.raises(QueueUnavailable, match=r"the broker is down; nothing was published$"):
        desk.start().complete()
    assert not desk.run.exists()
    assert desk.witness.closed == 1


def test_a_broker_that_is_away_at_a_resume_changes_no_count(desk: Desk) -> None:
    desk.input.write_text(DIRTY)
    desk.start(limit=3).complete()
    before = desk.said()
    desk.witness.broker.is_up = False
    with pytest.raises(QueueUnavailable):
        desk.start(resume=True).complete()
    assert {**desk.said(), "complete": True, "exit_code": 3} == before


def test_a_broker_that_goes_away_in_the_middle_is_an_error_and_resume_goes_on(desk: Desk) -> None:
    desk.write(2 * BATCH)
    desk.witness.after = lambda _: setattr(desk.witness.broker, "is_up", False)
    with pytest.raises(QueueUnavailable, match=r"1,000 published so far; go on with: .* --resume put$"):
        desk.start().complete()
    assert (desk.said()["published"], desk.said()["exit_code"]) == (BATCH, 5)
    desk.witness.broker.is_up = True
    desk.witness.after = lambda _: None
    assert desk.start(resume=True).complete().published == 2 * BATCH
    assert len(desk.witness.identities) == len(set(desk.witness.identities)) == 2 * BATCH


def test_a_broker_that_comes_back_in_time_is_waited_for(desk: Desk) -> None:
    desk.write(10)
    desk.witness.broker.is_up = False
    threading.Timer(0.4, setattr, (desk.witness.broker, "is_up", True)).start()
    assert desk.start(wait=30.0).complete().complete
    assert desk.notes[0] == "memory:links: the broker is down; trying again"
    assert desk.notes[-1] == ""
    assert len(desk.witness.identities) == 10


def test_a_broker_that_refuses_is_not_waited_for(desk: Desk) -> None:
    desk.write(10)

    def refuse(_: int) -> None:
        raise QueueError("the stream is full")

    desk.witness.before = refuse
    with pytest.raises(QueueError, match=r"full; 0 published so far; go on with: .* --resume put$"):
        desk.start(wait=30.0).complete()
    assert (desk.said()["rows"], desk.said()["published"]) == (10, 0)
    assert desk.notes == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_after_the_batch_on_its_way(desk: Desk, number: signal.Signals, code: int) -> None:
    desk.write(3 * BATCH)
    desk.witness.before = lambda batch: os.kill(os.getpid(), number) if batch == 1 else None
    state = desk.start().complete()
    assert (state.published, state.complete, state.exit_code) == (2 * BATCH, False, code)
    said = desk.said()
    assert (said["published"], said["stopped_by"], said["exit_code"]) == (2 * BATCH, number, code)

    desk.witness.before = lambda _: None
    state = desk.start(resume=True).complete()
    assert (state.published, state.exit_code) == (3 * BATCH, Exit.OK)
    assert len(desk.witness.identities) == len(set(desk.witness.identities))
    assert desk.said()["stopped_by"] == 0


def test_a_second_signal_ends_it_at_once_and_says_how_to_go_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.run.signals.TOGETHER", 0.0)  # they come one after the other
    desk.write(10)
    desk.witness.signals = (signal.SIGINT, signal.SIGTERM)
    with pytest.raises(StoppedError) as caught:
        desk.start().complete()
    assert caught.value.exit_code == 130
    assert desk.witness.closed == 1
    assert "--resume put" in str(caught.value)
    desk.witness.signals = ()
    assert desk.start(resume=True).complete().published == 10


def test_a_signal_while_the_broker_is_waited_for_ends_the_wait(desk: Desk) -> None:
    desk.write(10)
    desk.witness.broker.is_up = False
    stop = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    stop.start()
    back = threading.Timer(5.0, setattr, (desk.witness.broker, "is_up", True))
    back.start()
    try:
        with suppress(StoppedError):
            assert desk.start(wait=60.0).complete().exit_code == 143
        assert not desk.witness.broker.is_up
    finally:
        stop.join()
        back.cancel()


def test_two_at_once_on_one_run_are_refused(desk: Desk) -> None:
    desk.write(10)
    desk.start().complete()
    before = files(desk.run)
    second = desk.start(resume=True)
    with run_lock(desk.run), pytest.raises(LockedError):
        second.complete()
    second._source.close()
    assert files(desk.run) == before


def test_nothing_runs_on_when_it_is_done(desk: Desk) -> None:
    desk.write(10)
    before = [signal.getsignal(number) for number in SIGNALS]

    desk.start().complete()

    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_input_with_too_few_rows_publishes_none_and_leaves_nothing(desk: Desk) -> None:
    desk.write(1500)

    with pytest.raises(TooFewRows, match=r"^pairs.csv: only 1,500 rows, expected are 1,501 or more"):
        desk.start(min_rows=1501).complete()
    assert desk.witness.batches == []
    assert not desk.run.exists()

    assert desk.start(min_rows=1500).complete().published == 1500


def test_an_input_of_one_row_that_is_too_few_is_told_as_one(desk: Desk) -> None:
    desk.write(1)
    with pytest.raises(TooFewRows, match=r"^pairs.csv: only 1 row, expected are 2 or more"):
        desk.start(min_rows=2).complete()
