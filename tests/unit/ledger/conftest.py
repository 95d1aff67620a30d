"""A ledger to write to, and the next session on it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from worker.ledger.schema import connect
from worker.ledger.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(connect(path, mode="rwc")) as connection:
        store = Store(connection)
        store.begin_session()
        yield store


@pytest.fixture
def reopened(path: Path, store: Store) -> Iterator[Store]:  # noqa: ARG001 - comes after the first session
    """A later session on the same ledger."""
    with closing(connect(path, mode="rw")) as connection:
        later = Store(connection)
        later.begin_session()
        yield later
