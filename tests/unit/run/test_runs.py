"""How a run stands, for a list: as it ended, or at work."""

from contextlib import closing
from pathlib import Path

import pytest

from worker.errors import NeverBegan
from worker.ledger import run_lock
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.run.directory import RunDirectory
from worker.run.runs import listed_run

FACTS = {"run_id": "it", "portal": "p", "input_path": "/a.csv", "input_name": "a.csv", "settings": {}}


def make(folder: Path, **facts: object) -> RunDirectory:
    run = RunDirectory.create(folder, "it")
    with closing(connect(run.ledger, mode="rwc")) as db:
        store = Store(db)
        store.begin_session()
        store.put_meta(facts)
    return run


def test_a_run_at_work_is_running_and_has_no_exit_code_yet(tmp_path: Path) -> None:
    run = make(tmp_path, **FACTS)

    with run_lock(run.path):
        listed = listed_run(run)

    assert (listed.status, listed.exit_code) == ("running", None)
    assert listed.to_dict()["status"] == "running"
    assert listed.to_dict()["exit_code"] is None
    assert listed.to_dict()["input"]["name"] == "a.csv"


def test_a_run_that_nobody_works_on_and_that_never_ended_is_interrupted(tmp_path: Path) -> None:
    listed = listed_run(make(tmp_path, **FACTS))

    assert (listed.status, listed.exit_code) == ("interrupted", 5)


def test_a_run_that_has_ended_is_as_it_ended_also_while_it_is_verified(tmp_path: Path) -> None:
    run = make(tmp_path, **FACTS, input_complete=True, end_code=0, end_message="")

    with run_lock(run.path):
        listed = listed_run(run)

    assert (listed.status, listed.exit_code) == ("completed", 0)


def test_one_that_never_began_is_no_run_to_list(tmp_path: Path) -> None:
    with pytest.raises(NeverBegan):
        listed_run(make(tmp_path))
