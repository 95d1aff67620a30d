"""Remove the folders of runs that ended long ago."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.errors import LedgerError, LockedError, OutputError
from worker.ledger import run_lock
from worker.run.directory import CONDEMNED, RunDirectory, list_runs
from worker.run.runs import Listed, listed_run


@dataclass(frozen=True, slots=True)
class Old:
    """A run that ended long ago.

    Attributes:
        size: bytes of its files.
    """

    run: RunDirectory
    listed: Listed
    size: int


def old_runs(runs_dir: Path, before: float) -> Iterator[Old]:
    """The runs on which nobody has worked since ``before`` (epoch seconds), oldest first.

    One whose ledger cannot be read is none of them: who knows what it holds.
    """
    for run in list_runs(runs_dir):
        with suppress(LedgerError):
            listed = listed_run(run)
            # Also verify, rollback and report work on a run: all of them write into its folder.
            last = max(listed.report.timing.finished_at.timestamp(), _touched(run.path))
            if last < before:
                yield Old(run, listed, _size(run.path))


def remove(run: RunDirectory) -> bool:
    """Remove a run's folder, unless a process works on it.

    Raises:
        OutputError: it cannot be removed.
    """
    folder = run.path.resolve()  # which may be on another disk
    condemned = folder.with_name(f"{CONDEMNED}{folder.name}")
    try:
        with run_lock(folder):  # and of the folder, whatever its name is
            folder.rename(condemned)
            shutil.rmtree(condemned)
        if run.path.is_symlink():
            run.path.unlink()
    except LockedError:
        return False
    except OSError as error:
        raise OutputError(f"{run.path}: {error.strerror}") from error
    return True


def sweep_removed(runs_dir: Path) -> None:
    """Remove what is left of folders whose removal was killed, as far as that can be done."""
    for folder in runs_dir.glob(f"{CONDEMNED}*"):
        with suppress(LockedError, LedgerError), run_lock(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _touched(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.iterdir()), default=0.0)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
