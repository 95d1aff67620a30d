"""Whose links those are that a sync or a rollback may remove: what all runs in the folder say."""

import asyncio
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.judged import judged
from worker.ledger import PruneLedger
from worker.ledger.schema import connect
from worker.ledger.store import Store
from worker.models import Attempt, Outcome, Pair, Result, Status
from worker.removals import Extra, Undo, Undoing
from worker.run.directory import RunDirectory, list_runs
from worker.run.ownership import owned_links, touched_since

PORTAL = "https://portal.example"
LINK = Attempt(Result.OK, http_status=201, body=b'{"id":7}')


def key(opportunity: int, contact: int) -> int:
    return opportunity << 32 | contact


def run(folder: Path, name: str, *links: tuple[int, int], at: float = 1.0, **facts: Any) -> RunDirectory:
    """A run that has made links, at a time."""
    (folder / name).mkdir()
    with closing(connect(folder / name / "ledger.db", mode="rwc")) as db:
        store = Store(db)
        known = {"run_id": name, "portal": PORTAL, "input_path": "", "input_name": "", "settings": {}}
        store.put_meta({**known, **facts})
        store.begin_session()
        for row, link in enumerate(links, 1):
            pair = Pair(row, row, *link)
            store.admit([judged(pair)])
            store.looked([row])
            store.settle([Outcome(pair, Status.LINKED, (LINK,), "", 201)])
        db.execute("UPDATE rows SET settled_at = ?1, sent_at = ?1", (at,))
    return RunDirectory(folder / name)


def removed(run: RunDirectory, opportunity: int, contact: int, at: float) -> None:
    """That run, a sync, has removed a link."""

    async def work() -> None:
        async with PruneLedger(run.ledger, create=False) as ledger:
            await ledger.decide([Extra(opportunity, contact)], "", {})
            await ledger.conclude([Undoing(1, Undo.REMOVED)])

    asyncio.run(work())
    with closing(connect(run.ledger, mode="rw")) as db:
        db.execute("UPDATE prunes SET settled_at = ?", (at,))


def owned(folder: Path, *notes: str) -> set[int]:
    said: list[str] = []
    keys = {key(1, contact) for contact in range(1, 10)}
    found = owned_links(list_runs(folder), PORTAL, keys, said.append)
    assert len(said) == len(notes)
    assert all(note in one for note, one in zip(notes, said, strict=True))
    return {one & 0xFFFFFFFF for one in found}


def test_links_that_any_run_made_are_ours_but_for_those_of_other_portals_and_merged_runs(
    tmp_path: Path,
) -> None:
    run(tmp_path, "a", (1, 1), (1, 2))
    run(tmp_path, "b", (1, 3))
    run(tmp_path, "c", (1, 4), portal="https://other.example")
    run(tmp_path, "d", (1, 5), input_kind="merged")
    assert owned(tmp_path) == {1, 2, 3}


@pytest.mark.parametrize(("at", "ours"), [(1.0, False), (3.0, True)])
def test_a_link_that_a_sync_removed_is_ours_only_if_we_made_it_again_later(
    tmp_path: Path, at: float, *, ours: bool
) -> None:
    run(tmp_path, "a", (1, 1), at=at)
    removed(run(tmp_path, "b"), 1, 1, at=2.0)
    assert owned(tmp_path) == ({1} if ours else set())


@pytest.mark.parametrize(("merged_at", "ours"), [(1.5, False), (2.5, True)])
def test_what_the_rollback_of_a_merged_run_removed_is_ours_no_more(
    tmp_path: Path, merged_at: float, *, ours: bool
) -> None:
    """What it has of the others they say themselves: that it was removed then, and was made again since."""
    run(tmp_path, "a", (1, 1))
    merged = run(tmp_path, "m", (1, 1), input_kind="merged", merged=["a"], merged_at=merged_at)
    undone(merged, at=2.0)
    assert owned(tmp_path) == ({1} if ours else set())


def undone(run: RunDirectory, at: float) -> None:
    """A rollback of that run has removed its first link."""
    with closing(connect(run.ledger, mode="rw")) as db:
        db.execute("INSERT INTO undone VALUES (1, ?1, 'removed', '', 200, ?1)", (at,))


@pytest.mark.parametrize(("at", "touched"), [(1.0, False), (2.0, False), (3.0, True)])
@pytest.mark.parametrize("word", ["made", "undone", "pruned"])
def test_a_link_is_no_more_a_runs_own_once_another_one_has_made_or_removed_it(
    tmp_path: Path, word: str, at: float, *, touched: bool
) -> None:
    ours = run(tmp_path, "a", (1, 1), (1, 2), at=2.0)
    if word == "made":
        run(tmp_path, "b", (1, 1), (1, 9), at=at)
    elif word == "undone":
        undone(run(tmp_path, "b", (1, 1), at=0.5), at=at)
    else:
        removed(run(tmp_path, "b"), 1, 1, at=at)
    assert touched_since(ours, print) == ({key(1, 1)} if touched else set())


def test_what_another_portal_or_an_old_run_or_the_run_itself_says_touches_nothing(tmp_path: Path) -> None:
    ours = run(tmp_path, "a", (1, 1), at=9_000_000.0)
    undone(ours, at=9_000_001.0)
    run(tmp_path, "b", (1, 1), at=9_000_001.0, portal="https://other.example")
    old = run(tmp_path, "c", (1, 1), at=9_000_001.0)
    os.utime(old.ledger, (1.0, 1.0))
    assert touched_since(ours, print) == set()
    os.utime(old.ledger)
    with closing(connect(ours.ledger, mode="rw")) as db:
        db.execute("DELETE FROM undone")
    assert touched_since(ours, print) == {key(1, 1)}


@pytest.mark.parametrize(("word", "touched"), [("made", False), ("undone", True)])
def test_what_runs_made_that_were_merged_is_the_merged_ones_too_until_they_removed_it(
    tmp_path: Path, word: str, *, touched: bool
) -> None:
    """Two workers of a queue may both have made it."""
    part = run(tmp_path, "b", (1, 1), at=3.0)
    ours = run(tmp_path, "m", (1, 1), at=2.0, input_kind="merged", merged=["b"], merged_at=4.0)
    if word == "undone":
        undone(part, at=5.0)
    assert touched_since(ours, print) == ({key(1, 1)} if touched else set())


def test_a_run_that_cannot_be_read_is_told_of_and_speaks_for_nothing(tmp_path: Path) -> None:
    run(tmp_path, "a", (1, 1))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "ledger.db").write_text("no ledger, but long enough to look like a file of some kind")
    assert owned(tmp_path, "run b cannot be read") == {1}
    said: list[str] = []
    assert touched_since(RunDirectory(tmp_path / "a"), said.append) == set()
    assert said[0].startswith("run b cannot be read, so no link counts as made or removed by it")
